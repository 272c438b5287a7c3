# Finds group, instance and batch normalization.
#
# PyTorch writes a group norm as an instance norm over a reshaped tensor, and the affine part apart.
# Others compute mean and variance of the reshaped tensor step by step.
#
#   before: g = Reshape(x, [0, G, -1]); i = InstanceNormalization(g, ones, zeros)
#           r = Reshape(i, Shape(x)); w = Mul(r, scale); y = Add(w, bias)
#   after:  y = GroupNormalization <num_groups = G> (x, scale, bias)

use "std/math.pat" { div, rsqrt, root, mean, mean_square, variance, cast }

# (x − E[x]) / √(Var[x] + ε)
def standardized<axes, eps>(x) => (n) {
  dup d = x - mean<axes>(x)
  v = variance<axes>(x, d)
  n = div(d, root(v + eps)) | d * rsqrt(v + eps)
}

pattern GroupNorm in norm <groups, eps> (x, const scale?, const bias?) => (y) {
  either {
    h = cast?(x)
    g = Reshape<...>(h, ...)
    i = InstanceNormalization<epsilon = eps>(g, full(1), full(0))
    r = Reshape<...>(i, ...)
    y = cast?(r *? scale +? bias) | cast?(r) *? scale +? bias
    let groups = dim(g, 1)
    where? rank(r) == rank(x)
  } or {
    h = cast?(x)
    g = Reshape<...>(h, ...)
    i = standardized<axes, eps>(g)
    r = Reshape<...>(i, ...)
    y = cast?(r *? scale +? bias) | cast?(r) *? scale +? bias
    let groups = dim(g, 1)
    # A layer norm between two reshapes joins or splits other axes.
    where rank(g) >= 3, axes == range(2 - rank(g), 0), dim(x, 1) % dim(g, 1) == 0
    where dim(x, 0) == dim(g, 0), shape(x) != shape(g)
    where? rank(r) == rank(x)
  } or {
    y = GroupNormalization<epsilon = eps, num_groups = groups, ...>(x, scale, bias)
  } or {
    y = com.microsoft.GroupNorm<epsilon = eps, groups = groups, ...>(x, scale, bias)
  }
} quant { skip interior, bias }

# Over all axes but those of batch and channels.
pattern InstanceNorm in norm <eps> (x, const scale?, const bias?) => (y) {
  either { y = InstanceNormalization<epsilon = eps>(x, scale, bias) } or {
    n = standardized<axes, eps>(x)
    y = n *? scale +? bias
    where rank(x) >= 4, axes == range(2 - rank(x), 0)
    where? numel(scale) == dim(x, 1), rank(scale) >= rank(x) - 1
    where? dim(scale, 1 - rank(x)) == dim(x, 1)
    where? numel(bias) == dim(x, 1), rank(bias) >= rank(x) - 1, dim(bias, 1 - rank(x)) == dim(x, 1)
  } or {
    # PyTorch folds the batch into the channels when it normalizes in training mode.
    n = InstanceNormalization<epsilon = eps>(x, full(1), full(0))
    y = n * scale +? bias
    where? rank(x) >= 3
    where? numel(scale) == dim(x, 1), rank(scale) >= rank(x) - 1
    where? dim(scale, 1 - rank(x)) == dim(x, 1)
    where? numel(bias) == dim(x, 1), rank(bias) >= rank(x) - 1, dim(bias, 1 - rank(x)) == dim(x, 1)
  }
  where? shape(y) == shape(x), 0 < eps, eps < 0.1
} equals {
  const s = if scale is none then none else Reshape(scale, {[-1] : int64})
  const t = if bias is none then none else Reshape(bias, {[-1] : int64})
  y = InstanceNormalization<epsilon = eps>(x, s ?? {1 : [dim(x, 1)]}, t ?? {0 : [dim(x, 1)]})
} quant { skip interior, bias }

# The operator has a factor for each channel from opset 21 on; before, it had one for each group.
rule group_norm opset "" 21.. <eps> (x, const scale, const bias) => (y) {
  g = Reshape<...>(x, _)
  r = Reshape<...>(InstanceNormalization<epsilon = eps>(g, full(1), full(0)), _)
  y = r * scale + bias
  let groups = dim(g, 1)
  where shape(r) == shape(x), rank(g) >= 3, dim(x, 1) % groups == 0, dim(g, 0) == dim(x, 0)
  where numel(scale) == dim(x, 1), dim(scale, 1 - rank(x)) == dim(x, 1)
  where numel(bias) == dim(x, 1), dim(bias, 1 - rank(x)) == dim(x, 1), shape(y) == shape(x)
} ~> {
  const s = Reshape(scale, {[-1] : int64})
  const t = Reshape(bias, {[-1] : int64})
  y = GroupNormalization<num_groups = groups, epsilon = eps>(x, s, t)
}

# With the statistics of training. Behind a convolution it is folded into the weights: `ConvBn`.
pattern BatchNorm in batch_norm <eps> (x, const scale, const bias, const mean, const var) => (y) {
  y = BatchNormalization<epsilon = eps, ...>(x, scale, bias, mean, var)
}

test "a group norm of PyTorch, opset 14"
  <ir_version: 8, opset_import: ["" : 14]>
  g (float[2,8,4,4] x) => (float[2,8,4,4] y)
  <int64[3] shape = {0,4,-1}, float[4] ones = {1,1,1,1}, float[4] zeros = {0,0,0,0}, float[8,1,1] s = {1,1,1,1,1,1,1,1}, float[8,1,1] b = {0,0,0,0,0,0,0,0}> {
    a = Reshape (x, shape)
    i = InstanceNormalization <epsilon: float = 1e-5> (a, ones, zeros)
    t = Shape (x)
    r = Reshape (i, t)
    w = Mul (r, s)
    y = Add (w, b)
  }
  matches GroupNorm { groups = 4, eps = 1e-5, scale = s, bias = b }

test "an instance norm with a scale of its own is no group norm"
  <ir_version: 8, opset_import: ["" : 14]>
  g (float[2,8,4,4] x) => (float[2,8,4,4] y)
  <int64[3] shape = {0,4,-1}, float[4] twos = {2,2,2,2}, float[4] zeros = {0,0,0,0}> {
    a = Reshape (x, shape)
    i = InstanceNormalization <epsilon: float = 1e-5> (a, twos, zeros)
    t = Shape (x)
    y = Reshape (i, t)
  }
  rejects GroupNorm
