#!/usr/bin/env python3
"""Time to calibrate, side by side: this project and AIMET, in one run that alternates.

    python3 scripts/compare-calibration.py CALIBRATION_COST MARQUETRY ZOO [--aimet PYTHON] [--rounds 5]
                                           [--only NAME,..] [--out TABLE.md]

CALIBRATION_COST is the example of that name and MARQUETRY the command, both of the release profile:
`cargo build --release -p marquetry --bin marquetry --example calibration_cost`. PYTHON is an interpreter
with `aimet_onnx`; the one that runs this script if left out.

Every trained model of the zoo (opset 17) and MiniLM are calibrated on the same samples in the same batches
(32; 10 for MiniLM) with `min_max`, one thread each. Each round runs, one after the other, ours in a process
of its own that calibrates for the first time, AIMET in one that has been imported and warmed up:

- ours, where our default target places quantizers, and where AIMET's default does (`aimet-default`);
- AIMET's `compute_encodings` on a new model of integers of 8 bits with its default configuration;
- ONNX Runtime merely running the samples, in the process of AIMET.

Ours is the whole pass `Calibrate`: encodings of weights, compiling, reading the samples from the file,
running, observing, choosing ranges. AIMET's is `compute_encodings` alone: its model was built and its
session created before (`building`), and its samples are in memory. Times are seconds on a processor, of all
threads of the process, which other programs do not add to; medians of the rounds are printed. `ratio` is
what observing costs over running in our engine, both of which read the samples from the file, the best of
five times in each process. `process` is all of `marquetry quantize`, in seconds that went by.

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
import json, logging, sys, time
import numpy as np, onnx, onnxruntime
from aimet_onnx import QuantizationSimModel
logging.disable(logging.CRITICAL)
print(json.dumps("ready"), flush=True)
for line in sys.stdin:
    path, data, batch = json.loads(line)
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
    enabled = [name for name, quantizer in sim.qc_quantize_op_dict.items() if quantizer.enabled]
    sites = sum(name in sim.activation_names for name in enabled)
    print(json.dumps(dict(running=running, building=building, calibrating=calibrating, sites=sites)), flush=True)
"""


class Aimet:
    """A process that has imported AIMET and calibrates what it is told to."""

    def __init__(self, python):
        start = time.perf_counter()
        command = [str(python), "-c", AIMET]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=ONE_THREAD
        )
        assert self.said() == "ready"
        self.starting = time.perf_counter() - start

    def said(self):
        line = self.process.stdout.readline()
        # Its log may go where its results go.
        while line and not line.startswith(("{", '"')):
            line = self.process.stdout.readline()
        return json.loads(line)

    def round(self, model, data, batch):
        self.process.stdin.write(json.dumps([str(model), str(data), batch]) + "\n")
        self.process.stdin.flush()
        return self.said()


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
        "| model | runs | ours | sites | ours, as AIMET places | sites | AIMET | sites | building | our engine | ONNX Runtime | ratio | process |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    slower = []
    aimet = Aimet(args.aimet)
    print(f"importing AIMET took {aimet.starting:.1f} s", flush=True)
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
                row["aimet"] = aimet.round(model, data, batch)
                command = [args.marquetry, "quantize", model, "--calib", data, "--batch", batch, "--threads", 1]
                _, row["process"] = run(command + ["--quiet", "-o", folder / "ours.onnx"])
                rows.append(row)
            median = lambda pick: statistics.median(pick(row) for row in rows)
            ours, same = (median(lambda row: row[name]["calibrating"]["first"]) for name in ("ours", "same"))
            theirs = median(lambda row: row["aimet"]["calibrating"])
            ratio = median(lambda row: row["ours"]["ratio"])
            cells = [
                family,
                rows[0]["ours"]["runs"],
                f"{ours:.4f}",
                rows[0]["ours"]["sites"],
                f"{same:.4f}",
                rows[0]["same"]["sites"],
                f"{theirs:.4f}",
                rows[0]["aimet"]["sites"],
                f"{median(lambda row: row['aimet']['building']):.4f}",
                f"{median(lambda row: row['ours']['running']['best']):.4f}",
                f"{median(lambda row: row['aimet']['running']):.4f}",
                f"{ratio:.2f}",
                f"{median(lambda row: row['process']):.2f}",
            ]
            line = "| " + " | ".join(map(str, cells)) + " |"
            print(line, flush=True)
            lines.append(line)
            slower.extend([family] if max(ours, same) >= theirs else [])
    aimet.process.stdin.close()
    if args.out:
        args.out.write_text("\n".join(lines) + "\n")
    print("not faster than AIMET: " + (", ".join(slower) or "nowhere"))


if __name__ == "__main__":
    main()
