use super::*;
use crate::{Kind, Storage};

fn graph(src: &str) -> Graph {
    parse_graph(src, &Opsets::onnx(21)).unwrap()
}

#[test]
fn long_tensors_are_summarized() {
    let graph = graph(
        "g () => () <float[4] w = {1, nan, -2, 0.5}, int8[4] q = {1,2,3,4}, float s = {1}> { }",
    );
    let options = PrintOptions { elide: Some(3), ..PrintOptions::default() };
    let printed = print_graph(&graph, &options);
    let lines: Vec<_> = printed.lines().collect();
    assert!(lines[1].starts_with(
        r#"   float[4] w = ["elided": "4 elements", "min": "-2", "max": "1", "fnv1a": ""#
    ));
    assert!(lines[2].starts_with(r#"   int8[4] q = ["elided": "4 elements", "fnv1a": ""#));
    assert_eq!(lines[3], "   float s = {1}");
    assert_eq!(parse_graph(&printed, &Opsets::onnx(21)).unwrap_err().code(), "elided_content");
}

#[test]
fn notes_can_be_left_out() {
    let graph =
        graph("#@ doc: \"d\"\ng () => () <\n#@ typed\nfloat s = {1}> {\n#@ doc: \"n\"\n= Op () }");
    let printed = print_graph(&graph, &PrintOptions::summary());
    assert_eq!(printed, "g () => () <\n   float s = {1}\n> {\n   = Op ()\n}\n");
}

#[test]
fn content_of_other_files_is_asked_for() {
    let src =
        r#"g () => () <float[2] w = ["location": "w.bin", "offset": "4", "length": "8"]> { }"#;
    let read = |external: &External| match external.location.as_str() {
        "w.bin" => Ok(Bytes::from(vec![0; 8])),
        other => Err(format!("there is no `{other}`")),
    };
    let options = ParseOptions { external: Some(&read) };
    let graph = parse_with(src, &options).unwrap().graph;
    let tensor = graph.initializer(graph.find("w").unwrap()).unwrap();
    assert_eq!(tensor.f32s().unwrap().as_ref(), [0.0, 0.0]);
    assert!(matches!(&tensor.storage, Storage::External(place) if place.offset == Some(4)));
    let missing = parse_with(&src.replace("w.bin", "v.bin"), &options).err().unwrap();
    assert_eq!(missing.to_string(), "1:26: the content stands in `v.bin`: there is no `v.bin`");
}

#[test]
fn bodies_capture_what_is_defined_around_them() {
    let graph = graph(
        "g (float x) => (float y) {
            y = If (c) <then_branch = t () => (float r) {
                r = If (c) <then_branch = u () => (float s) { s = Add (x, nobody) }>
            }>
        }",
    );
    let outer = graph.nodes().next().unwrap();
    let names = |graph: &Graph, node| -> Vec<String> {
        let captures = graph.captures(node).into_iter();
        captures.map(|value| graph.value(value).name().to_owned()).collect()
    };
    assert_eq!(graph.use_count(graph.find("x").unwrap()), 1);
    let body = graph.node(outer).bodies().next().unwrap();
    let inner = body.nodes().next().unwrap();
    assert_eq!(body.value(body.find("x").unwrap()).kind, Kind::Captured);
    assert_eq!(body.value(body.find("nobody").unwrap()).kind, Kind::Computed);
    assert!(names(body, inner).contains(&"x".to_owned()));
    let innermost = body.node(inner).bodies().next().unwrap();
    assert_eq!(innermost.value(innermost.find("x").unwrap()).kind, Kind::Captured);
    assert_eq!(innermost.opsets, graph.opsets);
}

#[test]
fn the_place_of_an_error_is_counted_in_characters() {
    let error =
        parse_graph("# é\ng (float \"é\", flot y) => () { }", &Opsets::default()).unwrap_err();
    assert_eq!((error.at.line, error.at.column, error.at.offset), (2, 15, 20));
}

#[test]
fn values_show_as_text() {
    let graph = graph("g (seq(float[N,?]) x) => () { = Op <a = [1, 2], s = \"a\\nb\"> () }");
    let ty = graph.value(graph.inputs[0]).ty.as_ref().unwrap();
    assert_eq!(ty.to_string(), "seq(float[N,?])");
    let node = graph.node(graph.nodes().next().unwrap());
    let shown: Vec<_> = node.attributes.iter().map(|a| a.value.to_string()).collect();
    assert_eq!(shown, ["[1, 2]", r#""a\nb""#]);
}
