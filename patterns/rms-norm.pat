# Finds root-mean-square normalization: x / √(E[x²] + ε) · γ over trailing axes, or
# over the one axis of the channels.
#
# Llama and its kin compute it in float32 between two casts; T5 casts the input twice; Gemma stores
# γ as 1 + w. The squares have twice the range of x in decades, and do not survive eight bits.
#
#   before: q = Pow(x, 2); m = ReduceMean(q); e = Add(m, eps); r = Sqrt(e); i = Reciprocal(r)
#           n = Mul(x, i); y = Mul(scale, n)
#   after:  y = RMSNormalization(x, scale)

use "std/math.pat" { square, rsqrt, root, div, mean_square, total, cast, scaled }

pattern RmsNorm in norm <axes, eps> (x, const scale?) => (y) {
  either {
    dup h = cast?(x)
    m = mean_square<axes>(h) + eps
    n = div(h, root(m)) | h * rsqrt(m)
    y = cast?(n * scale)
      | cast?(n) *? scale
      | cast?(h * rsqrt(m) * scale)
      | cast?(h * (scale / root(m)))
      | cast?(div(h * scale, root(m)))
  } or {
    y = RMSNormalization<axis = a, epsilon = eps, ...>(x, scale)
      | SimplifiedLayerNormalization<axis = a, epsilon = eps, ...>(x, scale)
    let axes = range(a, 0)
  }
  where? 0 < eps, eps < 0.1, dtype(y) == dtype(x), shape(y) == shape(x)
  where? axes == range(axes[0], 0) or len(axes) == 1 and axes[0] == 1 - rank(x)
  where? rank(scale) == -axes[0] or rank(scale) > -axes[0] and prod(shape(scale)[:axes[0]]) == 1
  # Of channels there is one number for each, or one for all.
  where? axes == range(axes[0], 0) or numel(scale) == 1 or numel(scale) == dim(scale, axes[0])
} equals {
  # The operator is for trailing axes; channels in the second axis are moved there and back. Runtimes
  # want a number for each element of those axes.
  const s0 = if scale is none then none else if len(axes) == 1 and numel(scale) > 1 then Reshape(
    scale,
    {[-1] : int64}
  ) else if len(axes) == 1 then Expand(
    Reshape(scale, {[-1] : int64}),
    {[dim(x, axes[0])] : int64}
  ) else Expand(Reshape(scale, {shape(scale)[axes[0]:] : int64}), {shape(x)[axes[0]:] : int64})
  const s = if scale is none then none else if dtype(scale) == dtype(x) then s0 else Cast<
    to = dtype(x)
  >(s0)
  y = if axes == range(axes[0], 0) then RMSNormalization<axis = axes[0], epsilon = eps>(
    x,
    s ?? {1 : [dim(x, -1)]}
  ) else Transpose<perm = [0, rank(x) - 1] ++ range(1, rank(x) - 1)>(
    RMSNormalization<axis = -1, epsilon = eps>(
      Transpose<perm = [0] ++ range(2, rank(x)) ++ [1]>(x),
      s ?? {1 : [dim(x, 1)]}
    )
  )
} quant { skip interior }
  verify { eps in [1e-12, 1e-5, 1e-3] }

# The same through the length of the vector: x / ‖x‖ · √d · γ, with ε added to the length or as its
# least value, or added to the root. Almost the operator, not exactly: it has a name of its own.
pattern RmsNormL2 in norm <axes> (x, const scale) => (y) {
  dup h = cast?(x)
  l = ReduceL2<axes, keepdims = 1>(h) | root(total<axes>(square(h)))
  either {
    s = l * _root | l / _root
    n = div(h, s +? _eps)
    y = cast?(n * scale) | cast?(n) * scale
  } or {
    e = Clip<...>(l, ...) | Max(l, _least) | l + _eps
    s = Expand<...>(e, ...) | e
    n = div(h, s) * _root
    y = cast?(n * scale) | cast?(n) * scale
  } or {
    s = root(mean_square<axes>(h)) + _eps
    n = div(h, s)
    y = cast?(n * scale) | cast?(n) * scale
  } or {
    n = LpNormalization<axis = a, p = 2>(h) * _root
    y = cast?(n * scale) | cast?(n) * scale
    let axes = [a]
  }
  where? rank(scale) == -axes[0]
} quant { skip interior }

test "Llama, opset 13: float32 between two casts"
  <ir_version: 8, opset_import: ["" : 13]>
  g (float16[2,8] x) => (float16[2,8] y) <float two = {2}, float eps = {1e-6}, float one = {1}, float16[8] s = {1,1,1,1,1,1,1,1}> {
    h = Cast <to: int = 1> (x)
    q = Pow (h, two)
    m = ReduceMean <axes: ints = [-1], keepdims: int = 1> (q)
    e = Add (m, eps)
    r = Sqrt (e)
    i = Div (one, r)
    n = Mul (h, i)
    c = Cast <to: int = 10> (n)
    y = Mul (s, c)
  }
  matches RmsNorm { x = x, eps = 1e-6, scale = s }

test "a reciprocal root"
  <ir_version: 8, opset_import: ["" : 13]>
  g (float[2,8] x) => (float[2,8] y) <float two = {2}, float eps = {1e-6}, float[8] s = {1,1,1,1,1,1,1,1}> {
    q = Pow (x, two)
    m = ReduceMean <axes: ints = [-1], keepdims: int = 1> (q)
    e = Add (m, eps)
    r = Sqrt (e)
    i = Reciprocal (r)
    n = Mul (x, i)
    y = Mul (s, n)
  }
  matches RmsNorm { x = x, eps = 1e-6, scale = s }

test "the mean of x, not of its square"
  <ir_version: 8, opset_import: ["" : 13]>
  g (float[2,8] x) => (float[2,8] y) <float eps = {1e-6}, float[8] s = {1,1,1,1,1,1,1,1}> {
    m = ReduceMean <axes: ints = [-1], keepdims: int = 1> (x)
    e = Add (m, eps)
    r = Sqrt (e)
    n = Div (x, r)
    y = Mul (s, n)
  }
  rejects RmsNorm
