# aimet_onnx: Find the layers that lose most when they are quantized.
import numpy as np
import onnx
import onnxruntime
from aimet_onnx import QuantizationSimModel, analyze_per_layer_sensitivity, int8

images = np.load("calib.npz")["x"]
few = {"x": images[:8]}
right = onnxruntime.InferenceSession("cnn.onnx").run(None, few)[0]
sim = QuantizationSimModel(onnx.load("cnn.onnx"), param_type=int8, activation_type=int8)
sim.compute_encodings([{"x": images[at : at + 16]} for at in range(0, len(images), 16)])


def sqnr(session):
    noise = session.run(None, few)[0] - right
    return float(10 * np.log10((right**2).mean() / (noise**2).mean()))


for layer, value in sorted(analyze_per_layer_sensitivity(sim, sqnr).items(), key=lambda one: one[1])[:5]:
    print(layer, round(value, 1))
