//! The text of selectors.

use std::ops::Range;

use regex_lite::Regex;

use super::{Glob, Leaf, Node, RoleName, Selector, SelectorError, Tag, Term};
use crate::suggest;

/// The keys of terms.
const KEYS: [&str; 8] = ["name:", "re:", "op:", "domain:", "group:", "tag:", "role:", "from:"];
const WORDS: [&str; 3] = ["and", "or", "not"];
const ROLES: [(&str, RoleName); 3] =
    [("weight", RoleName::Weight), ("bias", RoleName::Bias), ("activation", RoleName::Activation)];
/// Brackets and `not` within each other.
const DEEPEST: usize = 64;
/// Between the ends of a path.
const TO: &str = "..to:";

pub(super) fn selector(text: &str) -> Result<Selector, SelectorError> {
    let mut parser = Parser { text, tokens: tokens(text)?, at: 0, leaves: 0 };
    let maybe = parser.takes("maybe");
    let root = parser.any(0)?;
    match parser.peek() {
        None => Ok(Selector { text: text.trim().to_owned(), maybe, root }),
        Some(")") => Err(parser.error("there is no bracket that this one closes", "leave it out")),
        Some(word) => {
            let word = &*suggest::shown(word);
            let near = suggest::closest(word, &WORDS);
            let hint = match near {
                Some(near) => format!("did you mean `{near}`?"),
                None => "combine terms with `and`, `or` and `not`".to_owned(),
            };
            Err(parser.error(format!("`{word}` follows a term without a word between"), hint))
        }
    }
}

struct Parser<'t> {
    text: &'t str,
    tokens: Vec<Range<usize>>,
    at: usize,
    leaves: usize,
}

impl<'t> Parser<'t> {
    fn peek(&self) -> Option<&'t str> {
        self.tokens.get(self.at).map(|span| &self.text[span.clone()])
    }

    fn takes(&mut self, word: &str) -> bool {
        let found = self.peek() == Some(word);
        self.at += usize::from(found);
        found
    }

    fn error(&self, message: impl Into<String>, hint: impl Into<String>) -> SelectorError {
        let at = self.tokens.get(self.at).map_or(self.text.len(), |span| span.start);
        error(self.text, at, message, hint)
    }

    fn any(&mut self, depth: usize) -> Result<Node, SelectorError> {
        let mut parts = vec![self.all(depth)?];
        while self.takes("or") {
            parts.push(self.all(depth)?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Node::Any(parts) })
    }

    fn all(&mut self, depth: usize) -> Result<Node, SelectorError> {
        let mut parts = vec![self.one(depth)?];
        while self.takes("and") {
            parts.push(self.one(depth)?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Node::All(parts) })
    }

    fn one(&mut self, depth: usize) -> Result<Node, SelectorError> {
        if depth > DEEPEST {
            return Err(self.error("this lies too deep in brackets", "say it with fewer"));
        }
        if self.takes("not") {
            return Ok(Node::Not(Box::new(self.one(depth + 1)?)));
        }
        if self.takes("(") {
            let inside = self.any(depth + 1)?;
            if !self.takes(")") {
                return Err(self.error("a bracket is not closed", "close it with `)`"));
            }
            return Ok(inside);
        }
        let Some(text) = self.peek() else {
            return Err(self.error("a term is missing", "write one such as `op:Conv`"));
        };
        let leaf = self.leaf(text)?;
        self.at += 1;
        self.leaves += 1;
        Ok(Node::Leaf(self.leaves - 1, leaf))
    }

    fn leaf(&self, text: &str) -> Result<Leaf, SelectorError> {
        let Some(colon) = text.find(':') else {
            return Err(match text {
                ")" | "and" | "or" => self.error(
                    format!("a term is missing before `{text}`"),
                    "write one such as `op:Conv`",
                ),
                _ => self.error(
                    format!("`{}` is no term", suggest::shown(text)),
                    format!("for what has this name, write `name:{}`", suggest::shown(text)),
                ),
            });
        };
        let (key, rest) = text.split_at(colon + 1);
        if !KEYS.contains(&key) {
            let key = suggest::shown(key);
            let hint = suggest::hint(&key, &KEYS);
            return Err(self.error(format!("there is no term `{key}`"), hint));
        }
        let content = unquoted(rest);
        if content.is_empty() {
            return Err(self.error(
                format!("`{key}` says nothing"),
                format!("write what it selects behind it, such as `{}`", example(key)),
            ));
        }
        let term = match key {
            "name:" => Term::Name(Glob(content)),
            "op:" => Term::Op(Glob(content)),
            "group:" => Term::Group(Glob(content)),
            "domain:" => Term::Domain(if content == "ai.onnx" { String::new() } else { content }),
            "re:" => Term::Matches(Regex::new(&content).map_err(|error| {
                let content = suggest::shown(&content);
                self.error(
                    format!("`{content}` is no regular expression: {error}"),
                    "put a backslash before what is meant as it is",
                )
            })?),
            "tag:" => match rest.split_once('=') {
                None => Term::Tag(Tag { key: Glob(content), content: None }),
                Some((key, said)) => match (unquoted(key), unquoted(said)) {
                    (key, said) if !key.is_empty() && !said.is_empty() => {
                        Term::Tag(Tag { key: Glob(key), content: Some(Glob(said)) })
                    }
                    _ => {
                        let hint = "write `tag:kind=dense`, or `tag:kind` whatever it says";
                        return Err(self.error("a tag has a key and what it says", hint));
                    }
                },
            },
            "role:" => match ROLES.iter().find(|(name, _)| *name == content) {
                Some((_, role)) => Term::Role(*role),
                None => {
                    let known = ROLES.map(|(name, _)| name);
                    let content = suggest::shown(&content);
                    let hint = suggest::hint(&content, &known);
                    return Err(self.error(format!("there is no role `{content}`"), hint));
                }
            },
            _ => match rest.split_once(TO).map(|(from, to)| (unquoted(from), unquoted(to))) {
                Some((from, to)) if !from.is_empty() && !to.is_empty() => Term::Between(from, to),
                _ => {
                    let hint = format!("write `{}`", example(key));
                    return Err(self.error("a path has two ends", hint));
                }
            },
        };
        Ok(Leaf { text: text.to_owned(), term })
    }
}

