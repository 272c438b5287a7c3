//! The plan: which values carry a quantizer, what it is, and why.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use marquetry_ir::{Graph, Slot, Use, ValueId};
use serde::{Deserialize, Serialize};

use crate::inside::{self, Inside, Origin, Spot};
use crate::{Encoding, FixedRange, Spec};

/// A line of the story of a site: who decided, and what.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Reason {
    /// The policy, group, option or pass that decided.
    pub source: String,
    /// What it decided.
    pub what: String,
}

impl Reason {
    /// A reason of `source`.
    pub fn new(source: impl Into<String>, what: impl Into<String>) -> Reason {
        Reason { source: source.into(), what: what.into() }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.what, self.source)
    }
}

/// Sites that share one encoding have the same tie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct TieId(u32);

/// What the value of a site is to its readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It flows: its range is observed.
    Activation,
    /// It is a constant that a kernel multiplies with.
    Weight,
    /// It is a constant that a kernel adds to its products: int32 with the product of two scales.
    Bias {
        /// The activation of the kernel.
        input: ValueId,
        /// The weight of the kernel.
        weight: ValueId,
    },
}

/// What stands at a site.
#[derive(Clone, Debug)]
pub struct Quantizer {
    /// What the value is to its readers.
    pub role: Role,
    /// What it is asked to be.
    pub spec: Spec,
    /// The readers that get the quantized value, sorted; the others keep the float.
    pub readers: Vec<Use>,
    /// Readers in bodies; each holder of such a body is in `readers` too, as one that captures.
    pub inside: Vec<Inside>,
    /// Whether the value is an output of the graph that callers get quantized and back.
    pub output: bool,
    /// What it became.
    pub encoding: Option<Encoding>,
    /// A range that is known without looking, or one end of it, instead of statistics.
    pub fixed_range: Option<FixedRange>,
    /// Whether later passes must leave the encoding alone.
    pub frozen: bool,
    /// Whether it is exported.
    pub enabled: bool,
    /// The sites that have the same encoding.
    pub tied: Option<TieId>,
    /// Every decision about it, in order.
    pub because: Vec<Reason>,
}

impl Quantizer {
    /// An enabled quantizer without an encoding.
    pub fn new(role: Role, spec: Spec) -> Quantizer {
        Quantizer {
            role,
            spec,
            readers: Vec::new(),
            inside: Vec::new(),
            output: false,
            encoding: None,
            fixed_range: None,
            frozen: false,
            enabled: true,
            tied: None,
            because: Vec::new(),
        }
    }

    /// Adds a reader, once.
    pub fn add_reader(&mut self, reader: Use) {
        if let Err(at) = self.readers.binary_search(&reader) {
            self.readers.insert(at, reader);
        }
    }

    /// Adds a reader in a body, once.
    pub fn add_inside(&mut self, reader: Inside) {
        if let Some(node) = reader.holder() {
            self.add_reader(Use { node, slot: Slot::Capture });
        }
        if let Err(at) = self.inside.binary_search(&reader) {
            self.inside.insert(at, reader);
        }
    }

    /// How many nodes read it, at any depth.
    pub fn reader_count(&self) -> usize {
        let holds = |reader: &&Use| {
            let inside = || self.inside.iter().any(|one| one.holder() == Some(reader.node));
            reader.slot == Slot::Capture && inside()
        };
        self.readers.iter().filter(|reader| !holds(reader)).count() + self.inside.len()
    }

    /// Takes it out of the export and says why.
    pub fn disable(&mut self, reason: Reason) {
        self.enabled = false;
        self.because.push(reason);
    }
}

/// Quantizers by site, and what was decided about values that have none.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    sites: BTreeMap<ValueId, Quantizer>,
    left_alone: BTreeMap<ValueId, Vec<Reason>>,
    spots: BTreeMap<ValueId, Spot>,
    /// Constants that moved out of bodies and have another name now.
    renamed: BTreeSet<ValueId>,
    ties: u32,
}

impl Plan {
    /// The quantizer of a value.
    pub fn get(&self, site: ValueId) -> Option<&Quantizer> {
        self.sites.get(&site)
    }

    /// The quantizer of a value, to change it.
    pub fn get_mut(&mut self, site: ValueId) -> Option<&mut Quantizer> {
        self.sites.get_mut(&site)
    }

    /// All sites in order of their values.
    pub fn sites(&self) -> impl Iterator<Item = (ValueId, &Quantizer)> {
        self.sites.iter().map(|(&site, quantizer)| (site, quantizer))
    }

    /// Sites with a quantizer that is on.
    pub fn enabled(&self) -> impl Iterator<Item = (ValueId, &Quantizer)> {
        self.sites().filter(|(_, quantizer)| quantizer.enabled)
    }

