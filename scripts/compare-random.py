#!/usr/bin/env python3
"""Random graphs, quantized by AIMET and by this project as AIMET does it: are the encodings the same?

    python3 scripts/compare-random.py MARQUETRY [--from 0] [--to 200]

Each seed makes a graph of a few operators (kernels, norms, activations, what moves elements, what joins and
splits it), and picks one of AIMET's own configurations, bit widths and a scheme. AIMET calibrates it, and
`marquetry quantize --compat aimet` does with the same configuration, without equalization and bias
correction. Encodings of version 1.0.0 of both have to name the same tensors with the same types and offsets, and scales
that agree to a millionth for constants and to a ten-thousandth for what flows.

Differences that are ours on purpose: BatchNormalization behind a kernel is folded, which AIMET leaves to a
step of its own (such graphs are counted as folded); a Resize or pooling before a Concat has the grid of both,
where AIMET ties it to what it reads and by that unties it from the Concat; an output of the model that an
operator reads as well is quantized as an output. With `tf_enhanced`, two candidates may lose so nearly the
same that rounding decides.

Needs numpy, onnx and aimet_onnx.
"""

import argparse
import collections
import contextlib
import io
import json
import logging
import pathlib
import random
import subprocess
import sys
import tempfile

import numpy as np
import onnx
from onnx import helper, numpy_helper

CONFIGURATIONS = [
    "default_config",
    "default_config_per_channel",
    "dsp_quantsim_config",
    "enpu_quantsim_config_v6",
    "enpu_quantsim_config_v7_per_channel",
    "htp_quantsim_config_v66",
    "htp_quantsim_config_v68",
    "htp_quantsim_config_v69",
    "htp_quantsim_config_v73",
    "htp_quantsim_config_v81_per_channel_linear",
    "htp_quantsim_config_v85",
]


