//! What kernels of a target insist on, whatever the rules say: norms and products of activations.

use marquetry_ir::Graph;
use marquetry_ir::infer::Types;

use crate::DType;
use crate::effective::Path;
use crate::kernel::{DATA, WEIGHT};
use crate::plan::{Plan, Reason};
use crate::policy::Everywhere;
use crate::units::{Unit, Units};

/// Norms whose weight is 8 bits around any zero, or more around zero in the middle.
const WIDE_IS_SYMMETRIC: &[&str] = &["BatchNormalization", "LayerNormalization"];

/// Norms whose parameters are as their result.
const AS_RESULT: &[&str] = &["GroupNormalization", "InstanceNormalization", "RMSNormalization"];

/// Operators that have kernels for weights that are computed.
const PRODUCTS: &[&str] = &["Conv", "Gemm", "MatMul"];

/// No kernel of a norm takes a narrower parameter.
const NARROWEST_NORM: u32 = 8;

/// Lets what kernels insist on take effect.
pub(super) fn exceptions(
    rules: &Everywhere,
    source: &str,
    graph: &Graph,
    types: &Types,
    units: &Units<'_>,
    plan: &mut Plan,
) {
    let generation = rules.hardware.as_deref().and_then(generation);
    let old = generation.is_some_and(|generation| (66..=69).contains(&generation));
    for unit in &units.list {
        let reason =
            |what: String| Reason::new(source, format!("operator {}: {what}", unit.operator));
        if WIDE_IS_SYMMETRIC.contains(&unit.operator) {
            for param in &unit.params {
                let site = plan.get_mut(param.value);
                let Some(site) = site.filter(|site| site.enabled && site.spec.dtype.is_integer())
                else {
                    continue;
                };
                let bits =
                    if old { NARROWEST_NORM } else { site.spec.dtype.bits().max(NARROWEST_NORM) };
                site.spec.dtype = with_bits(site.spec.dtype, bits);
                site.spec.symmetric = bits >= 16;
                site.because.push(reason(format!("its {} is {}", param.kind, site.spec)));
            }
        }
        if AS_RESULT.contains(&unit.operator) {
            let result = unit.outputs.first().and_then(|&value| plan.get(value));
            let Some(result) = result.map(|site| site.spec) else { continue };
            for param in &unit.params {
                let Some(site) = plan.get_mut(param.value).filter(|site| site.enabled) else {
                    continue;
                };
                let bits = result.dtype.bits().max(NARROWEST_NORM);
                site.spec.dtype = with_bits(site.spec.dtype, bits);
                site.spec.symmetric = result.symmetric;
                site.because.push(reason(format!("its {} is {}", param.kind, site.spec)));
            }
        }
        if PRODUCTS.contains(&unit.operator) && unit.group.is_none() {
            computed_weight(rules, (graph, types, units), unit, (generation, old), plan, &reason);
        }
    }
}

/// The second side of a product that is computed is quantized as a weight would be.
fn computed_weight(
    rules: &Everywhere,
    (graph, types, units): (&Graph, &Types, &Units<'_>),
    unit: &Unit<'_>,
    (generation, old): (Option<u32>, bool),
    plan: &mut Plan,
    reason: &dyn Fn(String) -> Reason,
) {
    let input = |slot: usize| unit.inputs.get(slot).copied().flatten();
    let path = |plan: &Plan, slot| {
        let value = input(slot)?;
        Path::back(graph, types, units, plan, value).map(|path| path.source)
    };
    let Some(second) = path(plan, WEIGHT) else { return };
    let first = path(plan, DATA);
    let symmetric = rules.param(unit.operator, "weight").symmetric.unwrap_or(false);
    let product = unit.operator == "MatMul" && generation.is_some();
    let Some(site) = plan.get_mut(second) else { return };
    site.spec.symmetric |= symmetric;
    if product && old {
        site.spec.dtype = with_bits(site.spec.dtype, 8);
        site.spec.symmetric = true;
    }
    let wide = product && !old && site.spec.dtype.is_integer() && site.spec.dtype.bits() == 16;
    site.spec.symmetric |= wide;
    site.because.push(reason(format!("what it multiplies with is {}", site.spec)));
    if let Some(site) = first.filter(|_| wide).and_then(|first| plan.get_mut(first)) {
        site.spec.dtype = with_bits(site.spec.dtype, 16);
        site.because.push(reason("both sides have 16 bits".to_owned()));
    }
}

/// `V73` is 73.
fn generation(hardware: &str) -> Option<u32> {
    hardware.trim_start_matches(['V', 'v']).parse().ok()
}

/// The integer type of another width; floats stay.
fn with_bits(dtype: DType, bits: u32) -> DType {
    let sign = if dtype.is_signed() { "" } else { "u" };
    let wanted = dtype.is_integer().then(|| DType::parse(&format!("{sign}int{bits}"))).flatten();
    wanted.unwrap_or(dtype)
}
