# Finds the core of softmax attention: softmax(q kᵀ · scale + mask) v.
#
# Exporters differ in where the scale stands (on q, on k before or after the transpose, on both as a
# root, on the scores), in the mask, in float32 islands, and in guards against rows without a key.
# The mask holds −3.4e38: one quantizer over the masked scores leaves nothing of them.
#
#   before: kt = Transpose(k); s = MatMul(q, kt); c = Mul(s, 0.125); m = Add(c, mask)
#           p = Softmax(m); y = MatMul(p, v)
#   after:  y = Attention <scale = 0.125> (q, k, v, mask)

use "std/math.pat" { rescale, cast, total, put_back, recip, div }
use "std/layout.pat" { swap_last, repeated_heads }

# Heads mixed by a matrix, behind a transpose that puts them last.
def mixed_heads(s) = Transpose<...>(Transpose<...>(s) @ const _mix +? const _shift)

# One step from the product to the softmax: scale, mask, bias, soft cap, least value, cast, windows,
# a column for a sink.
def score(s, m?) = s * _c
  | s / _c
  | s + m
  | s - top(s)
  | s - m
  | Where(_w, s, m)
  | Where(_w, m, s)
  | Max(s, _least)
  | Tanh(s)
  | cast(s)
  | Reshape<...>(s, ...)
  | Concat<axis = -1>(s, _sink)
  | mixed_heads(s)

# One step from the softmax to the product: guards, casts, dropout, heads.
def weight(p) = cast(p)
  | Where(IsNaN(p), _f, p)
  | Where(_w, p, _f)
  | Where(_w, _f, p)
  | Identity(p)
  | Dropout<...>(p, ...)
  | p * _c
  | Reshape<...>(p, ...)
  | Slice<axes = [-1], starts = [0], ends = _, steps = [1]>(p)
  | mixed_heads(p)

def softmax(s) = Softmax<axis = -1>(s) | softmax_steps(s) | com.microsoft.BiasSoftmax<...>(s, _bias)
# With the greatest taken off above and below, or nowhere.
def softmax_steps(s) = div(Exp(s - top(s)), total<axes = [-1]>(Exp(s - top(s))))
  | div(Exp(s), total<axes = [-1]>(Exp(s)))
def top(s) = ReduceMax<axes = [-1], keepdims = 1>(s)
  | put_back<axes = [-1]>(ReduceMax<axes = [-1], keepdims = 0>(s))

pattern Attention in attention (q, k?, v?, masks...) => (y) {
  either {
    qs = rescale<k = a>(q)
    kt = rescale<k = b>(swap_last(k)) | swap_last(rescale<k = b>(k)) | rescale<k = b>(k)
    t = qs @ kt | Einsum<...>(qs, k) | com.microsoft.FusedMatMul<...>(qs, k)
    s = score*(t, masks)
    # Some models give the weights out.
    shared p = softmax(s)
    shared z = weight*(p)
    y = z @ v
      | v @ swap_last(z)
      | Einsum<...>(z, v)
      | com.microsoft.FusedMatMul<...>(z, v)
      | com.microsoft.FusedMatMul<...>(v, z)
    where not is_const(v)
    # A product with a matrix of weights is a layer: softmax(x W) x is a pooling.
    where? not is_const(kt) or rank(kt) > 2
  } or {
    y = Attention<...>(q, k, v, ...)
      | com.microsoft.MultiHeadAttention<...>(q, k?, v?, ...)
      | com.microsoft.GroupQueryAttention<...>(q, k?, v?, ...)
      | com.microsoft.Attention<...>(q, ...)
      | com.microsoft.DecoderMaskedMultiHeadAttention<...>(q, ...)
      | com.microsoft.PackedMultiHeadAttention<...>(q, ...)
      | com.microsoft.PackedAttention<...>(q, ...)
  }
} quant {
  skip s, masks
  range p [0, 1]
  share p, z
}

