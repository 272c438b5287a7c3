# Finds convolutions with what belongs to them: batch normalization, which is folded into the
# weights, and the activation, between which and the convolution no quantizer stands.
#
#   before: c = Conv(x, w); n = BatchNormalization(c, …); y = Relu(n)
#   after:  y = ConvBnRelu(x, w)

use "activations.pat" { six, hard_swish, mish, silu }

def conv_bn(x, const w, const b?) = BatchNormalization<...>(
  Conv<...>(x, w, b?),
  const _γ,
  const _β,
  const _μ,
  const _σ2
)

pattern ConvBn in conv_bn (x, const w, const b?) => (y) {
  y = conv_bn(x, w, b?)
} quant { skip interior; per_channel w axis 0; bias b of x, w }

pattern ConvBnRelu in conv_act (x, const w, const b?) => (y) {
  n = conv_bn(x, w, b?)
  y = Relu(n)
} quant { skip interior; per_channel w axis 0; bias b of x, w }

pattern ConvBnRelu6 in conv_act (x, const w, const b?) => (y) {
  n = conv_bn(x, w, b?)
  y = six(n)
} quant { skip interior; per_channel w axis 0; bias b of x, w }

pattern ConvBnSilu in conv_act (x, const w, const b?) => (y) {
  n = conv_bn(x, w, b?)
  y = silu(n) | Swish<alpha = 1>(n)
} quant { skip interior; per_channel w axis 0; bias b of x, w }

pattern ConvBnHardSwish in conv_act (x, const w, const b?) => (y) {
  n = conv_bn(x, w, b?)
  y = HardSwish(n) | hard_swish(n)
} quant { skip interior; per_channel w axis 0; bias b of x, w }

pattern ConvBnLeakyRelu in conv_act (x, const w, const b?) => (y) {
  n = conv_bn(x, w, b?)
  y = LeakyRelu<...>(n)
} quant { skip interior; per_channel w axis 0; bias b of x, w }

pattern ConvBnMish in conv_act (x, const w, const b?) => (y) {
  n = conv_bn(x, w, b?)
  y = Mish(n) | mish(n)
} quant { skip interior; per_channel w axis 0; bias b of x, w }

# The normalization is gone: the exporter has folded it.
pattern ConvRelu in conv_act (x, const w, const b?) => (y) {
  n = Conv<...>(x, w, b?)
  y = Relu(n)
} quant { skip interior; per_channel w axis 0; bias b of x, w }

pattern ConvRelu6 in conv_act (x, const w, const b?) => (y) {
  n = Conv<...>(x, w, b?)
  y = six(n)
} quant { skip interior; per_channel w axis 0; bias b of x, w }

pattern ConvSilu in conv_act (x, const w, const b?) => (y) {
  n = Conv<...>(x, w, b?)
  y = silu(n) | Swish<alpha = 1>(n)
} quant { skip interior; per_channel w axis 0; bias b of x, w }

pattern ConvHardSwish in conv_act (x, const w, const b?) => (y) {
  n = Conv<...>(x, w, b?)
  y = HardSwish(n) | hard_swish(n)
} quant { skip interior; per_channel w axis 0; bias b of x, w }

pattern ConvLeakyRelu in conv_act (x, const w, const b?) => (y) {
  n = Conv<...>(x, w, b?)
  y = LeakyRelu<...>(n)
} quant { skip interior; per_channel w axis 0; bias b of x, w }

pattern ConvMish in conv_act (x, const w, const b?) => (y) {
  n = Conv<...>(x, w, b?)
  y = Mish(n) | mish(n)
} quant { skip interior; per_channel w axis 0; bias b of x, w }

test "convolution, normalization, activation"
  <ir_version: 8, opset_import: ["" : 13]>
  g (float[1,3,4,4] x) => (float[1,2,4,4] y)
  <float[2,3,1,1] w = {...}, float[2] s = {1,1}, float[2] b = {0,0}, float[2] m = {0,0}, float[2] v = {1,1}> {
    c = Conv (x, w)
    n = BatchNormalization (c, s, b, m, v)
    y = Relu (n)
  }
  matches ConvBnRelu { x = x, w = w }

test "what comes before the normalization is used elsewhere"
  <ir_version: 8, opset_import: ["" : 13]>
  g (float[1,3,4,4] x) => (float[1,2,4,4] y, float[1,2,4,4] c)
  <float[2,3,1,1] w = {...}, float[2] s = {1,1}, float[2] b = {0,0}, float[2] m = {0,0}, float[2] v = {1,1}> {
    c = Conv (x, w)
    n = BatchNormalization (c, s, b, m, v)
    y = Relu (n)
  }
  rejects ConvBnRelu

test "mish after a folded normalization, in its parts"
  <ir_version: 8, opset_import: ["" : 13]>
  g (float[1,3,4,4] x) => (float[1,2,4,4] y) <float[2,3,1,1] w = {...}, float[2] b = {0,0}> {
    c = Conv (x, w, b)
    p = Softplus (c)
    t = Tanh (p)
    y = Mul (c, t)
  }
  matches ConvMish { x = x, w = w, b = b }

test "a tanh without the softplus is no mish"
  <ir_version: 8, opset_import: ["" : 13]>
  g (float[1,3,4,4] x) => (float[1,2,4,4] y) <float[2,3,1,1] w = {...}> {
    c = Conv (x, w)
    t = Tanh (c)
    y = Mul (c, t)
  }
  rejects ConvMish
