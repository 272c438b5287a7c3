use super::*;
use crate::{Attribute, AttributeValue, DType, Dim, Node, Opsets, Tensor, Type};

fn codes(graph: Graph) -> Vec<&'static str> {
    run(&Model::new(8, graph)).iter().map(Violation::code).collect()
}

#[test]
fn an_attribute_that_stands_twice() {
    let mut graph = Graph::new("g", Opsets::onnx(17));
    let x = graph.add_input("x", None).unwrap();
    let y = graph.value_named("y");
    let mut node = Node::new("", "Softmax");
    node.attributes.push(Attribute::new("axis", AttributeValue::Int(0)));
    node.attributes.push(Attribute::new("axis", AttributeValue::Int(1)));
    graph.add_node(node, &[Some(x)], &[Some(y)]).unwrap();
    assert_eq!(codes(graph), ["V016"]);
}

#[test]
fn a_default_that_is_declared_otherwise() {
    let mut graph = Graph::new("g", Opsets::onnx(17));
    let x = graph.add_input("x", Some(Type::tensor(DType::Float, [Dim::Known(3)]))).unwrap();
    graph.value_mut(x).constant = Some(Tensor::from_f32s([2], &[1.0, 2.0]).unwrap());
    assert_eq!(codes(graph), ["V021"]);
}

#[test]
fn deep_bodies_need_no_stack() {
    let mut graph = Graph::new("g", Opsets::onnx(17));
    for _ in 0..2_000 {
        let mut outer = Graph::new("g", Opsets::onnx(17));
        let condition = outer.add_input("c", Some(Type::tensor(DType::Bool, []))).unwrap();
        let node =
            Node::new("elsewhere", "Nest").with("body", AttributeValue::Graph(Box::new(graph)));
        outer.add_node(node, &[Some(condition)], &[]).unwrap();
        graph = outer;
    }
    assert!(codes(graph).contains(&"V005"));
}

#[test]
fn codes_are_in_order_and_stand_once() {
    assert!(Fact::CODES.is_sorted());
    assert_eq!(Fact::CODES.iter().collect::<BTreeSet<_>>().len(), Fact::CODES.len());
}
