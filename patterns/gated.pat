# Finds gated feed-forward layers: act(x Wg) · (x Wu), and the product with Wd where it follows.
#
# Gate and up projection are two matrices, or the halves of one.
#
#   before: g = MatMul(x, wg); s = Sigmoid(g); a = Mul(g, s); u = MatMul(x, wu); h = Mul(a, u)
#           y = MatMul(h, wd)
#   after:  y = SwiGlu(x, wg, wu, wd)

use "std/math.pat" { sigmoid, scaled }
use "std/layout.pat" { halves }
use "activations.pat" { over_root_two, cubic }

def project(x) = x @ const _w +? const _b
               | Gemm<...>(x, const _w, ...)
               | Reshape<...>(Gemm<...>(Reshape<...>(x, ...), const _w, ...), ...)
               | Conv<...>(x, const _w, ...)

def silu(x) = x * sigmoid(x) | x / (1 + Exp(-x)) | Swish<alpha = 1>(x)
            | com.microsoft.QuickGelu<alpha = 1>(x)
def gelu(x) = 0.5 * x * (1 + Erf(over_root_two(x))) | scaled<k = 0.5>(x * (1 + Erf(over_root_two(x))))
            | 0.5 * x * (1 + Tanh(cubic(x))) | scaled<k = 0.5>(x * (1 + Tanh(cubic(x))))
            | Gelu<...>(x) | com.microsoft.Gelu(x) | com.microsoft.FastGelu(x)

# What goes into the gate and what it is multiplied with.
def gate_and_up(x) => (g, u) {
  either {
    g = project(x)
    u = project(x)
    where g != u
  } or {
    p = project(x)
    either { g, u = halves(p) } or { u, g = halves(p) }
  }
}

pattern SwiGlu in gated (x) => (y) {
  g, u = gate_and_up(x)
  h = silu(g) * u
  y = h @ const _wd +? const _bd | h
} quant { skip interior; quantize h }

pattern GeGlu in gated (x) => (y) {
  g, u = gate_and_up(x)
  h = gelu(g) * u
  y = h @ const _wd +? const _bd | h
} quant { skip interior; quantize h }
