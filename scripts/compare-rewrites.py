"""Rewrites models and compares their outputs before and after in ONNX Runtime.

    cargo build --release -p marquetry
    python3 scripts/compare-rewrites.py target/release/marquetry MODEL.onnx...

Each model goes through every way in `WAYS`. What comes out must pass onnx.checker, have the same inputs
and outputs by name, and give the same outputs as before within RELATIVE of the largest element (models of
halves within RELATIVE_HALF). Beside a model, `MODEL.npz` with arrays `in:<input>` gives the inputs.

Fusions are made in the newest opset of `RAISED` that the operators of the model allow, in the model's own
otherwise: the newer, the more operators there are to fuse to. An operator that this runtime lacks is no fault of the
rewrite; such models are counted as not run.

With `--sample` a family of models (`NAME` in `NAME.VARIANT.onnx`) goes through `rules` and `fuse` once for
each exporter only; all go through `outline`. What is left out is printed.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time

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
SAMPLED = {"rules", "fuse"}
# Those that brought operators to fuse to.
RAISED = ["23", "21", "20", "17"]
# How the runtime says that an operator is valid, but not there.
LACKING = re.compile("NOT_IMPLEMENTED|Could not find an implementation for|No Op registered for")


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
    if before.dtype != after.dtype:
        return float("inf")
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


def newest(tool, path, folder):
    """The option that raises the opset as far as the operators of the model allow."""
    # A library of one rule is read sooner than the shipped one.
    patterns = os.path.join(folder, "one.pat")
    with open(patterns, "w") as file:
        file.write("rule drop_identity: Identity(x) ~> x\n")
    for opset in RAISED:
        option = ["--raise-opset", opset]
        tried = subprocess.run([tool, "rewrite", path, "-p", patterns, *option, "--dry-run"],
                               capture_output=True, text=True)
        if "opset_not_raised" not in tried.stderr:
            return option
    return []


def rewrite(tool, path, way, out, *more):
    """Runs the verb of a way."""
    command = [tool, *WAYS[way][:1], path, *WAYS[way][1:], *more, "-o", out, "--json"]
    return subprocess.run(command, capture_output=True, text=True)


def compare(tool, path, way, folder, expected, session):
    out = os.path.join(folder, "out.onnx")
    done = rewrite(tool, path, way, out, *(newest(tool, path, folder) if way == "fuse" else []))
    # 1 says that all was refused; the model is written as it was, and compared like any other.
    report = json.loads(done.stdout) if done.returncode in (0, 1) and done.stdout else None
    if report is None or (done.returncode == 1) != bool(report["refused"] and not report["applied"]):
        return f"exit {done.returncode}: {done.stderr.strip()}", report
    try:
        onnx.checker.check_model(out, full_check=False)
    except Exception as error:  # the checker raises what it likes
        return f"onnx.checker: {str(error).splitlines()[0]}", report
    try:
        after = load(out)
    except Exception as error:  # and so does the runtime
        line = str(error).splitlines()[0]
        if LACKING.search(line):
            report["not_run"] = line
            return None, report
        return line, report
    if names(after) != names(session):
        return f"other names: {names(after)}", report
    feeds, outputs = expected
    try:
        found = after.run(None, feeds)
    except Exception as error:
        return str(error).splitlines()[0], report
    far = max((distance(a, b) for a, b in zip(outputs, found)), default=0.0)
    half = "fp16" in os.path.basename(path)
    report["distance"] = far
    return (None if far <= (RELATIVE_HALF if half else RELATIVE) else f"outputs differ by {far:.1e}"), report


def sample(paths):
    """For each family and exporter the first model."""
    chosen = {}
    for path in paths:
        family, _, variant = os.path.basename(path)[:-5].partition(".")
        exporter = re.match("[a-z]*", variant).group()
        chosen.setdefault((family, exporter, "fp16" in variant), path)
    return set(chosen.values())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tool", help="the marquetry binary")
    parser.add_argument("models", nargs="+")
    parser.add_argument("--way", choices=[*WAYS], action="append", help="these ways only")
    parser.add_argument("--sample", action="store_true", help="each family once per exporter")
    parser.add_argument("--largest", type=float, metavar="MB", help="leaves out larger files")
    args = parser.parse_args()
    started = time.monotonic()
    problems = 0
    totals, worst, runs, not_run, left_out = {}, {}, {}, {}, []
    sampled = sample(args.models) if args.sample else set(args.models)
    for path in args.models:
        npz = path.removesuffix(".onnx") + ".npz"
        name = os.path.basename(path)[:-5]
        if not os.path.exists(npz):
            left_out.append(f"{name} (no inputs)")
            continue
        if args.largest and os.path.getsize(path) > args.largest * 1e6:
            left_out.append(f"{name} (large)")
            continue
        data = np.load(npz)
        session = load(path)
        feeds = {key[3:]: data[key] for key in data.files if key.startswith("in:")}
        feeds = {name: feeds[name] for name in names(session)[0]}
        expected = feeds, session.run(None, feeds)
        for way in args.way or WAYS:
            if way in SAMPLED and path not in sampled:
                left_out.append(f"{name} {way}")
                continue
            runs[way] = runs.get(way, 0) + 1
            with tempfile.TemporaryDirectory() as folder:
                problem, report = compare(args.tool, path, way, folder, expected, session)
            applied = {}
            for one in (report or {}).get("applied", []):
                applied[one["pattern"]] = applied.get(one["pattern"], 0) + 1
            total = totals.setdefault(way, {})
            for pattern, count in applied.items():
                total[pattern] = total.get(pattern, 0) + count
            nodes = (report or {}).get("nodes", {})
            if "distance" in (report or {}):
                kind = way, "halves" if "fp16" in name else "floats"
                worst[kind] = max(worst.get(kind, (0.0, "none")), (report["distance"], name))
            if "not_run" in (report or {}):
                reason = report["not_run"]
                not_run.setdefault((way, reason), []).append(name)
            print(f"{name:30} {way:8} {nodes.get('before', '?'):>6} -> "
                  f"{nodes.get('after', '?'):>6} {(report or {}).get('distance', float('nan')):8.1e} "
                  f"{' '.join(f'{n}:{c}' for n, c in sorted(applied.items()))}")
            if problem:
                problems += 1
                print(f"  WRONG: {name} {way}: {problem}")
            sys.stdout.flush()
    if left_out:
        print(f"left out: {', '.join(left_out)}")
    for (way, reason), models in not_run.items():
        print(f"{way} not run, {reason}: {', '.join(models)}")
    for way, total in totals.items():
        print(f"{way}: {sum(total.values())} applied: {dict(sorted(total.items()))}")
        count = sum(len(models) for (of, _), models in not_run.items() if of == way)
        far = (f"{kind} {far:.1e} ({name})" for (of, kind), (far, name) in worst.items() if of == way)
        print(f"{way}: {runs[way]} models, {count} not run, worst difference: {', '.join(far)}")
    print(f"{problems} problems in {time.monotonic() - started:.0f}s")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
