# Finds normalizations of a residual sum that goes on, too: h = x + skip, y = norm(h).
#
# Runtimes have one kernel for both; the sum h is a second result.
#
#   before: h = Add(x, skip); y = LayerNormalization(h, scale, bias)
#   after:  y, h = SkipLayerNorm(x, skip, scale, bias)

use "layer-norm.pat" { LayerNorm }
use "rms-norm.pat" { RmsNorm }

pattern SkipLayerNorm in skip_norm <axes, eps> (x, skip, const scale, const bias?) => (y, h?) {
  either {
    h = x + skip
    y = LayerNorm<axes, eps>(h, scale, bias?)
    where not is_const(skip), not is_const(x)
  } or {
    # ONNX Runtime's operator: nothing may read its sum.
    y, _mean, _deviation, h = com.microsoft.SkipLayerNormalization<epsilon = eps>(
      x,
      skip,
      scale,
      bias?,
      ...
    )
    let axes = [-1]
  }
}

pattern SkipRmsNorm in skip_norm <axes, eps> (x, skip, const scale) => (y, h?) {
  either {
    h = x + skip
    y = RmsNorm<axes, eps>(h, scale)
    where not is_const(skip), not is_const(x)
  } or {
    y, _mean, _deviation, h = com.microsoft.SkipSimplifiedLayerNormalization<epsilon = eps>(
      x,
      skip,
      scale,
      ...
    )
    let axes = [-1]
  }
}

test "a residual sum and its norm"
  <ir_version: 8, opset_import: ["" : 17]>
  g (float[2,8] a, float[2,8] b) => (float[2,8] y, float[2,8] h) <float[8] s = {1,1,1,1,1,1,1,1}, float[8] t = {0,0,0,0,0,0,0,0}> {
    h = Add (a, b)
    y = LayerNormalization <axis: int = -1> (h, s, t)
  }
  matches SkipLayerNorm { scale = s, bias = t }

test "the sum with a constant is a bias"
  <ir_version: 8, opset_import: ["" : 17]>
  g (float[2,8] a) => (float[2,8] y) <float[8] b = {1,1,1,1,1,1,1,1}, float[8] s = {1,1,1,1,1,1,1,1}, float[8] t = {0,0,0,0,0,0,0,0}> {
    h = Add (a, b)
    y = LayerNormalization <axis: int = -1> (h, s, t)
  }
  rejects SkipLayerNorm
