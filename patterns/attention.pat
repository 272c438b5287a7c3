# Finds the core of softmax attention: softmax(q kᵀ · scale + mask) v.
#
# Exporters differ in where the scale stands (on q, on k before or after the transpose, on both as a
# root, on the scores), in the mask, in float32 islands, and in guards against rows without a key.
# The mask holds −3.4e38: one quantizer over the masked scores leaves nothing of them.
#
#   before: kt = Transpose(k); s = MatMul(q, kt); c = Mul(s, 0.125); m = Add(c, mask)
#           p = Softmax(m); y = MatMul(p, v)
#   after:  y = Attention <scale = 0.125> (q, k, v, mask)

use "std/math.pat" { rescale, cast, total, put_back }
use "std/layout.pat" { swap_last }

# One step from the product to the softmax: scale, mask, bias, soft cap, least value, cast, windows.
def score(s, m?) = s * _c | s / _c | s + m
                 | s - ReduceMax<axes = [-1], keepdims = 1>(s) | s - m
                 | Where(_w, s, m) | Where(_w, m, s)
                 | Max(s, _least) | Tanh(s) | cast(s) | Reshape<...>(s, ...)

# One step from the softmax to the product: guards, casts, dropout, heads.
def weight(p) = cast(p) | Where(IsNaN(p), _f, p) | Where(_w, p, _f) | Where(_w, _f, p)
              | Identity(p) | Dropout<...>(p, ...) | p * _c | Reshape<...>(p, ...)

def softmax(s) = Softmax<axis = -1>(s) | exp(s) / total<axes = [-1]>(exp(s))
def exp(s)     = Exp(s - top(s)) | Exp(s)
def top(s)     = ReduceMax<axes = [-1], keepdims = 1>(s) | put_back(ReduceMax<axes = [-1], keepdims = 0>(s))

pattern Attention in attention (q, k, v, masks...) => (y) {
  either {
    qs = rescale<k = a>(q)
    kt = rescale<k = b>(swap_last(k)) | swap_last(rescale<k = b>(k)) | rescale<k = b>(k)
    t = qs @ kt | Einsum<...>(qs, k)
    s = score*(t, masks)
    # Some models give the weights out.
    shared p = softmax(s)
    shared z = weight*(p)
    y = z @ v | v @ swap_last(z) | Einsum<...>(z, v)
    where not is_const(v)
  } or {
    y = Attention<...>(q, k, v, ...) | com.microsoft.MultiHeadAttention<...>(q, k, v, ...)
      | com.microsoft.GroupQueryAttention<...>(q, k, v, ...)
  }
} quant {
  skip s, masks
  range p [0, 1]
  share p, z
}