    /// All sites, to change them.
    pub fn sites_mut(&mut self) -> impl Iterator<Item = (ValueId, &mut Quantizer)> {
        self.sites.iter_mut().map(|(&site, quantizer)| (site, quantizer))
    }

    /// The quantizer of a value, put there if there is none.
    pub fn place(
        &mut self,
        site: ValueId,
        quantizer: impl FnOnce() -> Quantizer,
    ) -> &mut Quantizer {
        self.sites.entry(site).or_insert_with(quantizer)
    }

    /// Lets a value of the main graph that nobody computes stand for one in a body.
    pub fn stand_in(&mut self, value: ValueId, spot: Spot) {
        self.spots.insert(value, spot);
    }

    /// Where the value is that another one stands for.
    pub fn spot(&self, value: ValueId) -> Option<&Spot> {
        self.spots.get(&value)
    }

    /// The values that stand for others in bodies.
    pub fn spots(&self) -> &BTreeMap<ValueId, Spot> {
        &self.spots
    }

    /// Notes that a constant that moved out of a body has another name there.
    pub(crate) fn rename(&mut self, value: ValueId) {
        self.renamed.insert(value);
    }

    /// Whether a value is called as in the model before anything was placed.
    pub(crate) fn has_own_name(&self, graph: &Graph, value: ValueId) -> bool {
        match self.spots.get(&value) {
            Some(spot) => inside::body(graph, &spot.way).is_some_and(|body| {
                body.has_value(spot.value)
                    && body.value(spot.value).name() == graph.value(value).name()
            }),
            None => !self.renamed.contains(&value),
        }
    }

    /// The value of the main graph that has the quantizer of one that is defined at the end of a way.
    pub(crate) fn stand_ins(&self) -> BTreeMap<Origin, ValueId> {
        let spots = self.spots.iter();
        spots.map(|(&site, spot)| ((spot.way.clone(), spot.value), site)).collect()
    }

    /// Drops values that nobody reads, but those that stand for others.
    pub(crate) fn drop_unused(&self, graph: &mut Graph) {
        // Inputs stay.
        let inputs = graph.inputs.len();
        graph.inputs.extend(self.spots.keys());
        graph.drop_unused();
        graph.inputs.truncate(inputs);
    }

    /// Forgets what was decided about values that `keep` does not want.
    pub(crate) fn retain(&mut self, keep: impl Fn(ValueId) -> bool) {
        self.sites.retain(|&value, _| keep(value));
        self.left_alone.retain(|&value, _| keep(value));
    }

    /// Notes why a value has no quantizer.
    pub fn leave_alone(&mut self, value: ValueId, reason: Reason) {
        let reasons = self.left_alone.entry(value).or_default();
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }

    /// Whether a pass said something of a value that it did not quantize.
    pub(crate) fn was_noted_by(&self, source: &str) -> bool {
        self.left_alone.values().flatten().any(|reason| reason.source == source)
    }

    /// Values without a quantizer about which something was decided.
    pub fn left_alone(&self) -> impl Iterator<Item = (ValueId, &[Reason])> {
        let bare = self.left_alone.iter().filter(|(value, _)| !self.sites.contains_key(value));
        bare.map(|(&value, reasons)| (value, reasons.as_slice()))
    }

    /// What was decided about a value, with or without a quantizer.
    pub fn explain(&self, value: ValueId) -> Vec<&Reason> {
        let alone = self.left_alone.get(&value).into_iter().flatten();
        alone.chain(self.sites.get(&value).into_iter().flat_map(|site| &site.because)).collect()
    }

    /// Gives two sites one encoding, and with them all sites that either was tied to.
    pub fn tie(&mut self, a: ValueId, b: ValueId, reason: &Reason) {
        let tie_of = |plan: &Plan, site| plan.sites.get(&site).and_then(|site| site.tied);
        let tie = match (tie_of(self, a), tie_of(self, b)) {
            (Some(a), Some(b)) if a == b => return,
            (Some(tie), Some(other)) => {
                let tied = self.sites.values_mut().filter(|site| site.tied == Some(other));
                tied.for_each(|site| site.tied = Some(tie));
                tie
            }
            (Some(tie), None) | (None, Some(tie)) => tie,
            (None, None) => {
                self.ties += 1;
                TieId(self.ties - 1)
            }
        };
        for site in [a, b] {
            if let Some(quantizer) = self.sites.get_mut(&site) {
                quantizer.tied = Some(tie);
                quantizer.because.push(reason.clone());
            }
        }
    }

    /// The sites that have the encoding of `site`, itself included, in order.
    pub fn tied_to(&self, site: ValueId) -> Vec<ValueId> {
        match self.sites.get(&site).and_then(|quantizer| quantizer.tied) {
            None => vec![site],
            Some(tie) => {
                let tied = self.sites.iter().filter(|(_, other)| other.tied == Some(tie));
                tied.map(|(&site, _)| site).collect()
            }
        }
    }
}
