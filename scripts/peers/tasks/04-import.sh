marquetry encodings import cnn.onnx cnn.encodings -o ours.onnx
