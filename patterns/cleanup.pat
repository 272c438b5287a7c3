# Rules that make a graph smaller without changing what it computes: transposes, reshapes, casts,
# slices, concatenations, neutral elements.
#
# Exporters leave many of them, and each one between a convolution and its activation hides the two
# from a pattern and from a runtime. Every rule removes nodes, so they come to an end in any order.
#
#   before: a = Transpose <perm = [1, 0, 2]> (x); y = Transpose <perm = [2, 1, 0]> (a)
#   after:  y = Transpose <perm = [2, 0, 1]> (x)

# ───────────── nothing is done ─────────────

rule drop_identity: Identity(x) ~> x
rule drop_dropout: Dropout<...>(x, _?, none) ~> x
rule drop_cast: Cast<to = t>(x) ~> x where dtype(x) == t
rule drop_cast_like: CastLike<...>(x, z) ~> x where dtype(x) == dtype(z)
rule drop_transpose: Transpose<perm = p>(x) ~> x where is_identity(p)
rule drop_flatten: Flatten<axis = 1>(x) ~> x where rank(x) == 2
rule drop_concat: Concat<axis = _>(x) ~> x
rule drop_where (x) => (y) {
  y = Where(_c, x, x)
  where shape(x) == shape(y)
} ~> { y = x }

rule drop_reshape (x) => (y) {
  y = Reshape<...>(x, _)
  where shape(x) == shape(y)
} ~> { y = x }
rule drop_expand (x) => (y) {
  y = Expand<...>(x, ...)
  where shape(x) == shape(y)
} ~> { y = x }
rule drop_tile (x) => (y) {
  y = Tile<...>(x, ...)
  where shape(x) == shape(y)
} ~> { y = x }
# A step of −1 turns an axis round and keeps its length.
rule drop_slice (x) => (y) {
  y = Slice<starts = _, ends = _, axes = _, steps = s>(x)
  where shape(x) == shape(y), min(s) > 0
} ~> { y = x }
rule drop_pad (x) => (y) {
  y = Pad<pads = p, ...>(x, ...)
  where min(p) == 0, max(p) == 0
} ~> { y = x }

# ───────────── neutral elements, what undoes itself ─────────────

rule add_zero: x + 0 ~> x
rule subtract_zero: x - 0 ~> x
rule multiply_one: x * 1 ~> x  # 1 is rank-neutral by the constant rule
rule divide_one: x / 1 ~> x
rule power_one: x ^ 1 ~> x
rule double_neg: Neg(Neg(x)) ~> x
rule double_not: Not(Not(x)) ~> x
rule double_recip: Reciprocal(Reciprocal(x)) ~> x verify { x in uniform(0.1, 4) }
rule relu_relu: Relu(Relu(x)) ~> Relu(x)
rule abs_abs: Abs(Abs(x)) ~> Abs(x)
rule abs_neg: Abs(Neg(x)) ~> Abs(x)
rule add_neg: x + Neg(z) ~> x - z
rule subtract_neg: x - Neg(z) ~> x + z
rule one_sum: Sum(x) ~> x
rule one_max: Max(x) ~> x
rule one_min: Min(x) ~> x
rule one_mean: Mean(x) ~> x

# Two bounds, one of them a ReLU.
rule clip_of_relu (x, high) => (y) {
  y = Clip(Relu(x), none, high)
  where item(high) >= 0
} ~> { y = Clip(x, {0}, high) }
rule relu_of_clip (x, low, high?) => (y) {
  y = Relu(Clip(x, low, high?))
  where item(low) >= 0, high is none or item(high) >= item(low)
} ~> { y = Clip(x, low, high) }

# ───────────── two of a kind ─────────────

rule merge_transposes:
  Transpose<perm = q>(Transpose<perm = p>(x))
  ~> Transpose<perm = compose(p, q)>(x)
# A 0 in the shape copies a length of the tensor before it.
rule merge_reshapes:
  Reshape<allowzero = 0>(Reshape<...>(x, _), const s)
  ~> Reshape(x, s)
  where 0 not in s
rule reshape_of_flatten:
  Reshape<allowzero = 0>(Flatten<...>(x), const s)
  ~> Reshape(x, s)
  where 0 not in s
