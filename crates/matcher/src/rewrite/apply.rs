//! Puts what was planned into a graph. Outputs are redefined: values keep their identity, their name
//! and their place among the outputs of the graph.

use std::collections::{BTreeMap, BTreeSet};

use marquetry_ir::{
    Attribute, AttributeValue, Function, Graph, Kind, Metadata, Node, NodeId, Type, ValueId,
};

use super::Checked;
use super::names::Names;
use super::sketch::Sketch;

/// The key of a node's metadata that names the rule or pattern that built it.
pub(crate) const RULE: &str = "marquetry.rule";
/// The key of a node's metadata that names the nodes it stands for.
pub(crate) const NODES: &str = "marquetry.nodes";

/// A replacement that is planned.
#[derive(Clone, Debug)]
pub(crate) struct Edit {
    /// The name of the rule or pattern.
    pub(crate) pattern: String,
    pub(crate) anchor: NodeId,
    /// What was matched, in topological order.
    pub(crate) nodes: Vec<NodeId>,
    pub(crate) sketch: Sketch,
    /// The function that the sketch calls, if it is to be added.
    pub(crate) function: Option<Box<Function>>,
    /// What running both sides showed, if that was asked for.
    pub(crate) checked: Option<Checked>,
    /// Values that leave the match: two or more can be tied into a cycle by other replacements.
    pub(crate) exits: Vec<ValueId>,
    /// Inner values whose shape is read outside, each with one of the same shape.
    pub(crate) measured: Vec<(ValueId, ValueId)>,
    /// Types of outputs of which inference would know less afterwards.
    pub(crate) declare: Vec<(ValueId, Type)>,
}

impl Edit {
    /// A call that becomes the body of its function.
    pub(crate) fn inline(
        pattern: String,
        call: NodeId,
        outputs: Vec<ValueId>,
        sketch: Sketch,
    ) -> Self {
        Self {
            pattern,
            anchor: call,
            nodes: vec![call],
            sketch,
            function: None,
            checked: None,
            exits: outputs,
            measured: Vec::new(),
            declare: Vec::new(),
        }
    }
}

/// What became of an edit.
#[derive(Debug)]
pub(crate) struct Done {
    /// Names of the results of the nodes that were added.
    pub(crate) built: Vec<String>,
    /// A value whose producer now computes another one, and that other one.
    pub(crate) moved: Vec<(String, String)>,
}

/// Edits of one graph, applied one after the other; what dies is removed at the end, all at once.
pub(crate) struct Surgery<'g> {
    graph: &'g mut Graph,
    names: &'g mut Names,
    /// The body of a function has no initializers.
    in_function: bool,
    dead: BTreeSet<NodeId>,
    /// How many of the uses of a value are by dead nodes.
    dead_uses: BTreeMap<ValueId, usize>,
    /// What stands for a value now.
    aliases: BTreeMap<ValueId, ValueId>,
    /// Whether two values were tied together, so that paths may be longer than they were.
    tied: bool,
    outputs: BTreeSet<ValueId>,
}

impl<'g> Surgery<'g> {
    pub(crate) fn new(graph: &'g mut Graph, names: &'g mut Names, in_function: bool) -> Self {
        let outputs = graph.outputs.iter().copied().collect();
        Self {
            graph,
            names,
            in_function,
            dead: BTreeSet::new(),
            dead_uses: BTreeMap::new(),
            aliases: BTreeMap::new(),
            tied: false,
            outputs,
        }
    }

    fn resolve(&self, mut value: ValueId) -> ValueId {
        while let Some(&other) = self.aliases.get(&value) {
            value = other;
        }
        value
    }

