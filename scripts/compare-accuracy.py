#!/usr/bin/env python3
"""Accuracy of quantized models side by side: this project, ONNX Runtime's quantizer, AIMET.

    python3 scripts/compare-accuracy.py MARQUETRY ZOO [--aimet RESULTS.json] [--only NAME,..] [--out TABLE.md]
    python3 scripts/compare-accuracy.py MARQUETRY ZOO --deployed [--only NAME,..] [--out TABLE.md]

Every trained model of the zoo (opset 17) and MiniLM are quantized with the same calibration samples to
8 or 4 bit weights and 8 or 16 bit activations, per channel and, at 4 bits, for every 32 elements, each
tool with its defaults otherwise, and judged with ONNX Runtime as the models are written: with its fusions to
integer kernels off, whose sums overflow on processors without VNNI, so that figures do not depend on the
processor. With `--deployed` it is the other way round: eight bits alone, by the kernels that run on this
processor, with our targets `ort-cpu` and `ort-cpu-avx2` and without AIMET. AIMET's figures are those that
`scripts/peers/aimet_accuracy.py` has put into a file, or else those recorded in `baseline.json` of the zoo,
measured on the same samples: the best of min_max and tf_enhanced, and the better of sequential MSE and
AdaRound. An empty cell was not measured, or the tool has no such type; with blocks, the others' figures are
those with a scale per channel.

Behind a figure, in decibels, is how far logits are from those of the float model on the test samples (for
MiniLM, token embeddings). One label in 3,000 is 0.0003: models that agree with the float model on all but some
labels differ by chance in the last two digits, but not in decibels. Where a peer has more right labels, the exact
test of McNemar says how likely a difference as large is if both are equally good: only labels that one of
the two has right count.

Needs numpy, onnx and onnxruntime.
"""

import argparse
import json
import math
import pathlib
import subprocess
import tempfile

import numpy as np
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

import evaluate

# Weights, activations, and elements of a block.
WIDTHS = [
    ("w8a8", 8, 8, 0),
    ("w8a16", 8, 16, 0),
    ("w4a8", 4, 8, 0),
    ("w4a16", 4, 16, 0),
    ("w4a8", 4, 8, 32),
    ("w4a16", 4, 16, 32),
]


class Samples(CalibrationDataReader):
    def __init__(self, arrays, size):
        self.rows = evaluate.batches(arrays, size)

    def get_next(self):
        return next(self.rows, None)


def runtime(model, arrays, weights, activations, out):
    """ONNX Runtime's own quantizer, as its documentation says to use it."""
    prepared = out.with_suffix(".prepared.onnx")
    quant_pre_process(str(model), str(prepared), skip_symbolic_shape=True)
    quantize_static(
        str(prepared),
        str(out),
        Samples(arrays, 10 if len(arrays) > 1 else 32),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QUInt8 if activations == 8 else QuantType.QUInt16,
        weight_type=QuantType.QInt8 if weights == 8 else QuantType.QInt4,
        per_channel=True,
        # 16 and 4 bit types are not in the standard before opset 21.
        extra_options={"UseQDQContribOps": activations == 16 or weights == 4},
    )


def outputs(path, inputs, reference):
    run = evaluate.session(path, reference)
    return np.concatenate([run.run(None, batch)[0] for batch in evaluate.batches(inputs, 100)])


def distance(found, wanted):
    """Signal over noise, in decibels."""
    return 10 * np.log10((wanted**2).sum() / ((wanted - found) ** 2).sum())


def ours(binary, model, calib, weights, activations, block, out, target="ort-cpu"):
    command = [binary, "quantize", model, "--calib", calib, "-o", out, "--batch", "16", "--quiet"]
    command += ["--target", target, "--activations", f"uint{activations}"]
    command += [] if weights == 8 else ["--weights", f"int{weights}"]
    command += ["--granularity", f"block:{block}"] if block else []
    subprocess.run([str(word) for word in command], check=True, capture_output=True)


def chance(mine, theirs, wanted):
    """How likely two equally good classifiers differ as much: labels they gave, and those that are right."""
    better, worse = ((a == wanted) & (b != wanted) for a, b in ((mine, theirs), (theirs, mine)))
    count, least = int(better.sum() + worse.sum()), int(min(better.sum(), worse.sum()))
    return min(1.0, 2 * sum(math.comb(count, k) for k in range(least + 1)) / 2**count)


class Figure:
    """What a tool reached: its score, decibels, and labels for classifiers; what is not known is None."""

    def __init__(self, score, db=None, labels=None):
        self.score, self.db, self.labels = score, db, labels

    def __str__(self):
        return f"{self.score:.4f}" + ("" if self.db is None else f" ({self.db:.1f} dB)")


def simulated(results, name, label, seqmse):
    """The best figure of AIMET in a file of results."""
    rows = results.get(name, {}).items()
    kinds = ("seq_mse", "adaround") if seqmse else ("plain",)
    rows = [row for key, row in rows if key.startswith(f"{label} ") and key.endswith(kinds) and "score" in row]
    best = max(rows, key=lambda row: (row["score"], row["db"]), default=None)
    if best is None:
        return None
    return Figure(best["score"], best["db"], np.array(best["labels"]) if "labels" in best else None)


