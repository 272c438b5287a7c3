use super::*;

fn chain() -> (Graph, [ValueId; 3], [NodeId; 2]) {
    let mut graph = Graph::new("g", Opsets::onnx(17));
    let x = graph.add_input("x", None).unwrap();
    let h = graph.add_value("h", None).unwrap();
    let y = graph.add_value("y", None).unwrap();
    // Added against the flow, so that order has something to do.
    let second = graph.add_node(Node::new("", "Relu"), &[Some(h)], &[Some(y)]).unwrap();
    let first = graph.add_node(Node::new("", "Neg"), &[Some(x)], &[Some(h)]).unwrap();
    graph.outputs.push(y);
    (graph, [x, h, y], [first, second])
}

#[test]
fn order_follows_the_flow() {
    let (graph, _, [first, second]) = chain();
    assert_eq!(graph.order().unwrap(), [first, second]);
}

#[test]
fn a_cycle_is_named() {
    let (mut graph, [_, _, y], [first, second]) = chain();
    graph.set_input(first, 0, Some(y));
    assert_eq!(graph.order().unwrap_err().nodes, [second, first]);
}

#[test]
fn a_value_has_one_definition() {
    let (mut graph, [x, h, _], _) = chain();
    let again = graph.add_node(Node::new("", "Abs"), &[Some(x)], &[Some(h)]);
    assert_eq!(again.unwrap_err().to_string(), "`h` is defined twice");
    assert_eq!(graph.use_count(x), 1);
}

#[test]
fn a_rewrite_redefines_the_output_in_place() {
    let (mut graph, [x, h, y], [first, second]) = chain();
    let fused = graph.add_node(Node::new("", "NegRelu"), &[Some(x)], &[]).unwrap();
    graph.set_output(fused, 0, Some(y));
    graph.remove_nodes(&[first, second]);
    graph.drop_unused();
    assert_eq!(graph.producer(y), Some((fused, 0)));
    assert_eq!((graph.value(y).name(), graph.use_count(x)), ("y", 1));
    assert!(!graph.has_value(h) && graph.find("h").is_none());
}

#[test]
fn absent_slots_keep_their_place() {
    let (mut graph, [x, _, _], _) = chain();
    let clip = graph.add_node(Node::new("", "Clip"), &[Some(x), None, Some(x), None], &[]).unwrap();
    assert_eq!(graph.inputs(clip), [Some(x), None, Some(x), None]);
    graph.truncate_inputs(clip, 2);
    assert_eq!((graph.inputs(clip), graph.use_count(x)), (vec![Some(x), None], 2));
}

#[test]
fn bodies_see_renames_and_replacements_of_what_they_capture() {
    let (mut graph, [x, h, _], _) = chain();
    let mut body = Graph::new("then", Opsets::onnx(17));
    let outer = body.value_named("h");
    body.value_mut(outer).kind = Kind::Captured;
    let result = body.add_value("t", None).unwrap();
    body.add_node(Node::new("", "Identity"), &[Some(outer)], &[Some(result)]).unwrap();
    body.outputs.push(result);
    let branch = Node::new("", "If").with("then_branch", AttributeValue::Graph(Box::new(body)));
    let branch = graph.add_node(branch, &[Some(x)], &[]).unwrap();
    assert_eq!((graph.captures(branch), graph.use_count(h)), (vec![h], 2));

    graph.rename(h, "hidden").unwrap();
    assert!(graph.node(branch).bodies().next().unwrap().find("hidden").is_some());
    graph.replace_uses(h, x);
    assert_eq!((graph.captures(branch), graph.use_count(h)), (vec![x], 0));
    assert!(graph.node(branch).bodies().next().unwrap().find("x").is_some());
}
