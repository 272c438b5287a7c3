#!/usr/bin/env python3
"""Does ten tasks twice, with the tools that people use for them and with ours, and writes the page.

    run.py MARQUETRY [--rounds N]

A task is a pair of files here: `NN-name.py` is their way, its first line says whose and what for, and
`NN-name.sh` is ours. Both run in one folder with the models and samples of `examples/digits`, on one
core, in turns. Seconds are those of the processor, user and system, with all that is loaded; medians.
Lines are those that are neither empty nor a comment. Needs onnx, onnxruntime, onnxscript and
aimet_onnx. Writes docs/src/ten-tasks.md.
"""

import argparse
import importlib.metadata
import os
import pathlib
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent.parent
PAGE = ROOT / "docs/src/ten-tasks.md"
PREPARE = "marquetry quantize cnn.onnx --calib calib.npz -o cnn.int8.onnx --encodings cnn.encodings"

HEAD = """\
# Ten tasks, two ways

What people do every day with aimet_onnx, onnxruntime.quantization and onnxscript, done with them and with Marquetry.
The scripts are [here](https://github.com/marquetry/marquetry/tree/main/scripts/peers/tasks); the tests of the project run our side as it stands on this page.

Seconds are those of the processor on one core, with everything that is loaded, and medians of {rounds} runs in turns; small models were taken on purpose, because that is where most of a day goes.
For large ones see [other quantizers](peers-accuracy.md) and [other matchers](peers-patterns.md).
Lines are those that are neither empty nor a comment.
What Python has to load is part of what one waits for: 5.4 s of each figure of aimet_onnx, 0.3 s of onnxruntime.quantization, 0.8 s of onnxscript, on the machine that this was measured on.
In the last task onnxscript does more: it folds whatever is constant and makes initializers of `Constant` nodes, of which the model has 117; our rules leave those where they are.
Versions: {versions}; Python {python}.

{table}
Both sides start from these files of `examples/digits`, and from what this makes of them:

```sh
{prepare}
```
"""


def lines(path):
    kept = [line for line in path.read_text().splitlines() if line.strip() and not line.startswith("#")]
    return len(kept)


def seconds(command, folder, path):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    env = {**os.environ, "PATH": f"{path}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    run = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    if run.returncode != 0:
        sys.exit(f"{command}:\n{run.stdout}\n{run.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def result(name, folder, whose):
    """What came out, where that can be said in a word."""
    import numpy
    import onnx
    import onnxruntime

    path = folder / f"{whose}.onnx"
    if name in ("08-rule", "10-cleanup"):
        return f"{len(onnx.load(path).graph.node)} nodes"
    if name in ("05-static", "06-percentile"):
        data = numpy.load(folder / "test.npz")
        right, made = (
            onnxruntime.InferenceSession(model).run(None, {"x": data["x"]})[0] for model in (folder / "cnn.onnx", path)
        )
        return f"{10 * numpy.log10((right**2).mean() / ((right - made) ** 2).mean()):.1f} dB"
    return ""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("marquetry", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    binary = args.marquetry.resolve().parent
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    rows, sections = [], []
    with tempfile.TemporaryDirectory() as place:
        folder = pathlib.Path(place)
        shutil.copytree(ROOT / "examples/digits", folder, dirs_exist_ok=True)
        seconds(["sh", "-c", PREPARE], folder, binary)
        seconds([sys.executable, HERE / "05-static.py"], folder, binary)
        shutil.copy(folder / "theirs.onnx", folder / "theirs.int8.onnx")
        for number, theirs in enumerate(sorted(HERE.glob("[0-9]*.py")), 1):
            ours = theirs.with_suffix(".sh")
            whose, what = theirs.read_text().splitlines()[0].removeprefix("# ").split(": ", 1)
            measured = {theirs: [], ours: []}
            for _ in range(args.rounds):
                measured[theirs].append(seconds([sys.executable, theirs], folder, binary))
                measured[ours].append(seconds(["sh", ours], folder, binary))
            made = [result(theirs.stem, folder, side) for side in ("theirs", "ours")]
            times = [statistics.median(measured[side]) for side in (theirs, ours)]
            title = what.rstrip(".")
            rows.append(
                f"| [{title}](#{number}-{anchor(title)}) | {whose} | {lines(theirs)} | {times[0]:.2f} | "
                f"{lines(ours)} | {times[1]:.2f} | {times[0] / times[1]:.0f}× | {' / '.join(filter(None, made))} |"
            )
            print(rows[-1], file=sys.stderr)
            body = "\n".join(theirs.read_text().splitlines()[1:])
            sections.append(
                f"\n## {number}. {title}\n\n{whose}:\n\n```python\n{body}\n```\n\nMarquetry:\n\n"
                f"```sh\n{ours.read_text().rstrip()}\n```\n"
            )
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}" for name in ("aimet-onnx", "onnxruntime", "onnxscript", "onnx")
    )
    table = "| task | theirs | lines | s | our lines | s | faster | what came out, theirs / ours |\n|---|---|---|---|---|---|---|---|\n"
    table += "".join(f"{row}\n" for row in rows)
    head = HEAD.format(
        rounds=args.rounds, versions=versions, python=sys.version.split()[0], table=table, prepare=PREPARE
    )
    PAGE.write_text(head + "".join(sections))


def anchor(title):
    kept = "".join(c for c in title.lower() if c.isalnum() or c in " -")
    return kept.replace(" ", "-")


if __name__ == "__main__":
    main()
