//! A quantized model taken apart: the float model and the plan that lowers to it again.
//!
//! The inverse of [`crate::export::qdq`]: QuantizeLinear and DequantizeLinear become quantizers,
//! stored integers become the floats that they stand for.

use std::collections::BTreeMap;

use marquetry_ir::infer::{self, Types};
use marquetry_ir::{
    AttributeValue, DType as ElementType, Graph, GraphError, Model, NodeId, Slot, Tensor, Use,
    ValueId,
};

use crate::encoding::Cell;
use crate::kernel::{BIAS, DATA, WEIGHT};
use crate::pass::PassError;
use crate::plan::{Plan, Quantizer, Reason, Role};
use crate::{DType, Encoding, Granularity, Spec, element, grid, qdq};

/// What a quantized model consists of.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The model without QuantizeLinear and DequantizeLinear.
    pub model: Model,
    /// A frozen quantizer for every tensor that had them.
    pub plan: Plan,
    /// What the user should know, one line each.
    pub notes: Vec<String>,
}

/// Takes a model apart. Pairs that cannot be read as a quantizer stay, with a note.
///
/// # Errors
///
/// When the graph cannot be worked with.
pub fn qdq(model: &Model) -> Result<Imported, PassError> {
    let types = infer::run(model);
    let mut import = Import {
        types: &types,
        model: model.clone(),
        plan: Plan::default(),
        found: Vec::new(),
        gone: Vec::new(),
        notes: Vec::new(),
    };
    for node in model.graph.nodes() {
        let result = match model.graph.node(node).op_type.as_str() {
            "QuantizeLinear" => import.pair(node),
            "DequantizeLinear" => import.stored(node),
            _ => continue,
        };
        if let Err(what) = result {
            let label = crate::kernel::label(&model.graph, node);
            import.notes.push(format!("{label} stays: {what}"));
        }
    }
    let inside: usize =
        model.graph.nodes().flat_map(|node| model.graph.node(node).bodies()).map(quantizers).sum();
    if inside > 0 {
        import.notes.push(format!(
            "{inside} QuantizeLinear and DequantizeLinear in bodies stay: only those of the main graph \
             are taken apart"
        ));
    }
    import.finish()
}

/// How many nodes of a graph and the bodies in it quantize, or make float.
fn quantizers(graph: &Graph) -> usize {
    let count = |node: NodeId| {
        let node = graph.node(node);
        let own = matches!(node.op_type.as_str(), "QuantizeLinear" | "DequantizeLinear");
        usize::from(own) + node.bodies().map(quantizers).sum::<usize>()
    };
    graph.nodes().map(count).sum()
}

/// A quantizer that was found: the value, its name once it is float, and who reads it.
struct Found {
    value: ValueId,
    role: Role,
    encoding: Encoding,
    readers: Vec<Use>,
    output: bool,
}

struct Import<'a> {
    types: &'a Types,
    model: Model,
    plan: Plan,
    found: Vec<Found>,
    gone: Vec<NodeId>,
    notes: Vec<String>,
}

type Step = Result<(), String>;

