use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;

use marquetry_ir::{Graph, Model, NodeId, ValueId};
use marquetry_pattern::core::Pattern;

use crate::found::{Binding, Bound, Matches, Place, PlaceId, Spelling};

/// An accepted match; printed as `group 3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupId(u32);

impl GroupId {
    /// The position in [`Groups::groups`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "group {}", self.0)
    }
}

/// The matches that were accepted, and what became of the others.
#[derive(Clone, Debug, Default)]
pub struct Groups {
    /// The graphs of the model; a [`PlaceId`] is a position here.
    pub places: Vec<Place>,
    /// The groups by place, then by the topological order of their anchors, outer before inner.
    pub groups: Vec<Group>,
    /// Matches that overlap an accepted one of their family.
    pub superseded: Vec<Superseded>,
}

impl Groups {
    /// The graph of a place in the model that was searched.
    pub fn graph<'m>(&self, model: &'m Model, place: PlaceId) -> &'m Graph {
        crate::found::graph(&self.places, model, place)
    }

    /// The place of a graph, if it was searched.
    pub fn place(&self, place: Place) -> Option<PlaceId> {
        let at = self.places.iter().position(|&known| known == place)?;
        u32::try_from(at).ok().map(PlaceId)
    }

    /// The group with this id.
    pub fn get(&self, id: GroupId) -> &Group {
        &self.groups[id.index()]
    }

    /// The groups of one graph.
    pub fn within(&self, place: PlaceId) -> impl Iterator<Item = &Group> {
        self.groups.iter().filter(move |group| group.place == place)
    }

    /// How many groups each pattern has, nested ones included, sorted by name; patterns without any
    /// are left out.
    pub fn counts(&self) -> Vec<(&str, usize)> {
        let mut names: Vec<&str> = self.groups.iter().map(|group| group.pattern.as_str()).collect();
        names.sort_unstable();
        let runs = names.chunk_by(|a, b| a == b);
        runs.map(|run| (run[0], run.len())).collect()
    }
}

/// An accepted match: what users call a supergroup.
#[derive(Clone, Debug)]
pub struct Group {
    /// The name of the pattern.
    pub pattern: String,
    /// The graph of all the nodes.
    pub place: PlaceId,
    /// The smallest group whose nodes include all of this one's.
    pub parent: Option<GroupId>,
    /// The node that computes the first output.
    pub anchor: NodeId,
    /// The nodes, in topological order.
    pub nodes: Vec<NodeId>,
    /// Variables of the pattern's text: the header's, then the body's.
    pub bindings: Vec<Binding>,
    /// The header's outputs.
    pub outputs: Vec<ValueId>,
    /// Results of the nodes that are neither outputs nor constants.
    pub interior: Vec<ValueId>,
    /// Constants that the nodes read and that are no header inputs.
    pub constants: Vec<ValueId>,
    /// Whether it is the decomposition or the one operator that the pattern stands for.
    pub spelling: Spelling,
    /// The pattern's hints, resolved to values; those whose condition is not known to be true and
    /// those on absent values are gone.
    pub hints: Vec<Hint>,
}

impl Group {
    /// What a variable of the pattern's text is bound to.
    pub fn bound(&self, name: &str) -> Option<&Bound> {
        self.bindings.iter().find(|binding| binding.name == name).map(|binding| &binding.bound)
    }
}

/// A quantization hint, resolved to values. The matcher knows nothing of what it does.
#[derive(Clone, Debug, PartialEq)]
pub enum Hint {
    /// No quantizer.
    Skip(ValueId),
    /// A quantizer, even inside.
    Quantize(ValueId),
    /// One encoding for all.
    Share(Vec<ValueId>),
    /// A symmetric encoding.
    Symmetric(ValueId),
    /// An encoding for each slice along `axis`, which is not negative where the rank is known.
    PerChannel {
        /// The value.
        value: ValueId,
        /// The axis.
        axis: i64,
    },
    /// `bias` is int32 with the product of the scales of `of`, or has no quantizer.
    Bias {
        /// The bias.
        bias: ValueId,
        /// The values whose scales are multiplied.
        of: Vec<ValueId>,
    },
    /// A fixed encoding.
    Range {
        /// The value.
        value: ValueId,
        /// The smallest number.
        low: f64,
        /// The largest number.
        high: f64,
    },
    /// An open tag.
    Tag {
        /// The value.
        value: ValueId,
        /// The key.
        key: String,
        /// The content.
        content: Bound,
    },
}

