//! Bodies of targets that compute everything in integers: their values get stand-ins in the main graph, and
//! their constants move there.

use std::collections::BTreeSet;

use marquetry_ir::infer::{self, Types};
use marquetry_ir::{DType as ElementType, Graph, Model, NodeId, Tensor, Type, ValueId};

use crate::flat::opens;
use crate::inside::{self, Names, Spot, Way};
use crate::plan::Plan;
use crate::units::is_static;

/// What became of the bodies.
#[derive(Default)]
pub(crate) struct Opened {
    /// Nodes with bodies whose insides can be quantized, at any depth.
    pub(crate) open: usize,
    /// The others, as they are called in reasons.
    pub(crate) closed: Vec<String>,
}

/// Moves floating-point constants of bodies to the main graph, and gives all that bodies compute a stand-in
/// there.
pub(crate) fn open(model: &mut Model, plan: &mut Plan) -> Opened {
    let types = infer::run(model);
    let mut opened = Opened::default();
    let mut ways = Vec::new();
    find(&model.graph, &types, &Way::new(), &mut opened, &mut ways);
    if ways.is_empty() {
        return opened;
    }
    let mut names = Names::of(&model.graph);
    for way in &ways {
        lift_constants(&mut model.graph, &types, way, &mut names, plan);
    }
    model.graph.resolve_captures();
    // A model may be placed twice.
    let known = plan.stand_ins();
    for way in ways {
        let (Some(body), Some(types)) =
            (inside::body(&model.graph, &way), inside::types(&types, &way))
        else {
            continue;
        };
        let mut fresh: Vec<(ValueId, String, Type)> = Vec::new();
        for value in body.values() {
            let own = inside::origin(&model.graph, &way, value) == Some((way.clone(), value));
            if !own || known.contains_key(&(way.clone(), value)) {
                continue;
            }
            let ty = types.ty(value).cloned();
            let float = ty.as_ref().and_then(Type::as_tensor).and_then(|ty| ty.dtype);
            if let (Some(ty), true) = (ty, float.is_some_and(ElementType::is_float)) {
                fresh.push((value, body.value(value).name().to_owned(), ty));
            }
        }
        for (value, base, ty) in fresh {
            let name = names.lift(&base);
            let stand_in = model.graph.add_value(&name, Some(ty)).expect("the name is fresh");
            plan.stand_in(stand_in, Spot { way: way.clone(), value });
        }
    }
    opened
}

/// The ways to all bodies that can be opened, outer ones first.
fn find(main: &Graph, types: &Types, way: &Way, opened: &mut Opened, ways: &mut Vec<Way>) {
    let Some(graph) = inside::body(main, way) else { return };
    for node in graph.nodes() {
        let count = graph.node(node).bodies().count();
        if count == 0 {
            continue;
        }
        if !opens(main, types, way, node) {
            opened.closed.push(inside::label(main, way, node));
            continue;
        }
        opened.open += 1;
        for at in 0..count {
            let inner = [&way[..], &[(node, at)]].concat();
            ways.push(inner.clone());
            find(main, types, &inner, opened, ways);
        }
    }
}

/// Makes constants of a body constants of the main graph, unless the body hands them on.
fn lift_constants(main: &mut Graph, types: &Types, way: &Way, names: &mut Names, plan: &mut Plan) {
    let (Some(body), Some(types)) = (inside::body(main, way), inside::types(types, way)) else {
        return;
    };
    let mut lifted: Vec<(ValueId, String, Tensor)> = Vec::new();
    let mut renamed = BTreeSet::new();
    for value in body.values() {
        let float = types.dtype(value).is_some_and(ElementType::is_float);
        if !float || !is_static(body, value) || body.is_output(value) {
            continue;
        }
        if let Some(constant) = types.constant(value) {
            let name = names.lift(body.value(value).name());
            if name != body.value(value).name() {
                renamed.insert(name.clone());
            }
            lifted.push((value, name, constant.clone()));
        }
    }
    if lifted.is_empty() {
        return;
    }
    let body = inside::body_mut(main, way).expect("it was just there");
    for (value, name, _) in &lifted {
        body.capture(*value, name).expect("the name is new to all graphs, or its own");
    }
    let dead = |&node: &NodeId| {
        body.node(node).is_onnx("Constant") && body.outputs(node).iter().all(Option::is_none)
    };
    let dead: Vec<NodeId> = body.nodes().filter(dead).collect();
    body.remove_nodes(&dead);
    for (_, name, constant) in lifted {
        let value = main.value_named(&name);
        main.set_initializer(value, constant);
        if renamed.contains(&name) {
            plan.rename(value);
        }
    }
    inside::settle(main, &[way.clone()].into());
}
