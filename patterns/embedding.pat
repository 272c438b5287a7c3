# Finds the lookup of rows in a table, with positions added, and biases that depend on the distance
# of two positions.
#
# The table is the largest tensor of many models: it is quantized by row or not at all, and what comes
# out has the range of what is in.
#
#   before: e = Gather(table, ids); y = Add(e, positions)
#   after:  y = EmbeddingWithPosition(ids, table, positions)

pattern Embedding in embedding (ids, const table) => (y) {
  y = Gather<axis = 0>(table, ids)
  where rank(table) == 2, not is_const(ids)
  where? not dtype(table) == int64, not dtype(table) == int32
} quant { share table, y }

# Learned or fixed positions; BERT adds the kind of each token before or after them.
pattern EmbeddingWithPosition in embedding (ids, const table, positions) => (y) {
  e = Gather<axis = 0>(table, ids)
  y = e + positions | (e + _kinds) + positions
  where rank(table) == 2, not is_const(ids)
  where? not dtype(table) == int64, not dtype(table) == int32
  where is_const(positions) or positions is Gather<axis = 0>(const _rows, _at)
}

# T5, Swin: a bias for each head and each distance, looked up and put into the layout of the scores.
pattern RelativeBias in relative_bias (distances, const table) => (y) {
  b = Gather<axis = 0>(table, distances)
  y = Unsqueeze<axes = [0]>(Transpose<perm = [2, 0, 1]>(b))
  where rank(table) == 2
}

test "a table of words"
  <ir_version: 8, opset_import: ["" : 13]>
  g (int64[2,6] ids) => (float[2,6,4] y) <float[9,4] table = {...}> {
    y = Gather (table, ids)
  }
  matches Embedding { ids = ids, table = table }

test "the rows of a computed matrix"
  <ir_version: 8, opset_import: ["" : 13]>
  g (int64[2,6] ids, float[9,4] table) => (float[2,6,4] y) {
    y = Gather (table, ids)
  }
  rejects Embedding

test "rows and positions"
  <ir_version: 8, opset_import: ["" : 13]>
  g (int64[2,6] ids) => (float[2,6,4] y) <float[9,4] table = {...}, float[6,4] positions = {...}> {
    e = Gather (table, ids)
    y = Add (e, positions)
  }
  matches EmbeddingWithPosition { ids = ids, table = table, positions = positions }