# The probabilities alone, wherever they are used.
pattern Softmax in softmax <axis> (x) => (y) {
  y = softmax_steps(x)
  let axis = -1
  where? shape(y) == shape(x)
} equals { y = Softmax<axis = axis>(x) }
  # Without the greatest taken off first, the exponentials of large numbers overflow.
  verify { x in uniform(-5, 5) }

# Softmax over scores some of which are filled with a value that leaves nothing of them.
pattern MaskedSoftmax in masked_softmax <fill> (x, mask) => (y) {
  s = Where(mask, x, fill)
    | Where(mask, fill, x)
    | x + Where(mask, 0, fill)
    | x + Where(mask, fill, 0)
    | Where(mask, x, ReduceMin<axes = [-1], keepdims = 1>(x) + fill)
    | x + fill * (1 - mask)
    | x + fill * mask
  y = Softmax<axis = -1>(s)
  where? fill <= -20
} quant { skip s }

# Any of these ways from q, k and v to the result, for patterns that ask for more around it.
def transposed(k) = swap_last(k) | Reshape<...>(swap_last(Reshape<...>(k, ...)), ...) | k
def core(q, k, v) => (y) {
  t = rescale<k = a>(q) @ rescale<k = b>(transposed(k))
    | rescale<k = a>(q) @ transposed(rescale<k = b>(k))
  y = weight*(softmax(score*(t, _m))) @ v
}

# The spellings that are exactly the operator of opset 23: one scale, one mask that is added, heads
# in an axis of their own. A guard against rows without a key means something else there.
pattern ScaledDotProductAttention in exact_attention <scale> (q, k, v, mask?) => (y) {
  t = rescale<k = a>(q) @ (rescale<k = b>(swap_last(k)) | swap_last(rescale<k = b>(k)))
  y = Softmax<axis = -1>(rescale<k = c>(t) +? mask) @ v
  let scale = a * b * c
  where 0 < scale, scale < 1e9, rank(q) == 4, rank(k) == 4, rank(v) == 4
  where dim(q, 1) == dim(k, 1), dim(v, 1) == dim(k, 1)
  # The operator fills a shorter row of the mask up with −∞, where a sum broadcasts it.
  where? rank(mask) >= 2, dim(mask, -1) == dim(k, -2)
} equals { y = Attention<scale = scale>(q, k, v, mask) }
  # Where the mask leaves no key at all, the steps give NaN and the operator gives 0.
  verify { mask in uniform(-99, 9) }

# Query heads that share the heads of key and value, which are repeated for them.
pattern GroupedQueryAttention in grouped_query (q, k, v) => (y) {
  y = core(q, repeated_heads(k), repeated_heads(v))
    | Attention<...>(q, k, v, ...) if dim(q, 1) != dim(k, 1)
    | com.microsoft.GroupQueryAttention<...>(q, k, v, ...)
  where k != v
}

def heads(x) = Transpose<...>(Reshape<...>(linear(x), ...))
  | Reshape<...>(Transpose<...>(Reshape<...>(linear(x), ...)), ...)
def linear(x) = x @ const _w +? const _b
  | (x @ const _w +? const _b) * const _c
  | Reshape<...>(Gemm<...>(Reshape<...>(x, ...), const _w, ...), ...)
  | Gemm<...>(x, const _w, ...)
def joined(y) = Reshape<...>(Transpose<...>(y), ...) | Reshape<...>(y, ...)

# With the projections of query, key and value, and of the result. What the last one reads is named: it
# is a layer like any other, and as ready for integers as the three before it.
pattern MultiHeadAttention in multi_head (x) => (y) {
  m = joined(core(heads(x), heads(x), heads(x)))
  either {
    y = m @ const _w +? const _b
      | (m @ const _w +? const _b) * const _c
      | Gemm<...>(m, const _w, ...)
  } or {
    r = Reshape<...>(m, ...)
    y = Reshape<...>(Gemm<...>(r, const _w, ...), ...)
  }
} quant { skip interior; quantize m, r }

