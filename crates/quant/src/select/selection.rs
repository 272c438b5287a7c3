//! What a selector selects in a model whose sites are known.

use std::collections::BTreeSet;

use marquetry_ir::{Graph, NodeId, ValueId};
use marquetry_matcher::{Bound, Hint, PlaceId};

use super::{Glob, Leaf, Node, RoleName, Selector, Tag, Term};
use crate::pass::State;
use crate::plan::Role;
use crate::suggest;

/// Names that are near at most.
const TOLD: usize = 8;

/// Why a selector cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SelectError {
    /// Nothing is selected.
    #[error("`{}` selects nothing{}", suggest::shown(select), part(select, term))]
    Nothing {
        /// The selector.
        select: String,
        /// The first term that selects nothing alone, if one does.
        term: Option<String>,
        /// What to do about it.
        hint: String,
    },
    /// The end of a path that is not there.
    #[error(
        "`{}` begins or ends at `{}`, and no node and no value has this name",
        suggest::shown(term),
        suggest::shown(name)
    )]
    NoEnd {
        /// The term.
        term: String,
        /// The name.
        name: String,
        /// What to do about it.
        hint: String,
    },
    /// A node that is to be left out, and that is not there.
    #[error("`{}` is to be left out, and there is no such node", suggest::shown(name))]
    NoNode {
        /// The name.
        name: String,
        /// The number of the name in the list, from 0.
        at: usize,
        /// What to do about it.
        hint: String,
    },
}

/// Refuses a list of nodes to leave out that names one that is not there.
///
/// # Errors
///
/// `NoNode` for the first that is not.
pub(crate) fn known_nodes(graph: &Graph, names: &[String]) -> Result<(), SelectError> {
    if names.is_empty() {
        return Ok(());
    }
    let mut known: BTreeSet<&str> = BTreeSet::new();
    let mut graphs = vec![graph];
    // Layers may be in bodies, too.
    while let Some(graph) = graphs.pop() {
        for node in graph.nodes().map(|node| graph.node(node)) {
            known.extend(Some(node.name.as_str()).filter(|name| !name.is_empty()));
            graphs.extend(node.bodies());
        }
    }
    let Some(at) = names.iter().position(|name| !known.contains(name.as_str())) else {
        return Ok(());
    };
    let hint = match known.is_empty() {
        true => "no node of the model has a name".to_owned(),
        false => suggest::hint_names(&names[at], &known.into_iter().collect::<Vec<_>>(), TOLD),
    };
    Err(SelectError::NoNode { name: names[at].clone(), at, hint })
}

fn part(select: &str, term: &Option<String>) -> String {
    match term {
        Some(term) if term != select => {
            format!(": there is nothing with `{}`", suggest::shown(term))
        }
        _ => String::new(),
    }
}

impl SelectError {
    /// The stable name of the error.
    pub fn code(&self) -> &'static str {
        match self {
            SelectError::Nothing { .. } => "selects_nothing",
            SelectError::NoEnd { .. } => "unknown_path_end",
            SelectError::NoNode { .. } => "unknown_node",
        }
    }

    /// One sentence that can be acted upon.
    pub fn hint(&self) -> &str {
        match self {
            SelectError::Nothing { hint, .. }
            | SelectError::NoEnd { hint, .. }
            | SelectError::NoNode { hint, .. } => hint,
        }
    }
}

/// A selector in a model.
#[derive(Debug)]
pub struct Selection<'a> {
    selector: &'a Selector,
    state: &'a State,
    /// By term: the nodes it selects, where that is known beforehand.
    nodes: Vec<Option<BTreeSet<NodeId>>>,
    /// The values that have tags.
    tags: Vec<Tagged<'a>>,
}

/// A tag of a value.
#[derive(Debug)]
struct Tagged<'a> {
    value: ValueId,
    key: &'a str,
    content: String,
}

