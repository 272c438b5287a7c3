# Finds root-mean-square normalization: x / √(E[x²] + ε) · γ over trailing axes, or
# over the one axis of the channels.
#
# Llama and its kin compute it in float32 between two casts; T5 casts the input twice; Gemma stores
# γ as 1 + w.
#
#   before: q = Pow(x, 2); m = ReduceMean(q); e = Add(m, eps); r = Sqrt(e); i = Reciprocal(r)
#           n = Mul(x, i); y = Mul(scale, n)
#   after:  y = RMSNormalization(x, scale)

use "std/math.pat" { square, rsqrt, div, mean_square, total, cast }

pattern RmsNorm in norm <axes, eps> (x, const scale?) => (y) {
  either {
    dup h = cast?(x)
    m = mean_square<axes>(h) + eps
    n = div(h, Sqrt(m)) | h * rsqrt(m)
    y = cast?(n * scale) | cast?(n) *? scale | cast?(h * rsqrt(m) * scale)
  } or {
    y = RMSNormalization<axis = a, epsilon = eps, ...>(x, scale)
      | SimplifiedLayerNormalization<axis = a, epsilon = eps, ...>(x, scale)
    let axes = range(a, 0)
  }
  where? 0 < eps, eps < 0.1
  where? axes == range(axes[0], 0) or len(axes) == 1
  where? rank(scale) == -axes[0]
} quant { skip interior }

# The same through the length of the vector: x / ‖x‖ · √d · γ, with ε added to the length or as its
# least value. Almost the operator, not exactly: it has a name of its own.
pattern RmsNormL2 in norm <axes> (x, const scale) => (y) {
  dup h = cast?(x)
  l = ReduceL2<axes, keepdims = 1>(h) | Sqrt(total<axes>(square(h)))
  either {
    s = l * _root | l / _root
    n = div(h, s +? _eps)
    y = cast?(n * scale) | cast?(n) * scale
  } or {
    e = Clip<...>(l, ...) | Max(l, _least)
    s = Expand<...>(e, ...) | e
    n = div(h, s) * _root
    y = cast?(n * scale) | cast?(n) * scale
  }
  where? rank(scale) == -axes[0]
} quant { skip interior }