rule reshape_of_squeeze:
  Reshape<allowzero = 0>(Squeeze<axes = _>(x), const s)
  ~> Reshape(x, s)
  where 0 not in s
rule reshape_of_unsqueeze:
  Reshape<allowzero = 0>(Unsqueeze<axes = _>(x), const s)
  ~> Reshape(x, s)
  where 0 not in s
rule squeeze_unsqueeze: Squeeze<axes = a>(Unsqueeze<axes = a>(x)) ~> x
rule unsqueeze_squeeze: Unsqueeze<axes = a>(Squeeze<axes = a>(x)) ~> x
# Only where the first cast loses nothing.
rule merge_casts: Cast<to = t>(Cast<to = u>(x)) ~> Cast<to = t>(x) where widens(dtype(x), u)

rule merge_slices opset "" 10.. (x) => (y) {
  y = Slice<starts = s, ends = e, axes = a, steps = t>(
    Slice<starts = p, ends = q, axes = b, steps = u>(x)
  )
  where len(a) == 1, len(b) == 1, rank(x) > 0, a[0] != b[0]
} ~> { y = Slice(x, {p ++ s : int64}, {q ++ e : int64}, {b ++ a : int64}, {u ++ t : int64}) }

rule merge_concats (xs..., ys...) => (y) {
  y = Concat<axis = a>(Concat<axis = a>(xs...), ys...)
} ~> { y = Concat<axis = a>(xs..., ys...) }

# Parts put together again as they were.
rule split_concat (x) => (y) {
  a, b = Split<axis = k, ...>(x)
  y = Concat<axis = k>(a, b)
  where shape(x) == shape(y)
} ~> { y = x }
rule split_concat_three (x) => (y) {
  a, b, c = Split<axis = k, ...>(x)
  y = Concat<axis = k>(a, b, c)
  where shape(x) == shape(y)
} ~> { y = x }

# Factors and summands that are known are one.
rule merge_factors (x, const a, const b) => (y) {
  y = (x * a) * b
  where numel(a) == 1 or numel(b) == 1 or shape(a) == shape(b)
} ~> {
  const k = a * b
  y = x * k
} verify { tol 1e-5 }
rule merge_summands (x, const a, const b) => (y) {
  y = (x + a) + b
  where numel(a) == 1 or numel(b) == 1 or shape(a) == shape(b)
} ~> {
  const k = a + b
  y = x + k
} verify { tol 1e-5 }

# Transpose, Reshape, Transpose that move only axes of length 1.
rule squeeze_chain (x) => (y) {
  t = Transpose<perm = p>(x)
  r = Reshape<...>(t, _)
  y = Transpose<perm = q>(r)
  # In a shape that is written, 0 is no length.
  where is_reshape(shape(x), p), is_reshape(shape(r), q), 0 not in shape(y)
} ~> { y = Reshape(x, {shape(y) : int64}) }

# A Concat of transposes is the transpose of a Concat, whatever the number of inputs.
rule sink_transpose <p, a> (xs...) => (y) {
  y = Concat<axis = a>(Transpose<perm = p>(xs)...)
} ~> {
  c = Concat<axis = p[a]>(xs...)
  y = Transpose<perm = p>(c)
}

# The logarithm of a softmax is an operator, and does not underflow.
rule log_softmax: Log(Softmax<axis = a>(x)) ~> LogSoftmax<axis = a>(x) verify { x in uniform(
  -5,
  5
) }

# A condition that does not matter.
rule if_same (c, x) => (y) {
  y = If<then_branch = () => (t) { t = Identity(x) }, else_branch = () => (e) { e = Identity(x) }>(
    c
  )
} ~> { y = x }

test "two transposes are one"
  <ir_version: 8, opset_import: ["" : 13]>
  g (float[2,3,4] x) => (float[4,2,3] y) {
    a = Transpose <perm: ints = [1, 0, 2]> (x)
    y = Transpose <perm: ints = [2, 1, 0]> (a)
  }
  becomes <ir_version: 8, opset_import: ["" : 13]>
  g (float[2,3,4] x) => (float[4,2,3] y) {
    y = Transpose <perm: ints = [2, 0, 1]> (x)
  }
