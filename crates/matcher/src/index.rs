//! A model laid out for searching: all its graphs flat, wiring as arrays, nodes by operator.

use std::collections::BTreeMap;
use std::ops::Range;

use marquetry_ir::infer::{self, Types};
use marquetry_ir::schema::{self, Schema, View, canonical_domain};
use marquetry_ir::{DType, Dim, Graph, Kind, Model, NodeId, Tensor, ValueId};

use crate::found::{Place, PlaceId};

macro_rules! row_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) struct $name(u32);

        impl $name {
            pub(crate) fn index(self) -> usize {
                self.0 as usize
            }

            pub(crate) fn new(index: usize) -> Self {
                Self(u32::try_from(index).expect("a model holds fewer than 2^32 entries"))
            }
        }
    };
}

row_type! {
    /// A node of any graph of the model. Rows of one graph are in topological order.
    NodeRow
}
row_type! {
    /// A value of any graph of the model. A value that a body captures is the row of its owner.
    ValueRow
}
row_type! {
    /// An operator that occurs in the model.
    OperatorRow
}

/// A model laid out for searching.
pub(crate) struct Index<'m> {
    pub(crate) places: Vec<Place>,
    /// By place: the node that holds the body.
    holders: Vec<Option<NodeRow>>,
    graphs: Vec<GraphEntry<'m>>,
    nodes: Vec<NodeEntry>,
    values: Vec<ValueEntry>,
    slots: Vec<Option<ValueRow>>,
    users: Vec<NodeRow>,
    operators: Vec<(&'m str, &'m str)>,
    by_operator: Vec<Vec<NodeRow>>,
}

struct GraphEntry<'m> {
    graph: &'m Graph,
    types: &'m Types,
    nodes: Range<usize>,
    outputs: Vec<ValueRow>,
}

struct NodeEntry {
    id: NodeId,
    place: PlaceId,
    operator: OperatorRow,
    inputs: Range<u32>,
    outputs: Range<u32>,
    bodies: Vec<PlaceId>,
    schema: Option<&'static Schema>,
}

struct ValueEntry {
    id: ValueId,
    place: PlaceId,
    producer: Option<(NodeRow, u32)>,
    users: Range<u32>,
    is_output: bool,
    constant: bool,
}

/// Types of the function bodies, which the table of a model does not cover.
pub(crate) fn function_types(model: &Model) -> Vec<Types> {
    model.functions.iter().map(|function| infer::run_graph(&function.body)).collect()
}

impl<'m> Index<'m> {
    pub(crate) fn new(model: &'m Model, types: &'m Types, functions: &'m [Types]) -> Self {
        let mut index = Self {
            places: Vec::new(),
            holders: Vec::new(),
            graphs: Vec::new(),
            nodes: Vec::new(),
            values: Vec::new(),
            slots: Vec::new(),
            users: Vec::new(),
            operators: Vec::new(),
            by_operator: Vec::new(),
        };
        let mut names = BTreeMap::new();
        // Before version 4 of the format, initializers had to be inputs too, and nobody overrides them.
        let overridable = model.ir_version >= 4;
        let mut waiting = vec![Waiting::new(Place::Main, &model.graph, types)];
        let bodies = model.functions.iter().zip(functions).enumerate();
        waiting.extend(bodies.map(|(at, (function, types))| {
            Waiting::new(Place::Function(at), &function.body, types)
        }));
        waiting.reverse();
        while let Some(next) = waiting.pop() {
            let bodies = index.add(&next, overridable, &mut names);
            waiting.extend(bodies.into_iter().rev());
        }
        index.count_users();
        index
    }

