//! What is different between two graphs.

use std::collections::BTreeMap;

use super::pair::{self, Pairs};
use super::{Changes, Subject, joined};
use crate::{Attribute, AttributeValue, Graph, NodeId, Tensor, Type, ValueId, compare};

/// Elements up to which it is counted how many differ, and by how much.
const COUNTED: usize = 1 << 26;

impl Changes {
    pub(super) fn graph(&mut self, left: &Graph, right: &Graph) {
        self.opsets(left, right);
        self.text(Subject::Header, "", "name of the graph", &left.name, &right.name);
        self.text(Subject::Header, "", "documentation of the graph", &left.doc, &right.doc);
        self.metadata("the graph", &left.metadata, &right.metadata);
        self.ports(Subject::Input, (left, &left.inputs), (right, &right.inputs));
        self.ports(Subject::Output, (left, &left.outputs), (right, &right.outputs));
        let pairs = pair::pair(left, right);
        self.initializers(left, right, &pairs);
        for &node in &pairs.gone {
            self.push(Subject::Node, &title(left, node), "", Some(String::new()), None);
        }
        for &node in &pairs.new {
            self.push(Subject::Node, &title(right, node), "", None, Some(String::new()));
        }
        for &(a, b) in &pairs.nodes {
            self.node((left, a), (right, b), &pairs);
        }
        self.declared(left, right);
    }

    fn opsets(&mut self, left: &Graph, right: &Graph) {
        let versions = |graph: &Graph| -> BTreeMap<String, String> {
            let opsets = graph.opsets.0.iter();
            opsets.map(|opset| (opset.domain.clone(), opset.version.to_string())).collect()
        };
        let (a, b) = (versions(left), versions(right));
        for (domain, [left, right]) in joined(&a, &b) {
            if left != right {
                let name = if domain.is_empty() { "ai.onnx" } else { domain };
                self.push(Subject::Opset, name, "", left.cloned(), right.cloned());
            }
        }
    }

    /// Inputs or outputs: which there are, their types, their order.
    fn ports(&mut self, subject: Subject, left: (&Graph, &[ValueId]), right: (&Graph, &[ValueId])) {
        let list = |(graph, values): (&Graph, &[ValueId])| -> Vec<(String, String)> {
            let value = |&value: &ValueId| {
                let value = graph.value(value);
                (value.name().to_owned(), type_text(value.ty.as_ref()))
            };
            values.iter().map(value).collect()
        };
        let (a, b) = (list(left), list(right));
        let found = self.list.len();
        let maps = [&a, &b].map(|list| list.iter().cloned().collect::<BTreeMap<_, _>>());
        for (name, [left, right]) in joined(&maps[0], &maps[1]) {
            let title = format!("`{name}`");
            match [left, right] {
                [Some(left), Some(right)] => self.text(subject, &title, "type", left, right),
                [left, right] => self.push(subject, &title, "", left.cloned(), right.cloned()),
            }
        }
        let names = |list: &[(String, String)]| {
            list.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
        };
        if self.list.len() == found {
            let plural = format!("{}s", subject.word());
            self.text(Subject::Header, "", &format!("order of {plural}"), &names(&a), &names(&b));
        }
    }

    fn initializers(&mut self, left: &Graph, right: &Graph, pairs: &Pairs) {
        let named = |graph: &Graph| -> BTreeMap<String, ValueId> {
            let values = graph.initializers.iter();
            values.map(|&value| (graph.value(value).name().to_owned(), value)).collect()
        };
        let (mut a, mut b) = (named(left), named(right));
        for (old, new) in &pairs.renamed {
            if a.contains_key(old) && b.contains_key(new) {
                a.remove(old);
                b.remove(new);
                let title = format!("`{old}`");
                self.text(Subject::Initializer, &title, "name", old, new);
            }
        }
        for (name, pair) in joined(&a, &b) {
            let title = format!("`{name}`");
            let [old, new] =
                [(left, pair[0]), (right, pair[1])].map(|(graph, id)| Some(graph.value(*id?)));
            match (old, new) {
                (Some(old), Some(new)) => match (&old.constant, &new.constant) {
                    (Some(old), Some(new)) => {
                        self.tensor(Subject::Initializer, &title, "", old, new);
                    }
                    _ if old.sparse == new.sparse => {}
                    _ => self.push(
                        Subject::Initializer,
                        &title,
                        "sparse content",
                        Some("one".to_owned()),
                        Some("another".to_owned()),
                    ),
                },
                (old, new) => {
                    let [old, new] = [old, new].map(|value| {
                        Some(value?.constant.as_ref().map_or("sparse".to_owned(), tensor_text))
                    });
                    self.push(Subject::Initializer, &title, "", old, new);
                }
            }
        }
    }

    /// Two tensors that should be the same.
    fn tensor(&mut self, subject: Subject, title: &str, aspect: &str, old: &Tensor, new: &Tensor) {
        let (a, b) = (tensor_text(old), tensor_text(new));
        if a != b {
            let aspect = if aspect.is_empty() { "type" } else { aspect };
            self.push(subject, title, aspect, Some(a), Some(b));
        } else if old.content() != new.content() {
            let aspect = if aspect.is_empty() { "" } else { aspect };
            let what =
                format!("{aspect}{}{}", if aspect.is_empty() { "" } else { ": " }, apart(old, new));
            self.push(subject, title, &what, None, None);
        }
    }

