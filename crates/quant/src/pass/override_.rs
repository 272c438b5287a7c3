//! Override: the last word about selected sites.

use marquetry_ir::{Graph, Slot, ValueId};
use serde::{Deserialize, Serialize};

use super::parameter::{self, dtype};
use super::weights::name;
use super::{Context, Fact, Pass, PassError, State, Summary, WeightGranularity};
use crate::kernel::{self, SUMS, WEIGHT};
use crate::plan::{Quantizer, Reason, Role};
use crate::select::Selector;
use crate::{DType, FixedRange, Granularity, Policy};

/// Changes what selected sites are asked to be, whatever policy and groups said.
///
/// It stands behind `Place` and before anything is calibrated. Sites that are tied to a selected one
/// change with it, because they share its encoding.
/// In RON: `Override(select: "group:Attention and role:activation", with: (dtype: UInt16))`,
/// `Override(select: "name:/head/*", with: (quantized: false))`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Override {
    /// Which sites.
    pub select: Selector,
    /// What is said of them.
    pub with: Change,
}

/// What is said of sites; what is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Spec", default, deny_unknown_fields)]
pub struct Change {
    /// Whether they are quantized.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantized: Option<bool>,
    /// The stored type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dtype: Option<DType>,
    /// Whether zero is in the middle of the grid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub symmetric: Option<bool>,
    /// With `symmetric`: whether one step is given up so that both sides have as many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strict: Option<bool>,
    /// With `symmetric`: whether what has no negative value uses all steps above zero.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unsigned: Option<bool>,
    /// How many elements share one scale; of weights only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub granularity: Option<WeightGranularity>,
    /// The range, or one end of it, whatever is observed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<FixedRange>,
}

impl Pass for Override {
    fn name(&self) -> &str {
        "Override"
    }

    fn requires(&self) -> &[Fact] {
        &[Fact::Sites]
    }

    fn provides(&self) -> &[Fact] {
        &[]
    }

    fn precedes(&self) -> &[Fact] {
        &[Fact::Encodings, Fact::Weights]
    }

    fn check(&self, policy: &Policy) -> Result<(), PassError> {
        let Change { dtype: asked, range, .. } = self.with;
        if let Some(asked) = asked {
            // Which of the two a site is, only the model tells.
            let either = [&*policy.activations, &*policy.weights].concat();
            dtype(&policy.name, "kernel", asked, &either)?;
        }
        if let Some(asked) = self.with.granularity {
            parameter::granularity("Override", "with.granularity", asked, None, None)?;
        }
        match range.filter(|range| !range.is_sound()) {
            Some(range) => Err(PassError::Parameter {
                pass: "Override",
                parameter: "with.range",
                value: range.to_string(),
                allowed: "two different, finite ends, the smaller one as `min`",
            }),
            None => Ok(()),
        }
    }

    fn touches(&self, state: &State) -> Vec<ValueId> {
        self.sites(state).unwrap_or_default()
    }

    fn select(&self) -> Option<&Selector> {
        Some(&self.select)
    }

    fn run(&self, state: &mut State, _: &Context<'_>) -> Result<Summary, PassError> {
        let sites = self.sites(state)?;
        let reason = Reason::new(self.name(), format!("`{}`: {}", self.select, self.with.told()));
        let graph = &state.model.graph;
        for &value in &sites {
            let Some(site) = state.plan.get_mut(value) else { continue };
            if site.encoding.is_some() {
                return Err(PassError::TooLate {
                    pass: self.name().to_owned(),
                    value: name(graph, value),
                });
            }
            let allowed = match site.role {
                Role::Weight => &state.policy.weights,
                _ => &state.policy.activations,
            };
            if let Some(asked) = self.with.dtype {
                let kind = if site.role == Role::Weight { "weights" } else { "activations" };
                dtype(&state.policy.name, kind, asked, allowed)?;
            }
            self.with.apply(graph, value, site)?;
            site.because.push(reason.clone());
        }
        let done = format!("{} of {} sites", sites.len(), state.plan.sites().count());
        Ok(Summary::new(self, format!("{done}: {}", self.with.told())))
    }
}

