# onnxruntime.quantization: See where a quantized model departs from the float one.
import numpy as np
from onnxruntime.quantization import CalibrationDataReader
from onnxruntime.quantization.qdq_loss_debug import (
    collect_activations,
    compute_activation_error,
    create_activation_matching,
    modify_model_output_intermediate_tensors,
)


class Images(CalibrationDataReader):
    def __init__(self):
        self.left = iter(np.load("calib.npz")["x"][:16])

    def get_next(self):
        image = next(self.left, None)
        return None if image is None else {"x": image[None]}


modify_model_output_intermediate_tensors("prepared.onnx", "float.debug.onnx")
modify_model_output_intermediate_tensors("theirs.int8.onnx", "int8.debug.onnx")
matched = create_activation_matching(
    collect_activations("int8.debug.onnx", Images()), collect_activations("float.debug.onnx", Images())
)
for name, error in compute_activation_error(matched).items():
    print(name, error["xmodel_err"])
