use std::collections::BTreeSet;
use std::sync::Arc;

use petgraph::Direction::Incoming;
use petgraph::visit::EdgeRef;

use super::{Entry, Graph, Kind, Node, NodeId, Slot, Value, ValueId, Vertex};
use crate::{Tensor, Type};

/// Why a graph could not be changed so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// There is a value of this name already.
    #[error("there is already a value named `{name}`")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// A value has a producer, or is an input or a constant, and would get another producer.
    #[error("`{name}` is defined twice")]
    Redefined {
        /// The name of the value.
        name: String,
    },
}

impl GraphError {
    /// A stable name for the kind of error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NameTaken { .. } => "name_taken",
            Self::Redefined { .. } => "redefined",
        }
    }
}

impl Graph {
    /// Adds a value that nothing computes yet.
    ///
    /// # Errors
    ///
    /// When the name is taken.
    pub fn add_value(&mut self, name: &str, ty: Option<Type>) -> Result<ValueId, GraphError> {
        if self.names.contains_key(name) {
            return Err(GraphError::NameTaken { name: name.to_owned() });
        }
        Ok(self.push_value(name, ty))
    }

    /// The value of this name, added without a type if there is none.
    pub fn value_named(&mut self, name: &str) -> ValueId {
        self.find(name).unwrap_or_else(|| self.push_value(name, None))
    }

    /// Adds an input.
    ///
    /// # Errors
    ///
    /// When the name is taken.
    pub fn add_input(&mut self, name: &str, ty: Option<Type>) -> Result<ValueId, GraphError> {
        let value = self.add_value(name, ty)?;
        self.value_mut(value).kind = Kind::Input;
        self.inputs.push(value);
        Ok(value)
    }

    /// Adds a constant.
    ///
    /// # Errors
    ///
    /// When the name is taken.
    pub fn add_initializer(&mut self, name: &str, constant: Tensor) -> Result<ValueId, GraphError> {
        let value = self.add_value(name, None)?;
        self.set_initializer(value, constant);
        Ok(value)
    }

    /// Makes a value a constant, or gives an input its default.
    pub fn set_initializer(&mut self, value: ValueId, constant: Tensor) {
        let entry = self.value_mut(value);
        if entry.constant.replace(constant).is_none() {
            if entry.kind != Kind::Input {
                entry.kind = Kind::Initializer;
            }
            self.initializers.push(value);
        }
    }

    /// Adds a node. Values that its bodies capture are found by name, and added where this graph does
    /// not have them: they then belong to a graph around it, or dangle.
    ///
    /// # Errors
    ///
    /// When an output already has a producer, is an input or a constant. The graph is unchanged then.
    pub fn add_node(
        &mut self,
        node: Node,
        inputs: &[Option<ValueId>],
        outputs: &[Option<ValueId>],
    ) -> Result<NodeId, GraphError> {
        let mut seen = BTreeSet::new();
        for &output in outputs.iter().flatten() {
            let value = self.value(output);
            let defined = matches!(value.kind, Kind::Input | Kind::Initializer)
                || self.producer(output).is_some();
            if defined || !seen.insert(output) {
                return Err(GraphError::Redefined { name: value.name().to_owned() });
            }
        }
        let id = NodeId::new(self.nodes.len());
        let vertex = self.wiring.add_node(Vertex::Node(id));
        self.nodes.push(Some(Entry { vertex, uses: 0, content: node }));
        self.node_mut(id).arity = (slot_count(inputs.len()), slot_count(outputs.len()));
        for (slot, input) in inputs.iter().enumerate() {
            if let Some(value) = *input {
                self.connect(value, id, Slot::Input(slot_count(slot)));
            }
        }
        for (slot, output) in outputs.iter().enumerate() {
            if let Some(value) = *output {
                let target = self.value_entry(value).vertex;
                self.wiring.add_edge(vertex, target, Slot::Output(slot_count(slot)));
                self.value_mut(value).kind = Kind::Computed;
            }
        }
        self.connect_captures(id);
        Ok(id)
    }

