//! Selectors: which values and nodes are meant, in a line of text.
//!
//! | term | selects |
//! |---|---|
//! | `name:/layer.0/*` | what has this name; `*` stands for any characters, `?` for one |
//! | `re:^/layer\.[0-3]/` | what has a name in which the regular expression matches |
//! | `op:Conv` | operators of this type; `*` and `?` as in names |
//! | `domain:com.microsoft` | operators of this domain; `ai.onnx` is that of the standard |
//! | `group:LayerNorm` | what is in a group that this pattern found |
//! | `tag:kind=dense` | values to which a pattern gave this tag (`tag y: kind = "dense"` in `quant { … }`); `*` and `?` as in names; `tag:kind` for any content |
//! | `role:weight` | `weight`, `bias` or `activation` |
//! | `from:A..to:B` | what lies on a path from `A` to `B`, which are names of nodes or values, and in it |
//!
//! Terms are combined with `and`, `or`, `not` and brackets; `not` binds closest, then `and`. What has
//! blanks or brackets in it stands in quotation marks: `name:"a b"`.
//!
//! A value belongs to the node that computes it, and a constant to the nodes that read it: so
//! `op:Conv and role:weight` are the weights of convolutions, and `op:Conv and role:activation` what they
//! give. By name, a value is selected with its own name or with that of its node.
//!
//! A selector that selects nothing is a mistake more often than not, and an error, unless it begins with
//! `maybe`.
//!
//! ```
//! use marquetry_quant::select::Selector;
//!
//! let selector = Selector::parse("group:Attention and not (role:bias or name:/head/*)").unwrap();
//! assert_eq!(selector.to_string(), "group:Attention and not (role:bias or name:/head/*)");
//! let error = Selector::parse("op:Conv and rolle:weight").unwrap_err();
//! assert_eq!(error.to_string(), "column 13: there is no term `rolle:`");
//! assert_eq!(error.hint, "did you mean `role:`?");
//! ```

mod parse;
mod selection;

use std::fmt;

use regex_lite::Regex;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub(crate) use selection::known_nodes;
pub use selection::{SelectError, Selection};

use crate::suggest;

/// Which values and nodes are meant.
#[derive(Clone, Debug)]
pub struct Selector {
    text: String,
    maybe: bool,
    root: Node,
}

/// A part of a selector.
#[derive(Clone, Debug)]
enum Node {
    /// A term, by its number.
    Leaf(usize, Leaf),
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
}

/// A term.
#[derive(Clone, Debug)]
struct Leaf {
    /// As it is written.
    text: String,
    term: Term,
}

#[derive(Clone, Debug)]
enum Term {
    Name(Glob),
    Matches(Regex),
    Op(Glob),
    Domain(String),
    Group(Glob),
    Role(RoleName),
    Tag(Tag),
    Between(String, String),
}

/// A key that patterns gave to values, and what it says there; anything where left out.
#[derive(Clone, Debug)]
struct Tag {
    key: Glob,
    content: Option<Glob>,
}

/// What a value is to its readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RoleName {
    Weight,
    Bias,
    Activation,
}

/// A name in which `*` stands for any characters and `?` for one.
#[derive(Clone, Debug)]
struct Glob(String);

impl Glob {
    fn is_like(&self, name: &str) -> bool {
        let (pattern, name): (Vec<char>, Vec<char>) =
            (self.0.chars().collect(), name.chars().collect());
        let (mut p, mut n) = (0, 0);
        // Where the last star is, and how far it reaches.
        let mut star: Option<(usize, usize)> = None;
        while n < name.len() {
            match pattern.get(p) {
                Some('*') => {
                    star = Some((p, n));
                    p += 1;
                }
                Some(&c) if c == '?' || c == name[n] => {
                    p += 1;
                    n += 1;
                }
                _ => match star {
                    Some((at, reach)) => {
                        star = Some((at, reach + 1));
                        (p, n) = (at + 1, reach + 1);
                    }
                    None => return false,
                },
            }
        }
        pattern[p..].iter().all(|&c| c == '*')
    }
}

/// What is wrong with the text of a selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {message}")]
pub struct SelectorError {
    /// Where, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

impl Selector {
    /// Reads a selector.
    ///
    /// # Errors
    ///
    /// Where in the text something is wrong, and what to do about it.
    pub fn parse(text: &str) -> Result<Selector, SelectorError> {
        parse::selector(text)
    }

    /// Whether nothing may be selected.
    pub fn is_maybe(&self) -> bool {
        self.maybe
    }

    /// The terms in the order of the text.
    fn leaves(&self) -> Vec<&Leaf> {
        fn collect<'a>(node: &'a Node, into: &mut Vec<&'a Leaf>) {
            match node {
                Node::Leaf(_, leaf) => into.push(leaf),
                Node::All(parts) | Node::Any(parts) => {
                    parts.iter().for_each(|part| collect(part, into));
                }
                Node::Not(part) => collect(part, into),
            }
        }
        let mut leaves = Vec::new();
        collect(&self.root, &mut leaves);
        leaves
    }
}

impl PartialEq for Selector {
    fn eq(&self, other: &Selector) -> bool {
        self.text == other.text
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Selector {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Selector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Selector, D::Error> {
        let text = String::deserialize(deserializer)?;
        Selector::parse(&text).map_err(|error| {
            let text = suggest::shown(&text);
            D::Error::custom(format!("in `{text}`, {error}; {}", error.hint))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks_stand_for_characters() {
        let like = |pattern: &str, name: &str| Glob(pattern.to_owned()).is_like(name);
        assert!(
            like("/layer.*/y", "/layer.0/y") && like("y", "y") && like("*", "") && like("*", "y")
        );
        assert!(
            like("a*X*b", "aXbXb") && like("a?c*", "abc") && like("**", "x") && like("*ab", "aab")
        );
        assert!(!like("y", "yy") && !like("ab*b", "ab") && !like("?", "") && !like("", "x"));
    }
}
