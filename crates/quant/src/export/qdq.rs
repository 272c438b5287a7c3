//! The quantized model in ONNX: QuantizeLinear and DequantizeLinear around float operators.
//!
//! An activation has one QuantizeLinear and a DequantizeLinear for each reader; a weight or bias is
//! stored as integers with a DequantizeLinear for each reader. Scales are scalars where there is
//! one, the axis is written wherever it means something, and zero points are always written, in
//! the shape of their scales. Inputs, outputs and all other values keep their names.

use std::collections::BTreeSet;

use marquetry_ir::infer::{self, Types};
use marquetry_ir::{
    AttributeValue, DType as ElementType, Graph, GraphError, Model, Node, NodeId, Slot, Tensor,
    ValueId,
};

pub(crate) use super::stored::element;
use super::stored::{grid as stored_grid, narrowed};
use super::{opset, runtime};
use crate::inside::{Inside, Way};
use crate::pass::PassError;
use crate::plan::{Plan, Quantizer, Role};
use crate::units::is_static;
use crate::{DType, Encoding, Granularity, NumericError, element, grid, lpbq, pack, qdq};

/// A lowered model, and what had to be done.
#[derive(Clone, Debug)]
pub struct Lowered {
    /// The model.
    pub model: Model,
    /// How many QuantizeLinear it got.
    pub quantize: usize,
    /// How many DequantizeLinear it got.
    pub dequantize: usize,
    /// What the user should know, one line each.
    pub notes: Vec<String>,
}

/// Lowers the enabled quantizers of a plan.
///
/// # Errors
///
/// `BadEncoding` for sites without an encoding and for encodings that ONNX cannot express.
pub fn lower(model: &Model, plan: &Plan) -> Result<Lowered, PassError> {
    let types = infer::run(model);
    // ONNX Runtime has kernels on integers for 8 bits.
    let narrow = |site: &Quantizer| {
        site.encoding.as_ref().is_some_and(|encoding| encoding.dtype.bits() <= 8)
    };
    let activations = plan.enabled().filter(|(_, site)| site.role == Role::Activation);
    let activations = activations.filter(|(_, site)| narrow(site));
    let mut lowering = Lowering {
        types: &types,
        before: &model.graph,
        inside_integers: activations.flat_map(|(_, site)| &site.inside).collect(),
        plan,
        way: Way::new(),
        model: model.clone(),
        value_names: BTreeSet::new(),
        node_names: BTreeSet::new(),
        quantize: 0,
        dequantize: 0,
        notes: Vec::new(),
    };
    for (value, site) in plan.enabled() {
        let impossible = site.encoding.as_ref().and_then(|one| opset::impossible(site.role, one));
        if let Some(what) = impossible {
            let (value, what) = (lowering.name(value), what.to_owned());
            return Err(PassError::NotInOnnx { value, what });
        }
    }
    let moved = lowering.raise_opset(plan)?;
    collect_names(&lowering.model.graph, &mut lowering.value_names, &mut lowering.node_names);
    for (value, site) in plan.enabled() {
        let site = &*lowering.moved(value, site, &moved);
        lowering.way.clear();
        let element_of = lowering.element(value);
        if site.readers.is_empty() && !site.output {
            continue;
        }
        let Some(encoding) = &site.encoding else {
            return Err(lowering.bad(value, "it has no encoding"));
        };
        let encoding = &*narrowed(encoding, element_of);
        match site.role {
            // It is of that type already.
            _ if encoding.dtype.is_cast() && element(encoding.dtype) == element_of => {}
            _ if encoding.dtype.is_cast() => lowering.cast(value, site, encoding)?,
            Role::Activation if !site.output && is_static(&lowering.model.graph, value) => {
                lowering.constant(value, site, encoding)?;
            }
            Role::Activation => lowering.activation(value, site, encoding)?,
            Role::Weight | Role::Bias { .. } => lowering.constant(value, site, encoding)?,
        }
    }
    lowering.settle_bodies();
    lowering.remove_dead_constants();
    let opset = lowering.model.graph.opsets.version("").unwrap_or(0);
    lowering.notes.extend(runtime::notes(&model.graph, &types, plan, opset));
    let Lowering { model, quantize, dequantize, notes, .. } = lowering;
    Ok(Lowered { model, quantize, dequantize, notes })
}

pub(super) struct Lowering<'a> {
    types: &'a Types,
    pub(super) plan: &'a Plan,
    /// The body that things are added to.
    pub(super) way: Way,
    /// Who reads activations in integers of 8 bits in bodies.
    pub(super) inside_integers: BTreeSet<&'a Inside>,
    /// The graph as it was.
    pub(super) before: &'a Graph,
    pub(super) model: Model,
    /// Names of values here and in all bodies: asking the graph for each new name would visit all
    /// its nodes.
    value_names: BTreeSet<String>,
    node_names: BTreeSet<String>,
    quantize: usize,
    dequantize: usize,
    pub(super) notes: Vec<String>,
}

