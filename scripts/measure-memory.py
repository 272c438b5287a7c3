#!/usr/bin/env python3
"""Peak memory of `marquetry quantize` with few and with many samples.

    scripts/measure-memory.py MARQUETRY ZOO [--few 10] [--many 1000] [--models cnn,vit,minilm] [--quick]

Samples are those of the zoo, repeated, in an uncompressed `.npz` that is written to a temporary folder
and is itself no small part of the disk. Each run is a process of its own, and what is printed is the
largest resident set that the system saw of it (`ru_maxrss`), in MiB, and the seconds that went by: files
that are mapped count where their pages were touched and not taken back. A table in Markdown.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

import peak

WAYS = {
    "8 bits": [],
    "8 bits, entropy": ["--scheme", "entropy"],
    "4 bits": ["--weights", "int4"],
    "4 bits, blocks": ["--weights", "int4", "--granularity", "block:32"],
}


def sources(zoo: Path) -> dict[str, tuple[Path, dict[str, np.ndarray]]]:
    """Models with the samples of the zoo: arrays by input."""
    digits = np.load(zoo / "open/trained/data_digits.npz")["calib_x"]
    sentences = np.load(zoo / "minilm/calib.npz")
    names = ["input_ids", "attention_mask", "token_type_ids"]
    return {
        "cnn": (zoo / "open/trained/cnn.ts17.onnx", {"x": digits}),
        "vit": (zoo / "open/trained/vit.ts17.onnx", {"x": digits}),
        "minilm": (
            zoo / "minilm/minilm.ts14.onnx",
            {name: sentences[name] for name in names if name in sentences.files},
        ),
    }


def repeated(arrays: dict[str, np.ndarray], count: int) -> dict[str, np.ndarray]:
    return {
        name: np.concatenate([array] * (count // len(array) + 1))[:count]
        for name, array in arrays.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("marquetry", type=Path)
    parser.add_argument("zoo", type=Path)
    parser.add_argument("--few", type=int, default=10)
    parser.add_argument("--many", type=int, default=1000)
    parser.add_argument("--models", default="cnn,vit,minilm")
    parser.add_argument("--ways", default=",".join(("8 bits", "4 bits")))
    args = parser.parse_args()
    models = sources(args.zoo)
    print(f"| model | | {args.few} samples | {args.many} samples | seconds |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name in args.models.split(","):
            model, arrays = models[name]
            for way in args.ways.split(","):
                found = []
                for count in (args.few, args.many):
                    data = Path(folder) / f"{count}.npz"
                    np.savez(data, **repeated(arrays, count))
                    output = Path(folder) / "out.onnx"
                    command = [args.marquetry, "quantize", model, "--calib", data, "-o", output]
                    found.append(peak.run(command + WAYS[way]))
                    data.unlink()
                (_, few), (seconds, many) = found
                print(f"| `{name}` | {way} | {few:.0f} MiB | {many:.0f} MiB | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
