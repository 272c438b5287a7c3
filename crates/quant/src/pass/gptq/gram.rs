//! G = Σ xᵀ·x of what a kernel multiplies its weight by, computed by the engine beside the kernel.

use std::collections::BTreeMap;

use marquetry_ir::{AttributeValue, Graph, GraphError, Node, NodeId, Tensor, ValueId};

use crate::kernel::DATA;

/// Where the elements of a weight lie: output channel m of group g sums over columns k.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) groups: usize,
    /// Output channels of a group.
    pub(super) rows: usize,
    /// Products that are summed for each.
    pub(super) columns: usize,
    row_stride: usize,
    column_stride: usize,
    /// What is read: the last axis, the first, or patches of a kernel of this shape.
    reads: Reads,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Reads {
    Last,
    First,
    Patches(Vec<usize>),
}

impl Layout {
    pub(super) fn of(node: &Node, dims: &[usize]) -> Result<Layout, &'static str> {
        let int = |name: &str, default| {
            node.attribute(name).and_then(AttributeValue::as_int).unwrap_or(default)
        };
        match (node.op_type.as_str(), dims) {
            ("Conv", [filters, channels, kernel @ ..]) if !kernel.is_empty() => {
                let groups = usize::try_from(int("group", 1)).unwrap_or(0);
                if groups == 0 || filters % groups != 0 {
                    return Err("its filters are not a multiple of its groups");
                }
                let columns = channels * kernel.iter().product::<usize>();
                Ok(Layout {
                    groups,
                    rows: filters / groups,
                    columns,
                    row_stride: columns,
                    column_stride: 1,
                    reads: Reads::Patches(dims[1..].to_vec()),
                })
            }
            ("Gemm" | "MatMul", &[first, last]) => {
                let transposed = node.op_type == "Gemm" && int("transB", 0) != 0;
                let (rows, columns) = if transposed { (first, last) } else { (last, first) };
                let (row_stride, column_stride) = if transposed { (last, 1) } else { (1, last) };
                let turned = node.op_type == "Gemm" && int("transA", 0) != 0;
                let reads = if turned { Reads::First } else { Reads::Last };
                Ok(Layout { groups: 1, rows, columns, row_stride, column_stride, reads })
            }
            ("MatMul", _) => Err("it is a stack of matrices"),
            _ => Err("what it is multiplied by is not gathered"),
        }
    }

    /// Output channels in all.
    pub(super) fn channels(&self) -> usize {
        self.groups * self.rows
    }

    /// The place of an element.
    pub(super) fn at(&self, group: usize, row: usize, column: usize) -> usize {
        (group * self.rows + row) * self.row_stride + column * self.column_stride
    }
}

/// Sums of products, for each group a symmetric matrix in rows.
pub(super) struct Gram {
    size: usize,
    fit: Vec<f64>,
    /// Those of the samples that are kept apart; empty where none is.
    apart: Vec<f64>,
}

impl Gram {
    pub(super) fn new(layout: &Layout) -> Gram {
        let elements = layout.groups * layout.columns * layout.columns;
        Gram { size: layout.columns * layout.columns, fit: vec![0.0; elements], apart: Vec::new() }
    }

    /// What one takes with samples kept apart.
    pub(super) fn bytes(layout: &Layout) -> usize {
        2 * size_of::<f64>() * layout.groups * layout.columns * layout.columns
    }

    /// Adds the products of one sample. What overflowed, or is NaN, says nothing about weights.
    pub(super) fn add(&mut self, products: &[f32], apart: bool) {
        if products.len() != self.fit.len() || products.iter().any(|x| !x.is_finite()) {
            return;
        }
        if apart {
            self.apart.resize(self.fit.len(), 0.0);
        }
        let sums = if apart { &mut self.apart } else { &mut self.fit };
        sums.iter_mut().zip(products).for_each(|(sum, &x)| *sum += f64::from(x));
    }

    /// The matrix of a group to round by.
    pub(super) fn fit(&self, group: usize) -> &[f64] {
        &self.fit[group * self.size..][..self.size]
    }

    /// The matrix of a group to judge by.
    pub(super) fn judge(&self, group: usize) -> &[f64] {
        let sums = if self.apart.is_empty() { &self.fit } else { &self.apart };
        &sums[group * self.size..][..self.size]
    }
}

/// What was built already, by the value that is read and how.
pub(super) type Known = BTreeMap<(ValueId, String), ValueId>;

/// Puts the products of what a kernel reads beside it: for each group a matrix.
///
/// Patches are what a convolution with the identity as its weight gives, which pads and strides as
/// the kernel itself does.
pub(super) fn beside(
    graph: &mut Graph,
    node: NodeId,
    layout: &Layout,
    known: &mut Known,
) -> Result<ValueId, GraphError> {
    let data = graph.input(node, DATA).expect("kernels read something");
    let content = graph.node(node).clone();
    let how = match &layout.reads {
        Reads::Patches(kernel) => format!("{kernel:?} {:?}", content.attributes),
        reads => format!("{reads:?}"),
    };
    if let Some(&value) = known.get(&(data, how.clone())) {
        return Ok(value);
    }
    let mut build = Build { graph };
    let columns = layout.columns as i64;
    // Columns before samples, for each group.
    let columns_first = match &layout.reads {
        Reads::Last => {
            let rows = build.reshape(data, &[-1, columns])?;
            build.transpose(rows, &[1, 0])?
        }
        Reads::First => data,
        Reads::Patches(kernel) => {
            let groups = layout.groups as i64;
            let identity = identity(layout.groups, layout.columns, kernel);
            let identity = build.constant(identity)?;
            let mut conv = content;
            conv.name.clear();
            conv.doc.clear();
            let patches = build.node(conv, &[data, identity])?;
            let apart = build.reshape(patches, &[0, groups, columns, -1])?;
            let turned = build.transpose(apart, &[1, 2, 0, 3])?;
            build.reshape(turned, &[groups, columns, -1])?
        }
    };
    let last_two: &[i64] = if layout.groups > 1 || matches!(layout.reads, Reads::Patches(_)) {
        &[0, 2, 1]
    } else {
        &[1, 0]
    };
    let columns_last = build.transpose(columns_first, last_two)?;
    let products = build.node(Node::new("", "MatMul"), &[columns_first, columns_last])?;
    known.insert((data, how), products);
    Ok(products)
}