impl Lowering<'_> {
    pub(super) fn graph(&mut self) -> &mut Graph {
        &mut self.model.graph
    }

    pub(super) fn name(&self, value: ValueId) -> String {
        self.model.graph.value(value).name().to_owned()
    }

    /// The type that the model computes a value in, which is that of scales.
    pub(super) fn element(&self, value: ValueId) -> ElementType {
        let known = self.types.dtype(value).filter(|dtype| element::is_quantizable(*dtype));
        known.unwrap_or(ElementType::Float)
    }

    fn bad(&self, value: ValueId, what: &str) -> PassError {
        PassError::BadEncoding { value: self.name(value), what: what.to_owned() }
    }

    /// One QuantizeLinear behind the value, one DequantizeLinear before each reader.
    fn activation(
        &mut self,
        value: ValueId,
        site: &Quantizer,
        encoding: &Encoding,
    ) -> Result<(), PassError> {
        if site.readers.is_empty() && !site.output {
            return Ok(());
        }
        let name = self.name(value);
        let spot = self.plan.spot(value);
        self.way = spot.map(|spot| spot.way.clone()).unwrap_or_default();
        let parameters = self.parameters(value, &name, encoding, &[])?;
        let float = spot.map_or(value, |spot| spot.value);
        if site.output
            && let Some(producer) = self.within(|graph| graph.producer(float))
        {
            return self.output((value, &name), (float, producer), site, encoding, parameters);
        }
        let quantized = self.add_value(&format!("{name}_quantized"))?;
        let node = self.operator("QuantizeLinear", &name, encoding);
        self.add_node(node, &[float, parameters.0, parameters.1], quantized)?;
        self.quantize += 1;
        self.dequantize_readers((value, &name), quantized, parameters, site, encoding)
    }

    /// Quantizes an output of the graph, or of a body: the node that made it makes another value, and
    /// the output is what comes back from integers. Readers get that as well.
    fn output(
        &mut self,
        (value, name): (ValueId, &str),
        (back, (producer, slot)): (ValueId, (NodeId, usize)),
        site: &Quantizer,
        encoding: &Encoding,
        parameters: (ValueId, ValueId),
    ) -> Result<(), PassError> {
        let float = self.add_value(&format!("{name}_float"))?;
        let quantized = self.add_value(&format!("{name}_quantized"))?;
        let way = self.way.clone();
        self.within(|graph| {
            graph.set_output(producer, slot, Some(float));
            for reader in graph.uses(back) {
                let quantized = match way.is_empty() {
                    true => site.readers.contains(&reader),
                    false => site.inside.contains(&Inside { way: way.clone(), reader }),
                };
                if let (Slot::Input(at), false) = (reader.slot, quantized) {
                    graph.set_input(reader.node, at as usize, Some(float));
                }
            }
        });
        let node = self.operator("QuantizeLinear", name, encoding);
        self.add_node(node, &[float, parameters.0, parameters.1], quantized)?;
        let node = self.operator("DequantizeLinear", name, encoding);
        self.add_node(node, &[quantized, parameters.0, parameters.1], back)?;
        self.quantize += 1;
        self.dequantize += 1;
        self.dequantize_readers((value, name), quantized, parameters, site, encoding)
    }

    /// Stored integers, and one DequantizeLinear before each reader.
    fn constant(
        &mut self,
        value: ValueId,
        site: &Quantizer,
        encoding: &Encoding,
    ) -> Result<(), PassError> {
        let name = self.name(value);
        let (dims, data) = crate::pass::read_constant(&self.model.graph, self.types, value)?;
        let numeric = |source: NumericError| PassError::Numeric { value: name.clone(), source };
        let stored = qdq::quantize(&data, &dims, encoding).map_err(numeric)?;
        let bytes = pack::pack(&stored, encoding.dtype).map_err(numeric)?;
        let tensor = Tensor::new(element(encoding.dtype), dims.clone(), bytes)
            .map_err(|error| self.bad(value, &error.to_string()))?;
        let parameters = self.parameters(value, &name, encoding, &dims)?;
        let quantized = self.add_initializer(&format!("{name}_quantized"), tensor)?;
        self.dequantize_readers((value, &name), quantized, parameters, site, encoding)
    }

    /// A cast there and one back before each reader; a constant is stored as it is cast.
    fn cast(
        &mut self,
        value: ValueId,
        site: &Quantizer,
        encoding: &Encoding,
    ) -> Result<(), PassError> {
        let name = self.name(value);
        let to = |dtype: ElementType| AttributeValue::Int(dtype.number().into());
        let narrow = match site.role {
            _ if site.readers.is_empty() => return Ok(()),
            Role::Activation => {
                let spot = self.plan.spot(value);
                self.way = spot.map(|spot| spot.way.clone()).unwrap_or_default();
                let narrow = self.add_value(&format!("{name}_quantized"))?;
                let node = Node::new("", "Cast").with("to", to(element(encoding.dtype)));
                let node = self.named(node, &name, "Cast");
                self.add_node(node, &[spot.map_or(value, |spot| spot.value)], narrow)?;
                narrow
            }
            Role::Weight | Role::Bias { .. } => {
                let (dims, data) =
                    crate::pass::read_constant(&self.model.graph, self.types, value)?;
                let bits = data.iter().flat_map(|&x| match encoding.dtype {
                    DType::BFloat16 => half::bf16::from_f32(x).to_le_bytes(),
                    _ => half::f16::from_f32(x).to_le_bytes(),
                });
                let tensor = Tensor::new(element(encoding.dtype), dims, bits.collect::<Vec<u8>>())
                    .map_err(|error| self.bad(value, &error.to_string()))?;
                self.add_initializer(&format!("{name}_quantized"), tensor)?
            }
        };
        let element = self.element(value);
        self.each_reader(value, &[narrow], site, |lowering, narrow| {
            let wide = lowering.add_value(&format!("{name}_dequantized"))?;
            let node = Node::new("", "Cast").with("to", to(element));
            let node = lowering.named(node, &name, "CastBack");
            lowering.add_node(node, narrow, wide)?;
            Ok(wide)
        })
    }

    /// Scales of low-power blocks: small integers times one float per channel.
    fn low_power_scales(
        &mut self,
        value: ValueId,
        name: &str,
        encoding: &Encoding,
        (channel, dims): (i64, &[usize]),
        (shape, cells): (&[usize], &[usize]),
    ) -> Result<ValueId, PassError> {
        let numeric = |source: NumericError| PassError::Numeric { value: name.to_owned(), source };
        let ints = lpbq::int_scales(encoding, channel).map_err(numeric)?;
        let bytes: Vec<u8> = cells
            .iter()
            .map(|&cell| u8::try_from(ints[cell]))
            .collect::<Result<_, _>>()
            .map_err(|_| self.bad(value, "an integer scale of a block does not fit 8 bits"))?;
        let bad = |error: marquetry_ir::TensorError| PassError::BadEncoding {
            value: name.to_owned(),
            what: error.to_string(),
        };
        let channels = encoding.channel_scales.len();
        let ints = Tensor::new(ElementType::Uint8, shape, bytes).map_err(bad)?;
        let floats: Vec<f32> = encoding.channel_scales.iter().map(|&scale| scale as f32).collect();
        let floats = element::tensor(self.element(value), [channels], &floats).map_err(bad)?;
        let zeros =
            Tensor::new(ElementType::Uint8, [channels], vec![0u8; channels]).map_err(bad)?;
        let ints = self.add_initializer(&format!("{name}_scale_quantized"), ints)?;
        let floats = self.add_initializer(&format!("{name}_channel_scale"), floats)?;
        let zeros = self.add_initializer(&format!("{name}_channel_zero_point"), zeros)?;
        let scale = self.add_value(&format!("{name}_scale"))?;
        let axis = grid::resolve(channel, dims.len()).map_err(numeric)? as i64;
        let node = Node::new("", "DequantizeLinear").with("axis", AttributeValue::Int(axis));
        let node = self.named(node, name, "scale_DequantizeLinear");
        self.add_node(node, &[ints, floats, zeros], scale)?;
        Ok(scale)
    }

    /// ONNX Runtime refuses two nodes of one name.
    fn named(&mut self, mut node: Node, value: &str, what: &str) -> Node {
        node.name = fresh(&mut self.node_names, format!("{value}_{what}"));
        node
    }

    fn dequantize_readers(
        &mut self,
        (value, name): (ValueId, &str),
        quantized: ValueId,
        parameters: (ValueId, ValueId),
        site: &Quantizer,
        encoding: &Encoding,
    ) -> Result<(), PassError> {
        let stored = [quantized, parameters.0, parameters.1];
        self.each_reader(value, &stored, site, |lowering, stored| {
            let dequantized = lowering.add_value(&format!("{name}_dequantized"))?;
            let node = lowering.operator("DequantizeLinear", name, encoding);
            lowering.add_node(node, stored, dequantized)?;
            lowering.dequantize += 1;
            Ok(dequantized)
        })
    }

    /// Scale and zero point as initializers.
    fn parameters(
        &mut self,
        value: ValueId,
        name: &str,
        encoding: &Encoding,
        dims: &[usize],
    ) -> Result<(ValueId, ValueId), PassError> {
        let (shape, cells) = stored_grid(encoding, dims)
            .map_err(|source| PassError::Numeric { value: name.to_owned(), source })?;
        let scales: Vec<f32> =
            cells.iter().map(|&cell| encoding.cells[cell].scale as f32).collect();
        let zero_points: Vec<i64> = cells.iter().map(|&cell| encoding.zero_point(cell)).collect();
        let bytes = pack::pack(&zero_points, encoding.dtype)
            .map_err(|source| PassError::Numeric { value: name.to_owned(), source })?;
        let zero_point = Tensor::new(element(encoding.dtype), shape.clone(), bytes)
            .map_err(|error| self.bad(value, &error.to_string()))?;
        let scale = match encoding.granularity {
            Granularity::Lpbq { channel, .. } => {
                let grid = (shape.as_slice(), cells.as_slice());
                self.low_power_scales(value, name, encoding, (channel, dims), grid)?
            }
            _ => {
                let scale = element::tensor(self.element(value), shape, &scales)
                    .map_err(|error| self.bad(value, &error.to_string()))?;
                self.add_initializer(&format!("{name}_scale"), scale)?
            }
        };
        let zero_point = self.add_initializer(&format!("{name}_zero_point"), zero_point)?;
        Ok((scale, zero_point))
    }

    /// A node of the domain that can express the encoding, without its inputs.
    fn operator(&mut self, op: &str, value: &str, encoding: &Encoding) -> Node {
        let opset = self.model.graph.opsets.version("").unwrap_or(1);
        // Where the opset was not raised, scales are floats.
        let Encoding { dtype, granularity, .. } = *encoding;
        let lacks = opset::needed(dtype, granularity, ElementType::Float) > opset;
        let domain = if lacks { opset::CONTRIB } else { "" };
        let mut node = Node::new(domain, op);
        node = match encoding.granularity {
            Granularity::PerTensor => node,
            Granularity::PerChannel(axis) => node.with("axis", AttributeValue::Int(axis)),
            Granularity::PerBlock { axis, size, .. } | Granularity::Lpbq { axis, size, .. } => {
                let size = i64::try_from(size).unwrap_or(i64::MAX);
                node.with("axis", AttributeValue::Int(axis))
                    .with("block_size", AttributeValue::Int(size))
            }
        };
        self.named(node, value, op)
    }

    fn add_value(&mut self, base: &str) -> Result<ValueId, PassError> {
        let name = fresh(&mut self.value_names, base.to_owned());
        self.within(|graph| graph.add_value(&name, None)).map_err(graph_error)
    }

    fn add_initializer(&mut self, base: &str, tensor: Tensor) -> Result<ValueId, PassError> {
        let name = fresh(&mut self.value_names, base.to_owned());
        self.within(|graph| graph.add_initializer(&name, tensor)).map_err(graph_error)
    }

    fn add_node(
        &mut self,
        node: Node,
        inputs: &[ValueId],
        output: ValueId,
    ) -> Result<NodeId, PassError> {
        let inputs: Vec<Option<ValueId>> = inputs.iter().copied().map(Some).collect();
        self.within(|graph| graph.add_node(node, &inputs, &[Some(output)])).map_err(graph_error)
    }

    /// Float weights that nobody reads any more, and the nodes that made them.
    fn remove_dead_constants(&mut self) {
        let graph = &self.model.graph;
        let dead = |&node: &NodeId| {
            let mut outputs = graph.outputs(node).into_iter().flatten();
            graph.node(node).is_onnx("Constant")
                && outputs.all(|value| graph.use_count(value) == 0 && !graph.is_output(value))
        };
        let dead: Vec<NodeId> = graph.nodes().filter(dead).collect();
        self.graph().remove_nodes(&dead);
        self.graph().drop_unused();
    }
}

/// The names of a graph and its bodies.
fn collect_names(graph: &Graph, values: &mut BTreeSet<String>, nodes: &mut BTreeSet<String>) {
    values.extend(graph.values().map(|value| graph.value(value).name().to_owned()));
    for node in graph.nodes() {
        let node = graph.node(node);
        nodes.insert(node.name.clone());
        node.bodies().for_each(|body| collect_names(body, values, nodes));
    }
}

/// A name that nobody has: `base`, or `base` with a number.
fn fresh(taken: &mut BTreeSet<String>, base: String) -> String {
    let name = match taken.contains(&base) {
        false => base,
        true => (1u64..)
            .map(|number| format!("{base}_{number}"))
            .find(|name| !taken.contains(name))
            .expect("numbers do not run out"),
    };
    taken.insert(name.clone());
    name
}

fn graph_error(error: GraphError) -> PassError {
    PassError::Graph { message: error.to_string() }
}
