# onnxscript: Find out why a rule does not match.
import onnx
from onnxscript import ir
from onnxscript.rewriter import pattern


def gelu_misremembered(op, x):
    return op.Mul(op.Mul(x, op.Add(op.Erf(op.Div(x, 1.4)), 1.0)), 0.5)


def gelu(op, x):
    return op.Gelu(x, _domain="com.microsoft")


model = ir.serde.deserialize_model(onnx.load("vit.onnx"))
tracer = pattern.MatchingTracer()
pattern.RewriteRule(gelu_misremembered, gelu).apply_to_model(model, tracer=tracer)
tracer.report()