    /// Replaces the input at a slot; a slot beyond the last one is added.
    pub fn set_input(&mut self, node: NodeId, slot: usize, value: Option<ValueId>) {
        let vertex = self.node_entry(node).vertex;
        let at = Slot::Input(slot_count(slot));
        let old = self.wiring.edges_directed(vertex, Incoming).find(|edge| *edge.weight() == at);
        if let Some((edge, source)) = old.map(|edge| (edge.id(), edge.source())) {
            self.wiring.remove_edge(edge);
            if let Vertex::Value(source) = self.wiring[source] {
                self.count_use(source, -1);
            }
        }
        let arity = &mut self.node_mut(node).arity.0;
        *arity = (*arity).max(slot_count(slot + 1));
        if let Some(value) = value {
            self.connect(value, node, at);
        }
    }

    /// Drops input slots from the end, so that `count` are left.
    pub fn truncate_inputs(&mut self, node: NodeId, count: usize) {
        for slot in count..self.node(node).input_count() {
            self.set_input(node, slot, None);
        }
        let arity = &mut self.node_mut(node).arity.0;
        *arity = (*arity).min(slot_count(count));
    }

    /// Lets a node compute `value` at an output slot. If another node computed it, that output slot
    /// becomes absent: this is how a rewrite redefines a value that keeps its name and identity.
    pub fn set_output(&mut self, node: NodeId, slot: usize, value: Option<ValueId>) {
        let at = Slot::Output(slot_count(slot));
        if let Some(old) = self.output(node, slot) {
            self.disconnect_producer(old);
        }
        let arity = &mut self.node_mut(node).arity.1;
        *arity = (*arity).max(slot_count(slot + 1));
        if let Some(value) = value {
            self.disconnect_producer(value);
            let (source, target) = (self.node_entry(node).vertex, self.value_entry(value).vertex);
            self.wiring.add_edge(source, target, at);
            self.value_mut(value).kind = Kind::Computed;
        }
    }

    /// Lets every node that reads `old` read `new`, bodies that capture it included. Outputs of the
    /// graph stay what they are.
    pub fn replace_uses(&mut self, old: ValueId, new: ValueId) {
        if old == new {
            return;
        }
        for reader in self.uses(old) {
            match reader.slot {
                Slot::Input(slot) => self.set_input(reader.node, slot as usize, Some(new)),
                Slot::Capture => self.replace_captured(reader.node, old, new),
                Slot::Output(_) => unreachable!("a use is a reading edge"),
            }
        }
    }

    /// Renames a value, also where bodies capture it.
    ///
    /// # Errors
    ///
    /// When the name is taken.
    pub fn rename(&mut self, value: ValueId, name: &str) -> Result<(), GraphError> {
        if self.value(value).name() == name {
            return Ok(());
        }
        if self.names.contains_key(name) {
            return Err(GraphError::NameTaken { name: name.to_owned() });
        }
        let old = self.value(value).name.clone();
        self.put_name(value, name);
        for reader in self.uses(value) {
            if reader.slot == Slot::Capture {
                for attribute in &mut self.node_mut(reader.node).attributes {
                    attribute
                        .value
                        .graphs_mut()
                        .iter_mut()
                        .for_each(|body| body.rename_captured(&old, name));
                }
            }
        }
        Ok(())
    }

    /// Changes the bodies that a node holds, and then finds anew what they capture.
    pub fn edit_bodies(&mut self, node: NodeId, mut edit: impl FnMut(&mut Graph)) {
        for attribute in &mut self.node_mut(node).attributes {
            attribute.value.graphs_mut().iter_mut().for_each(&mut edit);
        }
        for value in self.captures(node) {
            self.disconnect_capture(value, node);
        }
        self.connect_captures(node);
    }

