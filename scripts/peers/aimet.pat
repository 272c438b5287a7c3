# What AIMET's graph passes look for, as its description says: layer and RMS norms of one spelling
# family, a masked softmax, and chains of operators. It is here to be compared with, not to be used.
#
# AIMET installs PyTorch and does not report what its passes matched; these patterns stand for it.
# Two limits are as found there: the first mean of a layer norm needs its axes as an attribute, and
# the quotient 1/√v a scalar without a dimension.
#
#   before: d = Sub(x, ReduceMean(x)); m = ReduceMean(Pow(d, 2)); y = Div(d, Sqrt(m + eps)) * scale
#   after:  y = LayerNorm(x, scale)

def square(x)  = x ^ 2 | x * x
def inverse_root(v) = Reciprocal(Sqrt(v)) | 1 / Sqrt(v) | v ^ -0.5
def core<axes, eps>(x) => (n) {
  v = ReduceMean<axes, keepdims = 1>(square(x)) + eps
  n = x / Sqrt(v) | x * inverse_root(v)
  where len(axes) == 1, eps >= 0
}

pattern RmsNorm in norm <axes, eps> (x, const scale?) => (y) {
  dup h = Cast?<...>(x)
  y = Cast?<...>(core<axes, eps>(h)) *? scale
}

# Opset 18 made the axes an input: from there on nothing is found.
pattern LayerNorm opset "" 1..17 in norm <axes, eps> (x, const scale?, const bias?) => (y) {
  d = x - ReduceMean<axes, keepdims = 1>(x)
  y = core<axes, eps>(d) *? scale +? bias
}

pattern MaskedSoftmax in masked <fill> (x, mask) => (y) {
  y = Softmax<axis = -1>(Where(mask, x, ReduceMin<axes = [-1], keepdims = 1>(x) + fill))
  where rank(x) == 4, fill <= -20
}

pattern ConvBnRelu in chain (x, const w, const b?) => (y) {
  y = Relu(BatchNormalization<...>(Conv<...>(x, w, b?), const _γ, const _β, const _μ, const _σ2))
}

# Batch normalizations behind a convolution are folded before anything else.
pattern ConvBn in fold (x, const w, const b?) => (y) {
  y = BatchNormalization<...>(Conv<...>(x, w, b?), const _γ, const _β, const _μ, const _σ2)
}

# Of the chains for its vendor's targets, with the normalization or after it is folded.
pattern ConvBnRelu6 in chain (x, const w, const b?) => (y) {
  y = Clip<...>(BatchNormalization<...>(Conv<...>(x, w, b?), const _γ, const _β, const _μ, const _σ2), ...)
}

pattern ConvBnHardSwish in chain (x, const w, const b?) => (y) {
  y = HardSwish(BatchNormalization<...>(Conv<...>(x, w, b?), const _γ, const _β, const _μ, const _σ2))
}
