//! QuantizeBias: biases as int32, on the grid of the products they are added to.

use std::collections::BTreeSet;

use marquetry_ir::infer::{self, Types};
use marquetry_ir::{DType as ElementType, Graph, NodeId, Slot, Use, ValueId};

use super::weights::{name, numeric, read};
use super::{Context, Fact, Pass, PassError, State, Summary};
use crate::effective::Path;
use crate::flat::Flat;
use crate::inside::{self, Inside, Names, Way};
use crate::kernel::{self, BIAS, DATA, WEIGHT, has_bias};
use crate::plan::{Plan, Quantizer, Reason, Role};
use crate::policy::Biases;
use crate::range::bias_cell;
use crate::units::{Unit, Units};
use crate::{Cell, DType, Encoding, Granularity, Spec};

/// The largest bias in steps of its accumulator: 2³¹ with room for 2¹⁵ sums.
const LARGEST: f32 = 2_147_450_880.0;

/// Quantizes the biases of kernels to int32 with the product of the scales of activation and
/// weight.
///
/// Where a bias would not fit, the scale of its weight is widened until it does.
#[derive(Clone, Copy, Debug, Default)]
pub struct QuantizeBias;

impl Pass for QuantizeBias {
    fn name(&self) -> &str {
        "QuantizeBias"
    }

    fn requires(&self) -> &[Fact] {
        &[Fact::Encodings]
    }

    fn provides(&self) -> &[Fact] {
        &[Fact::Biases]
    }

    fn touches(&self, state: &State) -> Vec<ValueId> {
        let graph = &state.model.graph;
        let weights = super::layers::weights(state, &[], None);
        let readers = weights.into_iter().flat_map(|weight| graph.uses(weight));
        let kernels: BTreeSet<_> =
            readers.map(|reader| reader.node).filter(|&node| has_bias(graph.node(node))).collect();
        kernels.into_iter().filter_map(|node| graph.input(node, BIAS)).collect()
    }

    fn run(&self, state: &mut State, _: &Context<'_>) -> Result<Summary, PassError> {
        if state.policy.biases == Biases::Float {
            return Ok(Summary::new(self, format!("`{}` adds them in float", state.policy.name)));
        }
        let types = infer::run(&state.model);
        let (mut quantized, mut left, mut widened) = (0, 0, 0);
        let mut kernels = kernels(state, &types)?;
        if state.policy.everywhere().is_none() {
            kernels.extend(inner_kernels(state));
        }
        let ways = kernels.iter().map(|kernel| kernel.way.clone());
        let ways: BTreeSet<Way> = ways.filter(|way| !way.is_empty()).collect();
        let mut inner_left = Vec::new();
        for kernel in kernels {
            match quantize(&mut state.model.graph, &types, &mut state.plan, &kernel)? {
                Outcome::Quantized { widened: more } => {
                    quantized += 1;
                    widened += more;
                }
                Outcome::Left(why) => {
                    left += 1;
                    let here = inside::label(&state.model.graph, &kernel.way, kernel.node);
                    let what = format!("bias of {here}: {why}");
                    match kernel.way.is_empty() {
                        true => {
                            state.plan.leave_alone(kernel.bias, Reason::new(self.name(), what));
                        }
                        // The plan knows no such value.
                        false => inner_left.push(what),
                    }
                }
            }
        }
        if !ways.is_empty() {
            inside::settle(&mut state.model.graph, &ways);
            state.model.graph.resolve_captures();
        }
        let mut summary = Summary::new(self, format!("{quantized} biases as int32"));
        if left > 0 {
            summary.notes.push(format!("{left} biases stay in float"));
        }
        summary.notes.extend(inner_left);
        if widened > 0 {
            summary.notes.push(format!("{widened} weight scales were widened for their bias"));
        }
        Ok(summary)
    }
}

/// A kernel whose activation and weight are quantized, with a bias.
struct Kernel {
    /// The body it is in, if any.
    way: Way,
    /// The node that adds the bias, and the slot it reads it at.
    node: NodeId,
    slot: usize,
    /// What the kernel reads, or the value on whose grid that lies.
    data: ValueId,
    weight: ValueId,
    /// A value of the body.
    bias: ValueId,
}

