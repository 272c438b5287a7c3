# Rules for graphs that are quantized already: integers stay integers where nothing is computed with
# them, and no value is rounded twice.
#
# Exporters and tools put a pair of DequantizeLinear and QuantizeLinear around every operator. Around
# one that only moves elements the pair does nothing but cost time.
#
#   before: f = DequantizeLinear(q, s, z); t = Transpose(f); y = QuantizeLinear(t, s, z)
#   after:  y = Transpose(q)

# What was quantized with the same numbers is unchanged by it.
rule drop_requantize:
  QuantizeLinear<axis = k, block_size = n, a...>(
    DequantizeLinear<axis = k, block_size = n, ...>(
      QuantizeLinear<axis = k, block_size = n, a...>(x, s, z?),
      s,
      z?
    ),
    s,
    z?
  )
  ~> QuantizeLinear<axis = k, block_size = n, a...>(x, s, z?)

rule drop_quantize_dequantized (q, s, z?) => (y) {
  y = QuantizeLinear<axis = k, ...>(DequantizeLinear<axis = k, ...>(q, s, z?), s, z?)
  # More bits than the scale holds are rounded on the way.
  where dtype(y) == dtype(q), bits(q) <= 8
} ~> { y = q }

# DequantizeLinear, movement, QuantizeLinear with one scale for the tensor.
rule transpose_in_int <p, a...> (q, s, z?) => (y) {
  y = QuantizeLinear<a...>(Transpose<perm = p>(DequantizeLinear<...>(q, s, z?)), s, z?)
  where numel(s) == 1, dtype(y) == dtype(q)
} ~> { y = Transpose<perm = p>(q) }

rule reshape_in_int (q, s, z?, shape) => (y) {
  y = QuantizeLinear<...>(Reshape<allowzero = 0>(DequantizeLinear<...>(q, s, z?), shape), s, z?)
  where numel(s) == 1, dtype(y) == dtype(q)
} ~> { y = Reshape(q, shape) }

rule flatten_in_int <a> (q, s, z?) => (y) {
  y = QuantizeLinear<...>(Flatten<axis = a>(DequantizeLinear<...>(q, s, z?)), s, z?)
  where numel(s) == 1, dtype(y) == dtype(q)
} ~> { y = Flatten<axis = a>(q) }

rule squeeze_in_int <a> (q, s, z?) => (y) {
  y = QuantizeLinear<...>(Squeeze<axes = a>(DequantizeLinear<...>(q, s, z?)), s, z?)
  where numel(s) == 1, dtype(y) == dtype(q)
} ~> { y = Squeeze<axes = a>(q) }

rule unsqueeze_in_int <a> (q, s, z?) => (y) {
  y = QuantizeLinear<...>(Unsqueeze<axes = a>(DequantizeLinear<...>(q, s, z?)), s, z?)
  where numel(s) == 1, dtype(y) == dtype(q)
} ~> { y = Unsqueeze<axes = a>(q) }

# The greatest of integers is that of what they stand for, if the scale is positive, as it must be.
rule max_pool_in_int <a...> (q, s, z?) => (y) {
  y = QuantizeLinear<...>(MaxPool<a...>(DequantizeLinear<...>(q, s, z?)), s, z?)
  where numel(s) == 1, dtype(y) == dtype(q), bits(q) == 8
} ~> { y = MaxPool<a...>(q) }

test "a transpose of integers"
  <ir_version: 8, opset_import: ["" : 13]>
  g (uint8[2,3] q) => (uint8[3,2] y) <float s = {0.5}, uint8 z = {3}> {
    f = DequantizeLinear (q, s, z)
    t = Transpose <perm: ints = [1, 0]> (f)
    y = QuantizeLinear (t, s, z)
  }
  becomes <ir_version: 8, opset_import: ["" : 13]>
  g (uint8[2,3] q) => (uint8[3,2] y) {
    y = Transpose <perm: ints = [1, 0]> (q)
  }