    /// Applies one edit; `None` where an edit before it is in its way.
    pub(crate) fn apply(&mut self, edit: &Edit) -> Option<Done> {
        let sketch = &edit.sketch;
        let mut placed: BTreeMap<ValueId, ValueId> = BTreeMap::new();
        for (&value, origin) in &sketch.origins {
            let id = self.resolve(origin.id);
            let producer = self.graph.producer(id);
            if producer.is_some_and(|(node, _)| self.dead.contains(&node)) {
                return None;
            }
            placed.insert(value, id);
        }
        if edit.nodes.iter().any(|node| self.dead.contains(node))
            || (self.tied && edit.exits.len() > 1 && self.would_tie(edit, &placed))
        {
            return None;
        }
        self.tied |= edit.exits.len() > 1;
        self.rewire_shapes(edit);
        let mut done = Done { built: Vec::new(), moved: Vec::new() };
        let metadata = self.provenance(edit);
        let wanted = |made: ValueId| {
            sketch.outputs.iter().find(|(_, value)| *value == made).map(|(home, _)| *home)
        };
        for value in sketch.graph.initializers.clone() {
            placed.entry(value).or_insert_with(|| self.constant(sketch, value, &metadata));
        }
        for at in sketch.graph.nodes() {
            let mut node = sketch.graph.node(at).clone();
            self.label(&mut node, edit, &metadata);
            let inputs: Vec<_> = sketch
                .graph
                .inputs(at)
                .into_iter()
                .map(|input| input.map(|input| placed[&input]))
                .collect();
            let results = sketch.graph.outputs(at);
            let slots = vec![None; results.len()];
            let id = self.graph.add_node(node, &inputs, &slots).expect("it defines nothing yet");
            for (slot, result) in results.into_iter().enumerate() {
                let Some(result) = result else { continue };
                let home = match wanted(result) {
                    Some(home) => self.resolve(home),
                    None => {
                        let name = self.names.values.fresh(sketch.graph.value(result).name());
                        self.graph.value_named(&name)
                    }
                };
                self.graph.set_output(id, slot, Some(home));
                done.built.push(self.graph.value(home).name().to_owned());
                placed.insert(result, home);
            }
        }
        for &(home, made) in &sketch.outputs {
            let (home, by) = (self.resolve(home), self.resolve(placed[&made]));
            if home != by {
                self.alias(home, by, &mut done, &metadata);
            }
        }
        for (value, ty) in &edit.declare {
            self.declare(self.resolve(*value), ty);
        }
        for &node in edit.nodes.iter().rev() {
            if self.is_unused(node) {
                self.kill(node);
            }
        }
        Some(done)
    }

    /// Whether a path leads from what leaves the match back to what the new nodes read.
    fn would_tie(&self, edit: &Edit, placed: &BTreeMap<ValueId, ValueId>) -> bool {
        let read: BTreeSet<ValueId> = placed.values().copied().collect();
        let mut waiting: Vec<ValueId> = edit.exits.iter().map(|exit| self.resolve(*exit)).collect();
        let mut seen: BTreeSet<NodeId> = edit.nodes.iter().copied().collect();
        while let Some(value) = waiting.pop() {
            for reader in self.graph.uses(value) {
                if self.dead.contains(&reader.node) || !seen.insert(reader.node) {
                    continue;
                }
                for output in self.graph.outputs(reader.node).into_iter().flatten() {
                    if read.contains(&output) {
                        return true;
                    }
                    waiting.push(output);
                }
            }
        }
        false
    }

    /// Who reads the shape of an inner value reads that of another one.
    fn rewire_shapes(&mut self, edit: &Edit) {
        for &(inner, other) in &edit.measured {
            let other = self.resolve(other);
            for reader in self.graph.uses(self.resolve(inner)) {
                let node = self.graph.node(reader.node);
                let measures = node.is_onnx("Shape") || node.is_onnx("Size");
                if measures && !edit.nodes.contains(&reader.node) {
                    self.graph.set_input(reader.node, 0, Some(other));
                }
            }
        }
    }

    fn provenance(&self, edit: &Edit) -> Metadata {
        let names = edit.nodes.iter().map(|node| self.graph.node(*node).name.as_str());
        let names: Vec<&str> = names.filter(|name| !name.is_empty()).collect();
        let mut metadata = vec![(RULE.to_owned(), edit.pattern.clone())];
        if !names.is_empty() {
            metadata.push((NODES.to_owned(), names.join(", ")));
        }
        metadata
    }

    /// A name beside that of the anchor, if it has one, and where the node comes from.
    fn label(&mut self, node: &mut Node, edit: &Edit, metadata: &Metadata) {
        let anchor = &self.graph.node(edit.anchor).name;
        if !anchor.is_empty() {
            let folder = anchor.rsplit_once('/').map_or("", |(folder, _)| folder);
            let slash = if anchor.contains('/') { "/" } else { "" };
            node.name = self.names.nodes.fresh(&format!("{folder}{slash}{}", node.op_type));
        }
        node.metadata = metadata.clone();
    }

