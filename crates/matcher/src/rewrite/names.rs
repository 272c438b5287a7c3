use std::collections::{BTreeMap, BTreeSet};

use marquetry_ir::{Graph, Model};

/// Names that a model uses, in all its graphs: asking a graph for each new name would visit all its
/// nodes.
#[derive(Debug, Default)]
pub(crate) struct Names {
    pub(crate) values: Pool,
    pub(crate) nodes: Pool,
}

#[derive(Debug, Default)]
pub(crate) struct Pool {
    taken: BTreeSet<String>,
    /// The last number that was given out for a base.
    last: BTreeMap<String, u64>,
}

impl Names {
    pub(crate) fn of(model: &Model) -> Self {
        let mut names = Self::default();
        names.add(&model.graph);
        model.functions.iter().for_each(|function| names.add(&function.body));
        names
    }

    fn add(&mut self, graph: &Graph) {
        let values = graph.values().map(|value| graph.value(value).name().to_owned());
        self.values.taken.extend(values);
        for node in graph.nodes() {
            let node = graph.node(node);
            self.nodes.taken.insert(node.name.clone());
            node.bodies().for_each(|body| self.add(body));
        }
    }
}

impl Pool {
    /// `base`, or `base` with a number; taken from now on.
    pub(crate) fn fresh(&mut self, base: &str) -> String {
        if self.taken.insert(base.to_owned()) {
            return base.to_owned();
        }
        let last = self.last.entry(base.to_owned()).or_default();
        loop {
            *last += 1;
            let name = format!("{base}_{last}");
            if self.taken.insert(name.clone()) {
                return name;
            }
        }
    }
}
