use super::*;
use crate::{Function, Node, Opsets};

/// A graph under construction: nodes are `op(inputs) -> outputs`, all values by name.
struct Sketch(Graph);

impl Sketch {
    fn new(opset: i64) -> Self {
        Self(Graph::new("g", Opsets::onnx(opset)))
    }

    fn input(mut self, name: &str, dtype: DType, shape: &[Dim]) -> Self {
        self.0.add_input(name, Some(Type::tensor(dtype, shape.to_vec()))).unwrap();
        self
    }

    fn ints(mut self, name: &str, elements: &[i64]) -> Self {
        self.0
            .add_initializer(name, Tensor::from_i64s([elements.len()], elements).unwrap())
            .unwrap();
        self
    }

    fn int(mut self, name: &str, element: i64) -> Self {
        self.0.add_initializer(name, Tensor::from_i64s([], &[element]).unwrap()).unwrap();
        self
    }

    fn node(mut self, node: Node, inputs: &[&str], outputs: &[&str]) -> Self {
        let inputs: Vec<_> = inputs
            .iter()
            .map(|name| (!name.is_empty()).then(|| self.0.value_named(name)))
            .collect();
        let outputs: Vec<_> = outputs.iter().map(|name| Some(self.0.value_named(name))).collect();
        self.0.add_node(node, &inputs, &outputs).unwrap();
        self
    }

    fn op(self, op: &str, inputs: &[&str], output: &str) -> Self {
        self.node(Node::new("", op), inputs, &[output])
    }

    fn output(mut self, name: &str) -> Self {
        let value = self.0.value_named(name);
        self.0.outputs.push(value);
        self
    }
}

fn shape(types: &Types, graph: &Graph, name: &str) -> String {
    match types.shape(graph.find(name).unwrap()) {
        None => "?".to_owned(),
        Some(shape) => shape.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
    }
}

fn known(types: &Types, graph: &Graph, name: &str) -> Option<Vec<i64>> {
    types.known(graph.find(name).unwrap())?.to_i64s()
}

fn n() -> Dim {
    Dim::symbol("n")
}

#[test]
fn names_flow_through_shape_arithmetic() {
    let Sketch(graph) = Sketch::new(13)
        .input("x", DType::Float, &[n(), Dim::Known(6), Dim::Known(4)])
        .op("Shape", &["x"], "s")
        .int("0", 0)
        .op("Gather", &["s", "0"], "batch")
        .ints("axes", &[0])
        .op("Unsqueeze", &["batch", "axes"], "b")
        .ints("rest", &[3, -1])
        .node(Node::new("", "Concat").with("axis", AttributeValue::Int(0)), &["b", "rest"], &["t"])
        .op("Reshape", &["x", "t"], "y")
        .op("Expand", &["y", "t2"], "free");
    let types = run_graph(&graph);
    assert_eq!(shape(&types, &graph, "y"), "n 3 8");
    assert_eq!(types.lengths(graph.find("b").unwrap()), Some(vec![n()]));
    assert_eq!(shape(&types, &graph, "free"), "?");
    assert!(!types.is_constant(graph.find("t").unwrap()));
}

#[test]
fn what_follows_from_shapes_is_known_but_no_constant() {
    let Sketch(graph) = Sketch::new(17)
        .input("x", DType::Float, &[Dim::Known(2), Dim::Known(64)])
        .op("Shape", &["x"], "s")
        .int("1", 1)
        .op("Gather", &["s", "1"], "d")
        .node(Node::new("", "Cast").with("to", AttributeValue::Int(1)), &["d"], &["f"])
        .op("Sqrt", &["f"], "r")
        .op("Reciprocal", &["r"], "scale");
    let types = run_graph(&graph);
    let scale = graph.find("scale").unwrap();
    assert_eq!(types.known(scale).unwrap().item(), Some(0.125));
    assert_eq!(types.constant(scale), None);
}

#[test]
fn chains_from_constants_are_constants() {
    let value = AttributeValue::Tensor(Tensor::from_f32s([1], &[2.5]).unwrap());
    let Sketch(graph) = Sketch::new(13)
        .node(Node::new("", "Constant").with("value", value.clone()), &[], &["c"])
        .op("Identity", &["c"], "i")
        .node(Node::new("", "Cast").with("to", AttributeValue::Int(11)), &["i"], &["d"])
        .ints("shape", &[1, 1])
        .op("Reshape", &["d", "shape"], "r")
        .ints("big", &[1000, 1000])
        .node(Node::new("", "ConstantOfShape").with("value", value), &["big"], &["fill"]);
    let types = run_graph(&graph);
    let of = |name| types.constant(graph.find(name).unwrap());
    assert_eq!((of("r").unwrap().dims(), of("r").unwrap().item()), (&[1, 1][..], Some(2.5)));
    assert_eq!(of("r").unwrap().dtype(), DType::Double);
    assert_eq!(of("fill").unwrap().len(), 1_000_000);
    assert_eq!(of("fill").unwrap().f32s().unwrap()[999_999], 2.5);
}