    fn constant(&mut self, sketch: &Sketch, value: ValueId, metadata: &Metadata) -> ValueId {
        let value = sketch.graph.value(value);
        let content = value.constant.clone().expect("an initializer has content");
        let name = self.names.values.fresh(value.name());
        if !self.in_function {
            return self.graph.add_initializer(&name, content).expect("the name is fresh");
        }
        let mut node = Node::new("", "Constant");
        node.attributes.push(Attribute::new("value", AttributeValue::Tensor(content)));
        node.metadata = metadata.clone();
        let id = self.graph.value_named(&name);
        self.graph.add_node(node, &[], &[Some(id)]).expect("the value is new");
        id
    }

    /// Lets one value stand for another.
    fn alias(&mut self, old: ValueId, new: ValueId, done: &mut Done, metadata: &Metadata) {
        if !self.outputs.contains(&old) {
            self.replace_uses(old, new);
            return;
        }
        // An output keeps its name: what computes the new value computes it under the old name, unless
        // that one must keep its name too.
        let producer = self.graph.producer(new);
        let free = !self.outputs.contains(&new) && self.graph.value(new).kind == Kind::Computed;
        match producer {
            Some((node, slot)) if free => {
                let names = (self.graph.value(new).name(), self.graph.value(old).name());
                done.moved.push((names.0.to_owned(), names.1.to_owned()));
                self.graph.set_output(node, slot, Some(old));
                self.replace_uses(new, old);
            }
            _ => {
                let mut node = Node::new("", "Identity");
                node.metadata = metadata.clone();
                let id = self.graph.add_node(node, &[Some(new)], &[None]);
                self.graph.set_output(id.expect("it defines nothing yet"), 0, Some(old));
                done.built.push(self.graph.value(old).name().to_owned());
            }
        }
    }

    fn replace_uses(&mut self, old: ValueId, new: ValueId) {
        self.graph.replace_uses(old, new);
        if let Some(dead) = self.dead_uses.remove(&old) {
            *self.dead_uses.entry(new).or_default() += dead;
        }
        self.aliases.insert(old, new);
    }

    fn declare(&mut self, value: ValueId, ty: &Type) {
        // Files below version 10 of the format have no types of values in functions.
        if self.graph.value(value).ty.is_none() && !self.in_function {
            self.graph.value_mut(value).ty = Some(ty.clone());
            if !self.outputs.contains(&value) && !self.graph.declared.contains(&value) {
                self.graph.declared.push(value);
            }
        }
    }

    /// Whether nobody reads the results of a node.
    fn is_unused(&self, node: NodeId) -> bool {
        self.graph.outputs(node).into_iter().flatten().all(|output| {
            let dead = self.dead_uses.get(&output).copied().unwrap_or(0);
            !self.outputs.contains(&output) && self.graph.use_count(output) == dead
        })
    }

    fn kill(&mut self, node: NodeId) {
        if !self.dead.insert(node) {
            return;
        }
        let inputs = self.graph.inputs(node).into_iter().flatten();
        for value in inputs.chain(self.graph.captures(node)) {
            *self.dead_uses.entry(value).or_default() += 1;
        }
    }

    /// Removes what died, and what served only that. Returns how many nodes went.
    pub(crate) fn finish(mut self) -> usize {
        let mut waiting: Vec<NodeId> = self.dead.iter().copied().collect();
        while let Some(node) = waiting.pop() {
            let inputs = self.graph.inputs(node).into_iter().flatten();
            for value in inputs.chain(self.graph.captures(node)) {
                let Some((producer, _)) = self.graph.producer(value) else { continue };
                if !self.dead.contains(&producer) && self.is_unused(producer) {
                    self.kill(producer);
                    waiting.push(producer);
                }
            }
        }
        let dead: Vec<NodeId> = self.dead.into_iter().collect();
        self.graph.remove_nodes(&dead);
        self.graph.drop_unused();
        dead.len()
    }
}
