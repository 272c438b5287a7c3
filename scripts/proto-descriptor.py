"""Prints every message, field and enum of the ONNX format as the installed `onnx` package knows it.

One line per fact, so that a new release of ONNX shows as a diff:

    python scripts/proto-descriptor.py > tests/fixtures/onnx/descriptor.txt

The table in `crates/ir/src/onnx/fields.rs` is tested against that file.
"""

import onnx
from google.protobuf.descriptor import FieldDescriptor

TYPE_NAMES = {
    number: name.removeprefix("TYPE_").lower()
    for name, number in vars(FieldDescriptor).items()
    if name.startswith("TYPE_")
}


def local_name(descriptor):
    return descriptor.full_name.removeprefix("onnx.")


def field_line(field):
    if field.message_type is not None:
        type_name = local_name(field.message_type)
    elif field.enum_type is not None:
        type_name = f"enum {local_name(field.enum_type)}"
    else:
        type_name = TYPE_NAMES[field.type]
    label = "repeated" if field.is_repeated else "optional"
    assert not field.is_required
    packed = " packed" if field.is_repeated and field.GetOptions().packed else ""
    oneof = f" oneof {field.containing_oneof.name}" if field.containing_oneof else ""
    return f"  {field.number} {field.name} {label} {type_name}{packed}{oneof}"


def print_enum(descriptor):
    print(f"enum {local_name(descriptor)}")
    for value in sorted(descriptor.values, key=lambda value: value.number):
        print(f"  {value.number} {value.name}")


def print_message(descriptor):
    print(f"message {local_name(descriptor)}")
    for field in sorted(descriptor.fields, key=lambda field: field.number):
        print(field_line(field))
    for nested in sorted(descriptor.nested_types, key=lambda nested: nested.name):
        print_message(nested)
    for enum in sorted(descriptor.enum_types, key=lambda enum: enum.name):
        print_enum(enum)


def main():
    file = onnx.ModelProto.DESCRIPTOR.file
    print(f"onnx {onnx.__version__}")
    for _, message in sorted(file.message_types_by_name.items()):
        print_message(message)
    for _, enum in sorted(file.enum_types_by_name.items()):
        print_enum(enum)


if __name__ == "__main__":
    main()
