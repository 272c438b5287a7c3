//! What could be written at a place, read from the tokens before it: the text there seldom parses.

use std::ops::Range;

use super::tokens::{Kind, Token, tokens};

/// What could be written at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Context {
    /// An item.
    Item,
    /// Nothing that is known: a comment, a new name, a number.
    Nothing,
    /// The path of a file in a string; what is typed of it so far begins here.
    Path,
    /// A name that a file declares: `use "…" { ‸ }`.
    NamesOf(String),
    /// An attribute of a call, with those that are written.
    Attribute(String, Vec<String>),
    /// The content of an attribute of a call.
    AttributeValue(String, String),
    /// A statement of a body, or what its first expression goes on with.
    Statement,
    /// An expression.
    Expression,
    /// A condition.
    Condition,
    /// What may follow the body of a pattern.
    Block,
    /// A hint of `quant`.
    Hint,
    /// What a hint is about.
    HintTarget,
    /// A clause of `verify`.
    Clause,
    /// `matches`, `rejects`, `becomes`.
    Expectation,
    /// A pattern, in a test.
    Pattern,
    /// What a test applies: rules, and ways with patterns.
    Step,
    /// A variable of a pattern, in a test.
    Binding(String),
    /// An operator, in an ONNX text graph or in a set.
    Operator,
}

/// A bracket that is open.
struct Open {
    sign: char,
    /// What was before it: the callee of a call, a keyword.
    before: String,
    /// Tokens since the bracket, or since the last statement in it, begin here.
    from: usize,
}

/// What could be written at `offset`, and the part of the word there that is typed already.
pub(super) fn at(text: &str, offset: usize) -> (Context, Range<usize>) {
    let pieces = crate::parse::pieces(text);
    let start = pieces.iter().map(|piece| piece.start).rfind(|start| *start < offset);
    let before = &text[start.unwrap_or(0)..offset];
    let mut found = tokens(before);
    let base = start.unwrap_or(0);
    let mut typed = offset..offset;
    if let Some(last) = found.last() {
        let touches = last.range.end == before.len();
        match last.kind {
            Kind::Comment if !before.ends_with('\n') && touches => {
                return (Context::Nothing, typed);
            }
            Kind::String if touches && is_open(last.text(before)) => {
                let path = found.first().is_some_and(|first| first.text(before) == "use");
                let inside = base + last.range.start + 1..offset;
                return (if path { Context::Path } else { Context::Nothing }, inside);
            }
            Kind::Number if touches => return (Context::Nothing, typed),
            Kind::Word if touches => {
                typed.start = base + last.range.start;
                found.pop();
            }
            // `com.‸`: the point belongs to the word.
            Kind::Sign if touches && last.text(before) == "." => {
                if let Some(word) = found.iter().rev().nth(1)
                    && word.kind == Kind::Word
                    && word.range.end == last.range.start
                {
                    typed.start = base + word.range.start;
                    found.truncate(found.len() - 2);
                }
            }
            _ => {}
        }
    }
    found.retain(|token| token.kind != Kind::Comment);
    (context(before, &found), typed)
}

fn is_open(string: &str) -> bool {
    string.len() < 2 || !string.ends_with('"')
}

fn context(text: &str, found: &[Token]) -> Context {
    let word = |at: usize| found.get(at).map_or("", |token| token.text(text));
    let item = word(0);
    let mut stack: Vec<Open> = Vec::new();
    // Where the statement outside of brackets begins; after the body of an item a block may follow.
    let mut from = 0;
    let mut closed_body = false;
    for (at, token) in found.iter().enumerate() {
        let sign = token.text(text);
        match sign {
            "(" | "[" | "{" => {
                let before = callee(text, found, at);
                let sign = sign.chars().next().expect("a bracket is a character");
                stack.push(Open { sign, before, from: at + 1 });
            }
            "<" if opens_attributes(text, found, at) => {
                let before = callee(text, found, at);
                stack.push(Open { sign: '<', before, from: at + 1 });
            }
            ">" => {
                if stack.last().is_some_and(|open| open.sign == '<') {
                    stack.pop();
                }
            }
            ")" | "]" | "}" => {
                while let Some(open) = stack.pop() {
                    if open.sign != '<' {
                        if open.sign == '{' && stack.is_empty() {
                            closed_body = true;
                            from = at + 1;
                        } else if let Some(around) = stack.last_mut()
                            && open.sign == '{'
                            && around.sign == '{'
                            && open.before.is_empty()
                        {
                            around.from = at + 1;
                        }
                        break;
                    }
                }
            }
            ";" => {
                if let Some(open) = stack.last_mut() {
                    open.from = at + 1;
                }
            }
            _ => {
                let new_line =
                    at > 0 && text[found[at - 1].range.end..token.range.start].contains('\n');
                if let Some(open) = stack.last_mut()
                    && open.sign == '{'
                    && begins_statement(text, found, at, new_line)
                {
                    open.from = at;
                }
            }
        }
    }
    // The word that is typed may begin a statement itself.
    let fresh_line = text[found.last().map_or(0, |token| token.range.end)..].contains('\n');
    match item {
        "use" => match stack.last() {
            Some(_) => Context::NamesOf(word(1).trim_matches('"').to_owned()),
            None => Context::Item,
        },
        "ops" if found.len() >= 3 => Context::Operator,
        "test" => test(text, found, &stack),
        "def" | "pattern" | "rule" => {
            body(text, found, &stack, Outer { item, from, closed_body, fresh_line })
        }
        "opset" if fresh_line => Context::Item,
        "" => Context::Item,
        _ => Context::Nothing,
    }
}

