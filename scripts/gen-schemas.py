"""Writes the operator table of `marquetry-ir` from the installed `onnx` package.

    python3 scripts/gen-schemas.py > crates/ir/src/schema/standard.txt

Every version of every operator is one block of lines; the first character of a
line says what it is:

    # comment
    = a set of types, numbered in order of appearance: ONNX element type codes
      of plain tensors, then type names of everything else
    : a domain
    ! operator, since_version [, "deprecated"]
    < input   name, type        name prefix `?` optional, `*` variadic,
    > output  name, type        `*N` variadic with at least N, `~` variadic of mixed types
    - attribute name, kind [, default]   name prefix `+`: required
    @ type variable, number of its set of types

A type that is no variable is written as `=N`, the number of a set.
Strings are quoted; no name in the table contains a blank.
"""

import sys

import numpy as np
import onnx

KINDS = {
    onnx.AttributeProto.FLOAT: "float", onnx.AttributeProto.INT: "int",
    onnx.AttributeProto.STRING: "string", onnx.AttributeProto.TENSOR: "tensor",
    onnx.AttributeProto.GRAPH: "graph", onnx.AttributeProto.SPARSE_TENSOR: "sparse_tensor",
    onnx.AttributeProto.TYPE_PROTO: "type_proto", onnx.AttributeProto.FLOATS: "floats",
    onnx.AttributeProto.INTS: "ints", onnx.AttributeProto.STRINGS: "strings",
    onnx.AttributeProto.TENSORS: "tensors", onnx.AttributeProto.GRAPHS: "graphs",
    onnx.AttributeProto.SPARSE_TENSORS: "sparse_tensors",
    onnx.AttributeProto.TYPE_PROTOS: "type_protos",
}


def float_text(value):
    return np.format_float_scientific(np.float32(value), trim="-", exp_digits=1)


def string_text(value):
    return '"' + value.decode().replace("\\", "\\\\").replace('"', '\\"') + '"'


def default_text(attribute):
    kind = attribute.type
    if kind == onnx.AttributeProto.INT:
        return str(attribute.i)
    if kind == onnx.AttributeProto.FLOAT:
        return float_text(attribute.f)
    if kind == onnx.AttributeProto.STRING:
        return string_text(attribute.s)
    if kind == onnx.AttributeProto.INTS:
        return "[" + ",".join(map(str, attribute.ints)) + "]"
    if kind == onnx.AttributeProto.FLOATS:
        return "[" + ",".join(map(float_text, attribute.floats)) + "]"
    if kind == onnx.AttributeProto.STRINGS:
        return "[" + ",".join(map(string_text, attribute.strings)) + "]"
    return None


class Sets:
    def __init__(self):
        self.numbers, self.lines = {}, []

    def number(self, types):
        codes, others = set(), set()
        for name in types:
            inner = name.removeprefix("tensor(").removesuffix(")")
            code = onnx.TensorProto.DataType.keys()
            if name.startswith("tensor(") and inner.upper() in code:
                codes.add(onnx.TensorProto.DataType.Value(inner.upper()))
            else:
                others.add(name.replace(" ", ""))
        key = " ".join([*map(str, sorted(codes)), *sorted(others)])
        if key not in self.numbers:
            self.numbers[key] = len(self.numbers)
            self.lines.append("=" + key)
        return self.numbers[key]


def formal_line(mark, formal, variables, sets):
    option = onnx.defs.OpSchema.FormalParameterOption
    prefix = ""
    if formal.option == option.Optional:
        prefix = "?"
    elif formal.option == option.Variadic:
        prefix = ("*" if formal.is_homogeneous else "~") + (
            str(formal.min_arity) if formal.min_arity != 1 else ""
        ) + ":"
    kind = formal.type_str if formal.type_str in variables else f"={sets.number(formal.types)}"
    return f"{mark}{prefix}{formal.name} {kind}"


def main():
    schemas = sorted(
        onnx.defs.get_all_schemas_with_history(),
        key=lambda s: (s.domain, s.name, s.since_version),
    )
    sets, lines, domain = Sets(), [], None
    for schema in schemas:
        if schema.domain != domain:
            domain = schema.domain
            lines.append(f":{domain}")
        lines.append(
            f"!{schema.name} {schema.since_version}" + (" deprecated" if schema.deprecated else "")
        )
        variables = {c.type_param_str: sets.number(c.allowed_type_strs) for c in schema.type_constraints}
        lines += [formal_line("<", f, variables, sets) for f in schema.inputs]
        lines += [formal_line(">", f, variables, sets) for f in schema.outputs]
        for name in sorted(schema.attributes):
            attribute = schema.attributes[name]
            mark = "+" if attribute.required else ""
            kind = KINDS[attribute.type.value]
            default = default_text(attribute.default_value)
            if attribute.default_value.type and default is None:
                print(f"{schema.name} {name}: default of kind {kind} is not written", file=sys.stderr)
            lines.append(f"-{mark}{name} {kind}" + (f" {default}" if default is not None else ""))
        lines += [f"@{name} {number}" for name, number in variables.items()]
    print(f"# Written by scripts/gen-schemas.py from onnx {onnx.__version__}, opset {onnx.defs.onnx_opset_version()}.")
    print("\n".join(sets.lines + lines))


if __name__ == "__main__":
    main()
