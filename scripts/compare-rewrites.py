"""Rewrites models and compares their outputs before and after in ONNX Runtime.

    cargo build --release -p marquetry
    python3 scripts/compare-rewrites.py target/release/marquetry MODEL.onnx...

Each model goes through every way in `WAYS`. What comes out must pass onnx.checker, have the same inputs
and outputs by name, and give the same outputs as before within RELATIVE of the largest element (models of
halves within RELATIVE_HALF). Beside a model, `MODEL.npz` with arrays `in:<input>` gives the inputs.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime as ort

RELATIVE = 1e-4
RELATIVE_HALF = 2e-2
WAYS = {
    "rules": ["rewrite"],
    "fuse": ["rewrite", "--fuse", "all"],
    "outline": ["outline"],
}


def load(path):
    options = ort.SessionOptions()
    options.log_severity_level = 4
    # What is compared is the model, not what the runtime makes of it.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(path, options, ["CPUExecutionProvider"])


def names(session):
    return [v.name for v in session.get_inputs()], [v.name for v in session.get_outputs()]


def distance(before, after):
    """The largest difference relative to the largest element; infinite where one is no number."""
    if before.dtype.kind not in "fc":
        return 0.0 if np.array_equal(before, after) else float("inf")
    before, after = before.astype(np.float64), after.astype(np.float64)
    if before.shape != after.shape or not np.array_equal(np.isnan(before), np.isnan(after)):
        return float("inf")
    if before.size == 0:
        return 0.0
    same = before == after
    largest = max(np.nanmax(np.abs(np.where(np.isfinite(before), before, 0))), 1e-6)
    with np.errstate(invalid="ignore"):
        return float(np.nanmax(np.where(same, 0, np.abs(before - after)))) / largest


def compare(tool, path, way, folder, expected, session):
    out = os.path.join(folder, "out.onnx")
    done = subprocess.run([tool, *WAYS[way][:1], path, *WAYS[way][1:], "-o", out, "--json"],
                          capture_output=True, text=True)
    if done.returncode != 0:
        return f"exit {done.returncode}: {done.stderr.strip()}", None
    report = json.loads(done.stdout)
    try:
        onnx.checker.check_model(out, full_check=False)
        after = load(out)
    except Exception as error:  # the checker and the runtime raise what they like
        return str(error).splitlines()[0], report
    if names(after) != names(session):
        return f"other names: {names(after)}", report
    feeds, outputs = expected
    found = after.run(None, feeds)
    far = max((distance(a, b) for a, b in zip(outputs, found)), default=0.0)
    half = "fp16" in os.path.basename(path)
    report["distance"] = far
    return (None if far <= (RELATIVE_HALF if half else RELATIVE) else f"outputs differ by {far:.1e}"), report


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tool", help="the marquetry binary")
    parser.add_argument("models", nargs="+")
    parser.add_argument("--way", choices=[*WAYS], action="append", help="these ways only")
    args = parser.parse_args()
    problems = 0
    totals = {}
    for path in args.models:
        npz = path.removesuffix(".onnx") + ".npz"
        if not os.path.exists(npz):
            continue
        data = np.load(npz)
        session = load(path)
        feeds = {key[3:]: data[key] for key in data.files if key.startswith("in:")}
        feeds = {name: feeds[name] for name in names(session)[0]}
        expected = feeds, session.run(None, feeds)
        for way in args.way or WAYS:
            with tempfile.TemporaryDirectory() as folder:
                problem, report = compare(args.tool, path, way, folder, expected, session)
            applied = {}
            for one in (report or {}).get("applied", []):
                applied[one["pattern"]] = applied.get(one["pattern"], 0) + 1
            total = totals.setdefault(way, {})
            for name, count in applied.items():
                total[name] = total.get(name, 0) + count
            nodes = (report or {}).get("nodes", {})
            print(f"{os.path.basename(path)[:-5]:30} {way:8} {nodes.get('before', '?'):>6} -> "
                  f"{nodes.get('after', '?'):>6} {(report or {}).get('distance', float('nan')):8.1e} "
                  f"{' '.join(f'{n}:{c}' for n, c in sorted(applied.items()))}")
            if problem:
                problems += 1
                print(f"  WRONG: {problem}")
            sys.stdout.flush()
    for way, total in totals.items():
        print(f"{way}: {sum(total.values())} applied: {dict(sorted(total.items()))}")
    print(f"{problems} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
