# aimet_onnx: Quantize weights to four bits, with ranges that lose least at the outputs of layers.
import numpy as np
import onnx
from aimet_onnx import QuantizationSimModel, apply_seq_mse, int4, int8

images = np.load("calib.npz")["x"]
samples = [{"x": images[at : at + 16]} for at in range(0, len(images), 16)]
sim = QuantizationSimModel(onnx.load("cnn.onnx"), param_type=int4, activation_type=int8, config_file="htp_v73")
apply_seq_mse(sim, samples)
sim.compute_encodings(samples)
sim.export(".", "theirs")
