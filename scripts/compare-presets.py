#!/usr/bin/env python3
"""Every shipped policy on models of the zoo: does ONNX Runtime load and run what is written, and does it
compute what our engine computes?

    python3 scripts/compare-presets.py MARQUETRY ZOO [--only NAME,..] [--largest BYTES] [--targets NAME,..]
                                       [--out TABLE.md]

Every model with float weights is quantized for every target with the one sample that is recorded beside
it, and run on that sample by ONNX Runtime twice: with its defaults, which fuse integer kernels, and with
QuantizeLinear and DequantizeLinear as they are. The latter outputs become constants of a model of their own,
which `marquetry compare` puts beside what our engine makes of the quantized model. Two runs differ where a
value near the middle between two grid points goes to the other one, which the next layers spread. So where
outputs are less than 60 dB close, models are compared step by step (`stepwise.py`): from the same integers on,
up to the next ones. That counts as the same steps where every QuantizeLinear gives the same integers, and all values between
them are 110 dB close, which is rounding in single precision (50 dB in half precision, which our engine
computes as single). *Unfused* are those that ONNX Runtime runs with QuantizeLinear and DequantizeLinear as they
are, and does not load with its defaults.

Needs numpy, onnx and onnxruntime.
"""

import argparse
import collections
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx

import evaluate
import stepwise

TARGETS = ["ort-cpu", "ort-cpu-avx2", "ort-qnn", "qnn-htp", "tensorrt", "openvino", "aimet-default"]
CLOSE, SAME, SAME_HALF = 60.0, 110.0, 50.0
BAD = {"differs", "does not run", "refused", "failed"}


def run(*words):
    return subprocess.run([str(word) for word in words], capture_output=True, text=True)


def decibels(reference, found):
    """Signal to noise over all outputs that are numbers; None where there is none."""
    signal = noise = 0.0
    for x, y in zip(reference, found):
        if x.dtype.kind == "f":
            x, y = x.astype(np.float64), y.astype(np.float64)
            usable = np.isfinite(x) & np.isfinite(y)
            signal += float((x[usable] ** 2).sum())
            noise += float(((x - y)[usable] ** 2).sum())
    if signal == 0.0:
        return None
    return 10 * np.log10(signal / max(noise, 1e-30))


def between(binary, recorded, quantized, sample, folder):
    """The signal to noise of our outputs against recorded ones, the worst output."""
    noise = stepwise.beside(binary, recorded, onnx.load(str(quantized)), sample, folder)
    # Nothing is said of an output without noise.
    return min(noise.values(), default=float("inf"))


def judge(binary, model_path, target, folder, feeds, sample):
    """Words for the table: what happened, and the figures."""
    out = folder / "quantized.onnx"
    done = run(binary, "quantize", model_path, "--target", target, "--calib", sample, "-o", out, "--quiet")
    if done.returncode != 0:
        return "refused", done.stderr.strip().splitlines()[0]
    quantized = onnx.load(str(out))
    names = [value.name for value in quantized.graph.output]
    used = collections.Counter(node.op_type for node in quantized.graph.node)
    if not used["QuantizeLinear"] + used["DequantizeLinear"]:
        return "nothing", "no quantizer"
    needed = {one.name for one in evaluate.session(model_path).get_inputs()}
    feeds = {name: array for name, array in feeds.items() if name in needed}
    reference = evaluate.session(model_path).run(names, feeds)
    fused, why = None, ""
    try:
        fused = evaluate.session(out).run(names, feeds)
    except Exception as error:
        why = f"; with its defaults: {str(error).splitlines()[0][:200]}"
    try:
        plain = evaluate.session(out, reference=True).run(names, feeds)
    except Exception as error:
        return "does not run", str(error).splitlines()[0][:200]
    recorded = dict(zip(names, plain))
    close = between(binary, recorded, out, sample, folder)
    away = decibels(reference, plain)
    away = float("inf") if away is None else away
    runs = "no run" if fused is None else f"{decibels(plain, fused) or 0:.1f} dB"
    figures = f"float {away:.1f} dB, fused {runs}, ours {close:.1f} dB{why}"
    unfused = "unfused " if fused is None else ""
    if close >= CLOSE:
        return f"{unfused}equal", figures
    values, least, place, integers = stepwise.worst(binary, out, feeds, sample, folder)
    half = any(array.dtype == np.float16 for array in recorded.values())
    steps = f"; of {values} values behind the same integers the worst is {least:.0f} dB close (`{place}`)"
    if integers:
        steps += f", {integers} QuantizeLinear give others"
    same = least >= (SAME_HALF if half else SAME) and not integers
    return (f"{unfused}same steps" if same else "differs"), figures + steps


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("marquetry", type=pathlib.Path)
    parser.add_argument("zoo", type=pathlib.Path)
    parser.add_argument("--only", type=lambda names: names.split(","), default=[])
    parser.add_argument("--largest", type=int, default=1 << 30)
    parser.add_argument("--targets", type=lambda names: names.split(","), default=TARGETS)
    parser.add_argument("--out", type=pathlib.Path)
    args = parser.parse_args()
    counts = {target: collections.Counter() for target in args.targets}
    bad = []
    for model in sorted((args.zoo / "open" / "graphs").glob("*.onnx")):
        recorded = model.with_suffix(".npz")
        wanted = not args.only or model.stem in args.only or model.name.split(".")[0] in args.only
        if not wanted or not recorded.is_file() or model.stat().st_size > args.largest:
            continue
        arrays = np.load(recorded)
        feeds = {name[3:]: arrays[name] for name in arrays.files if name.startswith("in:")}
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            sample = folder / "sample.npz"
            np.savez(sample, **feeds)
            for target in args.targets:
                try:
                    what, figures = judge(args.marquetry, model, target, folder, feeds, sample)
                except Exception as error:
                    what, figures = "failed", str(error).splitlines()[0][:200]
                counts[target][what] += 1
                print(f"{model.stem:24} {target:14} {what:18} {figures}", flush=True)
                if what in BAD:
                    bad.append(f"{model.stem} {target}: {what}, {figures}")
    kinds = ["equal", "same steps", "unfused equal", "unfused same steps", "nothing", *sorted(BAD)]
    lines = ["| target | " + " | ".join(kinds) + " |", "|---|" + "---|" * len(kinds)]
    for target, count in counts.items():
        lines.append(f"| `{target}` | " + " | ".join(str(count[kind]) for kind in kinds) + " |")
    print("\n".join(lines))
    if args.out:
        args.out.write_text("\n".join(lines) + "\n")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
