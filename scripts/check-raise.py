#!/usr/bin/env python3
"""Whether models compute the same after their opset was raised, and whether ONNX Runtime loads them.

    scripts/check-raise.py MARQUETRY FOLDER [--to 21,24]

FOLDER holds `NAME.onnx` with `NAME.npz` (`in:<input>` for each input). Every model of an older opset is
brought to each of the newer ones by `marquetry rewrite --raise-opset`, with a rule that never matches, and
run beside the original without optimizations. Prints a line for each that differs by more than 1e-5 of
the largest output, is refused or is not loaded, and a count; fails where there is one.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

TOLERANCE = 1e-5
NEVER = "rule never: Acosh(Acosh(Acosh(x))) ~> x\n"


def run(path: Path, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session.run(None, {value.name: feeds[value.name] for value in session.get_inputs()})


def opset(path: Path) -> int:
    model = onnx.load(path, load_external_data=False)
    return next(one.version for one in model.opset_import if one.domain in ("", "ai.onnx"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("marquetry", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--to", default="21,24")
    args = parser.parse_args()
    same, wrong = 0, 0
    with tempfile.TemporaryDirectory() as scratch:
        raised, never = Path(scratch) / "raised.onnx", Path(scratch) / "never.pat"
        never.write_text(NEVER)
        for path in sorted(args.folder.glob("*.onnx")):
            data = path.with_suffix(".npz")
            if not data.exists():
                continue
            arrays = np.load(data)
            feeds = {name[3:]: arrays[name] for name in arrays.files if name.startswith("in:")}
            before = run(path, feeds)
            for to in (int(to) for to in args.to.split(",")):
                if opset(path) >= to:
                    continue
                command = [args.marquetry, "rewrite", path, "-o", raised, "-p", never]
                command += ["--raise-opset", to]
                ended = subprocess.run([str(word) for word in command], capture_output=True, text=True)
                what = ended.stderr.strip() if ended.returncode else ""
                if not what:
                    try:
                        after = run(raised, feeds)
                        pairs = [(a.astype(np.float64), b.astype(np.float64)) for a, b in zip(before, after) if a.size]
                        off = max((np.abs(a - b).max() for a, b in pairs), default=0.0)
                        largest = max((np.abs(a).max() for a, _ in pairs), default=0.0)
                        if not off <= TOLERANCE * max(largest, 1.0):
                            what = f"off by {off:.3g}"
                    except Exception as error:  # ONNX Runtime has no common type of errors
                        what = str(error)
                same, wrong = (same, wrong + 1) if what else (same + 1, wrong)
                if what:
                    print(f"{path.name} to {to}: {what}")
    print(f"{same} compute the same, {wrong} do not")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
