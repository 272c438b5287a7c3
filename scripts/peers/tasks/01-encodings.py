# aimet_onnx: Quantize for a phone's processor, and export encodings for its compiler.
import numpy as np
import onnx
from aimet_onnx import QuantizationSimModel, int8

images = np.load("calib.npz")["x"]
sim = QuantizationSimModel(onnx.load("cnn.onnx"), param_type=int8, activation_type=int8, config_file="htp_v73")
sim.compute_encodings([{"x": images[at : at + 1]} for at in range(len(images))])
sim.export(".", "theirs")
