# Rules that use operators of ONNX Runtime (domain `com.microsoft`) where the standard has none, or
# none at the opset of the model.
#
# Nothing here is applied unless a pipeline asks for it: a model with these operators runs in ONNX
# Runtime only.
#
#   before: h = Add(x, skip); y = LayerNormalization(h, scale, bias)
#   after:  y, _, _, h = com.microsoft.SkipLayerNormalization(x, skip, scale, bias)

use "activations.pat" { gelu_erf, gelu_tanh }
use "std/math.pat" { sigmoid, scaled, mean_square, rsqrt, root, div }
use "layer-norm.pat" { LayerNorm }
use "rms-norm.pat" { RmsNorm }

rule bias_gelu (x, const b) => (y) {
  h = x + b
  y = gelu_erf(h) | Gelu<approximate = "none">(h) | com.microsoft.Gelu(h)
  where rank(b) == 1, shape(h) == shape(x)
} ~> { y = com.microsoft.BiasGelu(x, b) }

rule fast_gelu_bias (x, const b) => (y) {
  h = x + b
  y = gelu_tanh(h) | Gelu<approximate = "tanh">(h) | com.microsoft.FastGelu(h)
  where rank(b) == 1, shape(h) == shape(x)
} ~> { y = com.microsoft.FastGelu(x, b) }

rule gelu (x) => (y) { y = gelu_erf(x) } ~> { y = com.microsoft.Gelu(x) }
rule fast_gelu (x) => (y) { y = gelu_tanh(x) } ~> { y = com.microsoft.FastGelu(x) }
rule quick_gelu <k> (x) => (y) {
  y = x * sigmoid(scaled<k>(x))
  where 0.5 < k, k < 4
} ~> { y = com.microsoft.QuickGelu<alpha = k>(x) }

rule skip_layer_norm <axes, eps> (x, skip, const scale, const bias) => (y, h) {
  h = x + skip
  y = LayerNorm<axes, eps>(h, scale, bias)
  where axes == [-1], rank(x) == 3, rank(skip) == 3, shape(x) == shape(skip)
  where numel(scale) == dim(x, -1), rank(scale) == 1, numel(bias) == dim(x, -1), rank(bias) == 1
  where bits(x) <= 32, dtype(scale) == dtype(x), dtype(bias) == dtype(x)
} ~> { y, _m, _i, h = com.microsoft.SkipLayerNormalization<epsilon = eps>(x, skip, scale, bias) }
  # A norm does without the casts it was written with.
  verify { tol 4e-3 }

rule skip_rms_norm <axes, eps> (x, skip, const scale) => (y, h) {
  h = x + skip
  y = RmsNorm<axes, eps>(h, scale)
  where axes == [-1], rank(x) == 3, rank(skip) == 3, shape(x) == shape(skip)
  where numel(scale) == dim(x, -1), rank(scale) == 1
  where bits(x) <= 32, dtype(scale) == dtype(x)
} ~> {
  y, _m, _i, h = com.microsoft.SkipSimplifiedLayerNormalization<epsilon = eps>(x, skip, scale)
} verify { tol 4e-3 }

# α · x yᵀ with the transposes in the operator.
rule fused_matmul <k> (x, z) => (y) {
  y = scaled<k>(x @ z)
  # There is no kernel for integers.
  where dtype(x) in [float16, float, double]
} ~> { y = com.microsoft.FusedMatMul<alpha = k>(x, z) }

test "a bias and a GELU"
  <ir_version: 8, opset_import: ["" : 20, "com.microsoft" : 1]>
  g (float[2,3] x) => (float[2,3] y) <float[3] b = {1,2,3}> {
    h = Add (x, b)
    y = Gelu (h)
  }
  becomes <ir_version: 8, opset_import: ["" : 20, "com.microsoft" : 1]>
  g (float[2,3] x) => (float[2,3] y) <float[3] b = {1,2,3}> {
    y = com.microsoft.BiasGelu (x, b)
  }

test "a sum that goes on, and its norm"
  <ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]>
  g (float[2,3,4] x, float[2,3,4] skip) => (float[2,3,4] y, float[2,3,4] h) <float[4] s = {1,1,1,1}, float[4] b = {0,0,0,0}> {
    h = Add (x, skip)
    y = LayerNormalization (h, s, b)
  }
  becomes <ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]>
  g (float[2,3,4] x, float[2,3,4] skip) => (float[2,3,4] y, float[2,3,4] h) <float[4] s = {1,1,1,1}, float[4] b = {0,0,0,0}> {
    y, m, i, h = com.microsoft.SkipLayerNormalization <epsilon: float = 1e-05> (x, skip, s, b)
  }
