//! In what two models differ, all of it.
//!
//! [`compare`](crate::compare) stops at the first difference and asks whether two models are the same;
//! here the question is what happened to a model. So nodes are paired first, however they moved or
//! were renamed, and what is said of a pair leaves out what follows from another difference: a value
//! that has another name now is not another input of everybody who reads it.
//!
//! ```
//! use marquetry_ir::{diff, text};
//!
//! let model = |body| text::parse(&format!("<ir_version: 8, opset_import: [\"\" : 17]> {body}"));
//! let before = model("g (float[4] x) => (float[4] y) { y = Elu <alpha = 1.0> (x) }")?;
//! let after = model("g (float[4] x) => (float[4] y) { y = Elu <alpha = 0.5> (x) }")?;
//! let changes = diff::changes(&before, &after);
//! assert_eq!(changes[0].to_string(), "~ node `y` (Elu): attribute `alpha`: 1 → 0.5");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod graph;
mod pair;

use std::collections::BTreeMap;
use std::fmt;

use crate::{Graph, Metadata, Model};

/// What a [`Change`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// A field of the file: its version, its producer, its documentation.
    Header,
    /// The version of an operator set.
    Opset,
    /// An entry of the metadata.
    Metadata,
    /// An input of a graph.
    Input,
    /// An output of a graph.
    Output,
    /// A constant of a graph.
    Initializer,
    /// A node.
    Node,
    /// The declared type of a value that is neither input, output nor constant.
    Value,
    /// A function.
    Function,
}

impl Subject {
    /// The word for it, as in a sentence.
    pub fn word(self) -> &'static str {
        match self {
            Self::Header => "model",
            Self::Opset => "opset",
            Self::Metadata => "metadata",
            Self::Input => "input",
            Self::Output => "output",
            Self::Initializer => "initializer",
            Self::Node => "node",
            Self::Value => "value",
            Self::Function => "function",
        }
    }
}

/// One thing in which two models differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What kind of thing it is about.
    pub subject: Subject,
    /// The function that it is in; empty for the main graph.
    pub function: String,
    /// Its name, with the operator of a node in brackets.
    pub name: String,
    /// What of it is different; empty where it is there on one side only.
    pub aspect: String,
    /// What the first model has there, shortened if it is long; nothing where it is not there.
    pub left: Option<String>,
    /// What the second model has there, likewise.
    pub right: Option<String>,
}

impl fmt::Display for Change {
    /// One line: `-` for what is gone, `+` for what is new, `~` for what is different.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match (&self.left, &self.right) {
            (Some(_), None) if self.aspect.is_empty() => '-',
            (None, Some(_)) if self.aspect.is_empty() => '+',
            _ => '~',
        };
        write!(f, "{sign} {}", self.subject.word())?;
        if !self.name.is_empty() {
            write!(f, " {}", self.name)?;
        }
        if !self.function.is_empty() {
            write!(f, " in function `{}`", self.function)?;
        }
        let aspect = if self.aspect.is_empty() { "" } else { ": " };
        write!(f, "{aspect}{}", self.aspect)?;
        let colon = |text: &str| if text.is_empty() { String::new() } else { format!(": {text}") };
        match (&self.left, &self.right) {
            (Some(left), Some(right)) => write!(f, ": {left} → {right}"),
            (Some(one), None) | (None, Some(one)) if self.aspect.is_empty() => {
                f.write_str(&colon(one))
            }
            (Some(left), None) => write!(f, ": {left} → nothing"),
            (None, Some(right)) => write!(f, ": nothing → {right}"),
            (None, None) => Ok(()),
        }
    }
}

/// How often an operator stands in the first and in the second model, bodies and functions included,
/// for each operator that either of them has.
pub fn operators(left: &Model, right: &Model) -> BTreeMap<String, [usize; 2]> {
    let mut counts = BTreeMap::new();
    for (side, model) in [left, right].into_iter().enumerate() {
        let mut graphs: Vec<&Graph> = vec![&model.graph];
        graphs.extend(model.functions.iter().map(|function| &function.body));
        while let Some(graph) = graphs.pop() {
            for node in graph.nodes() {
                let node = graph.node(node);
                let count: &mut [usize; 2] =
                    counts.entry(operator(&node.domain, &node.op_type)).or_default();
                count[side] += 1;
                graphs.extend(node.bodies());
            }
        }
    }
    counts
}

