use "std/math.pat" { scaled }

# x · Φ(x) with the error function written out.
pattern MyGelu (x) => (y) {
  e = 1 + Erf(scaled<k = 1 / sqrt(2)>(x))
  y = 0.5 * x * e
} equals {
  y = Gelu(x)
}

test "as PyTorch writes it"
  g (float[batch,26,96] x) => (float[batch,26,96] y)
  <float c = {1.4142135}, float c2 = {1}, float c3 = {0.5}>
  {
    div = Div (x, c)
    erf = Erf (div)
    add = Add (erf, c2)
    mul = Mul (x, add)
    y = Mul (mul, c3)
  }
  matches MyGelu { x = x, y = y }

test "the half first, and a product"
  g (float[8] a) => (float[8] b) <float half = {0.5}, float one = {1}, float root = {0.70710677}> {
    h = Mul (a, half)
    s = Mul (a, root)
    e = Erf (s)
    f = Add (e, one)
    b = Mul (h, f)
  }
  matches MyGelu { x = a }

test "another root"
  g (float[8] a) => (float[8] b) <float half = {0.5}, float one = {1}, float two = {2}> {
    h = Mul (a, half)
    s = Div (a, two)
    e = Erf (s)
    f = Add (e, one)
    b = Mul (h, f)
  }
  rejects MyGelu because "`scaled.k` is another number"
