#!/usr/bin/env python3
"""Writes docs/src/peers-patterns.md: what others find in the same graphs, beside what we find.

    compare-peers.py ZOO [--marquetry BINARY] [--tools TOOL,..] [--files SUBSTRING] [--nodes N]

ZOO is a folder with graphs/*.onnx, patterns_truth/truth.json, and baseline.json, what others measured
with the same tools. What was measured is kept in docs/src/peers-patterns.json, by tool and file, and only
what is missing there is measured; where neither is at hand, the baseline counts. The table is written
from it. Needs `pip install -r requirements.txt` for onnxscript and onnxruntime, and
`cargo build --release -p marquetry` for ours. AIMET is not installed: scripts/peers/aimet.pat says
what its passes look for.
"""
import argparse
import collections
import json
import multiprocessing
import pathlib
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
DOCS = HERE.parent / "docs/src"
KEPT, TABLE = DOCS / "peers-patterns.json", DOCS / "peers-patterns.md"

# Row of the truth: the operators of others that mean it, and our patterns.
ROWS = {
    "layer_norm": (["LayerNormalization", "SkipLayerNormalization", "EmbedLayerNormalization"], ["LayerNorm", "LayerNormOuterEps"]),
    "rms_norm": (["RMSNormalization", "SimplifiedLayerNormalization", "SkipSimplifiedLayerNormalization"], ["RmsNorm", "RmsNormL2"]),
    "group_norm": (["GroupNormalization", "GroupNorm", "SkipGroupNorm"], ["GroupNorm"]),
    "instance_norm": (["InstanceNormalization"], ["InstanceNorm"]),
    "gelu_erf": (["Gelu", "BiasGelu"], ["Gelu"]),
    "gelu_tanh": (["FastGelu", "Gelu:tanh"], ["GeluTanh"]),
    "quick_gelu": (["QuickGelu"], ["QuickGelu"]),
    "silu": (["QuickGelu:1", "Swish"], ["Silu"]),
    "hardswish": (["HardSwish"], ["HardSwish"]),
    "relu6": (["Clip", "FusedConv:Clip"], ["Relu6"]),
    "attention": (["Attention", "MultiHeadAttention", "GroupQueryAttention", "SDPA"], ["Attention"]),
    "rope": (["RotaryEmbedding"], ["Rope"]),
    "swiglu": ([], ["SwiGlu"]),
    "geglu": ([], ["GeGlu"]),
    "conv_bn": (["folded"], ["ConvBn"]),
    "conv_bn_relu": (["FusedConv:Relu"], ["ConvBnRelu"]),
    "conv_bn_relu6": (["FusedConv:Clip"], ["ConvBnRelu6"]),
    "conv_bn_silu": ([], ["ConvBnSilu"]),
    "conv_bn_hardswish": (["FusedConv:HardSwish"], ["ConvBnHardSwish"]),
}


def operators(model):
    """Counts of operators in the main graph, some by what an attribute says."""
    counts = collections.Counter()
    for node in model.graph.node:
        attributes = {a.name: a for a in node.attribute}
        name = node.op_type
        if name == "Gelu" and "approximate" in attributes and attributes["approximate"].s == b"tanh":
            name = "Gelu:tanh"
        if name == "QuickGelu" and "alpha" in attributes and abs(attributes["alpha"].f - 1) < 1e-3:
            name = "QuickGelu:1"
        if name == "FusedConv" and "activation" in attributes:
            name = "FusedConv:" + attributes["activation"].s.decode()
        counts[name] += 1
    return counts


def by_row(before, after):
    """Recognized groups of each row, from the operators before and after."""
    after = collections.Counter(after)
    after["folded"] = max(0, before["BatchNormalization"] - after["BatchNormalization"])
    return {row: sum(after[name] for name in names) for row, (names, _) in ROWS.items()}


def largest(*results):
    return {row: max(result[row] for result in results) for row in ROWS}