# Queries from one tensor, keys and values from another: of a decoder looking at its encoder.
pattern CrossAttention in multi_head (x, context) => (y) {
  m = joined(core(heads(x), heads(context), heads(context)))
  either {
    y = m @ const _w +? const _b
      | (m @ const _w +? const _b) * const _c
      | Gemm<...>(m, const _w, ...)
  } or {
    r = Reshape<...>(m, ...)
    y = Reshape<...>(Gemm<...>(r, const _w, ...), ...)
  }
  where x != context
} quant { skip interior; quantize m, r }

test "scale on the scores, a mask added"
  <ir_version: 8, opset_import: ["" : 13]>
  g (float[2,4,6,8] q, float[2,4,6,8] k, float[2,4,6,8] v, float[2,1,6,6] mask) => (float[2,4,6,8] y) <float c = {0.353553}> {
    t = Transpose <perm: ints = [0, 1, 3, 2]> (k)
    s = MatMul (q, t)
    a = Mul (s, c)
    m = Add (a, mask)
    p = Softmax <axis: int = -1> (m)
    y = MatMul (p, v)
  }
  matches Attention { q = q, k = k, v = v }

test "a softmax over the queries is no attention"
  <ir_version: 8, opset_import: ["" : 13]>
  g (float[2,4,6,8] q, float[2,4,6,8] k, float[2,4,6,8] v) => (float[2,4,6,8] y) {
    t = Transpose <perm: ints = [0, 1, 3, 2]> (k)
    s = MatMul (q, t)
    p = Softmax <axis: int = -2> (s)
    y = MatMul (p, v)
  }
  rejects Attention

test "keys and values of another sequence"
  <ir_version: 8, opset_import: ["" : 13]>
  g (float[2,6,8] x, float[2,5,8] context) => (float[2,6,8] y)
  <float[8,8] wq = {...}, float[8,8] wk = {...}, float[8,8] wv = {...}, float[8,8] wo = {...}, int64[4] split = {0, 0, 2, 4}, int64[3] merge = {0, 0, 8}, float c = {0.5}> {
    q = MatMul (x, wq)
    qr = Reshape (q, split)
    qh = Transpose <perm: ints = [0, 2, 1, 3]> (qr)
    k = MatMul (context, wk)
    kr = Reshape (k, split)
    kt = Transpose <perm: ints = [0, 2, 3, 1]> (kr)
    v = MatMul (context, wv)
    vr = Reshape (v, split)
    vh = Transpose <perm: ints = [0, 2, 1, 3]> (vr)
    s = MatMul (qh, kt)
    a = Mul (s, c)
    p = Softmax <axis: int = -1> (a)
    z = MatMul (p, vh)
    t = Transpose <perm: ints = [0, 2, 1, 3]> (z)
    m = Reshape (t, merge)
    y = MatMul (m, wo)
  }
  matches CrossAttention { x = x, context = context, y = y }

test "keys and values of the same sequence"
  <ir_version: 8, opset_import: ["" : 13]>
  g (float[2,6,8] x) => (float[2,6,8] y)
  <float[8,8] wq = {...}, float[8,8] wk = {...}, float[8,8] wv = {...}, float[8,8] wo = {...}, int64[4] split = {0, 0, 2, 4}, int64[3] merge = {0, 0, 8}, float c = {0.5}> {
    q = MatMul (x, wq)
    qr = Reshape (q, split)
    qh = Transpose <perm: ints = [0, 2, 1, 3]> (qr)
    k = MatMul (x, wk)
    kr = Reshape (k, split)
    kt = Transpose <perm: ints = [0, 2, 3, 1]> (kr)
    v = MatMul (x, wv)
    vr = Reshape (v, split)
    vh = Transpose <perm: ints = [0, 2, 1, 3]> (vr)
    s = MatMul (qh, kt)
    a = Mul (s, c)
    p = Softmax <axis: int = -1> (a)
    z = MatMul (p, vh)
    t = Transpose <perm: ints = [0, 2, 1, 3]> (z)
    m = Reshape (t, merge)
    y = MatMul (m, wo)
  }
  matches MultiHeadAttention { x = x, y = y }
  rejects CrossAttention
