# Finds attention in which no position looks ahead of itself.
#
# Runtimes skip half of the products where they know that, and a mask of the size of the scores need
# not be there at all. Exporters write the mask as a constant triangle, cut one out (Trilu), or compare
# the positions of queries and keys, and mix it with the padding on the way to the scores.
#
#   before: kt = Transpose(k); s = MatMul(q, kt); c = Mul(s, 0.5); m = Add(c, triangle)
#           p = Softmax(m); y = MatMul(p, v)
#   after:  y = Attention <scale = 0.5, is_causal = 1> (q, k, v)

use "std/math.pat" { rescale, cast }
use "std/layout.pat" { swap_last }
use "attention.pat" { score, weight, softmax, transposed }

# Positions 0, 1, 2, … along some axis. A number alone is none: it bounds something else.
def place(x) = cast(x)
  | Unsqueeze<...>(x, ...)
  | Reshape<...>(x, ...)
  | Expand<...>(x, ...)
  | Identity(x)
  | x + _
  | x - _
def places() = place*(Range(...) | CumSum<...>(_, ...)) | place*(const _p) if rank(_p) > 0

# What is a triangle: written so, cut out, or made by comparing positions.
ops Order = LessOrEqual, GreaterOrEqual, Less, Greater
def triangle_of() = _m if len(triangle(_m)) == 2
  | Trilu<...>(_, ...)
  | (Order as _order)(places(), places())

# One step from there to the mask.
def step(x) = cast(x)
  | Unsqueeze<...>(x, ...)
  | Reshape<...>(x, ...)
  | Expand<...>(x, ...)
  | Slice<...>(x, ...)
  | Gather<...>(x, ...)
  | Concat<...>(x, ...)
  | ScatterND<...>(x, ...)
  | Identity(x)
  | Not(x)
  | And(x, _)
  | Or(x, _)
  | Equal(x, _)
  | Where(x, _, _)
  | Where(_, x, _)
  | Where(_, _, x)
  | x + _
  | x * _
  | 1 - x
def causal_mask() = step*(triangle_of())

def masked(s, m) = s + m | Where(m, s, _fill) | Where(m, _fill, s)

pattern CausalAttention in causal_attention (q, k?, v?, mask?) => (y) {
  either {
    t = rescale<k = a>(q) @ rescale<k = b>(transposed(k))
      | rescale<k = a>(q) @ transposed(rescale<k = b>(k))
      | Einsum<...>(rescale<k = a>(q), rescale<k = b>(k))
      | com.microsoft.FusedMatMul<...>(q, k)
    s = score*(masked(score*(t, _m), mask), _n)
    # Some models give the weights out.
    shared p = softmax(s)
    shared z = weight*(p)
    y = z @ v | Einsum<...>(z, v) | com.microsoft.FusedMatMul<...>(z, v)
    where mask is causal_mask()
  } or {
    y = Attention<is_causal = 1, ...>(q, k, v, mask?, ...)
  } or {
    y = Attention<...>(q, k, v, mask, ...)
    where mask is causal_mask()
  } or {
    # A decoder's operators look back only; those of encoders where they are told to.
    y = com.microsoft.GroupQueryAttention<...>(q, k?, v?, ...)
      | com.microsoft.MultiHeadAttention<unidirectional = 1, ...>(q, k?, v?, ...)
      | com.microsoft.Attention<unidirectional = 1, ...>(q, ...)
      | com.microsoft.DecoderMaskedMultiHeadAttention<...>(q, ...)
  }
} quant {
  skip s
  range p [0, 1]
  share p, z
}

# The spellings that are exactly the operator of opset 23: as many queries as keys, one triangle.
pattern CausalDotProductAttention in exact_causal <scale> (
  [B, H, S, D] q,
  [B, H, S, D] k,
  [B, H, S, E] v,
  const [..., S, S] mask
) => (y) {
  t = rescale<k = a>(q) @ (rescale<k = b>(swap_last(k)) | swap_last(rescale<k = b>(k)))
  s = rescale<k = c>(t)
  either {
    m = s + mask
    where triangle(mask)[0] == 0, triangle(mask)[1] <= -9999
  } or {
    m = Where(mask, s, fill)
    where triangle(mask) == [1, 0], fill <= -9999
  } or {
    m = Where(mask, fill, s)
    where triangle(mask) == [0, 1], fill <= -9999
  }
  y = Softmax<axis = -1>(m) @ v
  let scale = a * b * c
  where 0 < scale, scale < 16, rank(mask) <= 4, numel(mask) == S * S
} equals { y = Attention<scale = scale, is_causal = 1>(q, k, v) }
  # Scores beyond the fill would show through it.
  verify { q in uniform(-2, 2); k in uniform(-2, 2) }

