//! Calls of the functions that a model brings along become what the functions hold.
//!
//! ```
//! use marquetry_ir::{inline, text};
//! let mut model = text::parse(r#"<ir_version: 9, opset_import: ["": 17, "my": 1]>
//! g (float[2] x) => (float[2] y) { y = my.Twice (x) }
//! <domain: "my", opset_import: ["": 17]> Twice (a) => (b) { b = Add (a, a) }"#).unwrap();
//! assert_eq!(inline::functions(&mut model).calls, 1);
//! assert!(model.functions.is_empty());
//! ```

use std::collections::{BTreeMap, BTreeSet};

use crate::schema::canonical_domain;
use crate::{Attribute, AttributeValue, Function, Graph, Kind, Model, Node, NodeId, ValueId};

/// Calls within calls; the checker of ONNX allows as many.
const DEEPEST: usize = 100;

/// Bodies within bodies in which calls are written out: whoever walks through them needs stack for each. A
/// file holds fewer than [`crate::onnx::MAX_DEPTH`], and functions multiply them.
const DEEPEST_BODY: usize = 200;

/// Nodes that inlining makes at most: functions that call functions twice each grow without end.
const MOST_NODES: usize = 1_000_000;

/// What became of the calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inlined {
    /// How many became bodies.
    pub calls: usize,
    /// What is left as a call, and why, one line for each function.
    pub left: Vec<String>,
}

/// Replaces every call of a function of the model by its body, in all graphs; functions that nobody
/// calls any more are taken out.
///
/// Values of the model keep their names. A call is left where its function needs another version of
/// an operator set than the model has, is called too deep, or cannot be written without a clash of
/// names.
pub fn functions(model: &mut Model) -> Inlined {
    if model.functions.is_empty() {
        return Inlined::default();
    }
    let functions = std::mem::take(&mut model.functions);
    let mut work = Work {
        functions: &functions,
        values: BTreeSet::new(),
        nodes: BTreeSet::new(),
        made: 0,
        inlined: Inlined::default(),
    };
    work.collect(&model.graph);
    work.graph(&mut model.graph, Depth::default());
    let mut inlined = work.inlined;
    inlined.left.sort();
    inlined.left.dedup();
    if !inlined.left.is_empty() {
        model.functions = functions;
    }
    inlined
}

/// Where a node lies.
#[derive(Clone, Copy, Default)]
struct Depth {
    /// In how many calls that were written out.
    calls: usize,
    /// In how many bodies.
    bodies: usize,
}

struct Work<'f> {
    functions: &'f [Function],
    /// Names of values, in all graphs: a body must not hide what is around it.
    values: BTreeSet<String>,
    /// Names of nodes.
    nodes: BTreeSet<String>,
    made: usize,
    inlined: Inlined,
}

impl<'f> Work<'f> {
    fn collect(&mut self, graph: &Graph) {
        self.values.extend(graph.values().map(|value| graph.value(value).name().to_owned()));
        for node in graph.nodes() {
            let node = graph.node(node);
            self.nodes.insert(node.name.clone());
            node.bodies().for_each(|body| self.collect(body));
        }
    }

