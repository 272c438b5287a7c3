//! Layers: kernels whose weight is a constant matrix.

use marquetry_ir::infer::Types;
use marquetry_ir::{AttributeValue, Graph, Node, NodeId, Slot, Use, ValueId};

use super::rows::Window;
use crate::grid::{self, Grid};
use crate::kernel::{DATA, WEIGHT};
use crate::plan::{Plan, Role};
use crate::{Granularity, NumericError, Spec};

/// A kernel and its weight as a matrix: for each group, `outputs` rows of `depth` elements.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    pub(crate) node: NodeId,
    pub(crate) input: ValueId,
    pub(crate) weight: ValueId,
    /// The shape of the constant.
    pub(crate) dims: Vec<usize>,
    /// Convolutions of independent channels; 1 for everything else.
    pub(crate) groups: usize,
    /// Output channels, all groups together.
    pub(crate) outputs: usize,
    /// How many products are summed for one output.
    pub(crate) depth: usize,
    /// The axis of the constant along which outputs lie.
    output_axis: usize,
    /// How far the elements of neighbouring outputs are apart in the constant.
    output_stride: usize,
    /// How far neighbouring factors of one output are apart in the constant.
    depth_stride: usize,
    pub(crate) reads: Reads,
}

/// How the input of a layer is cut into rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reads {
    /// The last axis is a row.
    Rows,
    /// The first axis of a matrix is a row: a Gemm with `transA`.
    Columns,
    /// What a window of a convolution sees is a row.
    Windows(Window),
}

/// The most columns of which a whole matrix is worked with: a Gram matrix of n columns takes 8·n² bytes,
/// and taking it apart n³/3 multiplications.
pub(crate) const MOST_COLUMNS: usize = 4096;

impl Layer {
    /// The layer of a node, if its weight has a quantizer with a grid; or why it is none.
    pub(crate) fn of(
        graph: &Graph,
        types: &Types,
        plan: &Plan,
        node: NodeId,
    ) -> Option<Result<Layer, String>> {
        let reader = Use { node, slot: Slot::Input(u32::try_from(WEIGHT).ok()?) };
        let site = graph.input(node, WEIGHT).and_then(|weight| plan.get(weight))?;
        if !site.readers.contains(&reader) {
            return None;
        }
        Layer::at(graph, types, plan, node)
    }

    /// The same for a node that the plan may not know to be a reader of the weight.
    pub(crate) fn at(
        graph: &Graph,
        types: &Types,
        plan: &Plan,
        node: NodeId,
    ) -> Option<Result<Layer, String>> {
        let content = graph.node(node);
        if !["Conv", "Gemm", "MatMul"].iter().any(|op| content.is_onnx(op)) {
            return None;
        }
        let weight = graph.input(node, WEIGHT)?;
        let site = plan.get(weight).filter(|site| site.enabled && site.role == Role::Weight)?;
        let input = graph.input(node, DATA)?;
        let dims = types.constant(weight)?.dims().to_vec();
        let output_axis = output_axis(content);
        let layer = shape(content, &dims).map(|(groups, outputs, depth, strides, reads)| Layer {
            node,
            input,
            weight,
            dims,
            groups,
            outputs,
            depth,
            output_axis,
            output_stride: strides.0,
            depth_stride: strides.1,
            reads,
        });
        Some(layer.and_then(|layer| layer.searchable(&site.spec)))
    }

    fn searchable(self, spec: &Spec) -> Result<Layer, String> {
        if spec.dtype.is_cast() {
            return Err("its type has no scale".to_owned());
        }
        match spec.granularity {
            Granularity::PerTensor => Ok(self),
            Granularity::PerChannel(axis) if self.is_output_axis(axis) => Ok(self),
            Granularity::PerBlock { axis, channel, .. }
            | Granularity::Lpbq { axis, channel, .. }
                if self.is_output_axis(channel) && self.is_depth_axis(axis) =>
            {
                Ok(self)
            }
            other => Err(format!("its scales ({other}) are not those of its output channels")),
        }
    }

    /// Whether another layer cuts the same input into the same rows.
    pub(crate) fn reads_like(&self, other: &Layer) -> bool {
        self.input == other.input
            && (self.groups, self.depth) == (other.groups, other.depth)
            && self.reads == other.reads
    }

    fn is_output_axis(&self, axis: i64) -> bool {
        self.axis_is(axis, self.output_axis)
    }

    fn is_depth_axis(&self, axis: i64) -> bool {
        self.axis_is(axis, 1 - self.output_axis)
    }

    fn axis_is(&self, axis: i64, wanted: usize) -> bool {
        grid::resolve(axis, self.dims.len()) == Ok(wanted)
    }

