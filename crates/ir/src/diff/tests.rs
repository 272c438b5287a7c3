use super::*;
use crate::text;

fn differ(left: &str, right: &str) -> Vec<String> {
    let model = |body: &str| {
        text::parse(&format!("<ir_version: 8, opset_import: [\"\" : 17]> {body}")).unwrap()
    };
    changes(&model(left), &model(right)).iter().map(ToString::to_string).collect()
}

const GRAPH: &str = "g (float[4] x) => (float[4] y) <float w = {1}> { a = Relu (x) b = Add (a, w) y = Sigmoid (b) }";

#[test]
fn a_model_does_not_differ_from_itself() {
    assert_eq!(differ(GRAPH, GRAPH), Vec::<String>::new());
}

#[test]
fn what_follows_from_a_new_name_is_not_said() {
    let renamed = GRAPH.replace("a = Relu", "first = Relu").replace("(a, w)", "(first, w)");
    assert_eq!(differ(GRAPH, &renamed), ["~ node `a` (Relu): outputs: (a) → (first)"]);
    let renamed = GRAPH.replace("float w", "float bias").replace("(a, w)", "(a, bias)");
    assert_eq!(differ(GRAPH, &renamed), ["~ initializer `w`: name: w → bias"]);
    let all = "g (float[4] x) => (float[4] y) <float q = {1}> { r = Relu (x) s = Add (r, q) y = Sigmoid (s) }";
    assert_eq!(
        differ(GRAPH, all),
        [
            "~ initializer `w`: name: w → q",
            "~ node `a` (Relu): outputs: (a) → (r)",
            "~ node `b` (Add): outputs: (b) → (s)",
        ]
    );
}

#[test]
fn order_is_no_difference() {
    let moved = GRAPH.replace("a = Relu (x) b = Add (a, w)", "b = Add (a, w) a = Relu (x)");
    assert_eq!(differ(GRAPH, &moved), Vec::<String>::new());
}

#[test]
fn nodes_come_and_go() {
    let more = GRAPH.replace("y = Sigmoid (b)", "c = Neg (b) y = Sigmoid (c)");
    let found = ["+ node `c` (Neg)", "~ node `y` (Sigmoid): inputs: (b) → (c)"];
    assert_eq!(differ(GRAPH, &more), found);
    let found = ["- node `c` (Neg)", "~ node `y` (Sigmoid): inputs: (c) → (b)"];
    assert_eq!(differ(&more, GRAPH), found);
    let other = GRAPH.replace("Sigmoid", "Tanh");
    assert_eq!(differ(GRAPH, &other), ["~ node `y` (Sigmoid): operator: Sigmoid → Tanh"]);
}

#[test]
fn constants_and_types_are_compared() {
    let other = GRAPH.replace("w = {1}", "w = {1.5}");
    assert_eq!(
        differ(GRAPH, &other),
        ["~ initializer `w`: 1 of 1 elements differ, by 5.000e-1 at most"]
    );
    let other = GRAPH.replace("float w = {1}", "float[1] w = {1}");
    assert_eq!(differ(GRAPH, &other), ["~ initializer `w`: type: float[] → float[1]"]);
    let other = GRAPH.replace("float[4] x", "float[5] x");
    assert_eq!(differ(GRAPH, &other), ["~ input `x`: type: float[4] → float[5]"]);
}

#[test]
fn the_header_and_bodies_count() {
    let branch = |value: &str| {
        format!(
            "g (bool c) => (float y) {{ y = If <then_branch = t () => (float p) {{ p = Constant <value_float = {value}> () }}, \
             else_branch = e () => (float q) {{ q = Constant <value_float = 2.0> () }}> (c) }}"
        )
    };
    let found = differ(&branch("1.0"), &branch("3.0"));
    assert_eq!(
        found,
        [
            "~ node `y` (If): attribute `then_branch`: node 0, attribute 0, `value_float`, value: `1` → `3`"
        ]
    );
    let mut old =
        text::parse(&format!("<ir_version: 8, opset_import: [\"\" : 17]> {GRAPH}")).unwrap();
    let mut new = old.clone();
    new.ir_version = 9;
    new.graph.opsets.set("", 18);
    new.graph.opsets.set("com.acme", 1);
    old.metadata.push(("licence".to_owned(), "MIT".to_owned()));
    let found: Vec<_> = changes(&old, &new).iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "~ model: IR version: 8 → 9",
            "- metadata `licence`: MIT",
            "~ opset ai.onnx: 17 → 18",
            "+ opset com.acme: 1",
        ]
    );
}

#[test]
fn hostile_text_stays_on_its_line() {
    let long = "x".repeat(500);
    assert_eq!(shorten(&long).chars().count(), SHOWN + 1);
    assert_eq!(shorten("a\n\u{1b}[31mb"), "a\u{fffd}\u{fffd}[31mb");
}
