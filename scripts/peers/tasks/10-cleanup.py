# onnxscript: Clean up what an exporter left.
import onnx
import onnxscript.optimizer
from onnxscript.rewriter import rewrite

onnx.save(rewrite(onnxscript.optimizer.optimize(onnx.load("vit.onnx"))), "theirs.onnx")