/// Everything in which two models differ: the header first, then the graph, then functions.
pub fn changes(left: &Model, right: &Model) -> Vec<Change> {
    let mut changes = Changes::default();
    let header = [
        ("IR version", left.ir_version.to_string(), right.ir_version.to_string()),
        ("producer", left.producer_name.clone(), right.producer_name.clone()),
        ("producer version", left.producer_version.clone(), right.producer_version.clone()),
        ("domain", left.domain.clone(), right.domain.clone()),
        ("version", number(left.model_version), number(right.model_version)),
        ("documentation", left.doc.clone(), right.doc.clone()),
    ];
    for (aspect, left, right) in header {
        changes.text(Subject::Header, "", aspect, &left, &right);
    }
    changes.metadata("", &left.metadata, &right.metadata);
    changes.graph(&left.graph, &right.graph);
    changes.functions(left, right);
    changes.list
}

/// What was found so far, and where one looks.
#[derive(Default)]
struct Changes {
    list: Vec<Change>,
    function: String,
}

impl Changes {
    fn push(
        &mut self,
        subject: Subject,
        name: &str,
        aspect: &str,
        left: Option<String>,
        right: Option<String>,
    ) {
        self.list.push(Change {
            subject,
            function: self.function.clone(),
            name: name.to_owned(),
            aspect: aspect.to_owned(),
            left: left.map(|text| shorten(&text)),
            right: right.map(|text| shorten(&text)),
        });
    }

    /// Two texts, of which an empty one is none.
    fn text(&mut self, subject: Subject, name: &str, aspect: &str, left: &str, right: &str) {
        if left != right {
            let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            self.push(subject, name, aspect, some(left), some(right));
        }
    }

    /// Entries of metadata, those of `owner` unless it is empty.
    fn metadata(&mut self, owner: &str, left: &Metadata, right: &Metadata) {
        let [a, b] = [left, right].map(|entries| {
            let entries = entries.iter().map(|(key, value)| (key.as_str(), value.as_str()));
            entries.collect::<BTreeMap<_, _>>()
        });
        for (key, [left, right]) in joined(&a, &b) {
            if left != right {
                let of = if owner.is_empty() { String::new() } else { format!(" of {owner}") };
                let [left, right] = [left, right].map(|text| text.map(|text| (*text).to_owned()));
                self.push(Subject::Metadata, &format!("`{key}`{of}"), "", left, right);
            }
        }
    }

    fn functions(&mut self, left: &Model, right: &Model) {
        let named = |model: &'_ Model| -> BTreeMap<String, usize> {
            let names = model.functions.iter().enumerate();
            let name = |(at, function): (usize, &crate::Function)| {
                let overload = match function.overload.as_str() {
                    "" => String::new(),
                    overload => format!(":{overload}"),
                };
                (operator(&function.domain, &function.name) + &overload, at)
            };
            names.map(name).collect()
        };
        let (a, b) = (named(left), named(right));
        for (name, pair) in joined(&a, &b) {
            let title = format!("`{name}`");
            match pair {
                [Some(&a), Some(&b)] => {
                    let (a, b) = (&left.functions[a], &right.functions[b]);
                    let list = |names: &[String]| names.join(", ");
                    let (old, new) = (list(&a.attributes), list(&b.attributes));
                    self.text(Subject::Function, &title, "attributes", &old, &new);
                    self.text(Subject::Function, &title, "documentation", &a.doc, &b.doc);
                    self.metadata(&format!("function {title}"), &a.metadata, &b.metadata);
                    self.function.clone_from(name);
                    self.graph(&a.body, &b.body);
                    self.function.clear();
                }
                [a, b] => {
                    let nodes = |model: &Model, at: usize| {
                        let count = model.functions[at].body.nodes().count();
                        format!("{count} node{}", if count == 1 { "" } else { "s" })
                    };
                    let (a, b) = (a.map(|&at| nodes(left, at)), b.map(|&at| nodes(right, at)));
                    self.push(Subject::Function, &title, "", a, b);
                }
            }
        }
    }
}

/// The name of an operator, with its domain unless that is ONNX's own.
fn operator(domain: &str, name: &str) -> String {
    match domain {
        "" | "ai.onnx" => name.to_owned(),
        domain => format!("{domain}.{name}"),
    }
}

fn number(number: Option<i64>) -> String {
    number.map(|number| number.to_string()).unwrap_or_default()
}

/// The entries of two maps side by side, in the order of their keys.
fn joined<'a, K: Ord, V>(
    left: &'a BTreeMap<K, V>,
    right: &'a BTreeMap<K, V>,
) -> BTreeMap<&'a K, [Option<&'a V>; 2]> {
    let keys = left.keys().chain(right.keys());
    keys.map(|key| (key, [left.get(key), right.get(key)])).collect()
}

/// Characters of a text that are shown.
const SHOWN: usize = 120;

fn shorten(text: &str) -> String {
    // What a file says may hold anything; a line stays a line.
    let plain = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let mut short: String = text.chars().take(SHOWN).map(plain).collect();
    if short.len() < text.len() && text.chars().nth(SHOWN).is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests;
