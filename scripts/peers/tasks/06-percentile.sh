marquetry quantize cnn.onnx --calib calib.npz --scheme percentile:99.99 -o ours.onnx