    /// Lets the bodies of a node read `new` wherever they capture `old`.
    pub fn replace_captured(&mut self, node: NodeId, old: ValueId, new: ValueId) {
        let (from, to) = (self.value(old).name.clone(), self.value(new).name.clone());
        self.edit_bodies(node, |body| body.rename_captured(&from, &to));
    }

    /// Removes nodes, in time of the size of the graph whatever their number. Their outputs stay as
    /// values that nothing computes, for the caller to redefine or to [`Graph::drop_unused`].
    pub fn remove_nodes(&mut self, nodes: &[NodeId]) {
        for &node in nodes {
            for value in self.inputs(node).into_iter().flatten().chain(self.captures(node)) {
                self.count_use(value, -1);
            }
            self.nodes[node.index()] = None;
        }
        self.unlink();
    }

    /// Removes values that nobody reads, computes or names as an input or output of the graph.
    /// Constants that nobody reads go too, unless they are outputs.
    pub fn drop_unused(&mut self) {
        let mut kept = vec![false; self.value_bound()];
        for &value in self.inputs.iter().chain(&self.outputs) {
            kept[value.index()] = true;
        }
        for value in self.values() {
            kept[value.index()] |= self.use_count(value) > 0 || self.producer(value).is_some();
        }
        for value in self.values().filter(|value| !kept[value.index()]).collect::<Vec<_>>() {
            self.names.remove(&self.value(value).name.clone());
            self.values[value.index()] = None;
        }
        self.initializers.retain(|value| kept[value.index()]);
        self.declared.retain(|value| kept[value.index()]);
        self.unlink();
    }

    /// A name that no value of this graph or of a body in it has: `base`, or `base` with a number.
    pub fn fresh_name(&self, base: &str) -> String {
        let taken = |name: &str| {
            self.find(name).is_some()
                || self
                    .nodes()
                    .any(|node| self.node(node).bodies().any(|body| body.fresh_name(name) != name))
        };
        if !taken(base) {
            return base.to_owned();
        }
        let mut candidates = (1_u64..).map(|number| format!("{base}_{number}"));
        candidates.find(|name| !taken(name)).expect("numbers do not run out")
    }

    /// Names that this graph and the bodies in it read from a graph around it.
    pub(crate) fn captured_names(&self) -> BTreeSet<Arc<str>> {
        // Values without any origin are counted too: only the graph around can say whether it has them.
        let open = self.values().filter(|&id| {
            let value = self.value(id);
            value.kind == Kind::Captured
                || (value.kind == Kind::Computed && self.producer(id).is_none())
        });
        open.map(|id| self.value(id).name.clone()).collect()
    }

    /// Turns a value into one that a graph around this one defines, under the name `name`. Who
    /// computed it does so no longer. The graph around calls [`Graph::resolve_captures`] in the end.
    ///
    /// # Errors
    ///
    /// When the name is taken here.
    pub fn capture(&mut self, value: ValueId, name: &str) -> Result<(), GraphError> {
        self.rename(value, name)?;
        self.disconnect_producer(value);
        self.initializers.retain(|&initializer| initializer != value);
        let entry = self.value_mut(value);
        (entry.constant, entry.sparse, entry.kind) = (None, None, Kind::Captured);
        Ok(())
    }

    /// Marks the values of bodies that a graph around them defines, after all of them have been read;
    /// what nobody defines stays dangling.
    pub fn resolve_captures(&mut self) {
        let has_body = |&node: &NodeId| self.node(node).bodies().next().is_some();
        let holders: Vec<NodeId> = self.nodes().filter(has_body).collect();
        for holder in holders {
            let mut attributes = std::mem::take(&mut self.node_mut(holder).attributes);
            let bodies = attributes.iter_mut().flat_map(|attribute| attribute.value.graphs_mut());
            for body in bodies {
                let is_captured = |&value: &ValueId| {
                    let outer = self.find(body.value(value).name());
                    body.is_open(value) && outer.is_some_and(|outer| !self.is_open(outer))
                };
                for value in body.values().filter(is_captured).collect::<Vec<_>>() {
                    body.value_mut(value).kind = Kind::Captured;
                }
                body.resolve_captures();
            }
            self.node_mut(holder).attributes = attributes;
        }
    }

