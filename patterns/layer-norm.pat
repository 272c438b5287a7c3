# Finds layer normalization: (x − E[x]) / √(Var[x] + ε) · γ + β over trailing axes, or over the one axis
# of the channels.
#
# Up to opset 16 exporters have no operator for it, and write between six and eleven nodes. Left
# apart, each of them gets a quantizer, and the variance does not survive eight bits.
#
#   before: m = ReduceMean(x); d = Sub(x, m); q = Pow(d, 2); v = ReduceMean(q)
#           e = Add(v, eps); r = Sqrt(e); n = Div(d, r); w = Mul(n, scale); y = Add(w, bias)
#   after:  y = LayerNormalization(x, scale, bias)

use "std/math.pat" { rsqrt, root, div, mean, mean_square, variance, cast }

pattern LayerNorm in norm <axes, eps> (x, const scale?, const bias?) => (y) {
  either {
    dup h = cast?(x)
    # TensorFlow and hand-written code subtract the mean twice; PyTorch widens the difference only.
    dup d = cast?(h - mean<axes>(h) | h + -mean<axes>(h))
    v = variance<axes>(h, d)
    n = div(d, root(v + eps)) | d * rsqrt(v + eps)
    y = cast?(n *? scale +? bias)
      | cast?(n) *? scale +? bias
      | div(scale * d, root(v + eps)) +? bias
      | d * rsqrt(v + eps) * scale +? bias
      | cast?(d * rsqrt(v + eps) * scale) +? bias
      | cast?(d * (scale / root(v + eps))) +? bias
  } or {
    # TensorFlow: x·(γ·r) + (β − μ·(γ·r))
    dup h = cast?(x)
    m = mean<axes>(h)
    dup d = h - mean<axes>(h)
    v = variance<axes>(h, d)
    r = rsqrt(v + eps) *? scale | scale / root(v + eps)
    # Keras 3 negates the mean instead.
    y = cast?(h * r + (bias - m * r))
      | cast?(h * r - m * r)
      | cast?(h * r + (-m * r + bias))
      | cast?(h * r + -m * r)
  } or {
    # What an optimizer that knows only RMSNormalization makes of it.
    dup h = cast?(x)
    dup d = h - mean<axes>(h)
    n = RMSNormalization<axis = a, epsilon = eps, ...>(d, scale)
      | SimplifiedLayerNormalization<axis = a, epsilon = eps, ...>(d, scale)
    y = cast?(n +? bias)
    where axes == range(a, 0)
  } or {
    y = LayerNormalization<axis = a, epsilon = eps, ...>(x, scale, bias?)
    let axes = range(a, 0)
  }
  where? 0 < eps, eps < 0.1, dtype(y) == dtype(x), shape(y) == shape(x)
  where? axes == range(axes[0], 0) or len(axes) == 1 and axes[0] == 1 - rank(x)
  where? rank(scale) == -axes[0] or rank(scale) > -axes[0] and prod(shape(scale)[:axes[0]]) == 1
  where? rank(bias) == -axes[0] or rank(bias) > -axes[0] and prod(shape(bias)[:axes[0]]) == 1
  # Of channels there is one number for each, or one for all.
  where? axes == range(axes[0], 0) or numel(scale) == 1 or numel(scale) == dim(scale, axes[0])
  where? axes == range(axes[0], 0) or numel(bias) == 1 or numel(bias) == dim(bias, axes[0])
} equals {
  # The operator is for trailing axes; channels in the second axis are moved there and back. Runtimes
  # want a number for each element of those axes.
  const s0 = if scale is none then none else if len(axes) == 1 and numel(scale) > 1 then Reshape(
    scale,
    {[-1] : int64}
  ) else if len(axes) == 1 then Expand(
    Reshape(scale, {[-1] : int64}),
    {[dim(x, axes[0])] : int64}
  ) else Expand(Reshape(scale, {shape(scale)[axes[0]:] : int64}), {shape(x)[axes[0]:] : int64})
  const t0 = if bias is none then none else if len(axes) == 1 and numel(bias) > 1 then Reshape(
    bias,
    {[-1] : int64}
  ) else if len(axes) == 1 then Expand(
    Reshape(bias, {[-1] : int64}),
    {[dim(x, axes[0])] : int64}
  ) else Expand(Reshape(bias, {shape(bias)[axes[0]:] : int64}), {shape(x)[axes[0]:] : int64})
  const s = if scale is none then none else if dtype(scale) == dtype(x) then s0 else Cast<
    to = dtype(x)
  >(s0)
  const t = if bias is none then none else if dtype(bias) == dtype(x) then t0 else Cast<
    to = dtype(x)
  >(t0)
  y = if axes == range(axes[0], 0) then LayerNormalization<axis = axes[0], epsilon = eps>(
    x,
    s ?? {1 : [dim(x, -1)]},
    t
  ) else Transpose<perm = [0, rank(x) - 1] ++ range(1, rank(x) - 1)>(
    LayerNormalization<axis = -1, epsilon = eps>(
      Transpose<perm = [0] ++ range(2, rank(x)) ++ [1]>(x),
      s ?? {1 : [dim(x, 1)]},
      t
    )
  )
} quant {
  skip interior, bias
  symmetric scale when bits(scale) == 16
} verify { eps in [1e-12, 1e-5, 1e-3] }

# The same with ε outside the square root, or with the variance of a sample (over n − 1): almost a
# layer norm, so it has a name of its own and is never replaced by one.
pattern LayerNormOuterEps in norm <axes, eps> (x, const scale?, const bias?) => (y) {
  dup h = cast?(x)
  dup d = h - mean<axes>(h)
  u = mean_square<axes>(d)
  v = u | u * const _n / const _less | u * const _ratio
  s = root(v) + eps
  y = cast?(div(d, s) *? scale +? bias) | div(scale * d, s) +? bias
  where? 0 < eps, eps < 0.1
  where? rank(scale) == -axes[0], rank(bias) == -axes[0]
} quant { skip interior, bias }

test "opset 13, a power and a quotient"
  <ir_version: 8, opset_import: ["" : 13]>
  g (float[2,8] x) => (float[2,8] y) <float two = {2}, float eps = {1e-5}, float[8] s = {1,1,1,1,1,1,1,1}, float[8] b = {0,0,0,0,0,0,0,0}> {
    m = ReduceMean <axes: ints = [-1]> (x)
    d = Sub (x, m)
    q = Pow (d, two)
    v = ReduceMean <axes: ints = [-1]> (q)
    e = Add (v, eps)
    r = Sqrt (e)
    n = Div (d, r)
    w = Mul (n, s)
    y = Add (w, b)
  }
  matches LayerNorm { eps = 1e-5, scale = s, bias = b }

test "the variance is used elsewhere"
  <ir_version: 8, opset_import: ["" : 13]>
  g (float[2,8] x) => (float[2,8] y, float[2,1] v) <float two = {2}, float eps = {1e-5}> {
    m = ReduceMean <axes: ints = [-1]> (x)
    d = Sub (x, m)
    q = Pow (d, two)
    v = ReduceMean <axes: ints = [-1]> (q)
    e = Add (v, eps)
    r = Sqrt (e)
    y = Div (d, r)
  }
  rejects LayerNorm
