marquetry analyze cnn.onnx --calib calib.npz --batch 16