impl Selector {
    /// The selector in a model, whose sites are known by now.
    ///
    /// # Errors
    ///
    /// `NoEnd` for a path of which an end is not there.
    pub fn of<'a>(&'a self, state: &'a State) -> Result<Selection<'a>, SelectError> {
        let nodes = self.leaves().into_iter().map(|leaf| nodes(leaf, state));
        let nodes = nodes.collect::<Result<Vec<_>, _>>()?;
        Ok(Selection { selector: self, state, nodes, tags: tags(state) })
    }
}

/// The nodes of terms about groups and paths.
fn nodes(leaf: &Leaf, state: &State) -> Result<Option<BTreeSet<NodeId>>, SelectError> {
    let graph = &state.model.graph;
    Ok(match &leaf.term {
        Term::Group(pattern) => {
            let groups = state.groups.within(PlaceId::MAIN);
            let groups = groups.filter(|group| pattern.is_like(&group.pattern));
            Some(groups.flat_map(|group| group.nodes.iter().copied()).collect())
        }
        Term::Between(from, to) => {
            let end = |name: &String, behind: bool| {
                let found = end(graph, name, behind);
                found.ok_or_else(|| SelectError::NoEnd {
                    term: leaf.text.clone(),
                    name: name.clone(),
                    hint: suggest::hint_names(name, &sorted(names(graph)), TOLD),
                })
            };
            let (from, to) = (end(from, true)?, end(to, false)?);
            let next = |node: NodeId| -> Vec<NodeId> {
                let outputs = graph.outputs(node).into_iter().flatten();
                outputs.flat_map(|value| graph.uses(value)).map(|reader| reader.node).collect()
            };
            let before = |node: NodeId| -> Vec<NodeId> {
                let inputs = graph.inputs(node).into_iter().flatten();
                let read = inputs.chain(graph.captures(node));
                read.filter_map(|value| graph.producer(value)).map(|(node, _)| node).collect()
            };
            let (behind, ahead) = (reached(from, next), reached(to, before));
            Some(behind.intersection(&ahead).copied().collect())
        }
        _ => None,
    })
}

/// What groups say in tags.
fn tags(state: &State) -> Vec<Tagged<'_>> {
    let hints = state.groups.within(PlaceId::MAIN).flat_map(|group| &group.hints);
    let tagged = hints.filter_map(|hint| match hint {
        Hint::Tag { value, key, content } => {
            let content = spelled(&state.model.graph, content);
            Some(Tagged { value: *value, key, content })
        }
        _ => None,
    });
    tagged.collect()
}

/// What a tag says, as it is written in a selector.
fn spelled(graph: &Graph, content: &Bound) -> String {
    let list = |items: &[Bound]| -> String {
        let items: Vec<String> = items.iter().map(|item| spelled(graph, item)).collect();
        format!("[{}]", items.join(","))
    };
    match content {
        Bound::Absent => "none".to_owned(),
        Bound::Value(value) => graph.value(*value).name().to_owned(),
        Bound::Int(number) => number.to_string(),
        Bound::Float(number) => number.to_string(),
        Bound::Text(text) | Bound::Symbol(text) => text.clone(),
        Bound::Dtype(dtype) => dtype.to_string(),
        Bound::Operator(domain, name) if domain.is_empty() => name.clone(),
        Bound::Operator(domain, name) => format!("{domain}.{name}"),
        Bound::Attributes(attributes) => {
            let said =
                attributes.iter().map(|(name, said)| format!("{name}={}", spelled(graph, said)));
            said.collect::<Vec<_>>().join(",")
        }
        Bound::List(items) => list(items),
    }
}

/// The nodes at the end of a path: of this name; that compute a value of this name; or that read it,
/// where none computes it and the path begins there.
fn end(graph: &Graph, name: &str, begins: bool) -> Option<Vec<NodeId>> {
    let named: Vec<NodeId> = graph.nodes().filter(|&node| graph.node(node).name == name).collect();
    if !named.is_empty() {
        return Some(named);
    }
    let value = graph.find(name)?;
    match graph.producer(value) {
        Some((node, _)) => Some(vec![node]),
        None if begins => Some(graph.uses(value).into_iter().map(|reader| reader.node).collect()),
        None => Some(Vec::new()),
    }
}

