# Finds linear layers: y = x W + b, with a constant matrix.
#
#   before: p = MatMul(x, w); y = Add(p, b)
#   after:  y = Gemm(x, w, b)

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