enum Outcome {
    Quantized { widened: usize },
    Left(&'static str),
}

fn kernels(state: &State, types: &Types) -> Result<Vec<Kernel>, PassError> {
    let (main, plan) = (&state.model.graph, &state.plan);
    let Some(rules) = state.policy.everywhere() else {
        let units = Units::of(main, types, &state.groups, &[])
            .map_err(|cycle| PassError::Graph { message: cycle.to_string() })?;
        let kernel = |unit: &Unit<'_>| of_node(main, plan, *unit.nodes.first()?, &|_| None);
        return Ok(units.list.iter().filter_map(kernel).collect());
    };
    let flat = Flat::of(main, types, &state.groups, plan)
        .map_err(|error| PassError::Graph { message: error.to_string() })?;
    let (graph, types, plan) = (&*flat.graph, &*flat.types, &flat.enter(plan.clone()));
    let units = Units::of(graph, types, &flat.groups, &rules.groups)
        .map_err(|cycle| PassError::Graph { message: cycle.to_string() })?;
    // Where everything is quantized, what is moved lies on the grid of what was there before.
    let source = |value| Path::back(graph, types, &units, plan, value).map(|path| path.source);
    let kernel = |unit: &Unit<'_>| match unit.group {
        None => of_node(graph, plan, *unit.nodes.first()?, &source),
        Some(_) => of_group(graph, plan, unit, &source),
    };
    let found = units.list.iter().filter_map(kernel).filter_map(|kernel| {
        let (way, node) = flat.place(kernel.node);
        if way.is_empty() {
            return Some(kernel);
        }
        // The body has a value of its own for what it reads.
        let bias = inside::body(main, way)?.input(node, kernel.slot)?;
        Some(Kernel { way: way.to_vec(), node, bias, ..kernel })
    });
    Ok(found.collect())
}

/// `source` is the value on whose grid another one lies, where that has no quantizer of its own.
fn of_node(
    graph: &Graph,
    plan: &Plan,
    node: NodeId,
    source: &dyn Fn(ValueId) -> Option<ValueId>,
) -> Option<Kernel> {
    let input = |slot: usize| graph.input(node, slot);
    let (data, weight, bias) = (input(DATA)?, input(WEIGHT)?, input(BIAS)?);
    let reads = |value: ValueId, slot: usize| {
        let reader = Use { node, slot: Slot::Input(u32::try_from(slot).ok()?) };
        encoded(plan, value).filter(|site| site.readers.contains(&reader))
    };
    let data = match reads(data, DATA) {
        Some(_) => data,
        None => source(data).filter(|&data| encoded(plan, data).is_some())?,
    };
    let quantized = reads(weight, WEIGHT).is_some_and(|site| site.role == Role::Weight);
    let kernel = Kernel { way: Way::new(), node, slot: BIAS, data, weight, bias };
    (kernel::has_bias(graph.node(node)) && quantized).then_some(kernel)
}

/// A product whose bias a node of its own adds.
fn of_group(
    graph: &Graph,
    plan: &Plan,
    unit: &Unit<'_>,
    source: &dyn Fn(ValueId) -> Option<ValueId>,
) -> Option<Kernel> {
    let param = |kind: &str| unit.params.iter().find(|param| param.kind == kind);
    let (weight, bias) = (param("weight")?, param("bias")?);
    let sums = kernel::SUMS.contains(&graph.node(weight.seen_by.0).op_type.as_str());
    let data = source(unit.inputs.first().copied().flatten()?)?;
    let quantized = encoded(plan, data).is_some()
        && encoded(plan, weight.value).is_some_and(|site| site.role == Role::Weight);
    let (node, slot) = bias.seen_by;
    let (weight, bias) = (weight.value, bias.value);
    let kernel = Kernel { way: Way::new(), node, slot, data, weight, bias };
    (sums && quantized).then_some(kernel)
}

/// The kernels in bodies that read a weight, and an activation, in integers.
fn inner_kernels(state: &State) -> Vec<Kernel> {
    let (graph, plan) = (&state.model.graph, &state.plan);
    let stand_ins = plan.stand_ins();
    let kernel = |weight: ValueId, Inside { way, reader }: &Inside| {
        let body = inside::body(graph, way)?;
        let node = reader.node;
        let summed = reader.slot == input_slot(WEIGHT) && kernel::has_bias(body.node(node));
        let bias = body.input(node, BIAS).filter(|_| summed)?;
        let read = inside::origin(graph, way, body.input(node, DATA)?)?;
        let data = if read.0.is_empty() { read.1 } else { *stand_ins.get(&read)? };
        let reader = Inside { way: way.clone(), reader: Use { node, slot: input_slot(DATA) } };
        encoded(plan, data).filter(|site| site.inside.contains(&reader))?;
        Some(Kernel { way: way.clone(), node, slot: BIAS, data, weight, bias })
    };
    let weights = plan.sites().filter(|(_, site)| site.role == Role::Weight);
    let weights = weights.filter(|(value, _)| encoded(plan, *value).is_some());
    weights
        .flat_map(|(weight, site)| site.inside.iter().filter_map(move |one| kernel(weight, one)))
        .collect()
}

