#!/usr/bin/env python3
"""What AIMET's simulation of quantized models computes, for `compare-accuracy.py --aimet`.

    python3 scripts/peers/aimet_accuracy.py ZOO RESULTS.json [--only NAME,..]

Every trained model of the zoo (opset 17) and MiniLM are simulated with the samples that the other tools
calibrate with, in AIMET's default configuration, at every width, by `min_max` and `tf_enhanced`, and with
`apply_seq_mse` and `apply_adaround` (300 iterations, all samples) where weights have four bits. AdaRound is
left out for MiniLM, where it takes hours. What is in the file already is not computed again.

A result is the score, the distance to the float model in decibels and, for classifiers, the labels.

Needs numpy, onnx, onnxruntime and aimet_onnx.
"""

import argparse
import json
import pathlib
import sys
import time

import numpy as np
import onnx
import torch
from aimet_onnx import QuantizationSimModel, apply_adaround, apply_seq_mse

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
import evaluate  # noqa: E402

WIDTHS = [("w8a8", 8, 8), ("w8a16", 8, 16), ("w4a8", 4, 8), ("w4a16", 4, 16)]


def steps(weights, tokens):
    """Schemes, and what is done before encodings are computed."""
    plain = [("min_max", "plain"), ("tf_enhanced", "plain")]
    if weights > 4:
        return plain
    return plain + [("min_max", "seq_mse")] + ([] if tokens else [("min_max", "adaround")])


def outputs(session, inputs, size):
    names = [one.name for one in session.get_inputs()]
    batches = evaluate.batches({name: inputs[name] for name in names}, size)
    return np.concatenate([session.run(None, batch)[0] for batch in batches])


def simulate(model, calib, weights, activations, scheme, step):
    size = 10 if len(calib) > 1 else 32
    feeds = list(evaluate.batches(calib, size))
    sim = QuantizationSimModel(
        onnx.load(model),
        param_type=f"int{weights}",
        activation_type=f"int{activations}",
        quant_scheme=scheme,
        config_file="default",
        session_options_kwargs={"intra_op_num_threads": 1},
    )
    if step == "seq_mse":
        apply_seq_mse(sim, feeds)
    if step == "adaround":
        apply_adaround(sim, feeds, num_iterations=300)
    sim.compute_encodings(feeds)
    # Its session reads from what the simulation owns.
    return sim


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("zoo", type=pathlib.Path)
    parser.add_argument("results", type=pathlib.Path)
    parser.add_argument("--only", type=lambda names: names.split(","), default=[])
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    results = json.loads(args.results.read_text()) if args.results.exists() else {}
    trained = args.zoo / "open" / "trained"
    for model in sorted(trained.glob("*.ts17.onnx")) + sorted((args.zoo / "minilm").glob("*.onnx")):
        family = model.name.split(".")[0]
        if args.only and family not in args.only:
            continue
        tokens = family == "minilm"
        if tokens:
            data, archive = np.load(args.zoo / "minilm" / "eval.npz"), np.load(args.zoo / "minilm" / "calib.npz")
            calib = {one: archive[one] for one in ("input_ids", "attention_mask", "token_type_ids")}
            test = {one: data[one] for one in calib}
        else:
            data = np.load(trained / ("data_mlp_cancer.npz" if family == "mlp_cancer" else "data_digits.npz"))
            calib, test = {"x": data["calib_x"].astype(np.float32)}, {"x": data["test_x"].astype(np.float32)}
        wanted = outputs(evaluate.session(model), test, 20 if tokens else 100)
        for label, weights, activations in WIDTHS:
            for scheme, step in steps(weights, tokens):
                key = f"{label} {scheme} {step}"
                if key in results.get(model.name, {}):
                    continue
                began = time.perf_counter()
                try:
                    sim = simulate(model, calib, weights, activations, scheme, step)
                    found = outputs(sim.session, test, 20 if tokens else 100)
                    row = {"db": float(10 * np.log10((wanted**2).sum() / ((wanted - found) ** 2).sum()))}
                    if tokens:
                        mask = test["attention_mask"][..., None].astype(np.float32)
                        mean = (found * mask).sum(1) / mask.sum(1) if found.ndim == 3 else found
                        float_ = data["embeddings_fp32"]
                        cosine = (mean * float_).sum(1)
                        cosine /= np.linalg.norm(mean, axis=1) * np.linalg.norm(float_, axis=1)
                        row["score"] = float(cosine.mean())
                    else:
                        row["labels"] = found.argmax(1).tolist()
                        row["score"] = float((found.argmax(1) == data["test_y"]).mean())
                except Exception as error:  # what AIMET cannot do is a result
                    row = {"error": str(error).splitlines()[0][:160] if str(error) else type(error).__name__}
                results.setdefault(model.name, {})[key] = row
                args.results.write_text(json.dumps(results) + "\n")
                told = {name: value for name, value in row.items() if name != "labels"}
                print(model.name, key, told, f"{time.perf_counter() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
