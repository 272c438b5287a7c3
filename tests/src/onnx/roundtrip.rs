//! What is read and written again is the same model, in the eyes of an unrelated decoder.

use std::fs;
use std::path::{Path, PathBuf};

use marquetry_ir::{DType, Storage, onnx};
use onnx_protobuf::ModelProto;
use protobuf::Message as _;

use super::fixture;

/// Both as `onnx-protobuf` sees them. It keeps what it does not know, and does not tell an empty
/// field from an absent one, which is the liberty that our writer takes.
///
/// It must only see bytes that our own reader has let pass: it crashes on nested groups.
fn witnessed(bytes: &[u8]) -> ModelProto {
    ModelProto::parse_from_bytes(bytes).unwrap()
}

#[track_caller]
fn assert_survives(path: &Path) {
    let model = onnx::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let written = onnx::encode(&model).unwrap();
    let original = fs::read(path).unwrap();
    // Compared as bytes: a NaN is not equal to itself.
    let same = witnessed(&written).write_to_bytes().unwrap()
        == witnessed(&original).write_to_bytes().unwrap();
    assert!(same, "{} is not what it was", path.display());
}

fn models_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "onnx") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

#[test]
fn every_field_survives() {
    assert_survives(&fixture("every-field.onnx"));
}

#[test]
fn what_the_official_writer_writes_comes_back_to_the_byte() {
    for name in ["every-field.onnx", "tied.onnx"] {
        let original = fs::read(fixture(name)).unwrap();
        let model = onnx::read(fixture(name)).unwrap();
        assert!(onnx::encode(&model).unwrap() == original, "{name}");
    }
}

#[test]
fn the_zoo_survives() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/zoo/open");
    let root = std::env::var_os("MARQUETRY_ZOO").map_or_else(|| PathBuf::from(root), PathBuf::from);
    if !root.is_dir() {
        eprintln!("skipped: there is no zoo at `{}`", root.display());
        return;
    }
    let models = models_below(&root);
    assert!(!models.is_empty(), "the zoo is empty");
    for path in models {
        assert_survives(&path);
        // Exporters state a version that is enough for what they write.
        let model = onnx::read(&path).unwrap();
        assert!(onnx::needed_ir(&model) <= model.ir_version, "{}", path.display());
    }
}

#[test]
fn the_version_needed_is_that_of_the_newest_part() {
    let needed = |name: &str| onnx::needed_ir(&onnx::read(fixture(name)).unwrap());
    assert_eq!((needed("tied.onnx"), needed("every-field.onnx")), (4, 14));
}

/// Protobuf merges a message that comes in two parts: lists go on, single fields are replaced.
#[test]
fn a_graph_in_two_parts_is_merged() {
    let mut second = ModelProto::new();
    second.graph.mut_or_insert_default().doc_string = "second".to_owned();
    second.graph.mut_or_insert_default().node.push(onnx_protobuf::NodeProto {
        op_type: "Relu".to_owned(),
        input: vec!["x".to_owned()],
        ..onnx_protobuf::NodeProto::default()
    });
    let mut bytes = fs::read(fixture("every-field.onnx")).unwrap();
    bytes.extend(second.write_to_bytes().unwrap());
    let written = onnx::encode(&onnx::decode(bytes).unwrap()).unwrap();
    // The witness itself keeps the last part only, so it sees no more than one part here.
    let mut expected = witnessed(&fs::read(fixture("every-field.onnx")).unwrap());
    let graph = expected.graph.as_mut().unwrap();
    graph.node.append(&mut second.graph.as_mut().unwrap().node);
    graph.doc_string = "second".to_owned();
    assert!(witnessed(&written).write_to_bytes().unwrap() == expected.write_to_bytes().unwrap());
}

/// The fixture holds the same elements for each type twice, in `raw_data` and in the typed field.
#[test]
fn typed_fields_hold_the_elements_of_raw_data() {
    let model = onnx::read(fixture("every-field.onnx")).unwrap();
    let constant = |name: String| {
        model.graph.value(model.graph.find(&name).unwrap()).constant.clone().unwrap()
    };
    for dtype in DType::ALL.iter().filter(|&&dtype| dtype != DType::String) {
        let name = format!("{dtype}").to_uppercase();
        let (raw, typed) = (constant(format!("raw_{name}")), constant(format!("typed_{name}")));
        assert_eq!((raw.dtype(), &raw.storage), (*dtype, &Storage::Raw));
        assert_eq!((typed.dtype(), &typed.storage), (*dtype, &Storage::Typed));
        assert_eq!(raw.bytes(), typed.bytes(), "{name}");
    }
}

#[test]
fn bodies_know_what_they_capture() {
    let model = onnx::read(fixture("every-field.onnx")).unwrap();
    let graph = &model.graph;
    let branch = graph.nodes().find(|&node| graph.node(node).op_type == "If").unwrap();
    let captured: Vec<_> =
        graph.captures(branch).iter().map(|&value| graph.value(value).name()).collect();
    assert_eq!(captured, ["x", "raw_FLOAT_like"]);
    for body in graph.node(branch).bodies() {
        let outer = body.find("x").unwrap();
        assert_eq!(body.value(outer).kind, marquetry_ir::Kind::Captured);
    }
}

/// A mapped file is sliced, not copied: the content of a tensor lies where its neighbours do.
#[test]
fn tensors_are_slices_of_the_file() {
    let bytes = bytes::Bytes::from(fs::read(fixture("every-field.onnx")).unwrap());
    let model = onnx::decode(bytes.clone()).unwrap();
    let tensor = model.graph.value(model.graph.find("raw_FLOAT").unwrap());
    let content = tensor.constant.as_ref().unwrap().bytes();
    assert!(bytes.as_ptr_range().contains(&content.as_ptr()));
}

#[test]
fn nodes_out_of_order_are_sorted() {
    let mut wire = witnessed(&fs::read(fixture("tied.onnx")).unwrap());
    wire.graph.as_mut().unwrap().node.reverse();
    wire.graph.as_mut().unwrap().initializer.clear();
    let model = onnx::decode(wire.write_to_bytes().unwrap()).unwrap();
    let written = witnessed(&onnx::encode(&model).unwrap());
    let outputs: Vec<_> = written.graph.node.iter().map(|node| &node.output[0]).collect();
    assert_eq!(outputs, ["h", "k", "y"]);
}