fn input_slot(slot: usize) -> Slot {
    Slot::Input(u32::try_from(slot).expect("slots are numbered by 32 bits"))
}

/// A quantizer that is on and has an encoding.
fn encoded(plan: &Plan, value: ValueId) -> Option<&Quantizer> {
    plan.get(value).filter(|site| site.enabled && site.encoding.is_some())
}

fn quantize(
    graph: &mut Graph,
    types: &Types,
    plan: &mut Plan,
    kernel: &Kernel,
) -> Result<Outcome, PassError> {
    let here = inside::body(graph, &kernel.way).expect("kernels are in bodies of the model");
    let types = inside::types(types, &kernel.way).expect("types are inferred at every depth");
    let defined = inside::origin(graph, &kernel.way, kernel.bias);
    let site = defined.filter(|(way, _)| way.is_empty()).and_then(|(_, bias)| plan.get(bias));
    if site.is_some_and(|site| site.enabled && site.role == Role::Weight) {
        return Ok(Outcome::Left("it is quantized as a weight is"));
    }
    if !types.is_constant(kernel.bias) {
        return Ok(Outcome::Left("it is computed"));
    }
    if types.dtype(kernel.bias) != Some(ElementType::Float) {
        // It would have to be one of the model's type, and those of half precision lose it.
        return Ok(Outcome::Left("half precision cannot hold the product of two scales"));
    }
    if !kernel::adds_bias_unscaled(here.node(kernel.node)) {
        return Ok(Outcome::Left("`alpha` or `beta` is not 1"));
    }
    let (Some(activation), Some(weights)) =
        (encoding(plan, kernel.data), encoding(plan, kernel.weight))
    else {
        return Ok(Outcome::Left("its kernel has no encodings"));
    };
    let per_channel = match weights.granularity {
        Granularity::PerTensor => false,
        Granularity::PerChannel(_) => true,
        _ => return Ok(Outcome::Left("its weight has one scale per block")),
    };
    if !(activation.is_per_tensor() && activation.dtype.is_integer() && weights.dtype.is_integer())
    {
        return Ok(Outcome::Left("its activation has no single scale"));
    }
    let (dims, bias) = read(here, types, kernel.bias)?;
    let leading = dims.iter().rev().skip(1).all(|&dim| dim == 1);
    if dims.is_empty() || !leading || (per_channel && bias.len() != weights.cells.len()) {
        return Ok(Outcome::Left("it has not one element per output channel"));
    }
    if bias.iter().any(|b| !b.is_finite()) {
        let what = "the bias holds NaN or infinities".to_owned();
        return Err(PassError::BadEncoding { value: name(here, kernel.bias), what });
    }

    let input_scale = activation.cells[0].scale as f32;
    // A channel whose own bias is that large does not notice: its products are at most 2¹⁵ steps
    // each. Other channels that share the scale would, and so would products of 16 bits.
    let limit = if per_channel && activation.dtype.bits() <= 8 { f64::INFINITY } else { 2.0 };
    let Some((weights, widened)) = widen(weights, &bias, input_scale, limit) else {
        return Ok(Outcome::Left("it does not fit, and a wider scale would cost the weights"));
    };
    let scales: Vec<f32> =
        weights.cells.iter().map(|cell| cell.scale as f32 * input_scale).collect();
    if scales.iter().any(|scale| !scale.is_normal()) {
        return Ok(Outcome::Left("the product of the scales is no normal number"));
    }
    let granularity = match per_channel {
        true => Granularity::PerChannel(dims.len() as i64 - 1),
        false => Granularity::PerTensor,
    };
    let spec = Spec::weight(DType::Int32, granularity);
    let cells: Vec<Cell> = scales.iter().map(|&scale| bias_cell(f64::from(scale))).collect();
    let shape = crate::grid::Grid::new(&dims, granularity)
        .map_err(|source| numeric(here, kernel.bias, source))?
        .shape()
        .to_vec();

    if widened > 0 {
        let site = plan.get_mut(kernel.weight).expect("a kernel's weight is a site");
        if site.frozen || site.reader_count() > 1 {
            return Ok(Outcome::Left("it does not fit, and its weight has other readers"));
        }
        site.because.push(Reason::new("QuantizeBias", format!("{widened} scales widened")));
        site.encoding = Some(weights);
    }
    let site = own(graph, kernel, &dims, &bias);
    let role = Role::Bias { input: kernel.data, weight: kernel.weight };
    let quantizer = plan.place(site, || Quantizer::new(role, spec));
    // A policy may have placed it, and left it off.
    quantizer.role = role;
    quantizer.spec = spec;
    quantizer.enabled = true;
    quantizer.encoding = Some(Encoding::new(&spec, shape, cells));
    quantizer.because.push(Reason::new(
        "QuantizeBias",
        format!(
            "int32 on the grid of the products of {}",
            inside::label(graph, &kernel.way, kernel.node)
        ),
    ));
    let reader = Use { node: kernel.node, slot: input_slot(kernel.slot) };
    match kernel.way.is_empty() {
        true => quantizer.add_reader(reader),
        false => quantizer.add_inside(Inside { way: kernel.way.clone(), reader }),
    }
    Ok(Outcome::Quantized { widened })
}

