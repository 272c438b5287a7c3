//! Quantization: groups and a pipeline to encodings and a quantized graph.