class Maker:
    """A graph under construction: values are names with channels and a side, in NCHW."""

    def __init__(self, seed):
        self.choose = random.Random(seed)
        self.numbers = np.random.default_rng(seed)
        self.nodes, self.constants, self.read = [], {}, set()
        self.values = [("x", 4, 8)]

    def constant(self, array):
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(array)
        return name

    def weight(self, *dims):
        spread = np.sqrt(max(1, int(np.prod(dims[1:]))))
        return self.constant((self.numbers.standard_normal(dims) / spread).astype(np.float32))

    def node(self, op, inputs, outputs=1, **attributes):
        names = [f"v{len(self.nodes)}_{at}" for at in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, names, name=f"{op}{len(self.nodes)}", **attributes))
        self.read.update(inputs)
        return names if outputs > 1 else names[0]

    def grow(self):
        """One more operator on a late value."""
        x, channels, side = self.choose.choice(self.values[-4:])
        kinds = [name for name in dir(self) if name.startswith("op_")]
        made = getattr(self, self.choose.choice(kinds + ["op_conv"] * 3))(x, channels, side)
        self.values.extend(made)

    def op_conv(self, x, channels, side):
        wide = self.choose.choice([4, 8])
        inputs = [x, self.weight(wide, channels, 3, 3)]
        if self.choose.random() < 0.6:
            inputs.append(self.weight(wide))
        return [(self.node("Conv", inputs, pads=[1] * 4), wide, side)]

    def op_depthwise(self, x, channels, side):
        inputs = [x, self.weight(channels, 1, 3, 3), self.weight(channels)]
        return [(self.node("Conv", inputs, pads=[1] * 4, group=channels), channels, side)]

    def op_transposed(self, x, channels, side):
        return [(self.node("ConvTranspose", [x, self.weight(channels, 4, 1, 1)]), 4, side)]

    def op_unary(self, x, channels, side):
        op = self.choose.choice(["Relu", "Sigmoid", "Tanh", "HardSwish"])
        return [(self.node(op, [x]), channels, side)]

    def op_clip(self, x, channels, side):
        bounds = [self.constant(np.float32(bound)) for bound in (0.0, 1.5)]
        return [(self.node("Clip", [x, *bounds]), channels, side)]

    def op_pool(self, x, channels, side):
        if side < 4:
            return []
        op = self.choose.choice(["MaxPool", "AveragePool"])
        return [(self.node(op, [x], kernel_shape=[2, 2], strides=[2, 2]), channels, side // 2)]

    def op_gate(self, x, channels, side):
        mean = self.node("GlobalAveragePool", [x])
        return [(self.node("Mul", [x, mean]), channels, side)]

    def op_concat(self, x, channels, side):
        other = self.choose.choice([value for value in self.values if value[2] == side])
        if channels + other[1] > 16:
            return []
        return [(self.node("Concat", [x, other[0]], axis=1), channels + other[1], side)]

    def op_add(self, x, channels, side):
        same = [value for value in self.values if value[1:] == (channels, side)]
        other = self.choose.choice([self.choose.choice(same)[0], self.weight(1, channels, 1, 1)])
        return [(self.node(self.choose.choice(["Add", "Max"]), [x, other]), channels, side)]

    def op_scale(self, x, channels, side):
        return [(self.node("Mul", [self.weight(1), x]), channels, side)]

    def op_prelu(self, x, channels, side):
        return [(self.node("PRelu", [x, self.weight(channels, 1, 1)]), channels, side)]

    def op_split(self, x, channels, side):
        if channels % 2 or channels < 4:
            return []
        return [(part, channels // 2, side) for part in self.node("Split", [x], 2, axis=1)]

    def op_move(self, x, channels, side):
        if self.choose.random() < 0.5:
            return [(self.node("Transpose", [x], perm=[0, 1, 3, 2]), channels, side)]
        flat = self.node("Reshape", [x, self.constant(np.array([-1, channels, side * side]))])
        back = self.node("Reshape", [flat, self.constant(np.array([-1, channels, side, side]))])
        return [(back, channels, side)]

    def op_resize(self, x, channels, side):
        if side > 8:
            return []
        scales = self.constant(np.array([1, 1, 2, 2], np.float32))
        return [(self.node("Resize", [x, "", scales], mode="nearest"), channels, side * 2)]

    def op_pad(self, x, channels, side):
        padded = self.node("Pad", [x, self.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1]))])
        return [(self.node("Conv", [padded, self.weight(4, channels, 3, 3)]), 4, side)]

    def op_norm(self, x, channels, side):
        if self.choose.random() < 0.5:
            inputs = [x, self.weight(side), self.weight(side)]
            return [(self.node("LayerNormalization", inputs, axis=-1), channels, side)]
        variance = np.abs(self.numbers.standard_normal(channels)).astype(np.float32) + np.float32(0.5)
        inputs = [x, *(self.weight(channels) for _ in range(3)), self.constant(variance)]
        return [(self.node("BatchNormalization", inputs), channels, side)]

    def op_softmax(self, x, channels, side):
        return [(self.node("Softmax", [x], axis=1), channels, side)]

    def op_product(self, x, channels, side):
        other = self.choose.choice([x, self.weight(side, side)])
        return [(self.node("MatMul", [x, other]), channels, side)]

    def op_shape(self, x, channels, side):
        shape = self.node("Shape", [x])
        return [(self.node("Expand", [self.weight(1), shape]), channels, side)]

    def model(self):
        for _ in range(self.choose.randint(4, 12)):
            self.grow()
        outputs = [value for value in self.values[1:] if value[0] not in self.read]
        info = lambda name, channels, side: helper.make_tensor_value_info(name, 1, ["N", channels, side, side])
        initializers = [numpy_helper.from_array(array, name) for name, array in self.constants.items()]
        graph = helper.make_graph(
            self.nodes, "g", [info("x", 4, 8)], [info(*value) for value in outputs], initializers
        )
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        return onnx.shape_inference.infer_shapes(made) if outputs else None


def theirs(model, samples, configuration, bits, scheme, folder):
    import aimet_onnx

    types = {"int4": aimet_onnx.int4, "int8": aimet_onnx.int8, "int16": aimet_onnx.int16}
    with contextlib.redirect_stdout(io.StringIO()):
        simulation = aimet_onnx.QuantizationSimModel(
            model,
            param_type=types[bits[0]],
            activation_type=types[bits[1]],
            quant_scheme=scheme,
            config_file=str(configuration),
        )
        simulation.compute_encodings([{"x": samples[at : at + 1]} for at in range(len(samples))])
        simulation.export(str(folder), "theirs", export_model=False, encoding_version="1.0.0")
    return folder / "theirs.encodings"


def by_name(path):
    found = json.loads(path.read_text())
    return {one["name"]: one for key in ("activation_encodings", "param_encodings") for one in found[key]}


def differences(a, b):
    for name in sorted(a.keys() | b.keys()):
        if name not in a or name not in b:
            yield f"`{name}` is only in {'ours' if name in b else 'theirs'}"
            continue
        x, y = a[name], b[name]
        for key in ("bw", "enc_type", "is_sym", "dtype", "offset"):
            if x.get(key) != y.get(key):
                yield f"`{name}`: {key} {x.get(key)} there, {y.get(key)} here"
        # What flows is computed by another engine, which adds in another order.
        close = 1e-6 if name.startswith("c") else 1e-4
        x, y = (np.array(one.get("scale", [])) for one in (x, y))
        if x.shape != y.shape or not np.allclose(x, y, rtol=close, atol=0):
            yield f"`{name}`: scales {x[:2]} there, {y[:2]} here"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("marquetry", type=pathlib.Path)
    parser.add_argument("--from", type=int, default=0, dest="first")
    parser.add_argument("--to", type=int, default=200, dest="last")
    args = parser.parse_args()
    logging.disable(logging.CRITICAL)
    import aimet_onnx

    configurations = pathlib.Path(aimet_onnx.__file__).parent / "common" / "quantsim_config"
    counts = collections.Counter()
    for seed in range(args.first, args.last):
        maker = Maker(seed)
        model = maker.model()
        if model is None:
            continue
        choose = maker.choose
        name = choose.choice(CONFIGURATIONS)
        bits = choose.choice(["int8", "int8", "int4", "int16"]), choose.choice(["int8", "int8", "int16"])
        scheme = choose.choice(["min_max", "min_max", "tf_enhanced"])
        samples = maker.numbers.standard_normal((4, 4, 8, 8)).astype(np.float32)
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            onnx.save(model, str(folder / "model.onnx"))
            np.savez(folder / "samples.npz", x=samples)
            configuration = configurations / f"{name}.json"
            try:
                expected = by_name(theirs(model, samples, configuration, bits, scheme, folder))
            except Exception as error:
                counts["not by AIMET"] += 1
                print(f"{seed} {name}: AIMET fails: {str(error).splitlines()[0][:100]}", flush=True)
                continue
            command = [args.marquetry, "quantize", folder / "model.onnx", "--calib", folder / "samples.npz"]
            command += ["--target", configuration, "--compat", "aimet", "--scheme", scheme, "--quiet"]
            command += ["--no-equalize", "--bias-correction=false", "--weights", bits[0]]
            command += ["--activations", f"u{bits[1]}", "-o", folder / "ours.onnx"]
            command += ["--encodings", f"{folder / 'ours.json'}@1.0.0"]
            done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
            if done.returncode != 0:
                counts["failed"] += 1
                print(f"{seed} {name} {bits} {scheme}: {done.stderr.strip().splitlines()[0]}", flush=True)
                continue
            found = by_name(folder / "ours.json")
            if any(one.endswith("_folded") for one in found):
                counts["folded"] += 1
                continue
            differs = list(differences(expected, found))
            counts["differ" if differs else "equal"] += 1
            if differs:
                print(f"{seed} {name} {bits} {scheme}: " + "; ".join(differs[:4]), flush=True)
    print(", ".join(f"{count} {what}" for what, count in sorted(counts.items())))
    sys.exit(1 if counts["failed"] else 0)


if __name__ == "__main__":
    main()