fn encoding(plan: &Plan, value: ValueId) -> Option<Encoding> {
    plan.get(value)?.encoding.clone()
}

/// Weight scales so large that every bias fits, and how many of them had to grow; nothing where one
/// would have to grow by more than `limit`.
fn widen(
    mut weights: Encoding,
    bias: &[f32],
    input_scale: f32,
    limit: f64,
) -> Option<(Encoding, usize)> {
    let largest = bias.iter().fold(0.0f32, |largest, b| largest.max(b.abs()));
    let mut widened = 0;
    let per_channel = weights.cells.len() > 1;
    for (channel, cell) in weights.cells.iter_mut().enumerate() {
        let bias = if per_channel { bias[channel].abs() } else { largest };
        let least = f64::from(bias / (LARGEST * input_scale));
        if cell.scale < least {
            if !least.is_finite() || least > cell.scale * limit {
                return None;
            }
            cell.scale = least;
            widened += 1;
        }
    }
    Some((weights, widened))
}

/// The bias as a value of the main graph that only this kernel reads: kernels that share a bias have
/// other scales.
fn own(graph: &mut Graph, kernel: &Kernel, dims: &[usize], bias: &[f32]) -> ValueId {
    let here = inside::body(graph, &kernel.way).expect("kernels are in bodies of the model");
    // One that moved to the main graph, and that nobody else reads there.
    let moved = inside::origin(graph, &kernel.way, kernel.bias);
    let moved = moved.filter(|(way, _)| way.is_empty() && !kernel.way.is_empty());
    if let Some((way, bias)) = moved
        && !graph.is_output(bias)
        && inside::readers(graph, &way, bias).is_some_and(|readers| readers.len() == 1)
    {
        return bias;
    }
    let alone = here.use_count(kernel.bias) == 1 && !here.is_output(kernel.bias);
    let name = here.value(kernel.bias).name();
    let fresh = match (alone, kernel.way.is_empty()) {
        (true, true) => return kernel.bias,
        (true, false) if here.initializer(kernel.bias).is_some() => Names::of(graph).lift(name),
        _ => graph.fresh_name(&format!("{name}_of_{}", kernel.node)),
    };
    let tensor = marquetry_ir::Tensor::from_f32s(dims.to_vec(), bias)
        .expect("the content has the shape it was read with");
    let copy = graph.add_initializer(&fresh, tensor).expect("the name is fresh");
    let here = inside::body_mut(graph, &kernel.way).expect("kernels are in bodies of the model");
    match here.find(&fresh) {
        // It was the body's own.
        Some(own) if own == kernel.bias => here.capture(own, &fresh).expect("it keeps its name"),
        _ => {
            let read = if kernel.way.is_empty() { copy } else { here.value_named(&fresh) };
            here.set_input(kernel.node, kernel.slot, Some(read));
        }
    }
    copy
}
