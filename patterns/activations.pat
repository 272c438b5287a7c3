# Finds activations that exporters write as products: GELU in its three forms, SiLU, Hardswish, Mish,
# ReLU6, hard sigmoid, softplus, leaky and parametric ReLU.
#
# Left apart, each step gets a quantizer of its own. The error function of GELU and the cube of its
# approximation lose most in eight bits, and a runtime has one kernel for the whole.
#
#   before: d = Div(x, 1.4142135); e = Erf(d); s = Add(e, 1); p = Mul(x, s); y = Mul(p, 0.5)
#   after:  y = Gelu(x)

use "std/math.pat" { sigmoid, softplus, scaled, cast, relu }

# Hand-written code cuts the root off after a few digits.
def over_root_two(x) = x * ({1 / sqrt(2)} ± 0.01%) | x / ({sqrt(2)} ± 0.01%)

# 1 + erf(x / √2); JAX writes it as erfc(−x / √2)
def erf_gate(x) = 1 + Erf(over_root_two(x))
  | 1 - Erf(over_root_two(-x))
  | 1 - Erf(x * ({-1 / sqrt(2)} ± 0.01%))
  | 1 - Erf(-over_root_two(x))
# the same, halved
def half_erf_gate(x) = 0.5 + scaled<k = 0.5>(Erf(over_root_two(x))) | scaled<k = 0.5>(erf_gate(x))

def gelu_erf(x) = 0.5 * x * erf_gate(x)
  | scaled<k = 0.5>(x * erf_gate(x))
  | scaled<k = 0.5>(x) * erf_gate(x)
  | x * half_erf_gate(x)
  | scaled<k = 0.5>(x) + scaled<k = 0.5>(x) * Erf(over_root_two(x))

pattern Gelu in gelu (x) => (y) {
  dup h = cast?(x)
  y = cast?(gelu_erf(h)) | com.microsoft.Gelu(x)
  where? dtype(y) == dtype(x)
} equals { y = Gelu<approximate = "none">(x) }
  quant { skip interior, consts }

# √(2/π) · (x + 0.044715 x³), multiplied out in any way
def cubic(x) = ({sqrt(2 / pi)} ± 0.01%) * (x + 0.044715 * x ^ 3)
  | ({sqrt(2 / pi)} ± 0.01%) * (x + 0.044715 * x * x * x)
  | ({sqrt(2 / pi)} ± 0.01%) * (x + 0.044715 * x * x ^ 2)
  | x * ({sqrt(2 / pi)} ± 0.01%) * (1 + 0.044715 * x * x)
  | x * ({sqrt(2 / pi)} ± 0.01%) * (1 + 0.044715 * x ^ 2)
  | x * (({sqrt(2 / pi)} ± 0.01%) + ({0.044715 * sqrt(2 / pi)} ± 0.01%) * (x * x | x ^ 2))
# twice that, as the argument of a sigmoid
def double_cubic(x) = scaled<k = 2>(cubic(x))
  | ({sqrt(8 / pi)} ± 0.01%) * (x + 0.044715 * x ^ 3)
  | ({sqrt(8 / pi)} ± 0.01%) * (x + 0.044715 * x * x * x)
  | x * ({sqrt(8 / pi)} ± 0.01%) * (1 + 0.044715 * x * x)
  | x * ({sqrt(8 / pi)} ± 0.01%) * (1 + 0.044715 * x ^ 2)

def gelu_tanh(x) = 0.5 * x * (1 + Tanh(cubic(x)))
  | scaled<k = 0.5>(x * (1 + Tanh(cubic(x))))
  | scaled<k = 0.5>(x) * (1 + Tanh(cubic(x)))
  | x * scaled<k = 0.5>(1 + Tanh(cubic(x)))
  | x * (0.5 + scaled<k = 0.5>(Tanh(cubic(x))))
  | x * Sigmoid(double_cubic(x))

pattern GeluTanh in gelu (x) => (y) {
  dup h = cast?(x)
  y = cast?(gelu_tanh(h)) | com.microsoft.FastGelu(x)
  where? dtype(y) == dtype(x)
} equals { y = Gelu<approximate = "tanh">(x) }
  quant { skip interior, consts }

# x · σ(1.702 x)
pattern QuickGelu in gelu (x) => (y) {
  dup h = cast?(x)
  y = cast?(h * sigmoid(scaled<k = 1.702>(h)))
    | cast?(h / (1 + Exp(scaled<k = -1.702>(h) | -scaled<k = 1.702>(h))))
    | com.microsoft.QuickGelu<alpha = 1.702>(x)
  where? dtype(y) == dtype(x)
} equals { y = Swish<alpha = 1.702>(x) }
  quant { skip interior, consts }

def silu(x) = x * sigmoid(x) | x / (1 + Exp(-x)) | 0.5 * x * (1 + Tanh(scaled<k = 0.5>(x)))

