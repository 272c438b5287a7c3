//! Where integers can flow from kernel to kernel, and where it is worth it.

use marquetry_ir::infer::Types;
use marquetry_ir::schema::lookup;
use marquetry_ir::{Cycle, Graph, NodeId, ValueId};

use crate::kernel::DATA;
use crate::policy::{Kernel, KernelOutput, Kernels};
use crate::seal::{Seals, open_inputs};

/// What a node does with integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// A kernel whose activation input gets a quantizer.
    Kernel(KernelOutput),
    /// It keeps integers, if all its data inputs are.
    Chain,
    /// As a chain; directly behind a kernel it becomes part of the kernel.
    Absorbed,
    /// It moves elements and keeps their grid.
    Grid,
    /// Part of a group that is taken for one operator.
    Unit,
    /// Anything else runs in float.
    Float,
}

/// The flow of integers in a graph.
pub(crate) struct Flow {
    /// By node.
    pub(crate) parts: Vec<Part>,
    /// By value: its producer computes integers if the value is quantized.
    integer: Vec<bool>,
    /// By value: a kernel reads on.
    wanted: Vec<bool>,
    /// By value: a kernel swallows the operator behind it, so it does not exist in the end.
    swallowed: Vec<bool>,
    /// By value: a group keeps it in float.
    closed: Vec<bool>,
}

impl Flow {
    /// Whether a value is quantized because integers flow through it.
    pub(crate) fn through(&self, value: ValueId) -> bool {
        self.integer(value) && self.wanted[value.index()] && !self.swallowed[value.index()]
    }

    /// Whether a value is an integer, if it is quantized at all.
    fn integer(&self, value: ValueId) -> bool {
        self.integer[value.index()] && !self.closed[value.index()]
    }

    /// `quantized` says which kernels have quantized inputs.
    pub(crate) fn of(
        graph: &Graph,
        types: &Types,
        rules: &Kernels,
        seals: &Seals<'_>,
        quantized: &[Option<&Kernel>],
    ) -> Result<Flow, Cycle> {
        let order = graph.order()?;
        let part = |node: NodeId| -> Part {
            if let Some(kernel) = quantized[node.index()] {
                return Part::Kernel(kernel.output);
            }
            if seals.units[node.index()].is_some() {
                return Part::Unit;
            }
            let content = graph.node(node);
            if !content.is_onnx(&content.op_type) {
                return Part::Float;
            }
            if rules.absorbed.contains(&content.op_type) {
                return Part::Absorbed;
            }
            if rules.chains.contains(&content.op_type) {
                return Part::Chain;
            }
            let version = graph.opsets.version("").unwrap_or(1);
            match lookup("", &content.op_type, version) {
                Some(schema) if schema.facts.grid() => Part::Grid,
                _ => Part::Float,
            }
        };
        let mut parts = vec![Part::Float; graph.node_bound()];
        order.iter().for_each(|&node| parts[node.index()] = part(node));
        let values = graph.value_bound();
        let mut flow = Flow {
            parts,
            integer: vec![false; values],
            wanted: vec![false; values],
            swallowed: vec![false; values],
            closed: vec![false; values],
        };
        seals.closed.keys().for_each(|value| flow.closed[value.index()] = true);
        for &node in &order {
            flow.forward(graph, types, seals, node);
        }
        for &node in order.iter().rev() {
            flow.backward(graph, types, seals, node);
        }
        Ok(flow)
    }

    fn forward(&mut self, graph: &Graph, types: &Types, seals: &Seals<'_>, node: NodeId) {
        let input = |slot| graph.input(node, slot);
        let integer = match self.parts[node.index()] {
            Part::Float => false,
            Part::Kernel(output) => output == KernelOutput::Needed,
            Part::Absorbed => match input(DATA) {
                // Kept in float by a group or not: what is swallowed does not exist in the end.
                Some(data) if self.integer[data.index()] => {
                    let alone = graph.use_count(data) == 1 && !graph.is_output(data);
                    let kernel = graph.producer(data).is_some_and(|(producer, _)| {
                        matches!(self.parts[producer.index()], Part::Kernel(_))
                    });
                    self.swallowed[data.index()] = alone && kernel;
                    self.swallowed[data.index()] || self.integer(data)
                }
                _ => false,
            },
            Part::Grid => input(DATA).is_some_and(|data| self.integer(data)),
            Part::Chain => {
                let read = self.data_inputs(graph, node);
                !read.is_empty()
                    && read.iter().all(|&value| !types.is_constant(value) && self.integer(value))
            }
            Part::Unit => {
                let group = seals.units[node.index()].expect("a unit is a group");
                let open = open_inputs(group, graph, types);
                !open.is_empty() && open.iter().all(|&value| self.integer(value))
            }
        };
        for output in graph.outputs(node).into_iter().flatten() {
            self.integer[output.index()] = integer;
        }
    }

    fn backward(&mut self, graph: &Graph, types: &Types, seals: &Seals<'_>, node: NodeId) {
        let want = |flow: &Flow| {
            let outputs = graph.outputs(node);
            let mut outputs = outputs.into_iter().flatten();
            outputs.any(|value| flow.integer[value.index()] && flow.wanted[value.index()])
        };
        let read = match self.parts[node.index()] {
            Part::Float => return,
            Part::Kernel(_) => vec![DATA],
            Part::Unit => {
                let group = seals.units[node.index()].expect("a unit is a group");
                if group.outputs.iter().any(|&value| self.through(value)) {
                    for value in open_inputs(group, graph, types) {
                        self.wanted[value.index()] = true;
                    }
                }
                return;
            }
            Part::Grid | Part::Absorbed if want(self) => vec![DATA],
            Part::Chain if want(self) => {
                for value in self.data_inputs(graph, node) {
                    self.wanted[value.index()] = true;
                }
                return;
            }
            _ => return,
        };
        for value in read.into_iter().filter_map(|slot| graph.input(node, slot)) {
            self.wanted[value.index()] = true;
        }
    }

    /// The inputs of a chain that carry data; the others are parameters such as axes.
    fn data_inputs(&self, graph: &Graph, node: NodeId) -> Vec<ValueId> {
        let op = graph.node(node).op_type.as_str();
        let inputs = graph.inputs(node).into_iter().flatten();
        match op {
            "Add" | "Sub" | "Mul" | "Concat" => inputs.collect(),
            _ => inputs.take(1).collect(),
        }
    }
}