    fn node(&mut self, left: (&Graph, NodeId), right: (&Graph, NodeId), pairs: &Pairs) {
        let (a, b) = (left.0.node(left.1), right.0.node(right.1));
        let title = title(left.0, left.1);
        let kinds = [left, right].map(|(graph, node)| pair::kind(graph, node));
        self.text(Subject::Node, &title, "operator", &kinds[0], &kinds[1]);
        self.text(Subject::Node, &title, "name", &a.name, &b.name);
        self.text(Subject::Node, &title, "overload", &a.overload, &b.overload);
        let slots = |graph: &Graph, slots: Vec<Option<ValueId>>| -> Vec<String> {
            let name = |value| graph.value(value).name().to_owned();
            slots.into_iter().map(|slot| slot.map(name).unwrap_or_default()).collect()
        };
        let results = [left, right].map(|(graph, node)| slots(graph, graph.outputs(node)));
        self.text(Subject::Node, &title, "outputs", &listed(&results[0]), &listed(&results[1]));
        let read = [left, right].map(|(graph, node)| slots(graph, graph.inputs(node)));
        let followed: Vec<String> =
            read[0].iter().map(|name| pairs.renamed.get(name).unwrap_or(name).clone()).collect();
        if followed != read[1] {
            let [old, new] = [&read[0], &read[1]].map(|names| Some(listed(names)));
            self.push(Subject::Node, &title, "inputs", old, new);
        }
        let named = |attributes: &[Attribute]| -> BTreeMap<String, usize> {
            attributes.iter().enumerate().map(|(at, one)| (one.name.clone(), at)).collect()
        };
        let (old, new) = (named(&a.attributes), named(&b.attributes));
        for (name, pair) in joined(&old, &new) {
            let aspect = format!("attribute `{name}`");
            let values =
                [(a, pair[0]), (b, pair[1])].map(|(node, at)| Some(&node.attributes[*at?].value));
            self.attribute(&title, &aspect, values);
        }
        self.text(Subject::Node, &title, "documentation", &a.doc, &b.doc);
        self.metadata(&format!("node {title}"), &a.metadata, &b.metadata);
    }

    fn attribute(&mut self, title: &str, aspect: &str, values: [Option<&AttributeValue>; 2]) {
        use AttributeValue::{Graph, Tensor};
        match values {
            [Some(Tensor(old)), Some(Tensor(new))] => {
                self.tensor(Subject::Node, title, aspect, old, new);
            }
            [Some(Graph(old)), Some(Graph(new))] => {
                if let Some(first) = compare::graph_difference(old, new) {
                    let aspect = format!("{aspect}: {}", first.place);
                    self.push(Subject::Node, title, &aspect, Some(first.left), Some(first.right));
                }
            }
            [Some(old), Some(new)] if compare::attribute_difference(old, new).is_none() => {}
            values => {
                let [old, new] = values.map(|value| value.map(attribute_text));
                self.push(Subject::Node, title, aspect, old, new);
            }
        }
    }

    /// Types that are stated of values between nodes, as far as both graphs state one.
    fn declared(&mut self, left: &Graph, right: &Graph) {
        let named = |graph: &Graph| -> BTreeMap<String, String> {
            let values = graph.declared.iter().map(|&value| graph.value(value));
            values.map(|value| (value.name().to_owned(), type_text(value.ty.as_ref()))).collect()
        };
        let (a, b) = (named(left), named(right));
        for (name, pair) in joined(&a, &b) {
            if let [Some(old), Some(new)] = pair {
                self.text(Subject::Value, &format!("`{name}`"), "type", old, new);
            }
        }
    }
}

/// A node by its name, or by its first result, and its operator.
fn title(graph: &Graph, node: NodeId) -> String {
    let kind = pair::kind(graph, node);
    match (graph.node(node).name.as_str(), pair::result(graph, node)) {
        ("", Some(result)) => format!("`{result}` ({kind})"),
        ("", None) => format!("{node} ({kind})"),
        (name, _) => format!("`{name}` ({kind})"),
    }
}

fn listed(names: &[String]) -> String {
    format!("({})", names.join(", "))
}

fn type_text(ty: Option<&Type>) -> String {
    ty.map_or_else(|| "unknown".to_owned(), ToString::to_string)
}

fn tensor_text(tensor: &Tensor) -> String {
    let dims: Vec<String> = tensor.dims().iter().map(ToString::to_string).collect();
    format!("{}[{}]", tensor.dtype(), dims.join(","))
}

fn attribute_text(value: &AttributeValue) -> String {
    match value {
        AttributeValue::Tensor(tensor) => tensor_text(tensor),
        AttributeValue::Graph(graph) => format!("a graph of {} nodes", graph.nodes().count()),
        value => value.to_string(),
    }
}

/// How far two tensors of one type and shape are apart.
fn apart(old: &Tensor, new: &Tensor) -> String {
    if old.len() > COUNTED {
        return "other content".to_owned();
    }
    let (Some(a), Some(b)) = (old.to_f64s(), new.to_f64s()) else {
        return "other content".to_owned();
    };
    let different = a.iter().zip(&b).filter(|(a, b)| a.to_bits() != b.to_bits());
    let (mut count, mut most) = (0_usize, 0.0_f64);
    for (a, b) in different {
        count += 1;
        most = most.max((a - b).abs());
    }
    format!("{count} of {} elements differ, by {most:.3e} at most", a.len())
}
