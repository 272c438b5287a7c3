# Moving elements without computing: the last two axes exchanged, the last axis halved.
#
#   before: k = Transpose <perm = [0, 1, 3, 2]> (x)
#   after:  k = swap_last(x)

def swap_last(x) = Transpose<perm = p>(x) if p == swap(rank(x), -2, -1)
                 | Transpose<perm = p>(x) if p == swap(len(p), -2, -1)

# One half of the last axis. Bounds are often computed at run time, so they are checked only where
# they are known.
def part(x) = Slice<axes = [-1], starts = _, ends = _, steps = _>(x)
            | Slice<axes = _, starts = _, ends = _, steps = _>(x, ...)

# Both halves of the last axis, in order.
def halves(x) => (low, high) {
  either { low, high = Split<...>(x, ...) }
  or {
    low = part(x)
    high = part(x)
    where low != high
  }
  or {
    s = SplitToSequence<...>(x, ...)
    low = SequenceAt<...>(s, ...)
    high = SequenceAt<...>(s, ...)
    where low != high
  }
  where? dim(low, -1) == dim(high, -1), 2 * dim(low, -1) == dim(x, -1)
}
