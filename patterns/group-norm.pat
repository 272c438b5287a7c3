# Finds group and instance normalization.
#
# PyTorch writes a group norm as an instance norm over a reshaped tensor, and the affine part apart.
#
#   before: g = Reshape(x, [0, G, -1]); i = InstanceNormalization(g, ones, zeros)
#           r = Reshape(i, Shape(x)); w = Mul(r, scale); y = Add(w, bias)
#   after:  y = GroupNormalization <num_groups = G> (x, scale, bias)

use "std/math.pat" { div, rsqrt, mean, mean_square }

pattern GroupNorm in norm <groups, eps> (x, const scale?, const bias?) => (y) {
  either {
    g = Reshape<...>(x, ...)
    i = InstanceNormalization<epsilon = eps>(g, const _one, const _zero)
    r = Reshape<...>(i, ...)
    y = r *? scale +? bias
    let groups = dim(g, 1)
    where? rank(r) == rank(x)
  } or {
    y = GroupNormalization<epsilon = eps, num_groups = groups, ...>(x, scale, bias)
  } or {
    y = com.microsoft.GroupNorm<epsilon = eps, groups = groups, ...>(x, scale, bias)
  }
} quant { skip interior, bias }

# Over all axes but those of batch and channels.
pattern InstanceNorm in norm <eps> (x, const scale?, const bias?) => (y) {
  either { y = InstanceNormalization<epsilon = eps>(x, scale, bias) }
  or {
    dup d = x - mean<axes>(x)
    v = mean_square<axes>(d)
    n = div(d, Sqrt(v + eps)) | d * rsqrt(v + eps)
    y = n *? scale +? bias
    where rank(x) >= 4, axes == range(2 - rank(x), 0)
    where? dim(scale, -2) == 1, dim(bias, -2) == 1
  }
} quant { skip interior, bias }