    /// Whether nothing here defines a value.
    fn is_open(&self, value: ValueId) -> bool {
        self.value(value).kind == Kind::Computed && self.producer(value).is_none()
    }

    pub(crate) fn rename_captured(&mut self, old: &str, new: &str) {
        let Some(value) = self.find(old) else { return };
        if self.value(value).kind != Kind::Captured {
            return;
        }
        match self.find(new) {
            None => self.rename(value, new).expect("the name was looked up and is free"),
            Some(other) => {
                self.replace_uses(value, other);
                for output in &mut self.outputs {
                    if *output == value {
                        *output = other;
                    }
                }
                self.drop_unused();
            }
        }
    }

    fn push_value(&mut self, name: &str, ty: Option<Type>) -> ValueId {
        let id = ValueId::new(self.values.len());
        let vertex = self.wiring.add_node(Vertex::Value(id));
        let name: Arc<str> = Arc::from(name);
        self.names.insert(name.clone(), id);
        let content = Value {
            name,
            kind: Kind::Computed,
            ty,
            constant: None,
            sparse: None,
            doc: String::new(),
            metadata: Vec::new(),
        };
        self.values.push(Some(Entry { vertex, uses: 0, content }));
        id
    }

    fn put_name(&mut self, value: ValueId, name: &str) {
        let name: Arc<str> = Arc::from(name);
        self.names.remove(&self.value(value).name.clone());
        self.names.insert(name.clone(), value);
        self.value_mut(value).name = name;
    }

    fn connect(&mut self, value: ValueId, node: NodeId, slot: Slot) {
        let (source, target) = (self.value_entry(value).vertex, self.node_entry(node).vertex);
        self.wiring.add_edge(source, target, slot);
        self.count_use(value, 1);
    }

    fn connect_captures(&mut self, node: NodeId) {
        let names: BTreeSet<_> = self.node(node).bodies().flat_map(Self::captured_names).collect();
        for name in names {
            let value = self.value_named(&name);
            self.connect(value, node, Slot::Capture);
        }
    }

    fn disconnect_capture(&mut self, value: ValueId, node: NodeId) {
        let vertex = self.node_entry(node).vertex;
        let source = self.value_entry(value).vertex;
        let edge = self
            .wiring
            .edges_directed(vertex, Incoming)
            .find(|edge| *edge.weight() == Slot::Capture && edge.source() == source);
        if let Some(edge) = edge.map(|edge| edge.id()) {
            self.wiring.remove_edge(edge);
            self.count_use(value, -1);
        }
    }

    fn disconnect_producer(&mut self, value: ValueId) {
        let vertex = self.value_entry(value).vertex;
        let edge = self.wiring.edges_directed(vertex, Incoming).next().map(|edge| edge.id());
        if let Some(edge) = edge {
            self.wiring.remove_edge(edge);
        }
    }

    fn count_use(&mut self, value: ValueId, change: i32) {
        let entry =
            self.values[value.index()].as_mut().expect("value ids in use belong to live values");
        entry.uses =
            entry.uses.checked_add_signed(change).expect("uses are counted as they are wired");
    }

    /// Takes the vertices of dead entries out of the wiring, all at once: one by one, a node that reads
    /// a constant shared by everybody costs that constant's degree.
    fn unlink(&mut self) {
        let (nodes, values) = (&self.nodes, &self.values);
        self.wiring = self.wiring.filter_map(
            |_, &vertex| {
                let alive = match vertex {
                    Vertex::Node(node) => nodes[node.index()].is_some(),
                    Vertex::Value(value) => values[value.index()].is_some(),
                };
                alive.then_some(vertex)
            },
            |_, &slot| Some(slot),
        );
    }
}

fn slot_count(count: usize) -> u32 {
    u32::try_from(count).expect("slots are counted in 32 bits")
}