test "a constant triangle"
  <ir_version: 11, opset_import: ["" : 23]>
  g (float[1,2,3,4] q, float[1,2,3,4] k, float[1,2,3,4] v) => (float[1,2,3,4] y) <float c = {0.5}, float[1,1,3,3] mask = {0, -inf, -inf, 0, 0, -inf, 0, 0, 0}> {
    t = Transpose <perm: ints = [0, 1, 3, 2]> (k)
    s = MatMul (q, t)
    a = Mul (s, c)
    m = Add (a, mask)
    p = Softmax <axis: int = -1> (m)
    y = MatMul (p, v)
  }
  matches CausalDotProductAttention { q = q, k = k, v = v, scale = 0.5 }

test "the other triangle looks ahead"
  <ir_version: 11, opset_import: ["" : 23]>
  g (float[1,2,3,4] q, float[1,2,3,4] k, float[1,2,3,4] v) => (float[1,2,3,4] y) <float c = {0.5}, float[1,1,3,3] mask = {0, 0, 0, -inf, 0, 0, -inf, -inf, 0}> {
    t = Transpose <perm: ints = [0, 1, 3, 2]> (k)
    s = MatMul (q, t)
    a = Mul (s, c)
    m = Add (a, mask)
    p = Softmax <axis: int = -1> (m)
    y = MatMul (p, v)
  }
  rejects CausalDotProductAttention

test "a triangle that is cut out"
  <ir_version: 8, opset_import: ["" : 17]>
  g (float[1,2,3,4] q, float[1,2,4,3] k, float[1,2,3,4] v, bool[3,3] ones, float low) => (float[1,2,3,4] y) {
    s = MatMul (q, k)
    m = Trilu <upper: int = 0> (ones)
    w = Where (m, s, low)
    p = Softmax <axis: int = -1> (w)
    y = MatMul (p, v)
  }
  matches CausalAttention { q = q, v = v }

test "positions that are compared, padding mixed in"
  <ir_version: 8, opset_import: ["" : 17]>
  g (float[1,2,S,4] q, float[1,2,4,S] k, float[1,2,S,4] v, int64 length, bool[1,1,1,S] padding) => (float[1,2,S,4] y)
  <int64 zero = {0}, int64 one = {1}, int64[1] first = {0}, int64[1] last = {1}, float low = {-3e38}, float none = {0}> {
    i = Range (zero, length, one)
    c = Unsqueeze (i, first)
    r = Unsqueeze (i, last)
    b = LessOrEqual (c, r)
    a = And (b, padding)
    m = Where (a, none, low)
    s = MatMul (q, k)
    t = Add (s, m)
    p = Softmax <axis: int = -1> (t)
    y = MatMul (p, v)
  }
  matches CausalAttention { q = q, v = v, mask = m }

test "positions compared with a number"
  <ir_version: 8, opset_import: ["" : 17]>
  g (float[1,2,S,4] q, float[1,2,4,S] k, float[1,2,S,4] v, int64 length) => (float[1,2,S,4] y)
  <int64 zero = {0}, int64 one = {1}, float low = {-3e38}> {
    i = Range (zero, length, one)
    b = GreaterOrEqual (i, zero)
    s = MatMul (q, k)
    w = Where (b, s, low)
    p = Softmax <axis: int = -1> (w)
    y = MatMul (p, v)
  }
  rejects CausalAttention

test "a mask for padding only"
  <ir_version: 8, opset_import: ["" : 17]>
  g (float[2,4,6,8] q, float[2,4,6,8] k, float[2,4,6,8] v, float[2,1,1,6] mask) => (float[2,4,6,8] y) {
    t = Transpose <perm: ints = [0, 1, 3, 2]> (k)
    s = MatMul (q, t)
    m = Add (s, mask)
    p = Softmax <axis: int = -1> (m)
    y = MatMul (p, v)
  }
  rejects CausalAttention
