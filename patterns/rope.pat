# Finds rotary position embedding of one tensor: pairs of features turned by an angle.
#
# A pair is feature i with feature i + d/2 (Llama) or with its neighbour (GPT-J). Where only a part
# of the features is turned, as in GPT-NeoX and Phi, the part is `x`.
#
# `Rope` has no `equals`: the operator of opset 23 takes one cosine for each pair, and whether the two
# halves of `cos` are equal is not known before a run. Where the graph shows it, `RotaryPairs` and
# `RotaryAngles` have one.
#
#   before: c = Mul(x, cos); h = Slice(x, d/2, d); l = Slice(x, 0, d/2); n = Neg(h)
#           r = Concat(n, l); s = Mul(r, sin); y = Add(c, s)
#   after:  y = Rope(x, cos, sin)

use "std/math.pat" { cast }
use "std/layout.pat" { halves, even, odd }

# (−x₂, x₁), and the same with the other sign
def rotate(x) => (r) {
  low, high = halves(x)
  r = Concat<axis = -1>(-high, low)
}
def rotate_back(x) => (r) {
  low, high = halves(x)
  r = Concat<axis = -1>(high, -low)
}

# two tensors interleaved along the last axis
def stacked(a, b) = Reshape<...>(
  Concat<axis = -1>(Unsqueeze<axes = [-1]>(a), Unsqueeze<axes = [-1]>(b)),
  ...
)
  | Reshape<...>(ConcatFromSequence<axis = -1, new_axis = 1>(SequenceConstruct(a, b)), ...)
  | Reshape<...>(Concat<axis = -1>(Reshape<...>(a, ...), Reshape<...>(b, ...)), ...)

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
    dup h = cast?(x)
    y = cast?(h * cos - rotate_back(h) * sin)
  } or {
    dup h = cast?(x)
    low, high = halves(h)
    re, im = turned(low, high, cos, sin)
    y = cast?(Concat<axis = -1>(re, im))
  } or {
    dup h = cast?(x)
    re, im = turned(even(h), odd(h), cos, sin)
    y = cast?(stacked(re, im))
  } or {
    y = RotaryEmbedding<...>(x, cos, sin, ...)
  } or {
    y = com.microsoft.RotaryEmbedding<...>(x, _positions, cos, sin, ...)
  }
} quant { skip interior; share x, y; range cos [-1, 1]; range sin [-1, 1] }

# Both halves of the last axis, exactly.
def parts(x) => (low, high) {
  either {
    low, high = Split<axis = -1, ...>(x)
  } or {
    low = Slice<axes = [-1], starts = [0], ends = _, steps = [1]>(x)
    high = Slice<axes = [-1], starts = [middle], ends = _, steps = [1]>(x)
    where middle == dim(low, -1)
  }
  where 2 * dim(low, -1) == dim(x, -1), dim(low, -1) == dim(high, -1)
}

# The spellings that are exactly the operator of opset 23: one cosine for each pair, for each batch and
# position; given so, or doubled where angles are.
pattern RotaryPairs in exact_rope ([B, H, S, D] x, [B, 1, S, R] cos, [B, 1, S, R] sin) => (y) {
  low, high = parts(x)
  y = Concat<axis = -1>(low * cos - high * sin, high * cos + low * sin)
  where D == 2 * R
} equals { y = RotaryEmbedding(x, Squeeze<axes = [1]>(cos), Squeeze<axes = [1]>(sin)) }

pattern RotaryAngles in exact_rope ([B, H, S, D] x, [B, S, R] angles) => (y) {
  shared e = Concat<axis = -1>(angles, angles)
  shared c = Unsqueeze<axes = [1]>(Cos(e))
  shared s = Unsqueeze<axes = [1]>(Sin(e))
  low, high = parts(x)
  y = x * c + Concat<axis = -1>(-high, low) * s
  where D == 2 * R
} equals { y = RotaryEmbedding(x, Cos(angles), Sin(angles)) }

# The tables of angles: positions times frequencies, twice side by side, and their cosine and sine.
pattern RotaryTable in rotary_table (positions, const frequencies) => (cos, sin) {
  a = cast?(positions @ frequencies) | cast?(frequencies @ positions) | positions * frequencies
  t = Transpose?<...>(a)
  shared e = Concat<axis = -1>(t, t) | t
  cos = Cos(e)
  sin = Sin(e)
} quant { skip interior; range cos [-1, 1]; range sin [-1, 1] }

test "halves, the second one negated"
  <ir_version: 8, opset_import: ["" : 13]>
  g (float[2,4,6,8] x, float[6,8] c, float[6,8] s) => (float[2,4,6,8] y)
  <int64[1] zero = {0}, int64[1] half = {4}, int64[1] end = {9223372036854775807}, int64[1] axis = {3}> {
    a = Mul (x, c)
    low = Slice (x, zero, half, axis)
    high = Slice (x, half, end, axis)
    n = Neg (high)
    r = Concat <axis: int = -1> (n, low)
    b = Mul (r, s)
    y = Add (a, b)
  }
  matches Rope { x = x, cos = c, sin = s }

test "the first half negated instead"
  <ir_version: 8, opset_import: ["" : 13]>
  g (float[2,4,6,8] x, float[6,8] c, float[6,8] s) => (float[2,4,6,8] y)
  <int64[1] zero = {0}, int64[1] half = {4}, int64[1] end = {9223372036854775807}, int64[1] axis = {3}> {
    a = Mul (x, c)
    low = Slice (x, zero, half, axis)
    high = Slice (x, half, end, axis)
    n = Neg (low)
    r = Concat <axis: int = -1> (high, n)
    b = Mul (r, s)
    y = Add (a, b)
  }
  rejects Rope

test "the angles doubled before the cosine"
  <ir_version: 11, opset_import: ["" : 23]>
  g (float[2,4,6,8] x, float[2,6,4] angles) => (float[2,4,6,8] y)
  <int64[1] zero = {0}, int64[1] half = {4}, int64[1] end = {9223372036854775807}, int64[1] axis = {3}, int64[1] head = {1}> {
    e = Concat <axis: int = -1> (angles, angles)
    ec = Cos (e)
    es = Sin (e)
    c = Unsqueeze (ec, head)
    s = Unsqueeze (es, head)
    a = Mul (x, c)
    low = Slice (x, zero, half, axis)
    high = Slice (x, half, end, axis)
    n = Neg (high)
    r = Concat <axis: int = -1> (n, low)
    b = Mul (r, s)
    y = Add (a, b)
  }
  matches RotaryAngles { x = x, angles = angles }

test "one cosine for each pair"
  <ir_version: 11, opset_import: ["" : 23]>
  g (float[2,4,6,8] x, float[2,1,6,4] c, float[2,1,6,4] s) => (float[2,4,6,8] y) {
    low, high = Split <axis: int = -1, num_outputs: int = 2> (x)
    lc = Mul (low, c)
    hs = Mul (high, s)
    re = Sub (lc, hs)
    hc = Mul (high, c)
    ls = Mul (low, s)
    im = Add (hc, ls)
    y = Concat <axis: int = -1> (re, im)
  }
  matches RotaryPairs { x = x, cos = c, sin = s }
