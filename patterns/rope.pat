# Finds rotary position embedding of one tensor: pairs of features turned by an angle.
#
# A pair is feature i with feature i + d/2 (Llama) or with its neighbour (GPT-J).
#
#   before: c = Mul(x, cos); h = Slice(x, d/2, d); l = Slice(x, 0, d/2); n = Neg(h)
#           r = Concat(n, l); s = Mul(r, sin); y = Add(c, s)
#   after:  y = Rope(x, cos, sin)

use "std/math.pat" { cast }
use "std/layout.pat" { halves, even, odd }

# (−x₂, x₁)
def rotate(x) => (r) {
  low, high = halves(x)
  r = Concat<axis = -1>(-high, low)
}

# two tensors interleaved along the last axis
def stacked(a, b) = Reshape<...>(Concat<axis = -1>(Unsqueeze<axes = [-1]>(a), Unsqueeze<axes = [-1]>(b)), ...)

# (−x₁, x₀, −x₃, x₂, …)
def rotate_pairs(x) = stacked(-odd(x), even(x))

# a·cos − b·sin and b·cos + a·sin; the halves of cos and sin may be given apart
def turned(a, b, cos, sin) => (re, im) {
  re = a * cos - b * sin
  im = b * _cos2 + a * _sin2
}

pattern Rope in rope (x, cos, sin) => (y) {
  either {
    dup h = cast?(x)
    y = cast?(h * cos + rotate(h) * sin)
  } or {
    dup h = cast?(x)
    y = cast?(h * cos + rotate_pairs(h) * sin)
  } or {
    low, high = halves(x)
    re, im = turned(low, high, cos, sin)
    y = Concat<axis = -1>(re, im)
  } or {
    re, im = turned(even(x), odd(x), cos, sin)
    y = stacked(re, im)
  } or {
    y = RotaryEmbedding<...>(x, cos, sin, ...)
  } or {
    y = com.microsoft.RotaryEmbedding<...>(x, _positions, cos, sin, ...)
  }
} quant { skip interior; share x, y; range cos [-1, 1]; range sin [-1, 1] }