def onnxruntime(path):
    """The graph optimizer of a session, without what depends on the layout of memory; and, for small
    graphs, the optimizer of transformers, for encoders and for GPT."""
    import onnx
    import onnxruntime as ort

    before = operators(onnx.load(path, load_external_data=False))
    results = []
    with tempfile.TemporaryDirectory() as folder:
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = str(pathlib.Path(folder) / "optimized.onnx")
        ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        results.append(by_row(before, operators(onnx.load(options.optimized_model_filepath, load_external_data=False))))
    if sum(before.values()) < 300:
        from onnxruntime.transformers import optimizer

        for kind in ("bert", "gpt2"):
            try:
                fused = optimizer.optimize_model(str(path), model_type=kind, opt_level=0)
                results.append(by_row(before, operators(fused.model)))
            except Exception as error:  # it refuses models of other kinds in many ways
                print(f"  {kind}: {error!r}"[:120], file=sys.stderr)
    return largest(*results)


def onnxscript(path):
    """Its optimizer, its default rules, and its fusions for ONNX Runtime and for opset 23."""
    import onnx
    import onnx_ir
    from onnxscript import optimizer, rewriter, version_converter
    from onnxscript.rewriter import ort_fusions

    source = onnx.load(path)
    before = operators(source)
    model = onnx_ir.serde.deserialize_model(source)
    if (model.opset_imports.get("") or 99) < 18:
        version_converter.convert_version(model, 18, fallback=True)
    optimizer.optimize(model)
    rewriter.rewrite(model)
    counts = {}
    try:
        model, counts = ort_fusions.optimize_for_ort(model)
    except Exception as error:  # some graphs make a rule fail
        print(f"  {error!r}"[:120], file=sys.stderr)
    found = by_row(before, operators(onnx_ir.serde.serialize_model(model)))
    # A fusion that a later one has swallowed counts, too.
    found["rope"] = max(found["rope"], counts.get("rotary_embedding", 0) + counts.get("partial_rotary_embedding", 0))
    found["rms_norm"] = max(found["rms_norm"], counts.get("rms_normalization", 0))
    found["attention"] = max(found["attention"], counts.get("sdpa", 0))
    return found


def ours(binary, patterns):
    def run(path):
        command = [binary, "match", str(path), "--json"] + (["--patterns", str(patterns)] if patterns else [])
        answer = subprocess.run(command, capture_output=True, text=True)
        counts = json.loads(answer.stdout)["counts"]
        found = {row: sum(counts.get(name, 0) for name in names) for row, (_, names) in ROWS.items()}
        if patterns:
            import onnx

            before = operators(onnx.load(path, load_external_data=False))
            native = by_row(before, before)
            found = {row: found[row] + native[row] for row in ROWS}
        return found

    return run


def from_baseline(baseline, truth):
    """What the baseline says, by tool and file. It has one row for both kinds of GELU, and one for SiLU
    and its quick relative: they are counted for the first kind that is in the file, then for the other."""
    sources = {"onnxruntime": ["ort_extended", "ort_transformers"], "onnxscript": ["onnxscript_ort", "onnxscript_v23"]}
    shared = {"gelu": ["gelu_erf", "gelu_tanh"], "silu_or_quickgelu": ["silu", "quick_gelu"]}
    result = {tool: {} for tool in sources}
    for name, entry in baseline["per_file"].items():
        for tool, keys in sources.items():
            runs = [entry[key] for key in keys if (entry.get(key) or {}).get("found") is not None]
            if not runs or name not in truth:
                continue
            rows = collections.Counter()
            for row in entry["truth"]:
                left = max(run["found"].get(row, 0) for run in runs)
                for kind in shared.get(row, [row]):
                    rows[kind] = min(left, truth[name].get(kind, 0))
                    left -= rows[kind]
            for run in runs:
                counters = run.get("tool_counts") or {}
                rows["rope"] = max(rows["rope"], counters.get("rotary_embedding", 0))
            result[tool][name] = {row: count for row, count in rows.items() if row in ROWS and count}
    return result


