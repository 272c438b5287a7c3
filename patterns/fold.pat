# Rules that fold what is known into the weights before it: batch normalization, factors, biases and
# padding into a convolution, a sum into a matrix product.
#
# An operator that is gone needs no range. A convolution whose weights carry the normalization is what
# runs on a device, so it is what has to be quantized.
#
#   before: c = Conv(x, w); y = BatchNormalization(c, γ, β, μ, σ²)
#   after:  y = Conv(x, w · γ/√(σ² + ε), β − μ · γ/√(σ² + ε))

rule fold_conv_bn priority 20 <eps, rest...> (
  x,
  const w,
  const b?,
  const γ,
  const β,
  const μ,
  const σ2
) => (y) {
  c = Conv<rest...>(x, w, b?)
  y = BatchNormalization<epsilon = eps, training_mode = 0, ...>(c, γ, β, μ, σ2)
} ~> {
  const k = γ / Sqrt(σ2 + eps)
  const w2 = w * Reshape(k, {[-1] ++ rep(1, rank(w) - 1) : int64})
  const b2 = β + ((b ?? {0}) - μ) * k
  y = Conv<rest...>(x, w2, b2)
} verify { σ2 in uniform(0.1, 4); tol 1e-4 }

# The output channels of a transposed convolution are the second axis of its weights.
rule fold_conv_transpose_bn <eps, rest...> (
  x,
  const w,
  const b?,
  const γ,
  const β,
  const μ,
  const σ2
) => (y) {
  c = ConvTranspose<group = 1, rest...>(x, w, b?)
  y = BatchNormalization<epsilon = eps, training_mode = 0, ...>(c, γ, β, μ, σ2)
} ~> {
  const k = γ / Sqrt(σ2 + eps)
  const w2 = w * Reshape(k, {[1, -1] ++ rep(1, rank(w) - 2) : int64})
  const b2 = β + ((b ?? {0}) - μ) * k
  y = ConvTranspose<rest...>(x, w2, b2)
} verify { σ2 in uniform(0.1, 4); tol 1e-4 }

# A bias that TensorFlow and its kin write apart: one number for each channel.
rule fold_conv_bias <rest...> (x, const w, const c) => (y) {
  y = Conv<rest...>(x, w) + c
  where rank(c) == rank(w) or rank(c) == rank(w) - 1
  where dim(c, 1 - rank(w)) == dim(w, 0), numel(c) == dim(w, 0)
} ~> {
  const b = Reshape(c, {[-1] : int64})
  y = Conv<rest...>(x, w, b)
}

# A factor for each channel, as a scale layer or an unfused normalization has it.
rule fold_conv_scale <rest...> (x, const w, const b?, const c) => (y) {
  y = Conv<rest...>(x, w, b?) * c
  where rank(c) == rank(w) or rank(c) == rank(w) - 1
  where dim(c, 1 - rank(w)) == dim(w, 0), numel(c) == dim(w, 0)
} ~> {
  const k = Reshape(c, {[-1] : int64})
  const w2 = w * Reshape(k, {[-1] ++ rep(1, rank(w) - 1) : int64})
  const b2 = (b ?? {0}) * k
  y = Conv<rest...>(x, w2, b2)
} verify { tol 1e-4 }

# Zeros around an image, which the convolution can add itself.
rule pad_into_conv <p, q, rest...> (x, const w, const b?) => (y) {
  y = Conv<auto_pad = "NOTSET", pads = q, rest...>(Pad<mode = "constant", pads = p>(x), w, b?)
  where rank(x) == 4, len(p) == 8, len(q) == 4, min(p) >= 0, p[0] == 0, p[1] == 0, p[4] == 0, p[
    5
  ] == 0
} ~> { y = Conv<pads = [p[2] + q[0], p[3] + q[1], p[6] + q[2], p[7] + q[3]], rest...>(x, w, b) }

test "zeros around an image"
  <ir_version: 8, opset_import: ["" : 13]>
  g (float[1,1,4,4] x) => (float[1,1,5,5] y)
  <float[1,1,2,2] w = {1,2,3,4}, int64[8] p = {0,0,1,1,0,0,1,1}> {
    q = Pad (x, p)
    y = Conv (q, w)
  }
  becomes <ir_version: 8, opset_import: ["" : 13]>
  g (float[1,1,4,4] x) => (float[1,1,5,5] y) <float[1,1,2,2] w = {1,2,3,4}> {
    y = Conv <pads: ints = [1,1,1,1]> (x, w)
  }

rule matmul_add_to_gemm (float[M, K] x, const [K, N] w, const [N] b) => (y) {
  y = x @ w + b
} ~> { y = Gemm(x, w, b) }

# Three products with a common input are one.
rule pack_qkv (x, const wq, const wk, const wv) => (q, k, v) {
  q = x @ wq
  k = x @ wk
  v = x @ wv
  where rank(wq) == 2, rank(wk) == 2, rank(wv) == 2
} ~> {
  const w = Concat<axis = 1>(wq, wk, wv)
  q, k, v = Split<axis = -1, split = [dim(wq, 1), dim(wk, 1), dim(wv, 1)]>(x @ w)
}

test "a normalization goes into the weights"
  <ir_version: 8, opset_import: ["" : 15]>
  g (float[1,1,2,2] x) => (float[1,1,2,2] y)
  <float[1,1,1,1] w = {3}, float[1] s = {2}, float[1] b = {1}, float[1] m = {0}, float[1] v = {3.99999}> {
    c = Conv (x, w)
    y = BatchNormalization (c, s, b, m, v)
  }
  becomes <ir_version: 8, opset_import: ["" : 15]>
  g (float[1,1,2,2] x) => (float[1,1,2,2] y) <float[1,1,1,1] w2 = {3}, float[1] b2 = {1}> {
    y = Conv (x, w2, b2)
  }
