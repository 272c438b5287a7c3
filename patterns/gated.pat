# Finds gated feed-forward layers: act(x Wg) · (x Wu), and the product with Wd where it follows.
#
# Gate and up projection are two matrices, or the halves of one. Both are quantized for the same x,
# and the product of the two is what the last matrix reads: the one tensor between that needs a range.
#
#   before: g = MatMul(x, wg); s = Sigmoid(g); a = Mul(g, s); u = MatMul(x, wu); h = Mul(a, u)
#           y = MatMul(h, wd)
#   after:  y = SwiGlu(x, wg, wu, wd)

use "std/math.pat" { sigmoid, scaled, relu, cast }
use "std/layout.pat" { halves }
use "activations.pat" { gelu_erf, gelu_tanh, silu }

def project(x) = x @ const _w +? const _b
  | Gemm<...>(x, const _w, ...)
  | Reshape<...>(Gemm<...>(Reshape<...>(x, ...), const _w, ...), ...)
  | Conv<...>(x, const _w, ...)
  | com.microsoft.MatMulNBits<...>(x, ...)
  | com.microsoft.FusedMatMul<...>(x, const _w)

def silu_of(g) = silu(g) | Swish<alpha = 1>(g) | com.microsoft.QuickGelu<alpha = 1>(g)
def gelu_of(g) = gelu_erf(g)
  | gelu_tanh(g)
  | g * sigmoid(scaled<k = 1.702>(g))
  | Gelu<...>(g)
  | com.microsoft.Gelu(g)
  | com.microsoft.FastGelu(g)
  | com.microsoft.QuickGelu<alpha = 1.702>(g)

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
  h = cast?(silu_of(cast?(g))) * u
  y = h @ const _wd +? const _bd | h
} quant { skip interior; quantize h }

pattern GeGlu in gated (x) => (y) {
  g, u = gate_and_up(x)
  h = cast?(gelu_of(cast?(g))) * u
  y = h @ const _wd +? const _bd | h
} quant { skip interior; quantize h }

pattern ReGlu in gated (x) => (y) {
  g, u = gate_and_up(x)
  h = relu(g) * u
  y = h @ const _wd +? const _bd | h
} quant { skip interior; quantize h }

# Half of a tensor lets the other half through: the gate of convolutions in speech models.
pattern Glu in glu (x) => (y) {
  either { a, g = halves(x) } or { a, g = Split<...>(x) }
  y = a * Sigmoid(g)
} quant { skip interior }

test "two projections and a third"
  <ir_version: 8, opset_import: ["" : 13]>
  g (float[2,4] x) => (float[2,4] y) <float[4,6] wg = {...}, float[4,6] wu = {...}, float[6,4] wd = {...}> {
    g = MatMul (x, wg)
    s = Sigmoid (g)
    a = Mul (g, s)
    u = MatMul (x, wu)
    h = Mul (a, u)
    y = MatMul (h, wd)
  }
  matches SwiGlu { x = x }

test "what is let through comes from elsewhere"
  <ir_version: 8, opset_import: ["" : 13]>
  g (float[2,4] x, float[2,4] z) => (float[2,4] y) <float[4,6] wg = {...}, float[4,6] wu = {...}, float[6,4] wd = {...}> {
    g = MatMul (x, wg)
    s = Sigmoid (g)
    a = Mul (g, s)
    u = MatMul (z, wu)
    h = Mul (a, u)
    y = MatMul (h, wd)
  }
  rejects SwiGlu

test "a relu lets one half through"
  <ir_version: 8, opset_import: ["" : 13]>
  g (float[2,4] x) => (float[2,4] y) <float[4,6] wg = {...}, float[4,6] wu = {...}, float[6,4] wd = {...}> {
    g = MatMul (x, wg)
    a = Relu (g)
    u = MatMul (x, wu)
    h = Mul (u, a)
    y = MatMul (h, wd)
  }
  matches ReGlu { x = x, u = u, h = h }

test "a relu that is squared gates nothing"
  <ir_version: 8, opset_import: ["" : 13]>
  g (float[2,4] x) => (float[2,4] y) <float[4,6] wg = {...}, float[6,4] wd = {...}> {
    g = MatMul (x, wg)
    a = Relu (g)
    h = Mul (a, a)
    y = MatMul (h, wd)
  }
  rejects ReGlu
