# Moving elements without computing: the last two axes exchanged, the last axis halved.
#
# Definitions are not searched for: other files import them.
#
#   before: k = Transpose <perm = [0, 1, 3, 2]> (x)
#   after:  k = swap_last(x)

def swap_last(x) = Transpose<perm = p>(x) if p == swap(rank(x), -2, -1)
  | Transpose<perm = p>(x) if p == swap(len(p), -2, -1)

# The part of the last axis from its beginning, and any part. Bounds are often computed at run time:
# they are checked only where they are known.
def begin(x) = Slice<axes = [-1], starts = [0], ends = _, steps = [1]>(x)
def part(x) = Slice<axes = [-1], starts = _, ends = _, steps = [1]>(x)

# Both halves of the last axis, in order.
def halves(x) => (low, high) {
  either { low, high = Split<...>(x) } or {
    low = begin(x)
    high = part(x)
    where low != high
  } or {
    s = SplitToSequence<...>(x)
    low = SequenceAt<position = 0>(s)
    high = SequenceAt<position = 1>(s)
  }
  where? dim(low, -1) == dim(high, -1), 2 * dim(low, -1) == dim(x, -1)
}

# Features 0, 2, 4, … and 1, 3, 5, …: by steps, or out of pairs.
def pairs(x) = Reshape<...>(x, ...)
def even(x) = Slice<axes = [-1], starts = [0], ends = _, steps = [2]>(x)
  | Gather<axis = -1>(pairs(x), 0)
  | Squeeze<axes = [-1]>(Split<axis = -1, ...>(pairs(x))[0])
  | Squeeze<axes = [-1]>(begin(pairs(x)))
def odd(x) = Slice<axes = [-1], starts = [1], ends = _, steps = [2]>(x)
  | Gather<axis = -1>(pairs(x), 1)
  | Squeeze<axes = [-1]>(Split<axis = -1, ...>(pairs(x))[1])
  | Squeeze<axes = [-1]>(Slice<axes = [-1], starts = [1], ends = _, steps = [1]>(pairs(x)))

# Key and value heads repeated for the query heads that share them: a new axis, its copies, and the
# two axes joined.
def repeated_heads(x) = Reshape<...>(Expand<...>(Unsqueeze<...>(x), ...), ...)
  | Reshape<...>(Identity(Expand<...>(Unsqueeze<...>(x), ...)), ...)
  | Reshape<...>(Tile<...>(Unsqueeze<...>(x), ...), ...)
  | Reshape<...>(Expand<...>(Reshape<...>(x, ...), ...), ...)
  | Reshape<...>(Tile<...>(Reshape<...>(x, ...), ...), ...)
  | Reshape<...>(Reshape<...>(Concat<...>(Unsqueeze<...>(x), ...), ...), ...)
  | Gather<axis = 1>(x, const _heads) if numel(_heads) > dim(x, 1)