    /// Adds one graph and returns its bodies, which need its rows for what they capture.
    fn add(
        &mut self,
        waiting: &Waiting<'m>,
        overridable: bool,
        names: &mut BTreeMap<(&'m str, &'m str), OperatorRow>,
    ) -> Vec<Waiting<'m>> {
        let Waiting { place, graph, types, ref captured, holder } = *waiting;
        let at = PlaceId(u32::try_from(self.places.len()).expect("a model has few graphs"));
        self.places.push(place);
        self.holders.push(holder);
        if let Some(holder) = holder {
            self.nodes[holder.index()].bodies.push(at);
        }
        let mut rows: Vec<Option<ValueRow>> = vec![None; graph.value_bound()];
        for id in graph.values() {
            let value = graph.value(id);
            let elsewhere = value.kind == Kind::Captured
                || (value.kind == Kind::Computed && graph.producer(id).is_none());
            if elsewhere && let Some(&owner) = captured.get(value.name()) {
                rows[id.index()] = Some(owner);
                continue;
            }
            let fixed = value.kind == Kind::Input && value.constant.is_some() && !overridable;
            rows[id.index()] = Some(ValueRow::new(self.values.len()));
            self.values.push(ValueEntry {
                id,
                place: at,
                producer: None,
                users: 0..0,
                is_output: false,
                constant: types.is_constant(id) || fixed,
            });
        }
        let row = |value: Option<ValueId>| value.and_then(|value| rows[value.index()]);
        let first = self.nodes.len();
        let mut bodies = Vec::new();
        let mut schemas = BTreeMap::new();
        // A graph with a cycle has no order; nothing is found in it.
        for id in graph.order().unwrap_or_default() {
            let node = graph.node(id);
            let name = (canonical_domain(&node.domain), node.op_type.as_str());
            let operator = *names.entry(name).or_insert_with(|| {
                self.operators.push(name);
                self.by_operator.push(Vec::new());
                OperatorRow::new(self.operators.len() - 1)
            });
            let this = NodeRow::new(self.nodes.len());
            self.by_operator[operator.index()].push(this);
            let inputs = self.put(graph.inputs(id).into_iter().map(row));
            let outputs = self.put(graph.outputs(id).into_iter().map(row));
            let schema = *schemas.entry(operator).or_insert_with(|| {
                let version = graph.opsets.version(&node.domain);
                version.and_then(|version| schema::lookup(&node.domain, &node.op_type, version))
            });
            let view = View { graph, types, id, node, schema };
            let constant = self.computes_constant(&view, &inputs);
            for slot in outputs.clone() {
                if let Some(value) = self.slots[slot as usize] {
                    let entry = &mut self.values[value.index()];
                    entry.producer = Some((this, slot - outputs.start));
                    entry.constant |= constant;
                }
            }
            for (body, inner) in node.bodies().enumerate() {
                if let Some(inner_types) = types.body(id, body) {
                    let place = Place::Body { parent: at, node: id, body };
                    bodies.push((this, id, Waiting::new(place, inner, inner_types)));
                }
            }
            self.nodes.push(NodeEntry {
                id,
                place: at,
                operator,
                inputs,
                outputs,
                bodies: vec![],
                schema,
            });
        }
        let outputs: Vec<_> = graph.outputs.iter().filter_map(|&id| rows[id.index()]).collect();
        for output in &outputs {
            self.values[output.index()].is_output = true;
        }
        self.graphs.push(GraphEntry { graph, types, nodes: first..self.nodes.len(), outputs });
        let with_captures = |(holder, id, body): (NodeRow, NodeId, Waiting<'m>)| {
            let visible = graph.captures(id).into_iter();
            let visible =
                visible.filter_map(|value| Some((graph.value(value).name(), row(Some(value))?)));
            Waiting { captured: visible.collect(), holder: Some(holder), ..body }
        };
        bodies.into_iter().map(with_captures).collect()
    }

    fn put(&mut self, values: impl Iterator<Item = Option<ValueRow>>) -> Range<u32> {
        let offset = |len: usize| u32::try_from(len).expect("a model has fewer than 2^32 slots");
        let start = offset(self.slots.len());
        self.slots.extend(values);
        start..offset(self.slots.len())
    }

    /// Whether all that a node reads is constant, so that its results are: a weight behind a
    /// `Transpose` is a weight.
    fn computes_constant(&self, view: &View<'_>, inputs: &Range<u32>) -> bool {
        let mut inputs = self.slots_of(inputs).iter().flatten().peekable();
        inputs.peek().is_some()
            && inputs.all(|input| self.values[input.index()].constant)
            && view.node.bodies().next().is_none()
            && view.pure()
    }

    fn count_users(&mut self) {
        let mut counts = vec![0_u32; self.values.len() + 1];
        for node in &self.nodes {
            for value in self.slots_of(&node.inputs).iter().flatten() {
                counts[value.index() + 1] += 1;
            }
        }
        let mut total = 0;
        for count in &mut counts {
            total += *count;
            *count = total;
        }
        for (value, start) in self.values.iter_mut().zip(counts.windows(2)) {
            value.users = start[0]..start[1];
        }
        self.users = vec![NodeRow(0); total as usize];
        for at in 0..self.nodes.len() {
            for slot in self.nodes[at].inputs.clone() {
                if let Some(value) = self.slots[slot as usize] {
                    let next = &mut counts[value.index()];
                    self.users[*next as usize] = NodeRow::new(at);
                    *next += 1;
                }
            }
        }
    }

    fn slots_of(&self, range: &Range<u32>) -> &[Option<ValueRow>] {
        &self.slots[range.start as usize..range.end as usize]
    }

    pub(crate) fn graphs(&self) -> impl Iterator<Item = &'m Graph> + '_ {
        self.graphs.iter().map(|entry| entry.graph)
    }

    pub(crate) fn all_places(&self) -> impl Iterator<Item = (PlaceId, &'m Graph)> + '_ {
        let place = |at: usize| PlaceId(u32::try_from(at).expect("a model has few graphs"));
        self.graphs.iter().enumerate().map(move |(at, entry)| (place(at), entry.graph))
    }

    pub(crate) fn graph(&self, place: PlaceId) -> &'m Graph {
        self.graphs[place.index()].graph
    }

    pub(crate) fn types(&self, place: PlaceId) -> &'m Types {
        self.graphs[place.index()].types
    }

    /// Outputs of a graph, in order.
    pub(crate) fn graph_outputs(&self, place: PlaceId) -> &[ValueRow] {
        &self.graphs[place.index()].outputs
    }

    /// The inputs of a graph, in order.
    pub(crate) fn graph_inputs(&self, place: PlaceId) -> Vec<ValueRow> {
        // Inputs are never captured, so the rows of a graph's own values are in order of id.
        let ids = &self.graph(place).inputs;
        let own = |id: &ValueId| {
            let at =
                self.values.binary_search_by_key(&(place, *id), |entry| (entry.place, entry.id));
            at.ok().map(ValueRow::new)
        };
        ids.iter().filter_map(own).collect()
    }

    /// Nodes with this operator, by place and then in topological order.
    pub(crate) fn nodes_of(&self, operator: OperatorRow) -> &[NodeRow] {
        &self.by_operator[operator.index()]
    }

    /// The row of an operator, if a node has it.
    pub(crate) fn operator_named(&self, domain: &str, name: &str) -> Option<OperatorRow> {
        let name = (canonical_domain(domain), name);
        self.operators.iter().position(|known| *known == name).map(OperatorRow::new)
    }

    pub(crate) fn operator_name(&self, operator: OperatorRow) -> (&'m str, &'m str) {
        self.operators[operator.index()]
    }

    pub(crate) fn operator(&self, node: NodeRow) -> OperatorRow {
        self.nodes[node.index()].operator
    }

    pub(crate) fn operator_at(&self, row: usize) -> OperatorRow {
        debug_assert!(row < self.operators.len());
        OperatorRow::new(row)
    }

    pub(crate) fn operator_count(&self) -> usize {
        self.operators.len()
    }

    pub(crate) fn node_count(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn all_nodes(&self) -> impl Iterator<Item = NodeRow> + use<> {
        (0..self.nodes.len()).map(NodeRow::new)
    }

    pub(crate) fn all_values(&self) -> impl Iterator<Item = ValueRow> + use<> {
        (0..self.values.len()).map(ValueRow::new)
    }

    /// The name of a node, which may be empty and need not be the only one of its kind.
    pub(crate) fn node_name(&self, node: NodeRow) -> &'m str {
        &self.graph(self.place(node)).node(self.id(node)).name
    }

    pub(crate) fn value_name(&self, value: ValueRow) -> &'m str {
        self.graph(self.value_place(value)).value(self.value_id(value)).name()
    }

    /// The row of a node.
    pub(crate) fn node_row(&self, place: PlaceId, node: NodeId) -> Option<NodeRow> {
        let mut rows = self.graphs[place.index()].nodes.clone();
        rows.find(|row| self.nodes[*row].id == node).map(NodeRow::new)
    }

    /// The row of a value that belongs to a graph, or that it captures.
    pub(crate) fn value_row(&self, place: PlaceId, value: ValueId) -> Option<ValueRow> {
        let own =
            self.values.binary_search_by_key(&(place, value), |entry| (entry.place, entry.id));
        own.ok().map(ValueRow::new)
    }

    pub(crate) fn place(&self, node: NodeRow) -> PlaceId {
        self.nodes[node.index()].place
    }

    /// The node of a graph that is, or that holds, a node.
    pub(crate) fn within(&self, place: PlaceId, mut node: NodeRow) -> Option<NodeRow> {
        while self.place(node) != place {
            node = self.holders[self.place(node).0 as usize]?;
        }
        Some(node)
    }

    pub(crate) fn id(&self, node: NodeRow) -> NodeId {
        self.nodes[node.index()].id
    }

    /// The position in the topological order of its graph.
    pub(crate) fn order(&self, node: NodeRow) -> u32 {
        let start = self.graphs[self.place(node).index()].nodes.start;
        u32::try_from(node.index() - start).expect("rows are counted in 32 bits")
    }

    pub(crate) fn bodies(&self, node: NodeRow) -> &[PlaceId] {
        &self.nodes[node.index()].bodies
    }

    pub(crate) fn inputs(&self, node: NodeRow) -> &[Option<ValueRow>] {
        self.slots_of(&self.nodes[node.index()].inputs)
    }

    pub(crate) fn outputs(&self, node: NodeRow) -> &[Option<ValueRow>] {
        self.slots_of(&self.nodes[node.index()].outputs)
    }

    pub(crate) fn producer(&self, value: ValueRow) -> Option<(NodeRow, u32)> {
        self.values[value.index()].producer
    }

    /// The nodes that read a value, once for each input slot; those of bodies included.
    pub(crate) fn users(&self, value: ValueRow) -> &[NodeRow] {
        let range = &self.values[value.index()].users;
        &self.users[range.start as usize..range.end as usize]
    }

    /// Whether a value is an output of its graph, or of a body that captures it.
    pub(crate) fn is_output(&self, value: ValueRow) -> bool {
        self.values[value.index()].is_output
    }

    pub(crate) fn value_place(&self, value: ValueRow) -> PlaceId {
        self.values[value.index()].place
    }

    pub(crate) fn value_id(&self, value: ValueRow) -> ValueId {
        self.values[value.index()].id
    }

    /// The id of a value as a graph knows it: its own, or the one that captures it.
    pub(crate) fn id_within(&self, value: ValueRow, place: PlaceId) -> Option<ValueId> {
        if self.value_place(value) == place {
            return Some(self.value_id(value));
        }
        let owner = self.graph(self.value_place(value));
        self.graph(place).find(owner.value(self.value_id(value)).name())
    }

    fn types_of(&self, value: ValueRow) -> (&'m Types, ValueId) {
        let entry = &self.values[value.index()];
        (self.graphs[entry.place.index()].types, entry.id)
    }

    /// Whether a value is the same in every run because all it follows from is constant.
    pub(crate) fn is_constant(&self, value: ValueRow) -> bool {
        self.values[value.index()].constant
    }

    /// The content of a value that is the same in every run, where it is known.
    pub(crate) fn known(&self, value: ValueRow) -> Option<&'m Tensor> {
        let (types, id) = self.types_of(value);
        let fixed = || {
            let entry = &self.values[value.index()];
            entry.constant.then(|| self.graph(entry.place).value(id).constant.as_ref())?
        };
        types.known(id).or_else(fixed)
    }

    pub(crate) fn dtype(&self, value: ValueRow) -> Option<DType> {
        let (types, id) = self.types_of(value);
        types.dtype(id)
    }

    pub(crate) fn shape(&self, value: ValueRow) -> Option<&'m [Dim]> {
        let (types, id) = self.types_of(value);
        types.shape(id)
    }

    pub(crate) fn rank(&self, value: ValueRow) -> Option<usize> {
        Some(self.shape(value)?.len())
    }

    pub(crate) fn view(&self, node: NodeRow) -> View<'m> {
        let NodeEntry { id, place, schema, .. } = self.nodes[node.index()];
        let GraphEntry { graph, types, .. } = self.graphs[place.index()];
        View { graph, types, id, node: graph.node(id), schema }
    }

    /// Whether a node reads shapes only.
    pub(crate) fn measures(&self, node: NodeRow) -> bool {
        matches!(self.operator_name(self.operator(node)), ("", "Shape" | "Size"))
    }

    /// Whether the inputs of a node may be permuted.
    pub(crate) fn commutes(&self, node: NodeRow) -> bool {
        self.nodes[node.index()].schema.is_some_and(|schema| schema.facts.commutative())
    }
}

/// A graph that is still to be added.
struct Waiting<'m> {
    place: Place,
    graph: &'m Graph,
    types: &'m Types,
    /// Rows of the values that it may capture, by name.
    captured: BTreeMap<&'m str, ValueRow>,
    /// The node that holds it.
    holder: Option<NodeRow>,
}

impl<'m> Waiting<'m> {
    fn new(place: Place, graph: &'m Graph, types: &'m Types) -> Self {
        Self { place, graph, types, captured: BTreeMap::new(), holder: None }
    }
}