def recorded(baseline, name, label, kinds):
    found = [
        row.get("accuracy", row.get("cos_mean"))
        for kind, row in baseline.get("aimet_onnx", {}).get(name, {}).items()
        if kind in [f"{kind}_{label}" for kind in kinds]
    ]
    best = max((value for value in found if value is not None), default=None)
    return None if best is None else Figure(best)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("marquetry", type=pathlib.Path)
    parser.add_argument("zoo", type=pathlib.Path)
    parser.add_argument("--aimet", type=pathlib.Path)
    parser.add_argument("--deployed", action="store_true")
    parser.add_argument("--only", type=lambda names: names.split(","), default=[])
    parser.add_argument("--out", type=pathlib.Path)
    args = parser.parse_args()
    baseline = json.loads((args.zoo / "open" / "baseline.json").read_text())
    results = json.loads(args.aimet.read_text()) if args.aimet else None
    trained = args.zoo / "open" / "trained"
    models = sorted(trained.glob("*.ts17.onnx")) + sorted((args.zoo / "minilm").glob("*.onnx"))
    lines = [
        "| model | float | bits | Marquetry | ONNX Runtime | AIMET | AIMET SeqMSE, AdaRound |",
        "|---|---|---|---|---|---|---|",
    ]
    if args.deployed:
        lines = ["| model | float | bits | `ort-cpu` | `ort-cpu-avx2` | ONNX Runtime |", "|---|---|---|---|---|---|"]
    widths = WIDTHS[:1] if args.deployed else WIDTHS
    reference = not args.deployed
    below = []
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for model in models:
            family = model.name.split(".")[0]
            if args.only and family not in args.only:
                continue
            tokens = family == "minilm"
            if tokens:
                data, calib = np.load(args.zoo / "minilm" / "eval.npz"), args.zoo / "minilm" / "calib.npz"
                arrays = {one: np.load(calib)[one] for one in ("input_ids", "attention_mask", "token_type_ids")}
                judge = lambda path: evaluate.embedding(path, data, reference)[0]
            else:
                file = "data_mlp_cancer.npz" if family == "mlp_cancer" else "data_digits.npz"
                data, calib = np.load(trained / file), folder / f"calib.{pathlib.Path(file).name}"
                arrays = {"x": data["calib_x"].astype(np.float32)}
                np.savez(calib, **arrays)
                judge = lambda path: evaluate.accuracy(path, data, reference)
            before = judge(model)
            names = [one.name for one in evaluate.session(model).get_inputs()]
            test = {name: data[name] if tokens else data["test_x"].astype(np.float32) for name in names}
            wanted = outputs(model, test, False)
            others = {}
            for label, weights, activations, block in widths:
                row = []
                for tool in ("ours", "avx2", "runtime") if args.deployed else ("ours", "runtime"):
                    if tool == "runtime" and label in others:
                        row.append(others[label])
                        continue
                    out = folder / f"{model.stem}.{label}.{block}.{tool}.onnx"
                    try:
                        if tool == "runtime":
                            runtime(model, arrays, weights, activations, out)
                        else:
                            target = "ort-cpu-avx2" if tool == "avx2" else "ort-cpu"
                            ours(args.marquetry, model, calib, weights, activations, block, out, target)
                        found = outputs(out, test, reference)
                        row.append(Figure(judge(out), distance(found, wanted), None if tokens else found.argmax(1)))
                    except Exception as error:  # a tool that cannot is a row of the table
                        print(f"{model.name} {label} {tool}: {str(error).splitlines()[0][:160]}", flush=True)
                        row.append(None)
                others[label] = row[-1]
                if args.deployed:
                    pass
                elif results is None:
                    row.append(recorded(baseline, model.name, label, ("minmax", "tfe")))
                    row.append(recorded(baseline, model.name, label, ("seqmse", "adaround")))
                else:
                    row.extend(simulated(results, model.name, label, seqmse) for seqmse in (False, True))
                shown = f"{label}, block {block}" if block else label
                cells = ["" if figure is None else str(figure) for figure in row]
                line = f"| {family} | {before:.4f} | {shown} | " + " | ".join(cells) + " |"
                print(line, flush=True)
                lines.append(line)
                mine, *peers = [row[1], row[2]] if args.deployed else row
                for tool, peer in zip(("ONNX Runtime", "AIMET", "AIMET SeqMSE, AdaRound"), peers):
                    if peer is None or (mine is not None and mine.score >= peer.score):
                        continue
                    told = f"{family} {shown}: {mine} and {tool} {peer}"
                    if mine is not None and mine.labels is not None and peer.labels is not None:
                        told += f", by chance with p = {chance(mine.labels, peer.labels, data['test_y']):.2f}"
                    below.append(told)
    if args.out:
        args.out.write_text("\n".join(lines) + "\n")
    print("below a peer:\n" + ("\n".join(below) or "nowhere"))


if __name__ == "__main__":
    main()
