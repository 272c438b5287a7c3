# What a made-up accelerator runs in one go.
use "std/math.pat" { sigmoid }

# A convolution with the activation behind it.
pattern ConvSilu <rest...> (x, const w, const b?) => (y) {
  c = Conv<rest...>(x, w, b?)
  y = c * sigmoid(c)
}

# It has no Sub with a constant: x − c is x + (−c).
rule sub_to_add (x, const c) => (y) {
  y = x - c
} ~> {
  const d = -c
  y = x + d
}

test "a convolution and the activation behind it"
  g (float[1,3,8,8] x) => (float[1,4,8,8] y) <float[4,3,1,1] w = {...}> {
    c = Conv (x, w)
    s = Sigmoid (c)
    y = Mul (c, s)
  }
  matches ConvSilu { x = x, w = w, b = none }

test "a constant is subtracted by adding"
  g (float[2] x) => (float[2] y) <float[2] c = {1, -2}> {
    y = Sub (x, c)
  }
  becomes g (float[2] x) => (float[2] y) <float[2] d = {-1, 2}> {
    y = Add (x, d)
  }