#[test]
fn an_input_with_a_default_is_no_constant() {
    let mut graph = Sketch::new(13).input("w", DType::Float, &[Dim::Known(1)]).0;
    let w = graph.find("w").unwrap();
    graph.value_mut(w).constant = Some(Tensor::from_f32s([1], &[1.0]).unwrap());
    let types = run_graph(&graph);
    assert!(!types.is_constant(w));
    assert_eq!(types.known(w), None);
}

#[test]
fn hostile_sizes_are_unknown_and_not_made() {
    let Sketch(graph) = Sketch::new(13)
        .ints("s", &[i64::MAX, i64::MAX])
        .op("ConstantOfShape", &["s"], "huge")
        .op("Shape", &["huge"], "back")
        .op("Size", &["huge"], "size")
        .op("Mul", &["back", "back"], "overflow")
        .ints("t", &[-1, 3])
        .op("Reshape", &["huge", "t"], "r");
    let types = run_graph(&graph);
    assert!(types.is_constant(graph.find("huge").unwrap()));
    assert_eq!(types.constant(graph.find("huge").unwrap()), None);
    assert_eq!(known(&types, &graph, "size"), None);
    assert_eq!(known(&types, &graph, "overflow"), None);
    assert_eq!(shape(&types, &graph, "r"), "? 3");
}

#[test]
fn contradictions_are_reported_and_not_believed() {
    let mut graph = Sketch::new(13)
        .input("x", DType::Float, &[Dim::Known(2), Dim::Known(3)])
        .op("Relu", &["x"], "y")
        .0;
    let y = graph.find("y").unwrap();
    graph.value_mut(y).ty = Some(Type::tensor(DType::Float, [Dim::Known(2), Dim::Known(4)]));
    let types = run_graph(&graph);
    assert_eq!(shape(&types, &graph, "y"), "2 ?");
    assert_eq!(types.conflicts(), [y]);
}

#[test]
fn branches_agree_where_they_agree_and_capture() {
    let branch = |length| {
        let shape = format!("s{length}");
        let mut graph =
            Sketch::new(13).ints(&shape, &[2, length]).op("Expand", &["x", &shape], "o").0;
        let outer = graph.find("x").unwrap();
        graph.value_mut(outer).kind = Kind::Captured;
        graph.outputs = vec![graph.find("o").unwrap()];
        AttributeValue::Graph(Box::new(graph))
    };
    let node = Node::new("", "If").with("then_branch", branch(3)).with("else_branch", branch(4));
    let Sketch(graph) = Sketch::new(13)
        .input("c", DType::Bool, &[])
        .input("x", DType::Float, &[Dim::Known(1)])
        .node(node, &["c"], &["y"]);
    let types = run_graph(&graph);
    let id = graph.nodes().next().unwrap();
    assert!(types.body(id, 1).is_some());
    assert_eq!(shape(&types, &graph, "y"), "2 ?");
}

#[test]
fn a_loop_keeps_what_every_iteration_keeps() {
    let Sketch(mut body) = Sketch::new(13)
        .input("i", DType::Int64, &[])
        .input("go", DType::Bool, &[])
        .node(Node::new("", "Identity"), &["go"], &["go_on"]);
    for name in ["grows", "stays"] {
        body.add_input(name, None).unwrap();
    }
    let Sketch(body) = Sketch(body)
        .node(
            Node::new("", "Concat").with("axis", AttributeValue::Int(0)),
            &["grows", "stays"],
            &["grown"],
        )
        .op("Relu", &["stays"], "stayed")
        .output("go_on")
        .output("grown")
        .output("stayed")
        .output("stayed");
    let node = Node::new("", "Loop").with("body", AttributeValue::Graph(Box::new(body)));
    let row = [Dim::Known(1), Dim::Known(5)];
    let Sketch(graph) = Sketch::new(13)
        .input("a", DType::Float, &row)
        .input("b", DType::Float, &row)
        .node(node, &["", "", "a", "b"], &["y", "z", "all"]);
    let types = run_graph(&graph);
    assert_eq!(shape(&types, &graph, "y"), "? 5");
    assert_eq!(shape(&types, &graph, "z"), "1 5");
    assert_eq!(shape(&types, &graph, "all"), "? 1 5");
}

