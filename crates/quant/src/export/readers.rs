//! Readers of what is quantized, in the main graph and in bodies.

use std::collections::BTreeSet;

use marquetry_ir::{Graph, Slot, Use, ValueId};

use super::qdq::Lowering;
use crate::inside::{self, Inside, Way};
use crate::kernel::DATA;
use crate::pass::PassError;
use crate::plan::{Quantizer, Role};

impl Lowering<'_> {
    /// Changes the body that things are added to.
    pub(super) fn within<T>(&mut self, change: impl FnOnce(&mut Graph) -> T) -> T {
        let way = self.way.clone();
        let body = inside::body_mut(self.graph(), &way);
        change(body.expect("the plan speaks about bodies that the model has"))
    }

    /// Lets graphs around bodies know what these read now.
    pub(super) fn settle_bodies(&mut self) {
        let sites = || self.plan.enabled().map(|(_, site)| site);
        let readers = sites().flat_map(|site| site.inside.iter().map(|one| one.way.clone()));
        let ways: BTreeSet<Way> =
            readers.chain(self.plan.spots().values().map(|spot| spot.way.clone())).collect();
        if !ways.is_empty() {
            inside::settle(self.graph(), &ways);
            self.graph().resolve_captures();
        }
    }

    /// Lets each reader of a site read what `back` adds next to it, given the values that `stored` are
    /// there.
    pub(super) fn each_reader(
        &mut self,
        value: ValueId,
        stored: &[ValueId],
        site: &Quantizer,
        back: impl Fn(&mut Self, &[ValueId]) -> Result<ValueId, PassError>,
    ) -> Result<(), PassError> {
        let here = self.way.clone();
        let names = self.within(|graph| {
            stored.iter().map(|&one| graph.value(one).name().to_owned()).collect::<Vec<String>>()
        });
        let float = match self.plan.spot(value) {
            Some(spot) => self.within(|graph| graph.value(spot.value).name().to_owned()),
            None => self.name(value),
        };
        // What comes back beside the stored value, for readers in bodies.
        let mut shared: Option<String> = None;
        for reader in &site.readers {
            let inside: Vec<&Inside> = match reader.slot {
                Slot::Capture => {
                    let held = |one: &&Inside| one.holder() == Some(reader.node);
                    site.inside.iter().filter(held).collect()
                }
                _ => Vec::new(),
            };
            if inside.is_empty() {
                let new = back(self, stored)?;
                self.redirect(value, *reader, new);
            }
            for one in inside {
                self.way.clone_from(&one.way);
                if !self.within(|graph| reads(graph, one.reader, &float)) {
                    self.notes.push(format!(
                        "`{float}` stays in float for a reader in a body that another opset writes \
                         in another way"
                    ));
                    continue;
                }
                // ONNX Runtime 1.32 makes an operator of its own of a constant that meets an activation in
                // float, and does not find that constant outside the body; and it comes back once.
                if site.role != Role::Activation && !self.reads_integers(one) {
                    self.way.clone_from(&here);
                    let name = match shared.take() {
                        Some(name) => name,
                        None => {
                            let back = back(self, stored)?;
                            self.name(back)
                        }
                    };
                    self.way.clone_from(&one.way);
                    self.within(|graph| {
                        let back = graph.value_named(&name);
                        if let Slot::Input(slot) = one.reader.slot {
                            graph.set_input(one.reader.node, slot as usize, Some(back));
                        }
                    });
                    shared = Some(name);
                    continue;
                }
                let known = match one.way == here {
                    true => stored.to_vec(),
                    false => self.within(|graph| captured(graph, &names)),
                };
                let new = back(self, &known)?;
                self.within(|graph| {
                    if let Slot::Input(slot) = one.reader.slot {
                        graph.set_input(one.reader.node, slot as usize, Some(new));
                    }
                });
            }
            self.way.clone_from(&here);
        }
        Ok(())
    }

    /// Whether a node in a body reads an activation in integers.
    fn reads_integers(&self, of: &Inside) -> bool {
        let data = Use { node: of.reader.node, slot: Slot::Input(DATA as u32) };
        let data = Inside { way: of.way.clone(), reader: data };
        self.inside_integers.contains(&data)
    }

    /// Lets one reader of `old` read `new`.
    fn redirect(&mut self, old: ValueId, reader: Use, new: ValueId) {
        match reader.slot {
            Slot::Input(slot) => self.graph().set_input(reader.node, slot as usize, Some(new)),
            Slot::Capture => self.graph().replace_captured(reader.node, old, new),
            Slot::Output(_) => unreachable!("a use is a reading edge"),
        }
    }
}

/// Whether a reader is still there.
fn reads(graph: &Graph, reader: Use, name: &str) -> bool {
    let Slot::Input(slot) = reader.slot else { return false };
    let read = || graph.input(reader.node, slot as usize);
    graph.has_node(reader.node) && read().is_some_and(|read| graph.value(read).name() == name)
}

/// Values of graphs around this one, by name.
fn captured(graph: &mut Graph, names: &[String]) -> Vec<ValueId> {
    names.iter().map(|name| graph.value_named(name)).collect()
}