fn example(key: &str) -> &'static str {
    match key {
        "name:" => "name:/layer.0/*",
        "re:" => "re:^/layer",
        "op:" => "op:Conv",
        "domain:" => "domain:com.microsoft",
        "group:" => "group:LayerNorm",
        "tag:" => "tag:kind=dense",
        "role:" => "role:weight",
        _ => "from:A..to:B",
    }
}

/// What quotation marks around parts hold together, without them.
fn unquoted(text: &str) -> String {
    text.replace('"', "")
}

/// Words and brackets; what is in quotation marks is part of its word.
fn tokens(text: &str) -> Result<Vec<Range<usize>>, SelectorError> {
    let mut found = Vec::new();
    let mut start: Option<usize> = None;
    let mut quote: Option<usize> = None;
    let end_word = |start: &mut Option<usize>, at: usize, found: &mut Vec<Range<usize>>| {
        found.extend(start.take().map(|from| from..at));
    };
    // A regular expression may have brackets of its own: a word is as long as they are open.
    let mut open = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '"' => {
                quote = if quote.is_some() { None } else { Some(at) };
                start.get_or_insert(at);
            }
            _ if quote.is_some() => {}
            _ if c.is_whitespace() && open == 0 => end_word(&mut start, at, &mut found),
            '(' if start.is_some_and(|from| text[from..].starts_with("re:")) => open += 1,
            ')' if open > 0 => open -= 1,
            '(' | ')' => {
                end_word(&mut start, at, &mut found);
                found.push(at..at + 1);
            }
            _ => {
                start.get_or_insert(at);
            }
        }
    }
    if let Some(at) = quote {
        return Err(error(text, at, "a quotation mark is not closed", "close it with `\"`"));
    }
    end_word(&mut start, text.len(), &mut found);
    Ok(found)
}

fn error(
    text: &str,
    at: usize,
    message: impl Into<String>,
    hint: impl Into<String>,
) -> SelectorError {
    let column = text[..at].chars().count() + 1;
    SelectorError { column, message: message.into(), hint: hint.into() }
}
