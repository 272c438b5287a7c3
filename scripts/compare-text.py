"""Compares Marquetry's text with that of the official package, model by model.

    cargo build -p marquetry-ir --example text
    python scripts/compare-text.py target/debug/examples/text FOLDER...

For every `.onnx` file below the folders:

1. what we print with `official` are the bytes of `onnx.printer`;
2. what we parse from these bytes is what `onnx.parser` parses, up to the field that holds a tensor;
3. what we print in our own layout, parsed and written, is the model we started from, after the
   liberties that `scripts/roundtrip.py` takes out of both;
4. `onnx.parser` reads our own layout too, where it has a syntax for the content.

Texts that the official parser refuses, although its printer wrote them, are counted.
"""

import argparse
import collections
import importlib.util
import pathlib
import subprocess
import tempfile

import onnx
import onnx.numpy_helper
import onnx.parser
import onnx.printer

BATCH = 50


def load_roundtrip():
    path = pathlib.Path(__file__).with_name("roundtrip.py")
    spec = importlib.util.spec_from_file_location("roundtrip", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(program, mode, pairs):
    """Runs the example over pairs of paths; returns what it complains about, by input."""
    complaints = {}
    for start in range(0, len(pairs), BATCH):
        batch = pairs[start : start + BATCH]
        command = [program, mode, *(str(path) for pair in batch for path in pair)]
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
        for line in done.stderr.splitlines():
            for source, _ in batch:
                if line.startswith(f"{source}: "):
                    complaints[source] = line[len(str(source)) + 2 :]
        if done.returncode not in (0, 1):
            raise SystemExit(f"{mode}: {done.stderr}")
    return complaints


def to_raw(message):
    """Moves the content of every tensor to `raw_data`."""
    if message.DESCRIPTOR.name == "TensorProto":
        if message.data_type != onnx.TensorProto.STRING and not message.external_data:
            array = onnx.numpy_helper.to_array(message)
            for field in ("float", "int32", "int64", "double", "uint64"):
                message.ClearField(f"{field}_data")
            message.raw_data = array.tobytes()
        return
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for item in value if field.is_repeated else [value]:
                to_raw(item)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("folders", nargs="+", type=pathlib.Path)
    parser.add_argument("--most", type=float, default=20, help="skip files above this many MB")
    arguments = parser.parse_args()
    roundtrip = load_roundtrip()
    found = [path for folder in arguments.folders for path in sorted(folder.rglob("*.onnx"))]
    sources = [path for path in found if path.stat().st_size <= arguments.most * 1e6]
    counts = collections.Counter({"skipped for their size": len(found) - len(sources)})
    faults = []
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        folder = {source: work / str(index) for index, source in enumerate(sources)}
        for source in sources:
            folder[source].mkdir()

        def stage(mode, source, target, among):
            pairs = [(source(path), target(path)) for path in among]
            complaints = run(arguments.program, mode, pairs)
            faults.extend(f"{mode}: {path}: {what}" for path, what in complaints.items())
            return [path for path in among if source(path) not in complaints]

        official = lambda path: folder[path] / "official.txt"
        upstream = lambda path: folder[path] / "upstream.txt"
        parsed = lambda path: folder[path] / "parsed.onnx"
        ours = lambda path: folder[path] / "ours.txt"
        copy = lambda path: folder[path] / "copy.onnx"

        readable = []
        for path in stage("official", lambda path: path, official, sources):
            counts["printed officially"] += 1
            model = onnx.load(path, load_external_data=False)
            text = onnx.printer.to_text(model)
            upstream(path).write_text(text, encoding="utf-8", newline="")
            if official(path).read_bytes() == upstream(path).read_bytes():
                counts["1. equal bytes"] += 1
            else:
                faults.append(f"official: {path}: the bytes differ")
            if any(True for _ in roundtrip.external_tensors(model)):
                counts["with content in other files, which text does not bring"] += 1
                continue
            try:
                onnx.parser.parse_model(text)
                readable.append(path)
            except Exception:
                counts["official text that onnx.parser refuses"] += 1
        for path in stage("parse", upstream, parsed, readable):
            theirs = onnx.parser.parse_model(upstream(path).read_text(encoding="utf-8"))
            mine = onnx.load(parsed(path))
            for model in (theirs, mine):
                roundtrip.normalize(model, collections.Counter())
                try:
                    to_raw(model)
                except Exception as error:
                    counts[f"tensors that onnx.numpy_helper refuses ({error})"] += 1
            difference = roundtrip.first_difference(theirs, mine)
            if difference:
                faults.append(f"parse: {path}: {difference}")
            else:
                counts["2. parsed like onnx.parser"] += 1
        for path in stage("ours", lambda path: path, ours, sources):
            counts["parsed back from our layout"] += 1
            try:
                onnx.parser.parse_model(ours(path).read_text(encoding="utf-8"))
                counts["4. our layout that onnx.parser reads"] += 1
            except Exception as error:
                reason = str(error).strip().splitlines()[-1]
                counts[f"our layout that it refuses: {reason}"] += 1
        inline = [
            path
            for path in sources
            if ours(path).exists() and "external: [" not in ours(path).read_text(encoding="utf-8")
        ]
        for path in stage("parse", ours, copy, inline):
            difference = roundtrip.compare(path, copy(path), collections.Counter(), [])
            if difference:
                faults.append(f"ours: {path}: {difference}")
            else:
                counts["3. equal after print, parse and write"] += 1
    for fault in faults:
        print(fault)
    print(f"{len(sources)} models")
    for what, count in sorted(counts.items()):
        print(f"{count:6} {what}")
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
