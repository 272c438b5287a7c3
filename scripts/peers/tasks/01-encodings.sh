marquetry quantize cnn.onnx --calib calib.npz --target qnn-htp-v73 -o ours.onnx --encodings ours.encodings