/// A match that was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Superseded {
    /// The position in [`Matches::matches`].
    pub index: usize,
    /// The accepted group of the same family that it overlaps.
    pub by: GroupId,
}

/// Resolves overlaps: of the matches of one family (`in fam`) that share nodes, the one with the higher
/// priority, then the larger one is accepted; another is accepted only if it contains all that it
/// shares nodes with. Matches of different families may overlap. A group whose nodes are all in
/// another one is nested in it.
///
/// `patterns` are those that were searched for.
pub fn group<'p>(matches: &Matches, patterns: impl IntoIterator<Item = &'p Pattern>) -> Groups {
    let patterns: Vec<&Pattern> = patterns.into_iter().collect();
    let mut order: Vec<usize> = (0..matches.matches.len()).collect();
    order.sort_by(|&a, &b| {
        let key = |at: usize| {
            let found = &matches.matches[at];
            let rank = (Reverse(patterns[found.pattern].priority), Reverse(found.nodes.len()));
            (found.place, rank, found.order, found.pattern)
        };
        key(a)
            .cmp(&key(b))
            .then_with(|| matches.matches[a].choices.cmp(&matches.matches[b].choices))
    });
    let mut accepted: Vec<usize> = Vec::new();
    let mut losers: Vec<(usize, usize)> = Vec::new();
    // By place, node and family: the accepted matches that the node belongs to.
    let mut owners: BTreeMap<(PlaceId, NodeId), Vec<usize>> = BTreeMap::new();
    for at in order {
        let found = &matches.matches[at];
        let family = patterns[found.pattern].family.as_deref();
        let rivals =
            found.nodes.iter().filter_map(|node| owners.get(&(found.place, *node))).flatten();
        let rival = rivals.copied().find(|&rival| {
            let other = &matches.matches[rival];
            let rivals = patterns[other.pattern].family.as_deref() == family;
            rivals
                && !(contains(&found.nodes, &other.nodes) && found.nodes.len() > other.nodes.len())
        });
        match rival {
            Some(rival) => losers.push((at, rival)),
            None => {
                accepted.push(at);
                for &node in &found.nodes {
                    owners.entry((found.place, node)).or_default().push(at);
                }
            }
        }
    }
    accepted.sort_by_key(|&at| {
        let found = &matches.matches[at];
        (found.place, found.order, Reverse(found.nodes.len()), found.pattern)
    });
    let mut id_of = vec![None; matches.matches.len()];
    for (id, &at) in accepted.iter().enumerate() {
        id_of[at] = Some(GroupId(u32::try_from(id).expect("groups are counted in 32 bits")));
    }
    let parent = |at: usize| {
        let found = &matches.matches[at];
        let around = owners.get(&(found.place, *found.nodes.first()?))?.iter().copied();
        let around = around.filter(|&other| {
            let other = &matches.matches[other];
            other.nodes.len() > found.nodes.len() && contains(&other.nodes, &found.nodes)
        });
        around.min_by_key(|&other| (matches.matches[other].nodes.len(), id_of[other]))
    };
    let group = |&at: &usize| {
        let found = &matches.matches[at];
        Group {
            pattern: patterns[found.pattern].name.clone(),
            place: found.place,
            parent: parent(at).and_then(|parent| id_of[parent]),
            anchor: found.anchor,
            nodes: found.nodes.clone(),
            bindings: found.bindings.clone(),
            outputs: found.outputs.clone(),
            interior: found.interior.clone(),
            constants: found.constants.clone(),
            spelling: found.spelling,
            hints: found.hints.clone(),
        }
    };
    let superseded = |(index, by): (usize, usize)| Some(Superseded { index, by: id_of[by]? });
    Groups {
        places: matches.places.clone(),
        groups: accepted.iter().map(group).collect(),
        superseded: losers.into_iter().filter_map(superseded).collect(),
    }
}

/// Whether all of `inner` is in `outer`. Nodes of a match are few.
fn contains(outer: &[NodeId], inner: &[NodeId]) -> bool {
    inner.iter().all(|node| outer.contains(node))
}
