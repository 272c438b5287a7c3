# onnxscript: Put one operator in the place of a formula.
import math

import onnx
from onnxscript.rewriter import pattern, rewrite


def gelu_as_exported(op, x):
    return op.Mul(op.Mul(x, op.Add(op.Erf(op.Div(x, math.sqrt(2))), 1.0)), 0.5)


def gelu(op, x):
    return op.Gelu(x, _domain="com.microsoft")


rules = pattern.RewriteRuleSet([pattern.RewriteRule(gelu_as_exported, gelu)], commute=True)
onnx.save(rewrite(onnx.load("vit.onnx"), pattern_rewrite_rules=rules), "theirs.onnx")
