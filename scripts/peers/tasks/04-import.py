# aimet_onnx: Make a QDQ model of a float model and its encodings.
import json

import onnx
from aimet_onnx import encodings_to_onnx_qdq

with open("cnn.encodings") as file:
    encodings = json.load(file)
onnx.save(encodings_to_onnx_qdq(onnx.load("cnn.onnx"), encodings), "theirs.onnx")