def within(seconds, run, path):
    """The result of a run in a process of its own, which is ended when its time is over."""
    receiver, sender = multiprocessing.Pipe(duplex=False)

    def work():
        try:
            sender.send((run(path), None))
        except Exception as error:
            sender.send((None, repr(error)))

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    sender.close()
    try:
        if not receiver.poll(seconds):
            raise TimeoutError(f"not done after {seconds} s")
        result, error = receiver.recv()
    finally:
        process.kill()
        process.join()
    if error:
        raise RuntimeError(error)
    return result


def measure(tools, files, kept, limit, seconds):
    import onnx

    for name, path in files.items():
        nodes = len(onnx.load(path, load_external_data=False).graph.node)
        for tool, run in tools.items():
            if name in kept.setdefault(tool, {}) or nodes > limit.get(tool, nodes):
                continue
            start = time.perf_counter()
            try:
                counts = within(seconds, run, path) if tool == "onnxscript" else run(path)
                kept[tool][name] = {row: count for row, count in counts.items() if count}
            except Exception as error:
                print(f"{tool} {name}: {error!r}"[:200], file=sys.stderr)
                continue
            print(f"{tool} {name}: {time.perf_counter() - start:.1f} s", file=sys.stderr)
            KEPT.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")


def there(path, counts):
    """The truth of a file, without what the exporter has folded away."""
    import onnx

    counts = {row: counts.get(row, 0) for row in ROWS}
    left = operators(onnx.load(path, load_external_data=False))["BatchNormalization"]
    if left < counts["conv_bn"]:
        counts = {row: 0 if row.startswith("conv_bn") else count for row, count in counts.items()}
    return counts


TITLES = {"marquetry": "Marquetry", "onnxscript": "onnxscript", "onnxruntime": "ONNX Runtime", "aimet": "AIMET (its description)"}