    fn function(&self, node: &Node) -> Option<&'f Function> {
        self.functions.iter().find(|function| {
            canonical_domain(&function.domain) == canonical_domain(&node.domain)
                && function.name == node.op_type
                && function.overload == node.overload
        })
    }

    fn graph(&mut self, graph: &mut Graph, depth: Depth) {
        let mut open: Vec<(NodeId, Depth)> = graph.nodes().map(|node| (node, depth)).collect();
        let mut dead = Vec::new();
        while let Some((node, depth)) = open.pop() {
            let Some(function) = self.function(graph.node(node)) else {
                if graph.node(node).bodies().next().is_some() {
                    let depth = Depth { bodies: depth.bodies + 1, ..depth };
                    graph.edit_bodies(node, |body| self.graph(body, depth));
                }
                continue;
            };
            match self.call(graph, node, function, depth) {
                Ok(made) => {
                    let depth = Depth { calls: depth.calls + 1, ..depth };
                    open.extend(made.into_iter().map(|node| (node, depth)));
                    dead.push(node);
                    self.inlined.calls += 1;
                }
                Err(why) => self.inlined.left.push(format!("`{}`: {why}", function.name)),
            }
        }
        if !dead.is_empty() {
            graph.remove_nodes(&dead);
            graph.drop_unused();
        }
    }

    /// Writes a body out beside its call, which loses its outputs; the nodes that were made.
    fn call(
        &mut self,
        graph: &mut Graph,
        call: NodeId,
        function: &Function,
        depth: Depth,
    ) -> Result<Vec<NodeId>, String> {
        let body = &function.body;
        let order = self.refusal(graph, function, depth)?;
        for opset in &body.opsets.0 {
            if graph.opsets.version(&opset.domain).is_none() {
                graph.opsets.set(&opset.domain, opset.version);
            }
        }
        let content = graph.node(call).clone();
        let operands = graph.inputs(call);
        let results = graph.outputs(call);
        for (slot, _) in results.iter().enumerate() {
            graph.set_output(call, slot, None);
        }
        let mut placed: BTreeMap<ValueId, ValueId> = BTreeMap::new();
        for (at, &input) in body.inputs.iter().enumerate() {
            placed.extend(operands.get(at).copied().flatten().map(|operand| (input, operand)));
        }
        // A result that is computed in the body keeps the name it has outside.
        let mut homes = Vec::new();
        for (output, home) in body.outputs.iter().zip(&results) {
            let Some(home) = *home else { continue };
            match placed.contains_key(output) || body.inputs.contains(output) {
                false => {
                    placed.insert(*output, home);
                }
                true => homes.push((*output, home)),
            }
        }
        let stem = results.iter().flatten().next().map(|&home| graph.value(home).name().to_owned());
        let stem = stem.unwrap_or_else(|| function.name.clone());
        for value in body.values() {
            if !placed.contains_key(&value) && !body.inputs.contains(&value) {
                let inner = body.value(value);
                let name = fresh(&mut self.values, &format!("{stem}_{}", inner.name()));
                let made = graph.value_named(&name);
                graph.value_mut(made).ty.clone_from(&inner.ty);
                if let Some(constant) =
                    inner.constant.clone().filter(|_| inner.kind == Kind::Initializer)
                {
                    graph.set_initializer(made, constant);
                }
                placed.insert(value, made);
            }
        }
        let mut made = Vec::new();
        for node in order {
            let mut inner = body.node(node).clone();
            let prefix = if content.name.is_empty() { &content.op_type } else { &content.name };
            if !inner.name.is_empty() {
                inner.name = fresh(&mut self.nodes, &format!("{prefix}/{}", inner.name));
            }
            resolve(&mut inner.attributes, &content, function);
            for captured in body.captures(node) {
                let from = body.value(captured).name();
                let Some(to) = placed.get(&captured) else { continue };
                let to = graph.value(*to).name().to_owned();
                for attribute in &mut inner.attributes {
                    let bodies = attribute.value.graphs_mut();
                    bodies.iter_mut().for_each(|body| body.rename_captured(from, &to));
                }
            }
            let place =
                |value: Option<ValueId>| value.and_then(|value| placed.get(&value).copied());
            let inputs: Vec<Option<ValueId>> = body.inputs(node).into_iter().map(place).collect();
            let outputs: Vec<Option<ValueId>> = body.outputs(node).into_iter().map(place).collect();
            made.push(graph.add_node(inner, &inputs, &outputs).map_err(|error| error.to_string())?);
        }
        for (output, home) in homes {
            let from = placed.get(&output).copied();
            let node = Node::new("", "Identity");
            made.push(
                graph.add_node(node, &[from], &[Some(home)]).map_err(|error| error.to_string())?,
            );
        }
        self.made += made.len();
        Ok(made)
    }

    /// The nodes of a body in order, or why the call is left.
    fn refusal(
        &self,
        graph: &Graph,
        function: &Function,
        depth: Depth,
    ) -> Result<Vec<NodeId>, String> {
        let body = &function.body;
        if depth.calls >= DEEPEST {
            return Err(format!("it is called more than {DEEPEST} calls deep"));
        }
        if depth.bodies >= DEEPEST_BODY {
            return Err(format!("it is called more than {DEEPEST_BODY} bodies deep"));
        }
        if self.made + body.nodes().count() > MOST_NODES {
            return Err(format!("its calls have more than {MOST_NODES} nodes"));
        }
        for opset in &body.opsets.0 {
            let found = graph.opsets.version(&opset.domain);
            if let Some(found) = found.filter(|found| *found != opset.version) {
                let domain = if opset.domain.is_empty() { "ai.onnx" } else { &opset.domain };
                return Err(format!(
                    "it is written for opset {} of `{domain}`, the model for {found}",
                    opset.version
                ));
            }
        }
        let mut hidden = BTreeSet::new();
        for node in body.nodes() {
            body.node(node).bodies().for_each(|inner| names(inner, &mut hidden));
        }
        if let Some(name) = hidden.iter().find(|name| self.values.contains(*name)) {
            return Err(format!("`{name}` in a body of it would hide a value of the model"));
        }
        body.order().map_err(|cycle| cycle.to_string())
    }
}

