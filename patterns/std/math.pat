# The small vocabulary that every exporter spells differently.
#
# Definitions are not searched for: other files import them.
#   before: r = Sqrt(v); i = Div(1, r); y = Mul(x, i)
#   after:  y = div(x, Sqrt(v))

def square(x) = x ^ 2 | x * x
def root(x) = Sqrt(x) | x ^ 0.5
def recip(x) = Reciprocal(x) | 1 / x | x ^ -1
def rsqrt(x) = recip(root(x)) | x ^ -0.5 | Sqrt(recip(x))
def div(a, b) = a / b | a * recip(b)

# x times k, written as a product or a quotient
def scaled<k>(x) = x * k | x / c with k = 1 / c
def rescale<k>(x) = scaled<k>(x) | x with k = 1

def sigmoid(x) = Sigmoid(x)
  | recip(1 + Exp(-x))
  | 0.5 * (1 + Tanh(scaled<k = 0.5>(x)))
  | 0.5 + scaled<k = 0.5>(Tanh(scaled<k = 0.5>(x)))
# In the third form the exponential cannot overflow; in the last the tail is cut off for it, where the
# rest no longer counts.
def softplus(x) = Softplus(x)
  | Log(1 + Exp(x))
  | relu(x) + Log(1 + Exp(-Abs(x)))
  | Where(Greater(x, big), x, Log(1 + Exp(x))) if big >= 20
def relu(x) = Relu(x) | Max(x, 0) | Clip<min = 0>(x)

# from one float type to another; exporters leave casts that do nothing
def cast(x) = Cast<...>(x) | CastLike<...>(x, _)

# A result over some axes, which stay with length 1 or are put back afterwards.
# Put back elsewhere, they are broadcast over others than those that were taken away.
def restored<axes>(m) => (r) {
  r = Unsqueeze<...>(m, ...) | Reshape<...>(m, ...)
  where? rank(r) >= -axes[0], dim(r, axes[0]) == 1, dim(r, axes[-1]) == 1
  where? len(axes) < 3 or prod(shape(r)[axes[0]:]) == 1
}
def put_back<axes>(m) = Expand<...>(restored<axes>(m), ...) | restored<axes>(m)
def total<axes>(x) = ReduceSum<axes, keepdims = 1>(x)
  | put_back<axes>(ReduceSum<axes, keepdims = 0>(x))
def mean<axes>(x) = ReduceMean<axes, keepdims = 1>(x)
  | put_back<axes>(ReduceMean<axes, keepdims = 0>(x))
  | scaled<k = n>(total<axes>(x)) if len(axes) == 1 and n * dim(x, axes[0]) ~= 1
  | put_back<axes>(dropped_mean<axes>(x))
def mean_square<axes>(x) = mean<axes>(square(x))
  | scaled<k = n>(ReduceSumSquare<axes, keepdims = 1>(x)) if len(axes) == 1
    and n * dim(x, axes[0]) ~= 1

# E[x²] − E[x]². JAX computes it without the axes, and puts them back in the end.
def moments<axes>(x) = mean_square<axes>(x) - square(mean<axes>(x))
def dropped_moments<axes>(x) = dropped_mean<axes>(square(x)) - square(dropped_mean<axes>(x))
def dropped_mean<axes>(x) = ReduceMean<axes, keepdims = 0>(x)
  | scaled<k = n>(ReduceSum<axes, keepdims = 0>(x)) if len(axes) == 1 and n * dim(x, axes[0]) ~= 1

# The variance of x, of which d is the distance from the mean. Rounding can make E[x²] − E[x]² negative.
def variance<axes>(x, d) = mean_square<axes>(d)
  | mean_square<axes>(mean<axes>(x) - x)
  | mean_square<axes>(Abs(d))
  | moments<axes>(x)
  | Max(moments<axes>(x), 0)
  | put_back<axes>(dropped_moments<axes>(x))
  | put_back<axes>(Max(dropped_moments<axes>(x), 0))
