# onnxruntime.quantization: Leave outliers out of the ranges.
import numpy as np
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process


class Images(CalibrationDataReader):
    def __init__(self):
        self.left = iter(np.load("calib.npz")["x"])

    def get_next(self):
        image = next(self.left, None)
        return None if image is None else {"x": image[None]}


quant_pre_process("cnn.onnx", "prepared.onnx")
quantize_static(
    "prepared.onnx",
    "theirs.onnx",
    Images(),
    quant_format=QuantFormat.QDQ,
    activation_type=QuantType.QUInt8,
    weight_type=QuantType.QInt8,
    per_channel=True,
    calibrate_method=CalibrationMethod.Percentile,
    extra_options={"CalibPercentile": 99.99},
)
