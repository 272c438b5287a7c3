# Finds layer normalization: (x − E[x]) / √(Var[x] + ε) · γ + β over trailing axes, or over the one axis
# of the channels.
#
# Up to opset 16 exporters have no operator for it, and write between six and eleven nodes. Left
# apart, each of them gets a quantizer, and the variance does not survive eight bits.
#
#   before: m = ReduceMean(x); d = Sub(x, m); q = Pow(d, 2); v = ReduceMean(q)
#           e = Add(v, eps); r = Sqrt(e); n = Div(d, r); w = Mul(n, scale); y = Add(w, bias)
#   after:  y = LayerNormalization(x, scale, bias)

use "std/math.pat" { square, rsqrt, div, mean, mean_square, cast }

# E[x²] − E[x]²
def moments<axes>(x) = mean_square<axes>(x) - square(mean<axes>(x))

pattern LayerNorm in norm <axes, eps> (x, const scale?, const bias?) => (y) {
  either {
    dup h = cast?(x)
    # TensorFlow and hand-written code subtract the mean twice.
    dup d = h - mean<axes>(h)
    v = mean_square<axes>(d) | moments<axes>(h) | Max(moments<axes>(h), 0)
    n = div(d, Sqrt(v + eps)) | d * rsqrt(v + eps)
    y = cast?(n *? scale +? bias)
      | cast?(n) *? scale +? bias
      | div(scale * d, Sqrt(v + eps)) +? bias
      | d * rsqrt(v + eps) * scale +? bias
  } or {
    # TensorFlow: x·(γ·r) + (β − μ·(γ·r))
    dup h = cast?(x)
    m = mean<axes>(h)
    dup d = h - mean<axes>(h)
    v = mean_square<axes>(d) | moments<axes>(h) | Max(moments<axes>(h), 0)
    r = rsqrt(v + eps) *? scale
    y = cast?(h * r + (bias - m * r))
  } or {
    # What an optimizer that knows only RMSNormalization makes of it.
    dup h = cast?(x)
    dup d = h - mean<axes>(h)
    n = RMSNormalization<axis = a, epsilon = eps, ...>(d, scale)
      | SimplifiedLayerNormalization<axis = a, epsilon = eps, ...>(d, scale)
    y = cast?(n +? bias)
    where a == axes[0]
  } or {
    y = LayerNormalization<axis = a, epsilon = eps, ...>(x, scale, bias?)
    let axes = range(a, 0)
  }
  where? 0 < eps, eps < 0.1
  where? axes == range(axes[0], 0) or len(axes) == 1
  where? rank(scale) == -axes[0], rank(bias) == -axes[0]
} quant {
  skip interior, bias
  symmetric scale when bits(scale) == 16
}

# The same with ε outside the square root: almost a layer norm, so it has a name of its own and is
# never replaced by one.
pattern LayerNormOuterEps in norm <axes, eps> (x, const scale?, const bias?) => (y) {
  dup h = cast?(x)
  dup d = h - mean<axes>(h)
  v = mean_square<axes>(d)
  s = Sqrt(v) + eps
  y = cast?(div(d, s) *? scale +? bias) | div(scale * d, s) +? bias
  where? 0 < eps, eps < 0.1
  where? rank(scale) == -axes[0], rank(bias) == -axes[0]
} quant { skip interior, bias }
