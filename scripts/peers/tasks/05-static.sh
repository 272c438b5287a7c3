marquetry quantize cnn.onnx --calib calib.npz -o ours.onnx
