# Finds linear layers: y = x W + b, with a constant matrix.
#
# The matrix gets a scale for each output, and the bias the product of the scales of x and W.
#
#   before: p = MatMul(x, w); y = Add(p, b)
#   after:  y = Linear(x, w, b)

pattern Linear in linear (x, const w, const b?) => (y) {
  either {
    y = x @ w +? b
    let out = 1
  } or {
    y = Gemm<transB = t>(x, w, b?)
    let out = 1 - t
  }
  where rank(w) == 2
  where? rank(b) == 1
} quant {
  skip interior
  per_channel w axis out
  bias b of x, w
}

test "a product and a sum"
  <ir_version: 8, opset_import: ["" : 13]>
  g (float[2,4] x) => (float[2,3] y) <float[4,3] w = {...}, float[3] b = {0,0,0}> {
    p = MatMul (x, w)
    y = Add (p, b)
  }
  matches Linear { x = x, w = w, b = b }

test "the matrix is computed from an input"
  <ir_version: 8, opset_import: ["" : 13]>
  g (float[2,4] x, float[4,3] w) => (float[2,3] y) {
    y = MatMul (x, w)
  }
  rejects Linear
