marquetry compare cnn.onnx cnn.int8.onnx --data calib.npz --samples 16