pattern Silu in silu (x) => (y) {
  dup h = cast?(x)
  y = cast?(silu(h)) | com.microsoft.QuickGelu<alpha = 1>(x)
  where? dtype(y) == dtype(x)
} equals { y = Swish<alpha = 1>(x) }
  quant { skip interior, consts }

def mish(x) = x * Tanh(softplus(x))

pattern Mish in mish (x) => (y) {
  dup h = cast?(x)
  y = cast?(mish(h))
  where? dtype(y) == dtype(x)
} equals { y = Mish(x) }
  quant { skip interior, consts }

def six(x) = Clip<min = 0, max = 6>(x) | Min(relu(x), 6) | relu(Min(x, 6))

pattern Relu6 in clip (x) => (y) { y = six(x) }
  equals { y = Clip(x, {0}, {6}) }
  quant { skip interior, consts }

# between zero and one
def unit(x) = Clip<min = 0, max = 1>(x) | Min(relu(x), 1) | relu(Min(x, 1))

# Frameworks round 1/6 after a few digits.
def sixth(x) = x * ({1 / 6} ± 0.01%) | x / 6
def hard_sigmoid(x) = HardSigmoid<alpha = a, beta = 0.5>(x) if abs(6 * a - 1) < 0.001
  | sixth(six(x + 3))
  | unit(0.5 + sixth(x))
  | unit(sixth(x + 3))

def hard_swish(x) = x * hard_sigmoid(x)
  | x * ({1 / 6} ± 0.01%) * six(x + 3)
  | x * six(x + 3) / 6
  | sixth(x) * six(x + 3)

pattern HardSwish in hard_swish (x) => (y) {
  y = hard_swish(x)
} equals { y = HardSwish(x) }
  quant { skip interior, consts }

# The gate of a Hardswish is part of it. Keras has α = 0.2, PyTorch 1/6.
pattern HardSigmoid in hard_swish <alpha, beta> (x) => (y) {
  # With other slopes it is a range of numbers moved to another, such as that of an image.
  y = unit(beta + scaled<k = alpha>(x)) if abs(alpha - 0.2) < 0.001 or abs(6 * alpha - 1) < 0.001
    | sixth(six(x + 3)) with alpha = 1 / 6, beta = 0.5
    | unit(sixth(x + 3)) with alpha = 1 / 6, beta = 0.5
} equals { y = HardSigmoid<alpha = alpha, beta = beta>(x) }
  quant { skip interior, consts }

# Bounds of any kind; ReLU6 is found as such.
pattern Clip in clip (x, low?, high?) => (y) {
  either {
    y = Min(Max(x, low), high) | Max(Min(x, high), low)
    where numel(low) == 1, numel(high) == 1, item(low) <= item(high)
    where? shape(y) == shape(x)
  } or { y = Clip(x, low?, high?) }
} equals {
  # The operator takes scalars.
  l = if low is none then none else Reshape(low, {[] : int64})
  h = if high is none then none else Reshape(high, {[] : int64})
  y = Clip(x, l, h)
} quant { skip interior, consts }

pattern Softplus in softplus (x) => (y) {
  y = softplus(x)
} equals { y = Softplus(x) }
  quant { skip interior, consts }
  # The exponential of large numbers overflows, the operator does not.
  verify { x in uniform(-9, 9) }

# x where it is positive, else α x; for α under one that is the greater of the two.
pattern LeakyRelu in leaky_relu <alpha> (x) => (y) {
  y = Max(x, scaled<k = alpha>(x)) if alpha < 1
    | Where(Greater(x, 0), x, scaled<k = alpha>(x))
} equals { y = LeakyRelu<alpha = alpha>(x) }
  quant { skip interior, consts }

# A slope for each channel. Keras: relu(x) + (−α) · relu(−x).
pattern PRelu in leaky_relu (x, const slope) => (y) {
  y = relu(x) - slope * relu(-x)
    | relu(x) + slope * Min(x, 0)
    | Where(Greater(x, 0), x, slope * x)
    | relu(x) + slope * scaled<k = 0.5>(x - Abs(x))
  # The operator does not stretch x.
  where? shape(y) == shape(x)
} equals { y = PRelu(x, slope) }
  quant { skip interior, consts }
  # x − |x| overflows at the end of the range, and is no number at infinity.
  verify { x in uniform(-100, 100) }

test "the exact GELU, as PyTorch writes it"
  <ir_version: 8, opset_import: ["" : 13]>
  g (float[2,8] x) => (float[2,8] y) <float root = {1.4142135}, float one = {1}, float half = {0.5}> {
    d = Div (x, root)
    e = Erf (d)
    s = Add (e, one)
    p = Mul (x, s)
    y = Mul (p, half)
  }
  matches Gelu { x = x }

test "an error function of something else is no GELU"
  <ir_version: 8, opset_import: ["" : 13]>
  g (float[2,8] x, float[2,8] z) => (float[2,8] y) <float root = {1.4142135}, float one = {1}, float half = {0.5}> {
    d = Div (z, root)
    e = Erf (d)
    s = Add (e, one)
    p = Mul (x, s)
    y = Mul (p, half)
  }
  rejects Gelu
