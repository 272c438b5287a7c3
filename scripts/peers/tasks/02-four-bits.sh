marquetry quantize cnn.onnx --calib calib.npz --batch 16 --target qnn-htp-v73 --weights int4 --seq-mse -o ours.onnx --encodings ours.encodings