def table(kept, truth):
    """One row for each meaning; a tool is compared over the files that it was run on."""
    lines = ["| meaning | there | " + " | ".join(TITLES.values()) + " |", "|---|---|---|---|---|---|"]
    for row in ROWS:
        cells = []
        for tool in TITLES:
            files = [name for name in kept.get(tool, {}) if name in truth]
            total = sum(truth[name][row] for name in files)
            found = sum(min(kept[tool][name].get(row, 0), truth[name][row]) for name in files)
            cells.append(f"{found} / {total}" if total else "")
        there_ = sum(counts[row] for counts in truth.values())
        if there_:
            lines.append(f"| `{row}` | {there_} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def lost(kept, truth):
    """Rows and files where another tool finds more than we do: there should be none."""
    found = []
    for tool in TITLES:
        for name, counts in kept.get(tool, {}).items():
            for row in ROWS:
                best = min(counts.get(row, 0), truth.get(name, {}).get(row, 0))
                if best > kept.get("marquetry", {}).get(name, {}).get(row, 0):
                    found.append(f"{name}: {row}: {tool} finds {best}")
    return found


HEAD = """# Patterns, side by side

What each tool recognizes in the same graphs: found / there, over the files that the tool was run on.
Written by `scripts/compare-peers.py`, which keeps what it measured in `peers-patterns.json`.

"""

TAIL = """
## Method

- **Graphs**: {files} files, {nodes}. The truth was counted while the PyTorch modules ran.
  Convolutions whose normalization the exporter has folded away are not there.
- **Found** is the lesser of what a tool recognizes in a file and what is there, so that one thing found twice does not make up for one that is missed.
  Operators that the file has already (`LayerNormalization` from opset 17 on) count for every tool.
- **Marquetry** {marquetry}: `marquetry match --json` with the shipped library.
- **onnxscript** {onnxscript}: converted to opset 18, optimized, rewritten with the default rules, then `optimize_for_ort`; counted are the fused operators of the result and its own counters, whichever is more.
  {again_onnxscript} of {files} files were run for this table. What is not done after minutes (the graphs of 1000 nodes and more) is left out, unless the baseline that comes with the graphs has it: {n_onnxscript} files count.
- **ONNX Runtime** {onnxruntime}: the graph a session writes at `ORT_ENABLE_EXTENDED`, and the result of `onnxruntime.transformers.optimizer` for `bert` and for `gpt2` (on small graphs, else from the baseline); whichever recognizes most in a file counts.
  {again_onnxruntime} of {n_onnxruntime} files were run for this table.
  A batch normalization that is folded into a convolution counts as found.
- **AIMET**: this column is no measurement of AIMET. Its passes do not report what they match, so there is nothing of AIMET's own to count; what was recorded of it are encodings, accuracies and seconds ([peers-accuracy.md](peers-accuracy.md)).
  `scripts/peers/aimet.pat` states what its passes look for, from their description: the fusions before simulation, the folding of batch normalizations, and the chains of its vendor's targets. The count is that of these patterns, run by Marquetry; it says what AIMET could find at most by that description, and its own code may find less.
- An empty cell means that none of the files holds one.
- Seven SiLU of one file (`unet_gn.ts14`) are in no graph: the exporter has merged equal calls.

{lost}
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("zoo", type=pathlib.Path)
    parser.add_argument("--marquetry", default=str(HERE.parent / "target/release/marquetry"))
    parser.add_argument("--tools", default="marquetry,aimet,onnxruntime,onnxscript")
    parser.add_argument("--files", default="")
    parser.add_argument("--nodes", type=int, default=20_000, help="largest graph for onnxscript")
    parser.add_argument("--seconds", type=int, default=300, help="time for one graph with onnxscript")
    args = parser.parse_args()

    known = json.loads((args.zoo / "patterns_truth/truth.json").read_text())["files"]
    files = {name: args.zoo / "graphs" / name for name in sorted(known) if (args.zoo / "graphs" / name).is_file()}
    kept = json.loads(KEPT.read_text()) if KEPT.is_file() else {}
    everything = {
        "marquetry": ours(args.marquetry, None),
        "aimet": ours(args.marquetry, HERE / "peers/aimet.pat"),
        "onnxruntime": onnxruntime,
        "onnxscript": onnxscript,
    }
    tools = {tool: everything[tool] for tool in args.tools.split(",") if tool}
    for tool in {"marquetry", "aimet"} & set(tools):
        kept.pop(tool, None)  # ours is quick, and changes
    measure(tools, {name: path for name, path in files.items() if args.files in name}, kept,
            {"onnxscript": args.nodes, "onnxruntime": 30_000}, args.seconds)

    from importlib.metadata import version

    def release(package):
        try:
            return version(package)
        except Exception:
            return ""

    import onnx

    truth = {name: there(path, known[name]) for name, path in files.items()}
    again = {tool: len(kept.get(tool, {})) for tool in everything}
    baseline = args.zoo / "baseline.json"
    if baseline.is_file():
        for tool, names in from_baseline(json.loads(baseline.read_text()), truth).items():
            for name, rows in names.items():
                mine = kept.setdefault(tool, {}).setdefault(name, {})
                for row, count in rows.items():
                    mine[row] = max(mine.get(row, 0), count)
    sizes = [len(onnx.load(path, load_external_data=False).graph.node) for path in files.values()]
    more = lost(kept, truth)
    answer = []
    if pathlib.Path(args.marquetry).is_file():
        answer = subprocess.run([args.marquetry, "--version"], capture_output=True, text=True).stdout.split()
    TABLE.write_text(
        HEAD + table(kept, truth) + "\n" + TAIL.format(
            files=len(files), nodes=f"{min(sizes)} to {max(sizes)} nodes",
            marquetry=answer[-1] if answer else "", onnxscript=release("onnxscript"), onnxruntime=release("onnxruntime"),
            n_onnxscript=len(kept.get("onnxscript", {})), n_onnxruntime=len(kept.get("onnxruntime", {})),
            again_onnxscript=again["onnxscript"], again_onnxruntime=again["onnxruntime"],
            lost="Nowhere does another tool find more than Marquetry." if not more else "Another tool finds more here:\n\n- " + "\n- ".join(more)))
    print(TABLE.read_text())


if __name__ == "__main__":
    main()