#[test]
fn calls_are_followed() {
    let Sketch(mut body) = Sketch::new(13);
    body.add_input("a", None).unwrap();
    let Sketch(body) = Sketch(body)
        .node(
            Node::new("", "Flatten")
                .with("axis", AttributeValue::Reference { name: "at".to_owned(), type_number: 2 }),
            &["a"],
            &["o"],
        )
        .output("o");
    let function = Function {
        domain: "mine".to_owned(),
        name: "Flat".to_owned(),
        overload: String::new(),
        attributes: vec!["at".to_owned()],
        defaults: Vec::new(),
        doc: String::new(),
        metadata: Vec::new(),
        body,
    };
    let Sketch(graph) = Sketch::new(13)
        .input("x", DType::Float, &[Dim::Known(2), Dim::Known(3), Dim::Known(4)])
        .node(Node::new("mine", "Flat").with("at", AttributeValue::Int(2)), &["x"], &["y"]);
    let mut model = Model::new(8, graph);
    model.functions.push(function);
    let types = run(&model);
    assert_eq!(shape(&types, &model.graph, "y"), "6 4");
}

#[test]
fn a_long_chain_takes_linear_time_and_no_stack() {
    let mut sketch = Sketch::new(13).input("v0", DType::Float, &[n()]);
    for at in 0..50_000 {
        sketch = sketch.op("Relu", &[&format!("v{at}")], &format!("v{}", at + 1));
    }
    let types = run_graph(&sketch.0);
    assert_eq!(shape(&types, &sketch.0, "v50000"), "n");
}

#[test]
fn slices_count_like_numpy() {
    use super::rules::slice_of;
    for (slice, expected) in [
        ((10, 0, 10, 1), (0, 10)),
        ((10, -3, i64::MAX, 1), (7, 3)),
        ((10, 2, 9, 3), (2, 3)),
        ((10, -1, i64::MIN, -1), (9, 10)),
        ((10, 20, 3, -2), (9, 3)),
        ((10, 5, 2, 1), (5, 0)),
        ((0, -1, i64::MIN, -1), (0, 0)),
    ] {
        let (length, start, end, step) = slice;
        assert_eq!(slice_of(length, start, end, step), Some(expected), "{slice:?}");
    }
    assert_eq!(slice_of(10, 0, 10, 0), None);
}

/// Inference that goes on from the one before knows what inference anew knows.
#[test]
fn inference_goes_on_after_edits() {
    #[track_caller]
    fn check(inference: &mut Inference, model: &Model) {
        let anew = run(model);
        let known = inference.run(model);
        for value in model.graph.values() {
            let name = model.graph.value(value).name();
            assert_eq!(known.ty(value), anew.ty(value), "{name}");
            assert_eq!(
                known.known(value).map(Tensor::bytes),
                anew.known(value).map(Tensor::bytes),
                "{name}"
            );
        }
    }
    let src = r#"<ir_version: 10, opset_import: ["" : 21]>
        g (float[2, 3] x, float[N] n) => (float y, float z) <int64[1] all = {-1}> {
          t = Transpose (x)
          s = Shape (t)
          r = Reshape (x, s)
          y = Relu (r)
          z = Neg (n)
        }"#;
    let mut model = crate::text::parse(src).unwrap();
    let mut inference = Inference::default();
    check(&mut inference, &model);
    check(&mut inference, &model);
    let graph = &mut model.graph;
    let find = |graph: &Graph, name: &str| graph.find(name).unwrap();
    // Another input for the node on top: all below it is another one.
    let (transpose, _) = graph.producer(find(graph, "t")).unwrap();
    let n = find(graph, "n");
    graph.set_input(transpose, 0, Some(n));
    check(&mut inference, &model);
    // A new node computes what another one did.
    let graph = &mut model.graph;
    let (reshape, _) = graph.producer(find(graph, "r")).unwrap();
    let (x, all, r) = (find(graph, "x"), find(graph, "all"), find(graph, "r"));
    graph.remove_nodes(&[reshape]);
    let node = graph.add_node(Node::new("", "Reshape"), &[Some(x), Some(all)], &[]).unwrap();
    graph.set_output(node, 0, Some(r));
    graph.drop_unused();
    check(&mut inference, &model);
    // A new value, a declared type, and a node that reads both.
    let graph = &mut model.graph;
    let two = graph.add_initializer("two", Tensor::from_f32s([], &[2.0]).unwrap()).unwrap();
    let (z, _) = graph.producer(find(graph, "z")).unwrap();
    let product = graph.value_named("product");
    let inputs = [Some(n), Some(two)];
    graph.add_node(Node::new("", "Mul"), &inputs, &[Some(product)]).unwrap();
    graph.set_input(z, 0, Some(product));
    graph.value_mut(product).ty = Some(Type::tensor(DType::Float, [Dim::Known(4)]));
    check(&mut inference, &model);
    let value = find(&model.graph, "r");
    model.graph.value_mut(value).ty = Some(Type::tensor(DType::Float, [Dim::Known(6)]));
    check(&mut inference, &model);
}