/// A convolution's weight that gives every element of a patch a channel, group by group.
fn identity(groups: usize, columns: usize, kernel: &[usize]) -> Tensor {
    let mut data = vec![0.0; groups * columns * columns];
    for row in 0..groups * columns {
        data[row * columns + row % columns] = 1.0;
    }
    let dims: Vec<usize> = [groups * columns].into_iter().chain(kernel.iter().copied()).collect();
    Tensor::from_f32s(dims, &data).expect("the data has its shape")
}

/// Adds nodes whose results have fresh names.
struct Build<'a> {
    graph: &'a mut Graph,
}

impl Build<'_> {
    fn node(&mut self, node: Node, inputs: &[ValueId]) -> Result<ValueId, GraphError> {
        let fresh = self.graph.fresh_name("products");
        let output = self.graph.add_value(&fresh, None)?;
        let inputs: Vec<Option<ValueId>> = inputs.iter().copied().map(Some).collect();
        self.graph.add_node(node, &inputs, &[Some(output)])?;
        Ok(output)
    }

    fn constant(&mut self, tensor: Tensor) -> Result<ValueId, GraphError> {
        let fresh = self.graph.fresh_name("products_constant");
        self.graph.add_initializer(&fresh, tensor)
    }

    fn reshape(&mut self, value: ValueId, dims: &[i64]) -> Result<ValueId, GraphError> {
        let shape = Tensor::from_i64s([dims.len()], dims).expect("one element per axis");
        let shape = self.constant(shape)?;
        self.node(Node::new("", "Reshape"), &[value, shape])
    }

    fn transpose(&mut self, value: ValueId, perm: &[i64]) -> Result<ValueId, GraphError> {
        let perm = AttributeValue::Ints(perm.to_vec());
        self.node(Node::new("", "Transpose").with("perm", perm), &[value])
    }
}

#[cfg(test)]
mod tests {
    use marquetry_engine::{Embedded, Engine as _, Options};
    use marquetry_ir::text;

    use super::*;

    /// Σ over what a kernel gives is what its weight gives with the products: wᵀ·G·w.
    #[test]
    fn products_tell_how_large_outputs_are() {
        let kernels = [
            (
                "float[2,4,5,5] x",
                "float[6,2,3,3] w",
                "Conv <group = 2, pads = [1,0,2,1], strides = [2,1]> (x, w)",
            ),
            (
                "float[1,3,9] x",
                "float[4,3,2] w",
                "Conv <dilations = [3], auto_pad = \"SAME_UPPER\"> (x, w)",
            ),
            ("float[4,2,6,6] x", "float[4,1,3,3] w", "Conv <group = 2> (x, w)"),
            ("float[2,3,5] x", "float[5,4] w", "MatMul (x, w)"),
            ("float[5] x", "float[5,4] w", "MatMul (x, w)"),
            ("float[3,5] x", "float[4,5] w", "Gemm <transB = 1> (x, w)"),
            ("float[5,3] x", "float[5,4] w", "Gemm <transA = 1> (x, w)"),
        ];
        for (x, w, kernel) in kernels {
            let source = format!(
                "<ir_version: 8, opset_import: [\"\": 21]> g ({x}) => (float y) \
                 <{w} = {{...}}> {{ y = {kernel} }}"
            );
            let mut graph = text::parse(&source).unwrap().graph;
            let node = graph.nodes().next().unwrap();
            let weight = graph.initializer(graph.find("w").unwrap()).unwrap().clone();
            let layout = Layout::of(graph.node(node), weight.dims()).unwrap();
            let products = beside(&mut graph, node, &layout, &mut Known::new()).unwrap();
            let dims: Vec<usize> =
                x[6..x.len() - 3].split(',').map(|dim| dim.parse().unwrap()).collect();
            let count: usize = dims.iter().product();
            let data: Vec<f32> = (0..count).map(|at| ((at * 37) % 23) as f32 - 9.5).collect();
            let sample = Tensor::from_f32s(dims, &data).unwrap();
            let outputs = [graph.find("y").unwrap(), products];
            let engine = Embedded::new(&Options::default());
            let mut program = engine.compile(&graph, &graph.inputs, &outputs).unwrap();
            let found = program.run(&[sample]).unwrap();
            let squares: f64 = found[0].to_f64s().unwrap().iter().map(|y| y * y).sum();
            let mut gram = Gram::new(&layout);
            gram.add(&found[1].f32s().unwrap(), false);
            let weight = weight.f32s().unwrap();
            let mut sum = 0.0;
            for group in 0..layout.groups {
                for row in 0..layout.rows {
                    let w = |k: usize| f64::from(weight[layout.at(group, row, k)]);
                    let n = layout.columns;
                    let g = gram.fit(group);
                    sum += (0..n * n).map(|at| w(at / n) * g[at] * w(at % n)).sum::<f64>();
                }
            }
            assert!((sum - squares).abs() < 1e-4 * squares, "{kernel}: {sum} {squares}");
        }
    }
}
