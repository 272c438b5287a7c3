#!/usr/bin/env python3
"""Time to calibrate, side by side: this project and AIMET, in one run that alternates.

    python3 scripts/compare-calibration.py CALIBRATION_COST MARQUETRY ZOO [--aimet PYTHON] [--rounds 5]
                                           [--only NAME,..] [--out TABLE.md]

CALIBRATION_COST is the example of that name and MARQUETRY the command, both of the release profile:
`cargo build --release -p marquetry --bin marquetry --example calibration_cost`. PYTHON is an interpreter
with `aimet_onnx`; the one that runs this script if left out.

Every trained model of the zoo (opset 17) and MiniLM are calibrated on the same samples in the same batches
(32; 10 for MiniLM) with `min_max`, one thread each. Each round starts, one after the other and each in a
process of its own, which calibrates for the first time:

- ours, where our default target places quantizers, and where AIMET's default does (`aimet-default`);
- AIMET's `compute_encodings` on a model of integers of 8 bits with its default configuration;
- ONNX Runtime merely running the samples, in the process of AIMET.

What is timed inside: ours is the whole pass `Calibrate`: encodings of weights, compiling, reading the
samples from a compressed or plain file, running, observing, choosing ranges. AIMET's is
`compute_encodings` alone; its model was built and its session created before, and its samples are in
memory. Whole processes are `marquetry quantize` and a Python program that loads, builds, calibrates and
exports. Times inside are seconds on a processor, of all threads of the process, which other programs do not
add to; whole processes are seconds that went by. Medians of the rounds are printed. `ratio` is what
observing costs over running in our engine, the best of five times in each process.

Needs numpy here; onnx, onnxruntime and aimet_onnx there.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

AIMET = """
import json, sys, time
import numpy as np, onnx, onnxruntime
from aimet_onnx import QuantizationSimModel
import logging
logging.disable(logging.CRITICAL)
path, data, batch, out = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
arrays = dict(np.load(data))
count = len(next(iter(arrays.values())))
feeds = [{name: array[at:at + batch] for name, array in arrays.items()} for at in range(0, count, batch)]
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
plain = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
plain.run(None, feeds[0])
start = time.process_time()
for feed in feeds:
    plain.run(None, feed)
running = time.process_time() - start
start = time.process_time()
sim = QuantizationSimModel(onnx.load(path), param_type="int8", activation_type="int8", quant_scheme="min_max",
                           config_file="default", session_options_kwargs={"intra_op_num_threads": 1})
building = time.process_time() - start
start = time.process_time()
sim.compute_encodings(feeds)
calibrating = time.process_time() - start
sites = sum(quantizer.enabled for name, quantizer in sim.qc_quantize_op_dict.items() if name in sim.activation_names)
sim.export(out, "quantized")
print(json.dumps(dict(running=running, building=building, calibrating=calibrating, sites=sites)))
"""

ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1"}


def run(command):
    """What a process says last, and how long it took."""
    start = time.perf_counter()
    done = subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True, env=ONE_THREAD)
    return done.stdout.strip().splitlines()[-1:], time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cost", type=lambda path: pathlib.Path(path).resolve())
    parser.add_argument("marquetry", type=lambda path: pathlib.Path(path).resolve())
    parser.add_argument("zoo", type=pathlib.Path)
    parser.add_argument("--aimet", type=pathlib.Path, default=pathlib.Path(sys.executable))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", type=lambda names: names.split(","), default=[])
    parser.add_argument("--out", type=pathlib.Path)
    args = parser.parse_args()
    trained = args.zoo / "open" / "trained"
    models = sorted(trained.glob("*.ts17.onnx")) + sorted((args.zoo / "minilm").glob("*.onnx"))
    lines = [
        "| model | runs | ours | sites | ours, as AIMET places | sites | AIMET | sites | our engine | ONNX Runtime | ratio | process, ours | process, AIMET |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    slower = []
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for model in models:
            family = model.name.split(".")[0]
            if args.only and family not in args.only:
                continue
            batch = 32
            data = folder / f"{family}.npz"
            if family == "minilm":
                batch = 10
                loaded = np.load(args.zoo / "minilm" / "calib.npz")
                arrays = {name: loaded[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
            else:
                file = "data_mlp_cancer.npz" if family == "mlp_cancer" else "data_digits.npz"
                arrays = {"x": np.load(trained / file)["calib_x"].astype(np.float32)}
            np.savez(data, **arrays)
            rows = []
            for _ in range(args.rounds):
                row = {}
                for name, target in (("ours", "ort-cpu"), ("same", "aimet-default")):
                    command = [args.cost, model, data, "--batch", batch, "--target", target, "--json"]
                    command += ["--rounds", 1 if family == "minilm" else 5]
                    row[name] = json.loads(run(command)[0][0])
                said, row["aimet_process"] = run([args.aimet, "-c", AIMET, model, data, batch, folder])
                row["aimet"] = json.loads(said[0])
                command = [args.marquetry, "quantize", model, "--calib", data, "--batch", batch, "--threads", 1]
                _, row["process"] = run(command + ["--quiet", "-o", folder / "ours.onnx"])
                rows.append(row)
            median = lambda pick: statistics.median(pick(row) for row in rows)
            ours, same = (median(lambda row: row[name]["calibrating"]["first"]) for name in ("ours", "same"))
            aimet = median(lambda row: row["aimet"]["calibrating"])
            ratio = median(lambda row: row["ours"]["ratio"])
            cells = [
                family,
                rows[0]["ours"]["runs"],
                f"{ours:.4f}",
                rows[0]["ours"]["sites"],
                f"{same:.4f}",
                rows[0]["same"]["sites"],
                f"{aimet:.4f}",
                rows[0]["aimet"]["sites"],
                f"{median(lambda row: row['ours']['running']['best']):.4f}",
                f"{median(lambda row: row['aimet']['running']):.4f}",
                f"{ratio:.2f}",
                f"{median(lambda row: row['process']):.2f}",
                f"{median(lambda row: row['aimet_process']):.2f}",
            ]
            line = "| " + " | ".join(map(str, cells)) + " |"
            print(line, flush=True)
            lines.append(line)
            slower.extend([family] if max(ours, same) >= aimet else [])
    if args.out:
        args.out.write_text("\n".join(lines) + "\n")
    print("not faster than AIMET: " + (", ".join(slower) or "nowhere"))


if __name__ == "__main__":
    main()