    /// Elements of a row of the input that belong together in one block of scales; all of them, where
    /// a scale spans the depth.
    pub(crate) fn block(&self, granularity: Granularity) -> usize {
        match granularity {
            Granularity::PerBlock { size, .. } | Granularity::Lpbq { size, .. } => {
                // A block of input channels of a convolution holds their whole windows.
                let window: usize = self.dims.get(2..).unwrap_or_default().iter().product();
                (size * window).min(self.depth)
            }
            Granularity::PerTensor | Granularity::PerChannel(_) => self.depth,
        }
    }

    /// Whether blocks of so many elements are judged by the matrix of whole rows, too. Memory does not
    /// decide, so that results do not depend on it.
    pub(crate) fn judges_whole(&self, block: usize) -> bool {
        block < self.depth && self.depth <= MOST_COLUMNS
    }

    /// The weight with one row for each output, from the order of the constant.
    pub(crate) fn to_rows(&self, constant: &[f32]) -> Vec<f32> {
        let mut rows = Vec::with_capacity(constant.len());
        for output in 0..self.outputs {
            let start = output * self.output_stride;
            rows.extend((0..self.depth).map(|at| constant[start + at * self.depth_stride]));
        }
        rows
    }

    /// The inverse of [`Layer::to_rows`].
    pub(crate) fn to_constant(&self, rows: &[f32]) -> Vec<f32> {
        let mut constant = vec![0.0; rows.len()];
        for (output, row) in rows.chunks(self.depth.max(1)).enumerate() {
            let start = output * self.output_stride;
            for (at, &element) in row.iter().enumerate() {
                constant[start + at * self.depth_stride] = element;
            }
        }
        constant
    }

    /// A product with a transposed matrix, for tests of what is done with its numbers.
    #[cfg(test)]
    pub(crate) fn of_matrix(outputs: usize, depth: usize) -> Layer {
        let mut graph = Graph::new("test", marquetry_ir::Opsets::default());
        let input = graph.add_value("x", None).unwrap();
        let weight = graph.add_value("w", None).unwrap();
        let node = Node::new("", "Gemm");
        let node = graph.add_node(node, &[Some(input), Some(weight)], &[]).unwrap();
        Layer {
            node,
            input,
            weight,
            dims: vec![outputs, depth],
            groups: 1,
            outputs,
            depth,
            output_axis: 0,
            output_stride: depth,
            depth_stride: 1,
            reads: Reads::Rows,
        }
    }

    /// The cell of the scale grid of every element, in rows.
    pub(crate) fn cells(&self, granularity: Granularity) -> Result<Vec<u32>, NumericError> {
        let grid = Grid::new(&self.dims, granularity)?;
        let mut cells = vec![0; grid.elements()];
        let mut overflow = false;
        grid.runs(|cell, run| match u32::try_from(cell) {
            Ok(cell) => cells[run].fill(cell),
            Err(_) => overflow = true,
        });
        if overflow {
            return Err(NumericError::TooLarge { dims: self.dims.clone() });
        }
        let mut rows = Vec::with_capacity(cells.len());
        for output in 0..self.outputs {
            let start = output * self.output_stride;
            rows.extend((0..self.depth).map(|at| cells[start + at * self.depth_stride]));
        }
        Ok(rows)
    }
}

/// Convolutions and transposed matrices have their outputs first. Strides do not tell: those of a matrix
/// with one column are those of one with one row.
fn output_axis(node: &Node) -> usize {
    let transposed = node.attribute("transB").and_then(AttributeValue::as_int).unwrap_or(0) != 0;
    usize::from(node.is_onnx("MatMul") || node.is_onnx("Gemm") && !transposed)
}

/// Groups, outputs, depth, strides of outputs and depth, and how the input is read.
type Shape = (usize, usize, usize, (usize, usize), Reads);

fn shape(node: &Node, dims: &[usize]) -> Result<Shape, String> {
    let int = |name: &str, default| {
        node.attribute(name).and_then(AttributeValue::as_int).unwrap_or(default)
    };
    match (node.op_type.as_str(), dims) {
        ("Conv", [outputs, _, kernel @ ..]) if !kernel.is_empty() => {
            let groups = usize::try_from(int("group", 1)).unwrap_or(0);
            if groups == 0 || outputs % groups != 0 {
                return Err("its groups do not divide its output channels".to_owned());
            }
            let depth: usize = dims[1..].iter().product();
            let window = Window::of(node, kernel)?;
            Ok((groups, *outputs, depth, (depth, 1), Reads::Windows(window)))
        }
        ("Gemm", &[rows, columns]) => {
            let reads = if int("transA", 0) != 0 { Reads::Columns } else { Reads::Rows };
            Ok(match int("transB", 0) {
                0 => (1, columns, rows, (1, columns), reads),
                _ => (1, rows, columns, (columns, 1), reads),
            })
        }
        ("MatMul", &[rows, columns]) => Ok((1, columns, rows, (1, columns), Reads::Rows)),
        _ => Err(format!("its weight of rank {} is no matrix", dims.len())),
    }
}
