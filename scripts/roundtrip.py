"""Reads models with Marquetry, writes them again, and compares the two with the official package.

    cargo build -p marquetry-ir --example roundtrip
    python scripts/roundtrip.py target/debug/examples/roundtrip FOLDER...

Every `.onnx` file below the folders goes through. The written file must parse to the same message
as the original, field by field, after the liberties that the documentation of `marquetry_ir::onnx`
lists are taken out of both; external data must hold the same bytes. With `--ort`, ONNX Runtime
must load what was written if it loads the original.
"""

import argparse
import collections
import pathlib
import subprocess
import sys
import tempfile

import onnx
from google.protobuf.descriptor import FieldDescriptor

# Text and enumerations whose empty form means the same as their absence.
DEFAULTS = {
    ("TensorProto", "data_location"): 0,
    ("Tensor", "elem_type"): 0,
}

ZEROS = {1: "f", 2: "i", 3: "s"}


def normalize(message, taken):
    """Takes out of a message the liberties that writing has; counts them in `taken`."""
    name = message.DESCRIPTOR.name
    for field, value in message.ListFields():
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            for item in value if field.is_repeated else [value]:
                normalize(item, taken)
        elif field.is_repeated or field.containing_oneof:
            continue
        elif field.type == FieldDescriptor.TYPE_STRING and value == "":
            taken[f"empty {name}.{field.name}"] += 1
            message.ClearField(field.name)
        elif DEFAULTS.get((name, field.name)) == value:
            taken[f"default {name}.{field.name}"] += 1
            message.ClearField(field.name)
    if name == "AttributeProto" and message.type in ZEROS and not message.ref_attr_name:
        field = ZEROS[message.type]
        if not message.HasField(field):
            taken[f"zero {name}.{field}"] += 1
            setattr(message, field, getattr(message, field))
    if name == "TensorProto":
        entries = {entry.key: entry.value for entry in message.external_data}
        del message.external_data[:]
        for key in sorted(entries):
            message.external_data.add(key=key, value=entries[key])


def external_tensors(message):
    """All tensors of a message whose content is in another file, in order."""
    if message.DESCRIPTOR.name == "TensorProto":
        if message.data_location == onnx.TensorProto.EXTERNAL:
            yield message
        return
    for field, value in message.ListFields():
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            for item in value if field.is_repeated else [value]:
                yield from external_tensors(item)


def external_bytes(tensor, folder):
    entries = {entry.key: entry.value for entry in tensor.external_data}
    with open(folder / entries["location"], "rb") as file:
        file.seek(int(entries.get("offset", 0)))
        return file.read(int(entries["length"])) if "length" in entries else file.read()


def first_difference(one, other, path=""):
    """Names the first field in which two messages differ."""
    names = [field.name for field in one.DESCRIPTOR.fields]
    for name in names:
        field = one.DESCRIPTOR.fields_by_name[name]
        here = f"{path}.{name}" if path else name
        if field.is_repeated:
            left, right = getattr(one, name), getattr(other, name)
            if len(left) != len(right):
                return f"{here}: {len(left)} against {len(right)} entries"
            for index, (a, b) in enumerate(zip(left, right)):
                if field.type == FieldDescriptor.TYPE_MESSAGE:
                    found = first_difference(a, b, f"{here}[{index}]")
                    if found:
                        return found
                elif a != b and not (a != a and b != b):
                    return f"{here}[{index}]: {a!r} against {b!r}"
        elif one.HasField(name) != other.HasField(name):
            return f"{here}: only in {'the original' if one.HasField(name) else 'the copy'}"
        elif field.type == FieldDescriptor.TYPE_MESSAGE and one.HasField(name):
            found = first_difference(getattr(one, name), getattr(other, name), here)
            if found:
                return found
        elif getattr(one, name) != getattr(other, name):
            a, b = getattr(one, name), getattr(other, name)
            if not (a != a and b != b):
                return f"{here}: {str(a)[:80]!r} against {str(b)[:80]!r}"
    return None


def compare(source, copy, taken, exact):
    one, other = onnx.ModelProto(), onnx.ModelProto()
    one.ParseFromString(source.read_bytes())
    other.ParseFromString(copy.read_bytes())
    if one.SerializeToString(deterministic=True) == other.SerializeToString(deterministic=True):
        exact.append(source)
    else:
        normalize(one, taken)
        normalize(other, collections.Counter())
        if one.SerializeToString(deterministic=True) != other.SerializeToString(deterministic=True):
            return first_difference(one, other) or "the bytes differ, but no field does"
    pairs = zip(external_tensors(one), external_tensors(other), strict=True)
    for before, after in pairs:
        if external_bytes(before, source.parent) != external_bytes(after, copy.parent):
            return f"external data of {before.name!r} differs"
    return None


def loads(path):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        return None
    except Exception as error:  # whatever it says, the original is the measure
        return str(error)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("folders", nargs="+", type=pathlib.Path)
    parser.add_argument("--ort", action="store_true")
    arguments = parser.parse_args()
    sources = [path for folder in arguments.folders for path in sorted(folder.rglob("*.onnx"))]
    taken, exact, faults, loaded = collections.Counter(), [], [], 0
    with tempfile.TemporaryDirectory() as work:
        copies = []
        for index, source in enumerate(sources):
            folder = pathlib.Path(work, str(index))
            folder.mkdir()
            copies.append(folder / source.name)
        for start in range(0, len(sources), 100):
            pairs = zip(sources[start : start + 100], copies[start : start + 100])
            command = [arguments.program, *(str(path) for pair in pairs for path in pair)]
            run = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
            faults += [line for line in run.stderr.splitlines() if line]
        for source, copy in zip(sources, copies):
            if not copy.exists():
                continue
            difference = compare(source, copy, taken, exact)
            if difference:
                faults.append(f"{source}: {difference}")
            elif arguments.ort:
                before, after = loads(source), loads(copy)
                loaded += after is None
                if before is None and after is not None:
                    faults.append(f"{source}: ONNX Runtime refuses the copy: {after}")
    for fault in faults:
        print(fault)
    for liberty, count in sorted(taken.items()):
        print(f"liberty: {liberty}: {count}")
    if arguments.ort:
        print(f"{loaded} of the copies load in ONNX Runtime")
    print(f"{len(sources)} models, {len(exact)} equal as they are, {len(faults)} faults")
    return 1 if faults or not sources else 0


if __name__ == "__main__":
    sys.exit(main())