fn reached(from: Vec<NodeId>, next: impl Fn(NodeId) -> Vec<NodeId>) -> BTreeSet<NodeId> {
    let mut waiting = from;
    let mut seen = BTreeSet::new();
    while let Some(node) = waiting.pop() {
        if seen.insert(node) {
            waiting.extend(next(node));
        }
    }
    seen
}

/// Each name once, in order.
fn sorted(names: Vec<&str>) -> Vec<&str> {
    let names: BTreeSet<&str> = names.into_iter().filter(|name| !name.is_empty()).collect();
    names.into_iter().collect()
}

fn names(graph: &Graph) -> Vec<&str> {
    let nodes = graph.nodes().map(|node| graph.node(node).name.as_str());
    let values = graph.values().map(|value| graph.value(value).name());
    nodes.chain(values).filter(|name| !name.is_empty()).collect()
}

impl Selection<'_> {
    /// Whether a value is selected as what a node computes or reads; without a node, on its own.
    pub fn has(&self, value: ValueId, node: Option<NodeId>) -> bool {
        self.holds(&self.selector.root, value, node)
    }

    /// Whether a value is selected: as one of the nodes it belongs to.
    pub fn has_value(&self, value: ValueId) -> bool {
        self.anywhere(value, |value, node| self.has(value, node))
    }

    /// The sites that are selected, in order.
    ///
    /// # Errors
    ///
    /// `Nothing` where there is none, unless there need not be any.
    pub fn sites(&self) -> Result<Vec<ValueId>, SelectError> {
        let sites = self.state.plan.sites().map(|(value, _)| value);
        let selected: Vec<ValueId> = sites.filter(|&value| self.has_value(value)).collect();
        self.enough(selected.len())?;
        Ok(selected)
    }

    /// An error where so many are none, unless there need not be any.
    ///
    /// # Errors
    ///
    /// `Nothing`, with the term that is to blame.
    pub fn enough(&self, count: usize) -> Result<(), SelectError> {
        if count > 0 || self.selector.maybe {
            return Ok(());
        }
        let select = self.selector.to_string();
        let leaves = self.selector.leaves();
        let empty = leaves.iter().enumerate().find(|(at, leaf)| {
            let sites = self.state.plan.sites().map(|(value, _)| value);
            let selects = |value, node| self.leaf(*at, leaf, value, node);
            !sites.into_iter().any(|value| self.anywhere(value, selects))
        });
        let hint = match empty {
            Some((_, leaf)) => self.instead(leaf),
            None => "every term selects something, and all together nothing".to_owned(),
        };
        let term = empty.map(|(_, leaf)| leaf.text.clone());
        Err(SelectError::Nothing { select, term, hint })
    }

    /// Whether something holds for a value with one of the nodes it belongs to.
    fn anywhere(&self, value: ValueId, holds: impl Fn(ValueId, Option<NodeId>) -> bool) -> bool {
        let graph = &self.state.model.graph;
        let flows = self.state.plan.get(value).is_none_or(|site| site.role == Role::Activation);
        match graph.producer(value) {
            // What a `Constant` gives belongs to its readers, as what is stored does.
            Some((node, _)) if flows && !graph.node(node).is_onnx("Constant") => {
                holds(value, Some(node))
            }
            None if flows && graph.inputs.contains(&value) => holds(value, None),
            _ => graph.uses(value).into_iter().any(|reader| holds(value, Some(reader.node))),
        }
    }

    fn holds(&self, node: &Node, value: ValueId, of: Option<NodeId>) -> bool {
        match node {
            Node::Leaf(at, leaf) => self.leaf(*at, leaf, value, of),
            Node::All(parts) => parts.iter().all(|part| self.holds(part, value, of)),
            Node::Any(parts) => parts.iter().any(|part| self.holds(part, value, of)),
            Node::Not(part) => !self.holds(part, value, of),
        }
    }

    fn leaf(&self, at: usize, leaf: &Leaf, value: ValueId, of: Option<NodeId>) -> bool {
        let graph = &self.state.model.graph;
        let node = of.map(|of| graph.node(of));
        let named = |is: &dyn Fn(&str) -> bool| {
            is(graph.value(value).name()) || node.is_some_and(|node| is(&node.name))
        };
        match &leaf.term {
            Term::Name(name) => named(&|found| name.is_like(found)),
            Term::Matches(regex) => named(&|found| regex.is_match(found)),
            Term::Op(op) => node.is_some_and(|node| op.is_like(&node.op_type)),
            Term::Domain(domain) => node.is_some_and(|node| {
                let found = if node.domain == "ai.onnx" { "" } else { node.domain.as_str() };
                found == domain
            }),
            Term::Role(role) => self.state.plan.get(value).is_some_and(|site| {
                matches!(
                    (role, site.role),
                    (RoleName::Weight, Role::Weight)
                        | (RoleName::Bias, Role::Bias { .. })
                        | (RoleName::Activation, Role::Activation)
                )
            }),
            Term::Tag(Tag { key, content }) => self.tags.iter().any(|tag| {
                let says = |content: &Glob| content.is_like(&tag.content);
                tag.value == value && key.is_like(tag.key) && content.as_ref().is_none_or(says)
            }),
            Term::Group(_) | Term::Between(..) => {
                let nodes = self.nodes.get(at).and_then(Option::as_ref);
                of.zip(nodes).is_some_and(|(of, nodes)| nodes.contains(&of))
            }
        }
    }

    /// What could be meant by a term that selects nothing.
    fn instead(&self, leaf: &Leaf) -> String {
        let graph = &self.state.model.graph;
        let near = |name: &str, known: Vec<&str>, none: &str| match known.is_empty() {
            true => none.to_owned(),
            false => suggest::hint_some(name, &known, TOLD),
        };
        match &leaf.term {
            Term::Name(name) => {
                let known = names(graph);
                match known.iter().any(|known| name.is_like(known)) {
                    true => "there are such names, and nothing of them has a quantizer; \
                             `marquetry plan` shows what has"
                        .to_owned(),
                    false if known.is_empty() => "nothing has a name".to_owned(),
                    false => suggest::hint_names(&name.0, &sorted(known), TOLD),
                }
            }
            Term::Matches(_) => "`marquetry print MODEL` shows the names there are".to_owned(),
            Term::Op(op) => {
                let ops = graph.nodes().map(|node| graph.node(node).op_type.as_str());
                match graph.nodes().any(|node| op.is_like(&graph.node(node).op_type)) {
                    true => "the model has such operators, and nothing of them has a quantizer; \
                             `marquetry plan` shows what has"
                        .to_owned(),
                    false => near(&op.0, sorted(ops.collect()), "the model has no operators"),
                }
            }
            Term::Domain(domain) => {
                let domains = graph.nodes().map(|node| graph.node(node).domain.as_str());
                near(domain, sorted(domains.collect()), "all operators are those of the standard")
            }
            Term::Group(pattern) => {
                let groups = state_groups(self.state);
                match groups.iter().any(|found| pattern.is_like(found)) {
                    true => "there are such groups, and nothing in them has a quantizer".to_owned(),
                    false => near(&pattern.0, sorted(groups), "no groups were found"),
                }
            }
            Term::Tag(Tag { key, content }) => {
                let keys = self.tags.iter().map(|tag| tag.key).collect();
                let of_key = self.tags.iter().filter(|tag| key.is_like(tag.key));
                let said: Vec<&str> = of_key.map(|tag| tag.content.as_str()).collect();
                match content {
                    _ if said.is_empty() => near(&key.0, sorted(keys), "no group gives tags"),
                    Some(content) if !said.iter().any(|said| content.is_like(said)) => {
                        near(&content.0, sorted(said), "the tag is empty everywhere")
                    }
                    _ => "there are such tags, and what has them has no quantizer".to_owned(),
                }
            }
            Term::Role(_) => "nothing that has a quantizer by now has this role".to_owned(),
            Term::Between(..) => "no path leads from the one to the other, or nothing on it has a \
                                  quantizer"
                .to_owned(),
        }
    }
}

fn state_groups(state: &State) -> Vec<&str> {
    state.groups.within(PlaceId::MAIN).map(|group| group.pattern.as_str()).collect()
}