/// Names of what the bodies of a function define themselves.
fn names(graph: &Graph, into: &mut BTreeSet<String>) {
    let own = graph.values().filter(|&value| graph.value(value).kind != Kind::Captured);
    into.extend(own.map(|value| graph.value(value).name().to_owned()));
    for node in graph.nodes() {
        graph.node(node).bodies().for_each(|body| names(body, into));
    }
}

/// Puts what a call says, or a function says where the call does not, in the place of references; an
/// attribute of which neither says anything is left out.
fn resolve(attributes: &mut Vec<Attribute>, call: &Node, function: &Function) {
    attributes.retain_mut(|attribute| {
        if let AttributeValue::Reference { name, .. } = &attribute.value {
            let default = function.defaults.iter().find(|default| default.name == *name);
            let said = call.attribute(name).or(default.map(|default| &default.value));
            match said.cloned() {
                Some(value) => attribute.value = value,
                None => return false,
            }
            return true;
        }
        for body in attribute.value.graphs_mut() {
            for node in body.nodes().collect::<Vec<_>>() {
                resolve(&mut body.node_mut(node).attributes, call, function);
            }
        }
        true
    });
}

/// A name that nobody has: `base`, or `base` with a number.
fn fresh(taken: &mut BTreeSet<String>, base: &str) -> String {
    let free = |name: &String| !taken.contains(name);
    let candidates = [base.to_owned()].into_iter().chain((1u64..).map(|at| format!("{base}_{at}")));
    let name = candidates.into_iter().find(free).expect("numbers do not run out");
    taken.insert(name.clone());
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{check, text};

    fn inlined(src: &str) -> (Inlined, String) {
        let mut model = text::parse(src).unwrap();
        let inlined = functions(&mut model);
        assert_eq!(check::run(&model).len(), 0, "{:?}", check::run(&model));
        (inlined, text::print(&model, &text::PrintOptions::default()))
    }

    const HEAD: &str = r#"<ir_version: 9, opset_import: ["": 17, "my": 1]>"#;

    #[test]
    fn calls_within_calls_keep_the_names_of_the_model() {
        let (inlined, text) = inlined(&format!(
            r#"{HEAD}
            g (float[2] x) => (float[2] y, float[2] z) {{
               y_h = Neg (x)
               y = my.Outer <slope: float = 0.5> (y_h)
               z = my.Inner (y)
            }}
            <domain: "my", opset_import: ["": 17, "my": 1]>
            Outer <slope> (a) => (c) {{
               h = LeakyRelu <alpha: float = @slope> (a)
               c = my.Inner (h)
            }}
            <domain: "my", opset_import: ["": 17]>
            Inner (a) => (b) {{ t = Abs (a)  b = Sqrt (t) }}"#
        ));
        assert_eq!(inlined, Inlined { calls: 3, left: vec![] });
        for line in
            ["y_h = Neg (x)", "LeakyRelu <alpha: float = 0.5> (y_h)", "y = Sqrt", "z = Sqrt"]
        {
            assert!(text.contains(line), "{line} in {text}");
        }
        assert!(!text.contains("my."), "{text}");
    }

    #[test]
    fn what_goes_straight_through_and_what_is_absent() {
        let (inlined, text) = inlined(&format!(
            r#"{HEAD}
            g (float[2] x) => (float[2] y, float[2] z) {{ y, z = my.Both (x, ) }}
            <domain: "my", opset_import: ["": 17]>
            Both (a, low) => (a, c) {{ c = Clip (a, low) }}"#
        ));
        assert_eq!(inlined.calls, 1);
        assert!(text.contains("y = Identity (x)") && text.contains("z = Clip (x"), "{text}");
    }

    #[test]
    fn bodies_follow_the_names() {
        let (inlined, text) = inlined(&format!(
            r#"{HEAD}
            g (bool c, float[2] x) => (float[2] y) {{ y = my.Either (c, x) }}
            <domain: "my", opset_import: ["": 17]>
            Either (c, a) => (b) {{
               h = Neg (a)
               b = If (c) <
                  then_branch: graph = t () => (float[2] p) {{ p = Abs (h) }},
                  else_branch: graph = e () => (float[2] q) {{ q = Exp (a) }}
               >
            }}"#
        ));
        assert_eq!(inlined, Inlined { calls: 1, left: vec![] });
        assert!(text.contains("p = Abs (y_h)") && text.contains("q = Exp (x)"), "{text}");
    }

    #[test]
    fn bodies_do_not_nest_without_end() {
        // Each function calls the next one from 20 bodies inside each other: 40 of them are 800 deep.
        let functions = (0..40).map(|at| {
            let value = |level: usize| format!("f{at}_{level}");
            let inner = format!("{} = my.F{} (a, c)", value(20), at + 1);
            let body = (0..20).rev().fold(inner, |inner, level| {
                let (outer, held) = (value(level), value(level + 1));
                format!(
                    "{outer} = If (c) <then_branch: graph = t{level} () => (float[2] {held}) {{ {inner} }}, \
                     else_branch: graph = e{level} () => (float[2] {outer}_e) {{ {outer}_e = Exp (a) }}>"
                )
            });
            format!(
                r#"<domain: "my", opset_import: ["": 17, "my": 1]> F{at} (a, c) => (f{at}_0) {{ {body} }}"#
            )
        });
        let functions: String = functions.collect::<Vec<_>>().join("\n");
        let last =
            r#"<domain: "my", opset_import: ["": 17, "my": 1]> F40 (a, c) => (b) { b = Abs (a) }"#;
        let mut model = text::parse(&format!(
            "{HEAD}\ng (float[2] x, bool c) => (float[2] y) {{ y = my.F0 (x, c) }}\n{functions}\n{last}"
        ))
        .unwrap();
        let inlined = super::functions(&mut model);
        assert_eq!(inlined.left, ["`F10`: it is called more than 200 bodies deep"]);
        assert_eq!(inlined.calls, 10);
    }

    #[test]
    fn what_cannot_be_written_out_is_left_with_a_reason() {
        let mut model = text::parse(&format!(
            r#"{HEAD}
            g (float[2] x) => (float[2] y) {{ h = my.Old (x)  y = my.Self (h) }}
            <domain: "my", opset_import: ["": 9]> Old (a) => (b) {{ b = Neg (a) }}
            <domain: "my", opset_import: ["": 17, "my": 1]> Self (a) => (b) {{ b = my.Self (a) }}"#
        ))
        .unwrap();
        let inlined = functions(&mut model);
        assert_eq!(
            inlined.left,
            [
                "`Old`: it is written for opset 9 of `ai.onnx`, the model for 17",
                "`Self`: it is called more than 100 calls deep"
            ]
        );
        assert_eq!(model.functions.len(), 2);
    }
}
