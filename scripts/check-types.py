#!/usr/bin/env python3
"""Quantizes a model to every type and granularity, and runs the results in ONNX Runtime.

    python scripts/check-types.py [--marquetry target/debug/marquetry] [MODEL CALIB]

Prints for each what ONNX Runtime's outputs are to the float model's, and what the encodings of the
quantized model become when they are exported and imported again: the same outputs, to the bit,
except that kernels with weights in blocks get biases of 32 bits.
Needs onnx, onnxruntime and numpy. Exits with 1 if a model does not load or a round trip differs.
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile

import numpy
import onnx
import onnxruntime

CASES = [
    ("int8", "uint8", "channel"),
    ("int8", "uint8", "tensor"),
    ("uint8", "uint8", "channel"),
    ("int8", "int8", "channel"),
    ("int8", "uint16", "channel"),
    ("int16", "int16", "channel"),
    ("int4", "uint8", "channel"),
    ("uint4", "uint16", "channel"),
    ("int4", "uint16", "block:4"),
    ("int8", "uint8", "block:4"),
    ("int4", "uint16", "lpbq:4"),
    ("int2", "uint8", "channel"),
    ("float8e4m3fn", "uint8", "channel"),
    ("float8e5m2", "uint8", "channel"),
    ("float8e4m3fn", "float8e4m3fn", "channel"),
    ("float16", "float16", "channel"),
    ("bfloat16", "bfloat16", "channel"),
]


def outputs(path, feeds):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # What the file says, not what a runtime makes of it: with optimizations, 8-bit floats around
    # MaxPool come out wrong.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        str(path), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, feeds)


def decibels(reference, found):
    signal = sum(float((a.astype(numpy.float64) ** 2).sum()) for a in reference)
    noise = sum(
        float(((a.astype(numpy.float64) - b) ** 2).sum()) for a, b in zip(reference, found)
    )
    return 10 * numpy.log10(signal / max(noise, 1e-30))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--marquetry", default="target/debug/marquetry")
    parser.add_argument("model", nargs="?", default="examples/digits/cnn.onnx")
    parser.add_argument("calib", nargs="?", default="examples/digits/calib.npz")
    args = parser.parse_args()

    def marquetry(*words):
        return subprocess.run([args.marquetry, *map(str, words)], capture_output=True, text=True)

    data = numpy.load(args.calib)
    names = [value.name for value in onnx.load(args.model).graph.input]
    feeds = {name: data[name][:1] for name in names}
    reference = outputs(args.model, feeds)
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for weights, activations, granularity in CASES:
            what = f"{weights:13} {activations:13} {granularity:8}"
            quantized, again = folder / "q.onnx", folder / "again.onnx"
            ran = marquetry(
                "quantize", args.model, "--calib", args.calib, "--samples", "16", "-o", quantized,
                "--weights", weights, "--activations", activations, "--granularity", granularity,
            )
            if ran.returncode:
                print(what, "refused:", ran.stderr.strip().splitlines()[0])
                failed |= "[not_in_onnx]" not in ran.stderr and "[opset_too_old]" not in ran.stderr
                continue
            try:
                onnx.checker.check_model(str(quantized))
                found = outputs(quantized, feeds)
            except Exception as error:  # whatever a runtime throws is what is to be reported
                print(what, "does not run:", str(error).splitlines()[0][:160])
                failed = True
                continue
            line = f"{what} {decibels(reference, found):6.1f} dB"
            if "float16" not in weights:
                one, float_model = folder / "q.encodings", folder / "float.onnx"
                for words in [
                    ("encodings", "export", quantized, "-o", f"{one}@2.0.0", "--float", float_model),
                    ("encodings", "import", float_model, one, "-o", again),
                ]:
                    ran = marquetry(*words)
                    if ran.returncode:
                        print(line, ran.stderr.strip())
                        failed = True
                        break
                else:
                    back = outputs(again, feeds)
                    same = all((a == b).all() for a, b in zip(found, back))
                    line += ", round trip " + ("equal" if same else f"{decibels(found, back):.1f} dB")
                    # 2.0.0 also holds the biases of kernels with blocks, which were float.
                    failed |= not same and ":" not in granularity
            print(line)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
