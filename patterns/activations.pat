# Finds activations that exporters write as products: GELU in its three forms, SiLU, Hardswish, Mish,
# ReLU6.
#
#   before: d = Div(x, 1.4142135); e = Erf(d); s = Add(e, 1); p = Mul(x, s); y = Mul(p, 0.5)
#   after:  y = Gelu(x)

use "std/math.pat" { sigmoid, softplus, scaled }

# Hand-written code cuts the root off after a few digits.
def over_root_two(x) = x * ({1 / sqrt(2)} ± 0.01%) | x / ({sqrt(2)} ± 0.01%)

pattern Gelu in gelu (x) => (y) {
  e = 1 + Erf(over_root_two(x))
  y = 0.5 * x * e | scaled<k = 0.5>(x * e)
    | com.microsoft.Gelu(x)
} equals { y = Gelu<approximate = "none">(x) }
  quant  { skip interior, consts }

# √(2/π) · (x + 0.044715 x³), multiplied out in any way
def cubic(x) = ({sqrt(2 / pi)} ± 0.01%) * (x + 0.044715 * x ^ 3)
             | ({sqrt(2 / pi)} ± 0.01%) * (x + 0.044715 * x * x * x)
             | x * ({sqrt(2 / pi)} ± 0.01%) * (1 + 0.044715 * x * x)
             | x * ({sqrt(2 / pi)} ± 0.01%) * (1 + 0.044715 * x ^ 2)

pattern GeluTanh in gelu (x) => (y) {
  t = 1 + Tanh(cubic(x))
  y = 0.5 * x * t | scaled<k = 0.5>(x * t)
    | com.microsoft.FastGelu(x)
} equals { y = Gelu<approximate = "tanh">(x) }
  quant  { skip interior, consts }

# x · σ(1.702 x)
pattern QuickGelu in gelu (x) => (y) {
  y = x * sigmoid(scaled<k = 1.702>(x))
    | Swish<alpha = 1.702>(x) | com.microsoft.QuickGelu<alpha = 1.702>(x)
} quant { skip interior, consts }

pattern Silu in silu (x) => (y) {
  y = x * sigmoid(x) | x / (1 + Exp(-x))
    | Swish<alpha = 1>(x) | com.microsoft.QuickGelu<alpha = 1>(x)
} quant { skip interior, consts }

pattern Mish in mish (x) => (y) {
  y = x * Tanh(softplus(x))
} equals { y = Mish(x) }
  quant  { skip interior, consts }

def six(x) = Clip<min = 0, max = 6>(x) | Min(Relu(x), 6) | Relu(Min(x, 6))

pattern Relu6 in relu6 (x) => (y) { y = six(x) } quant { skip interior, consts }

def hard_swish(x) = x * HardSigmoid<alpha = 1/6, beta = 0.5>(x)
                  | x * {1/6} * six(x + 3)
                  | x * six(x + 3) / 6 | x * (six(x + 3) / 6) | (x / 6) * six(x + 3)

pattern HardSwish in hard_swish (x) => (y) {
  y = hard_swish(x)
} equals { y = HardSwish(x) }
  quant  { skip interior, consts }