/// What is known of the text outside of brackets.
struct Outer<'t> {
    item: &'t str,
    from: usize,
    closed_body: bool,
    fresh_line: bool,
}

fn body(text: &str, found: &[Token], stack: &[Open], outer: Outer<'_>) -> Context {
    let word = |at: usize| found.get(at).map_or("", |token| token.text(text));
    let last = found.last().map_or("", |token| token.text(text));
    let Some(open) = stack.last() else {
        if outer.closed_body {
            return match last {
                "~>" => Context::Expression,
                _ if outer.item == "pattern" => Context::Block,
                _ if outer.fresh_line => Context::Item,
                _ => Context::Block,
            };
        }
        // `def f(x) = …` and `rule r: … ~> …` have no braces.
        let begun = found.iter().any(|token| matches!(token.text(text), "=" | ":" | "~>"));
        return match begun {
            true if in_condition(text, &found[outer.from..]) => Context::Condition,
            true => Context::Expression,
            false if found.len() > 1 => Context::Block,
            false => Context::Nothing,
        };
    };
    let since = &found[open.from.min(found.len())..];
    match (open.sign, open.before.as_str()) {
        ('<', "def" | "pattern" | "rule") => Context::Nothing,
        ('<', callee) => attributes(text, callee, since),
        ('{', "quant") => hint(text, since, outer.fresh_line),
        ('{', "verify") => Context::Clause,
        ('{', before) if !before.is_empty() && !is_block(before) => Context::Expression,
        ('{', _) => {
            // A brace where an operand stands computes a constant.
            let at = open.from.saturating_sub(2);
            let operand = open.from >= 2 && {
                let before = word(at);
                matches!(before, "=" | "(" | "," | "+" | "-" | "*" | "/" | "^" | "|" | "@" | "??")
            };
            if operand {
                return Context::Condition;
            }
            statement(text, since, outer.fresh_line)
        }
        ('(' | '[', _) => {
            // The condition may be around the bracket.
            let statement = stack.iter().rev().find(|open| open.sign == '{');
            let from = statement.map_or(outer.from, |open| open.from);
            let header =
                statement.is_none() && !found.iter().any(|t| matches!(t.text(text), "=" | ":"));
            if header {
                return Context::Nothing;
            }
            match in_condition(text, &found[from.min(found.len())..]) {
                true => Context::Condition,
                false if open.sign == '[' => Context::Condition,
                false => Context::Expression,
            }
        }
        _ => Context::Expression,
    }
}

/// `<` after a callee, but not in a comparison.
fn opens_attributes(text: &str, found: &[Token], at: usize) -> bool {
    let Some(before) = at.checked_sub(1) else { return false };
    let touches = |at: usize| found[at].range.end == found[at + 1].range.start;
    let name = match found[before].text(text) {
        "?" | "*" | "+" | "!" => before.checked_sub(1),
        _ => Some(before),
    };
    let Some(name) = name.filter(|at| found[*at].kind == Kind::Word) else { return false };
    let first_of_item =
        name == 1 || found[0].text(text) == "pattern" && !has_brace(text, found, at);
    // ONNX text and our own style write attributes close to the callee; comparisons have spaces.
    touches(before)
        || first_of_item
        || found[name].text(text).starts_with(char::is_uppercase)
            && !in_condition(text, &found[..at])
}

fn has_brace(text: &str, found: &[Token], at: usize) -> bool {
    found[..at].iter().any(|token| token.text(text) == "{")
}

/// The word before a bracket, its mark left out; the keyword for the brackets of a header.
fn callee(text: &str, found: &[Token], at: usize) -> String {
    let word = |at: usize| found.get(at).map_or("", |token| token.text(text));
    let Some(mut before) = at.checked_sub(1) else { return String::new() };
    if matches!(word(before), "?" | "*" | "+" | "!") && before > 0 {
        before -= 1;
    }
    let header = matches!(word(0), "def" | "pattern" | "rule") && !has_brace(text, found, at);
    let begun = found[..at].iter().any(|token| matches!(token.text(text), "=" | ":"));
    if header && !begun {
        return word(0).to_owned();
    }
    match found[before].kind {
        Kind::Word => word(before).to_owned(),
        // `Op<…>(`: the callee is before the attributes.
        _ if word(before) == ">" => {
            let open = found[..before].iter().rposition(|token| token.text(text) == "<");
            open.map_or(String::new(), |open| callee(text, found, open))
        }
        _ => String::new(),
    }
}

