//! Placement in bodies: by the rules of the main graph, with stand-ins there for what a body computes.

use std::collections::{BTreeMap, BTreeSet};

use marquetry_ir::infer::Types;
use marquetry_ir::{DType as ElementType, Graph, NodeId, Slot, Type, ValueId};
use marquetry_matcher::{Groups, Place as GroupPlace, PlaceId};

use super::bodies::Raised;
use super::kernels::Placement;
use super::{Place, apply};
use crate::inside::{self, Inside, Names, Origin, Spot, Way};
use crate::pass::probe::shows;
use crate::pass::{PassError, State};
use crate::plan::{Plan, Quantizer, Role};
use crate::policy::{Kernel, Kernels};
use crate::seal::{Seals, source};

/// What is placed in bodies.
pub(super) struct Inner {
    sites: Vec<Site>,
    /// How many kernels are in bodies that nobody can look into while samples are run.
    pub(super) float: usize,
    /// Sites that share an encoding, with the reason.
    ties: Vec<(Origin, Origin, crate::Reason)>,
}

/// A quantizer of a body's value, or of one that a body reads by name.
struct Site {
    origin: Origin,
    ty: Type,
    quantizer: Quantizer,
}

/// Decides which values in the bodies of these kernels carry a quantizer.
pub(super) fn place(
    place: &Place,
    rules: &Kernels,
    state: &State,
    types: &Types,
    raised: &[Raised],
) -> Result<Inner, PassError> {
    let main = &state.model.graph;
    let float = raised.iter().filter(|one| !shows(main, &one.way)).count();
    let mut inner = Inner { sites: Vec::new(), float, ties: Vec::new() };
    let ways: BTreeSet<&Way> = raised.iter().map(|one| &one.way).collect();
    for way in ways.into_iter().filter(|way| shows(main, way)) {
        let (Some(graph), Some(types)) = (inside::body(main, way), inside::types(types, way))
        else {
            continue;
        };
        let at = group_place(&state.groups, way);
        let seals =
            at.map_or_else(|| Seals::none(graph), |at| Seals::within(&state.groups, at, graph));
        let mut kernels: Vec<Option<&Kernel>> = vec![None; graph.node_bound()];
        let own: Vec<&Raised> = raised.iter().filter(|one| one.way == *way).collect();
        for one in &own {
            let known = |kernel: &&Kernel| graph.node(one.node).is_onnx(&kernel.op);
            kernels[one.node.index()] = rules.kernels.iter().find(known);
        }
        let here = own.first().map(|one| one.here.as_str());
        let (name, seals, plan) = (state.policy.name.as_str(), &seals, Plan::default());
        let mut placement = Placement { place, name, rules, graph, types, here, seals, plan };
        placement.quantize(&kernels)?;
        let mut plan = placement.plan;
        for group in at.into_iter().flat_map(|at| state.groups.within(at)) {
            group.hints.iter().for_each(|hint| apply(hint, &source(group), &mut plan));
        }
        inner.take(main, &state.groups, way, types, &plan);
    }
    Ok(inner)
}

impl Inner {
    /// Takes over what was decided in one body.
    fn take(&mut self, main: &Graph, groups: &Groups, way: &Way, types: &Types, plan: &Plan) {
        let origin = |value: ValueId| -> Option<Origin> {
            let (at, value) = inside::origin(main, way, value)?;
            let around = inside::body(main, &at)?;
            let closed = group_place(groups, &at).is_some_and(|place| {
                Seals::within(groups, place, around).closed.contains_key(&value)
            });
            (at == *way || !closed).then_some((at, value))
        };
        let mut tied: BTreeMap<_, Origin> = BTreeMap::new();
        let sites = plan.enabled().filter(|(_, site)| site.role == Role::Activation);
        for (value, site) in sites {
            let Some(origin) = origin(value) else { continue };
            let ty = types.ty(value).cloned();
            let ty = ty.unwrap_or_else(|| Type::tensor(ElementType::Float, []));
            let mut quantizer = Quantizer { readers: Vec::new(), tied: None, ..site.clone() };
            for &reader in site.readers.iter().filter(|one| one.slot != Slot::Capture) {
                quantizer.add_inside(Inside { way: way.clone(), reader });
            }
            if let Some(tie) = site.tied {
                match tied.get(&tie) {
                    None => _ = tied.insert(tie, origin.clone()),
                    Some(first) => {
                        let reason = site.because.last().cloned();
                        let reason = reason.expect("what is tied says why");
                        self.ties.push((first.clone(), origin.clone(), reason));
                    }
                }
            }
            self.sites.push(Site { origin, ty, quantizer });
        }
    }

    /// Puts it into the plan; values of bodies get stand-ins in the graph.
    pub(super) fn put(self, graph: &mut Graph, plan: &mut Plan) {
        let mut names = Names::of(graph);
        // A model may be placed twice.
        let mut known = plan.stand_ins();
        for Site { origin, ty, quantizer } in self.sites {
            let (way, value) = &origin;
            let site = match known.get(&origin) {
                Some(&site) => site,
                None if way.is_empty() => *value,
                None => {
                    let base = inside::body(graph, way).map(|body| body.value(*value).name());
                    let name = names.lift(base.unwrap_or_default());
                    let site = graph.add_value(&name, Some(ty)).expect("the name is fresh");
                    plan.stand_in(site, Spot { way: way.clone(), value: *value });
                    site
                }
            };
            known.insert(origin, site);
            let Quantizer { inside, because, .. } = quantizer.clone();
            let before = plan.get(site).is_some();
            let entry = plan.place(site, || Quantizer { inside: Vec::new(), ..quantizer });
            inside.into_iter().for_each(|reader| entry.add_inside(reader));
            if before {
                entry.because.extend(because);
            }
        }
        for (a, b, reason) in self.ties {
            plan.tie(known[&a], known[&b], &reason);
        }
    }
}

/// Where the groups of a body are.
fn group_place(groups: &Groups, way: &[(NodeId, usize)]) -> Option<PlaceId> {
    way.iter().try_fold(PlaceId::MAIN, |parent, &(node, body)| {
        groups.place(GroupPlace::Body { parent, node, body })
    })
}