impl Override {
    /// The sites that are selected, and those that are tied to them.
    fn sites(&self, state: &State) -> Result<Vec<ValueId>, PassError> {
        let selection = self.select.of(state).map_err(PassError::Select)?;
        let selected = selection.sites().map_err(PassError::Select)?;
        let mut sites: Vec<ValueId> =
            selected.into_iter().flat_map(|value| state.plan.tied_to(value)).collect();
        sites.sort_unstable();
        sites.dedup();
        Ok(sites)
    }
}

impl Change {
    /// The change in words.
    fn told(&self) -> String {
        let mut parts = Vec::new();
        let word = |yes: bool, a: &str, b: &str| if yes { a.to_owned() } else { b.to_owned() };
        parts.extend(self.quantized.map(|yes| word(yes, "quantized", "in float")));
        parts.extend(self.dtype.map(|dtype| dtype.to_string()));
        parts.extend(self.symmetric.map(|yes| word(yes, "symmetric", "asymmetric")));
        parts.extend(self.strict.map(|yes| word(yes, "strict", "not strict")));
        parts.extend(self.unsigned.map(|yes| word(yes, "unsigned", "not unsigned")));
        parts.extend(self.granularity.map(|granularity| granularity.to_string()));
        parts.extend(self.range.map(|range| format!("range {range}")));
        if parts.is_empty() { "nothing changes".to_owned() } else { parts.join(", ") }
    }

    fn apply(&self, graph: &Graph, value: ValueId, site: &mut Quantizer) -> Result<(), PassError> {
        site.enabled = self.quantized.unwrap_or(site.enabled);
        let spec = &mut site.spec;
        spec.dtype = self.dtype.unwrap_or(spec.dtype);
        spec.symmetric = self.symmetric.unwrap_or(spec.symmetric);
        spec.strict = self.strict.unwrap_or(spec.strict);
        spec.unsigned = self.unsigned.unwrap_or(spec.unsigned);
        site.fixed_range = self.range.or(site.fixed_range);
        if let Some(wish) = self.granularity {
            let refused = |what| PassError::Granularity {
                granularity: wish.to_string(),
                dtype: site.spec.dtype,
                what,
            };
            site.spec.granularity = granularity(graph, value, site, wish).map_err(refused)?;
        }
        Ok(())
    }
}

/// What a wish means for a weight, along the axes of its kernel.
fn granularity(
    graph: &Graph,
    value: ValueId,
    site: &Quantizer,
    wish: WeightGranularity,
) -> Result<Granularity, &'static str> {
    if site.role != Role::Weight {
        return Err("only weights have channels and blocks");
    }
    if wish == WeightGranularity::PerTensor {
        return Ok(Granularity::PerTensor);
    }
    let reader = graph.uses(value).into_iter().find(|reader| {
        let op = graph.node(reader.node);
        matches!(reader.slot, Slot::Input(slot) if slot as usize == WEIGHT)
            && SUMS.iter().any(|known| op.is_onnx(known))
    });
    let node = reader.map(|reader| graph.node(reader.node));
    let node = node.ok_or("no kernel reads the weight as it is")?;
    let rank = graph.value(value).constant.as_ref().map_or(2, |tensor| tensor.dims().len());
    let channels = kernel::per_channel(node, rank)?;
    let Granularity::PerChannel(channel) = channels else { return Ok(channels) };
    let axis = kernel::block_axis(node, channel);
    Ok(match wish {
        WeightGranularity::PerBlock(size) => Granularity::PerBlock { axis, size, channel },
        WeightGranularity::Lpbq(size) => {
            let bits = site.spec.dtype.bits();
            if !site.spec.symmetric || !matches!(site.spec.dtype, DType::Int4 | DType::Int2) {
                return Err("their scales are made for few bits around zero");
            }
            Granularity::Lpbq { axis, size, channel, compressed: bits, decompressed: 2 * bits }
        }
        _ => channels,
    })
}