/// Keywords before the brace of a block.
fn is_block(before: &str) -> bool {
    matches!(before, "either" | "or" | "equals" | "def" | "pattern" | "rule")
}

/// Whether a token is the first of a statement: a keyword of one, or a name with `=` on a new line.
fn begins_statement(text: &str, found: &[Token], at: usize, new_line: bool) -> bool {
    let word = |at: usize| found.get(at).map_or("", |token| token.text(text));
    match word(at) {
        "where" | "let" | "either" | "shared" | "dup" => true,
        _ if !new_line || found[at].kind != Kind::Word => false,
        _ => {
            // `a, b... = `
            let mut next = at + 1;
            while matches!(word(next), "," | "...") {
                next += if word(next) == "," { 2 } else { 1 };
            }
            word(next) == "="
        }
    }
}

fn statement(text: &str, since: &[Token], fresh_line: bool) -> Context {
    let Some(last) = since.last() else { return Context::Statement };
    let goes_on = matches!(
        last.text(text),
        "," | "="
            | "+"
            | "-"
            | "*"
            | "/"
            | "^"
            | "@"
            | "|"
            | "??"
            | "and"
            | "or"
            | "not"
            | "with"
            | "if"
            | "is"
            | "where"
            | "<"
            | ">"
            | "=="
            | "!="
            | "<="
            | ">="
            | "in"
    );
    if fresh_line && !goes_on {
        return Context::Statement;
    }
    match last.text(text) {
        "let" | "dup" | "shared" => Context::Nothing,
        _ if in_condition(text, since) => Context::Condition,
        _ => Context::Expression,
    }
}

/// Whether the last word that decides it says that a condition is written.
fn in_condition(text: &str, since: &[Token]) -> bool {
    let decides = since.iter().rev().find_map(|token| match token.text(text) {
        "where" | "if" | "when" | "with" | "let" => Some(true),
        "|" | "~>" | "then" | "else" | ";" | "}" => Some(false),
        _ => None,
    });
    // `x is P`: what follows is a pattern.
    let is = since.last().is_some_and(|token| token.text(text) == "is");
    decides.unwrap_or(false) && !is
}

fn attributes(text: &str, callee: &str, since: &[Token]) -> Context {
    let mut written = Vec::new();
    let mut depth = 0;
    let mut value_of = None;
    let mut first = true;
    for token in since {
        let sign = token.text(text);
        match sign {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            "," if depth == 0 => {
                first = true;
                value_of = None;
            }
            "=" if depth == 0 => value_of = written.last().cloned(),
            _ if first && token.kind == Kind::Word => {
                written.push(sign.to_owned());
                first = false;
            }
            _ => {}
        }
    }
    match value_of {
        Some(attribute) => Context::AttributeValue(callee.to_owned(), attribute),
        None if first => Context::Attribute(callee.to_owned(), written),
        None => Context::Nothing,
    }
}

fn hint(text: &str, since: &[Token], fresh_line: bool) -> Context {
    let Some(last) = since.last() else { return Context::Hint };
    let when = since.iter().any(|token| token.text(text) == "when");
    match last.text(text) {
        "," | "skip" | "quantize" | "share" | "symmetric" | "per_channel" | "bias" | "range"
        | "tag" | "of" => Context::HintTarget,
        _ if fresh_line => Context::Hint,
        _ if when => Context::Condition,
        _ => Context::Nothing,
    }
}

fn test(text: &str, found: &[Token], stack: &[Open]) -> Context {
    let word = |at: usize| found.get(at).map_or("", |token| token.text(text));
    let last = found.last().map_or("", |token| token.text(text));
    let expects = found.iter().rposition(|token| {
        let expects = matches!(token.text(text), "matches" | "rejects" | "by" | "becomes");
        token.kind == Kind::Word && expects
    });
    let graph = expects.is_none_or(|at| word(at) == "becomes");
    match stack.last() {
        None if matches!(last, "matches" | "rejects") => Context::Pattern,
        None if matches!(last, "by" | "fuse" | "outline" | "expand") => Context::Step,
        None if last == "," && expects.is_some_and(|at| word(at) == "by") => Context::Step,
        // After the graph, and after each thing that is expected.
        None if last == "}" || expects.is_some_and(|at| at + 2 <= found.len()) => {
            Context::Expectation
        }
        None => Context::Nothing,
        Some(_) if word(2) == "on" => match last {
            "{" | "," => Context::Pattern,
            _ => Context::Nothing,
        },
        Some(_) if !graph => match last {
            "{" | "," => Context::Binding(expects.map_or("", |at| word(at + 1)).to_owned()),
            _ => Context::Nothing,
        },
        Some(open) if open.sign == '{' && last == "=" => Context::Operator,
        Some(open) if open.sign == '<' => {
            let since = &found[open.from.min(found.len())..];
            attributes(text, &open.before, since)
        }
        Some(_) => Context::Nothing,
    }
}