impl Import<'_> {
    fn graph(&self) -> &Graph {
        &self.model.graph
    }

    /// QuantizeLinear and the DequantizeLinear behind it.
    fn pair(&mut self, node: NodeId) -> Step {
        let graph = self.graph();
        let (Some(value), Some(quantized)) = (graph.input(node, 0), graph.output(node, 0)) else {
            return Err("it lacks an input or an output".to_owned());
        };
        if self.found.iter().any(|found| found.value == value) {
            return Err("its input is quantized twice".to_owned());
        }
        let behind = graph.uses(quantized);
        let all = behind.iter().all(|reader| {
            graph.node(reader.node).op_type == "DequantizeLinear"
                && reader.slot == Slot::Input(0)
                && graph.input(reader.node, 1) == graph.input(node, 1)
                && graph.input(reader.node, 2) == graph.input(node, 2)
        });
        if behind.iter().any(|reader| reader.slot == Slot::Capture) {
            return Err("a body reads its integers".to_owned());
        }
        if behind.is_empty() || !all || graph.is_output(quantized) {
            return Err("integers are read by something else than DequantizeLinear".to_owned());
        }
        let rank = self.types.rank(value).unwrap_or(0);
        let dims = self.types.constant(value).map(|tensor| tensor.dims().to_vec());
        let encoding = self.encoding(node, rank, dims.as_deref())?;
        let role = match self.types.is_constant(value) {
            true => Role::Weight,
            false => Role::Activation,
        };
        let nodes: Vec<NodeId> = behind.iter().map(|reader| reader.node).collect();
        let (mut value, mut output) = (value, false);
        let mut readers = Vec::new();
        for &dequantize in &nodes {
            let Some(back) = self.graph().output(dequantize, 0) else { continue };
            if self.graph().is_output(back) {
                let Some((producer, slot)) = self.graph().producer(value) else {
                    return Err("an input of the graph is quantized to an output".to_owned());
                };
                if output {
                    return Err("it is quantized to two outputs".to_owned());
                }
                // The output is what the node computes, as it was before.
                output = true;
                let uses = self.graph().uses(back);
                self.model.graph.set_output(producer, slot, Some(back));
                self.model.graph.replace_uses(value, back);
                readers.extend(uses);
                value = back;
                continue;
            }
            readers.extend(self.graph().uses(back));
            self.model.graph.replace_uses(back, value);
        }
        self.gone.extend(nodes);
        self.gone.push(node);
        self.found.push(Found { value, role, encoding, readers, output });
        Ok(())
    }

    /// DequantizeLinear of stored integers.
    fn stored(&mut self, node: NodeId) -> Step {
        let graph = self.graph();
        let Some(stored) = graph.input(node, 0) else {
            return Err("it lacks an input".to_owned());
        };
        let Some(back) = graph.output(node, 0) else { return Ok(()) };
        // As it was: a first reader has made it float by now.
        let original = self.types.constant(stored).cloned();
        let Some(tensor) = original.filter(|_| graph.value(stored).constant.is_some()) else {
            // Behind a QuantizeLinear, which deals with it.
            return Ok(());
        };
        if self.is_scale(back) {
            return Ok(());
        }
        if graph.is_output(back) {
            return Err("a constant is an output".to_owned());
        }
        if graph.uses(stored).iter().any(|reader| reader.slot == Slot::Capture) {
            return Err("a body reads its integers".to_owned());
        }
        let encoding = self.encoding(node, tensor.dims().len(), Some(tensor.dims()))?;
        let readers = graph.uses(back);
        let known = self.found.iter().position(|found| found.value == stored);
        let at = match known {
            Some(at) if self.found[at].encoding == encoding => at,
            Some(_) => return Err("its integers are read with two encodings".to_owned()),
            None => {
                let integers = match tensor.to_i64s() {
                    Some(integers) => integers,
                    // The codes of an 8-bit float.
                    None => tensor.bytes().iter().map(|&code| i64::from(code)).collect(),
                };
                let floats = qdq::dequantize(&integers, tensor.dims(), &encoding)
                    .map_err(|error| error.to_string())?;
                let float = element::tensor(self.element(node), tensor.dims(), &floats)
                    .map_err(|error| error.to_string())?;
                self.model.graph.set_initializer(stored, float);
                self.model.graph.value_mut(stored).ty = None;
                let role = self.constant_role(&readers, encoding.dtype);
                self.found.push(Found {
                    value: stored,
                    role,
                    encoding,
                    readers: Vec::new(),
                    output: false,
                });
                self.found.len() - 1
            }
        };
        self.model.graph.replace_uses(back, stored);
        self.found[at].readers.extend(readers);
        self.gone.push(node);
        Ok(())
    }

    /// Whether a value is the scale of other DequantizeLinear, as with low-power blocks.
    fn is_scale(&self, value: ValueId) -> bool {
        let uses = self.graph().uses(value);
        !uses.is_empty()
            && uses.iter().all(|reader| {
                let op = &self.graph().node(reader.node).op_type;
                reader.slot == Slot::Input(1)
                    && (op == "DequantizeLinear" || op == "QuantizeLinear")
            })
    }

    fn constant_role(&self, readers: &[Use], dtype: DType) -> Role {
        let bias = readers
            .iter()
            .find(|reader| reader.slot == Slot::Input(u32::try_from(BIAS).unwrap_or(u32::MAX)));
        if dtype == DType::Int32
            && let Some(kernel) = bias
            && let (Some(input), Some(weight)) =
                (self.graph().input(kernel.node, DATA), self.graph().input(kernel.node, WEIGHT))
        {
            return Role::Bias { input, weight };
        }
        Role::Weight
    }

    /// What QuantizeLinear or DequantizeLinear says.
    fn encoding(
        &self,
        node: NodeId,
        rank: usize,
        dims: Option<&[usize]>,
    ) -> Result<Encoding, String> {
        let graph = self.graph();
        let content = graph.node(node);
        let int = |name: &str| content.attribute(name).and_then(AttributeValue::as_int);
        let scale_value = graph.input(node, 1).ok_or("it lacks a scale")?;
        let scale = self.types.constant(scale_value);
        let zero = graph.input(node, 2).and_then(|zero| self.types.constant(zero));
        let element = match (zero, int("output_dtype").filter(|&number| number != 0)) {
            (Some(zero), _) => zero.dtype(),
            (None, Some(number)) if content.op_type == "QuantizeLinear" => {
                ElementType::from_number(i32::try_from(number).unwrap_or(0))
            }
            _ => match graph.input(node, 0).and_then(|input| self.types.dtype(input)) {
                Some(stored) if content.op_type == "DequantizeLinear" => stored,
                _ => ElementType::Uint8,
            },
        };
        let dtype = DType::parse(&element.to_string()).ok_or("its type is not known")?;
        let axis = int("axis").unwrap_or(1);
        let block = int("block_size").and_then(|size| usize::try_from(size).ok()).unwrap_or(0);
        let product = match scale {
            Some(_) => None,
            None => Some(self.low_power_scale(scale_value)?),
        };
        let scale_tensor = match (scale, &product) {
            (Some(scale), _) => scale,
            (None, Some((scale, _))) => scale,
            (None, None) => return Err("its scale is computed".to_owned()),
        };
        let scales = scale_tensor.to_f32s().ok_or("its scale holds no floats")?.into_owned();
        let zeros = match zero {
            Some(zero) if dtype.is_integer() => {
                zero.to_i64s().ok_or("its zero point holds no integers")?
            }
            _ => vec![0; scales.len()],
        };
        if zeros.len() != scales.len() || scales.is_empty() {
            return Err("scale and zero point differ in shape".to_owned());
        }
        let shape = scale_tensor.dims();
        let low_power = product.is_some().then(|| dtype.bits());
        let (granularity, grid_shape, cells) = match (shape.len(), block) {
            (0, _) => (Granularity::PerTensor, Vec::new(), vec![0]),
            (1, 0) if shape[0] == 1 => (Granularity::PerTensor, Vec::new(), vec![0]),
            (1, 0) => {
                let at = grid::resolve(axis, rank).map_err(|error| error.to_string())?;
                let shape: Vec<usize> =
                    (0..rank).map(|other| if other == at { shape[0] } else { 1 }).collect();
                (Granularity::PerChannel(at as i64), shape, (0..scales.len()).collect())
            }
            _ => {
                let dims = dims.ok_or("an activation has one scale per block")?;
                self.blocks(axis, block, shape, dims, &scales, low_power)?
            }
        };
        let symmetric = dtype.is_signed() && zeros.iter().all(|&zero| zero == 0);
        let spec = Spec { symmetric, granularity, ..Spec::activation(dtype) };
        let lowest = Encoding::new(&spec, vec![], vec![]).lowest();
        let cells = cells.into_iter().map(|at| {
            // An 8-bit float has no offset.
            let offset = if dtype.is_integer() { (lowest - zeros[at]) as f64 } else { 0.0 };
            Cell { scale: f64::from(scales[at]), offset }
        });
        let mut encoding = Encoding::new(&spec, grid_shape, cells.collect());
        if let Some((_, floats)) = product {
            encoding.channel_scales = floats.into_iter().map(f64::from).collect();
        }
        Ok(encoding)
    }

    /// The type that a DequantizeLinear gives: that of its scale.
    fn element(&self, node: NodeId) -> ElementType {
        let output = self.graph().output(node, 0).and_then(|value| self.types.dtype(value));
        output.filter(|dtype| element::is_quantizable(*dtype)).unwrap_or(ElementType::Float)
    }

    /// Scales that are constant integers times the constant float of their channel, and the floats.
    fn low_power_scale(&self, value: ValueId) -> Result<(Tensor, Vec<f32>), String> {
        let graph = self.graph();
        let computed = || "its scale is computed".to_owned();
        let (producer, _) = graph.producer(value).ok_or_else(computed)?;
        let node = graph.node(producer);
        let input = |slot: usize| {
            let value = graph.input(producer, slot)?;
            self.types.constant(value)
        };
        let (Some(ints), Some(floats)) = (input(0), input(1)) else { return Err(computed()) };
        let zero = input(2).and_then(Tensor::to_i64s);
        let plain = node.op_type == "DequantizeLinear"
            && zero.is_none_or(|zero| zero.iter().all(|&zero| zero == 0));
        let wide = floats;
        let numbers = ints.to_i64s().zip(floats.to_f32s()).filter(|_| plain);
        let (integers, floats) = numbers.ok_or_else(computed)?;
        let axis = node.attribute("axis").and_then(AttributeValue::as_int).unwrap_or(1);
        let at = grid::resolve(axis, ints.dims().len()).map_err(|error| error.to_string())?;
        if floats.len() != ints.dims()[at] {
            return Err(computed());
        }
        let inner: usize = ints.dims()[at + 1..].iter().product();
        let scales: Vec<f32> = integers
            .iter()
            .enumerate()
            .map(|(element, &int)| int as f32 * floats[element / inner.max(1) % floats.len()])
            .collect();
        let scale = element::tensor(wide.dtype(), ints.dims(), &scales)
            .map_err(|error| error.to_string())?;
        Ok((scale, floats.into_owned()))
    }

    /// The grid of scales by blocks, which repeat along axes that a cell spans.
    fn blocks(
        &self,
        axis: i64,
        size: usize,
        shape: &[usize],
        dims: &[usize],
        scales: &[f32],
        low_power: Option<u32>,
    ) -> Result<(Granularity, Vec<usize>, Vec<usize>), String> {
        let axis = grid::resolve(axis, dims.len()).map_err(|error| error.to_string())?;
        if shape.len() != dims.len() || size == 0 || dims.len() < 2 {
            return Err("its blocks cannot be read".to_owned());
        }
        // Kernels have their output channels on one of the first two axes.
        let channel = if axis == 0 { 1 } else { 0 };
        let channel = if dims.len() > 2 && axis > 1 { 0 } else { channel };
        let granularity = match low_power {
            Some(compressed) => Granularity::Lpbq {
                axis: axis as i64,
                size,
                channel: channel as i64,
                compressed,
                decompressed: 2 * compressed,
            },
            None => Granularity::PerBlock { axis: axis as i64, size, channel: channel as i64 },
        };
        let grid: Vec<usize> = (0..dims.len())
            .map(|at| if at == axis || at == channel { shape[at] } else { 1 })
            .collect();
        let mut cells: BTreeMap<usize, usize> = BTreeMap::new();
        for element in 0..scales.len() {
            let (mut rest, mut cell, mut stride) = (element, 0, 1);
            for at in (0..shape.len()).rev() {
                let index = rest % shape[at];
                rest /= shape[at];
                if grid[at] > 1 {
                    cell += index * stride;
                }
                stride *= grid[at];
            }
            let first = *cells.entry(cell).or_insert(element);
            if scales[first].to_bits() != scales[element].to_bits() {
                return Err("its scales differ along an axis that has no channels".to_owned());
            }
        }
        Ok((granularity, grid, cells.into_values().collect()))
    }

    fn finish(mut self) -> Result<Imported, PassError> {
        let failed = |error: GraphError| PassError::Graph { message: error.to_string() };
        let graph = &mut self.model.graph;
        graph.remove_nodes(&self.gone);
        // Scales of low-power blocks, which nobody reads any more.
        loop {
            let idle = |&node: &NodeId| {
                let op = graph.node(node).op_type.as_str();
                let mut outputs = graph.outputs(node).into_iter().flatten();
                matches!(op, "DequantizeLinear" | "Constant")
                    && outputs.all(|value| graph.use_count(value) == 0 && !graph.is_output(value))
            };
            let idle: Vec<NodeId> = graph.nodes().filter(idle).collect();
            if idle.is_empty() {
                break;
            }
            graph.remove_nodes(&idle);
        }
        for found in self.found {
            let name = graph.value(found.value).name().to_owned();
            for suffix in ["_quantized", "_q"] {
                if let Some(base) = name.strip_suffix(suffix)
                    && !base.is_empty()
                    && found.role != Role::Activation
                    && graph.find(base).is_none()
                {
                    graph.rename(found.value, base).map_err(failed)?;
                    break;
                }
            }
            let spec = Spec {
                symmetric: found.encoding.symmetric,
                granularity: found.encoding.granularity,
                ..Spec::activation(found.encoding.dtype)
            };
            let mut site = Quantizer::new(found.role, spec);
            found.readers.iter().for_each(|&reader| site.add_reader(reader));
            site.output = found.output;
            site.encoding = Some(found.encoding);
            site.frozen = true;
            site.because.push(Reason::new("model", "it was quantized"));
            self.plan.place(found.value, || site);
        }
        graph.drop_unused();
        Ok(Imported { model: self.model, plan: self.plan, notes: self.notes })
    }
}
