//! ONNX graphs: bytes to graph to text and back, without loss.
