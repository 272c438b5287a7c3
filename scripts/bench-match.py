"""Times onnxscript's rewriter and Marquetry on the same graph with comparable patterns.

usage: bench-match.py MODEL.onnx [FIND_PROGRAM PATTERNS]

Needs onnxscript. The patterns are those of the stack that the benchmark graph is made of, in the one
spelling that it has: layer norm, root-mean-square norm, GELU, SiLU, linear layer with a bias. The work is
not the same: onnxscript tries each rule at each node and checks nothing else, Marquetry searches for the
whole shipped library with all spellings. Rules match and never rewrite, so that only matching is timed.
FIND_PROGRAM is the example `find` of marquetry-matcher, built with --release.
"""

import subprocess
import sys
import time

import onnx
import onnxscript.ir as ir
from onnxscript.rewriter import pattern


def layer_norm(op, x, two, eps, scale, bias):
    centred = op.Sub(x, op.ReduceMean(x, _allow_other_attributes=True))
    variance = op.ReduceMean(op.Pow(centred, two), _allow_other_attributes=True)
    root = op.Sqrt(op.Add(variance, eps))
    return op.Add(op.Mul(op.Div(centred, root), scale), bias)


def rms_norm(op, x, two, eps, one, scale):
    square = op.ReduceMean(op.Pow(x, two), _allow_other_attributes=True)
    inverse = op.Div(one, op.Sqrt(op.Add(square, eps)))
    return op.Mul(scale, op.Mul(x, inverse))


def gelu(op, x, root, one, half):
    return op.Mul(op.Mul(x, op.Add(op.Erf(op.Div(x, root)), one)), half)


def silu(op, x):
    return op.Mul(x, op.Sigmoid(x))


def linear(op, x, w, b):
    return op.Add(b, op.MatMul(x, w))


PATTERNS = [layer_norm, rms_norm, gelu, silu, linear]


def rules():
    """One rule for each pattern: it matches, counts, and refuses to rewrite."""
    counts = {function.__name__: 0 for function in PATTERNS}

    def rule(function):
        def refuse(context, **_):
            counts[function.__name__] += 1
            return False

        return pattern.RewriteRule(function, lambda op, **_: None, refuse, name=function.__name__)

    return [rule(function) for function in PATTERNS], counts


def main():
    path = sys.argv[1]
    model = ir.serde.deserialize_model(onnx.load(path))
    nodes = sum(1 for _ in model.graph)
    made, counts = rules()
    start = time.process_time()
    pattern.RewriteRuleSet(made).apply_to_model(model)
    seconds = time.process_time() - start
    each = seconds * 1e9 / nodes
    print(f"onnxscript: {len(made)} rules, {nodes} nodes: {each:.0f} ns/node, {each / len(made):.0f} ns/node·rule, {counts}")
    if len(sys.argv) > 3:
        environment = {"RAYON_NUM_THREADS": "1"}
        command = [sys.argv[2], "--times", "5", sys.argv[3], path]
        print(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.strip())


if __name__ == "__main__":
    main()
