# Takes out what exporters leave behind: operators that undo each other, and reordered axes.

rule double_neg: Neg(Neg(x)) ~> x

rule merge_transposes:
  Transpose<perm = q>(Transpose<perm = p>(x))
  ~> Transpose<perm = compose(p, q)>(x)

# A product with a constant and then another is one product with a constant that is computed now.
rule merge_scales (x, const a, const b) => (y) {
  y = (x * a) * b
} ~> {
  const c = a * b
  y = x * c
}

test "negations undo each other"
  g (float[8] x) => (float[8] y) {
    a = Neg (x)
    b = Neg (a)
    y = Relu (b)
  }
  becomes g (float[8] x) => (float[8] y) {
    y = Relu (x)
  }

test "two transposes are one"
  g (float[2,3,4] x) => (float[4,2,3] y) {
    a = Transpose <perm = [1, 0, 2]> (x)
    y = Transpose <perm = [2, 1, 0]> (a)
  }
  becomes g (float[2,3,4] x) => (float[4,2,3] y) {
    y = Transpose <perm = [2, 0, 1]> (x)
  }

test "two scales are one, whose value is computed"
  g (float[8] x) => (float[8] y) <float two = {2}, float three = {3}> {
    a = Mul (x, two)
    y = Mul (a, three)
  }
  by merge_scales becomes g (float[8] x) => (float[8] y) <float six = {6}> {
    y = Mul (x, six)
  }

test "a value that is used elsewhere stays"
  g (float[8] x) => (float[8] y, float[8] a) {
    a = Neg (x)
    y = Neg (a)
  }
  by double_neg becomes g (float[8] x) => (float[8] y, float[8] a) {
    a = Neg (x)
    y = Neg (a)
  }
