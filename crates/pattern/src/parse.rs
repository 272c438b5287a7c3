//! Text to syntax tree. The only module, with those below it, that knows pest.

mod expectations;
mod exprs;
mod guards;
mod human;
mod items;
mod split;

use pest::Parser;
use pest::error::{ErrorVariant, InputLocation};
use pest::iterators::Pair;

use crate::ast::{File, Item, Name};
use crate::diagnostic::{Code, Diagnostic};
use crate::span::{SourceId, Span};

pub(crate) use split::MAX_DEPTH;

mod grammar {
    #[derive(pest_derive::Parser)]
    #[grammar = "pattern.pest"]
    pub(crate) struct PatParser;
}
use grammar::PatParser;
pub(crate) use grammar::Rule;

/// One item as pest has read it.
pub(crate) struct Tree<'t> {
    /// Where it begins in the file.
    pub(crate) base: usize,
    /// Its content.
    pub(crate) pair: Pair<'t, Rule>,
}

/// Parses a file. Items that do not parse are left out of the tree; there is one diagnostic for
/// each of them.
pub(crate) fn parse(source: SourceId, text: &str) -> (File, Vec<Diagnostic>) {
    let mut file = File::default();
    let mut errors = Vec::new();
    for tree in read(source, text) {
        match tree.and_then(|tree| build(source, tree)) {
            Ok(item) => file.items.push(item),
            Err(mut found) => errors.append(&mut found),
        }
    }
    (file, errors)
}

fn build(source: SourceId, tree: Tree<'_>) -> Result<Item, Vec<Diagnostic>> {
    let mut builder = Builder { source, base: tree.base, errors: Vec::new() };
    let item = builder.item(tree.pair);
    if builder.errors.is_empty() { Ok(item) } else { Err(builder.errors) }
}

/// Reads the items of a file without building anything from them.
///
/// # Errors
///
/// Returns what [`parse`] reports.
pub(crate) fn trees(source: SourceId, text: &str) -> Result<Vec<Tree<'_>>, Vec<Diagnostic>> {
    let (_, errors) = parse(source, text);
    if errors.is_empty() {
        return Ok(read(source, text).flatten().collect());
    }
    Err(errors)
}

/// Reads each item of a file.
fn read(source: SourceId, text: &str) -> impl Iterator<Item = Result<Tree<'_>, Vec<Diagnostic>>> {
    split::split(text).into_iter().map(move |piece| {
        let place = |at: usize, length: usize| Span::new(source, at, at + length);
        let Some(entry) = piece.entry else {
            let line = text[piece.range.clone()].lines().next().unwrap_or("");
            let expected =
                "expected an item: `use`, `opset`, `ops`, `def`, `pattern`, `rule` or `test`";
            let place = place(piece.range.start, line.len());
            return Err(vec![Diagnostic::new(Code::Syntax, place, expected)]);
        };
        if let Some(at) = piece.too_deep {
            let fact = format!("this is nested deeper than {MAX_DEPTH}");
            let help = "name the inner parts in equations of their own";
            return Err(vec![Diagnostic::new(Code::TooLarge, place(at, 1), fact).help(help)]);
        }
        if let Some(at) = piece.open_string {
            let fact = "this string does not end on its line";
            let error = Diagnostic::new(Code::Syntax, place(at, 1), fact);
            return Err(vec![error.help("close it with `\"`")]);
        }
        match PatParser::parse(entry, &text[piece.range.clone()]) {
            Ok(pairs) => {
                let pair = pairs.flat_map(Pair::into_inner).next();
                Ok(Tree { base: piece.range.start, pair: pair.expect("an item has content") })
            }
            Err(error) => Err(vec![syntax_error(source, piece.range.start, text, &error)]),
        }
    })
}

/// The bytes of each top-level item of a text, those that do not parse too.
pub(crate) fn pieces(text: &str) -> Vec<std::ops::Range<usize>> {
    split::split(text).into_iter().map(|piece| piece.range).collect()
}

fn syntax_error(
    source: SourceId,
    base: usize,
    text: &str,
    error: &pest::error::Error<Rule>,
) -> Diagnostic {
    let at = base
        + match error.location {
            InputLocation::Pos(at) => at,
            InputLocation::Span((start, _)) => start,
        };
    let length = text.get(at..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
    let fact = match &error.variant {
        ErrorVariant::ParsingError { positives, .. } if !positives.is_empty() => {
            let mut names: Vec<&str> = Vec::new();
            // In the middle of an expression anything could go on; what could end it says more.
            let within =
                positives.contains(&Rule::mul_sign) || positives.contains(&Rule::times_sign);
            for entry in positives.iter().filter(|entry| !within || !goes_on(**entry)) {
                let name = human::human(*entry);
                if !names.contains(&name) && name != "white space" {
                    names.push(name);
                }
            }
            format!("expected {}", one_of(&names))
        }
        _ => "this is not understood here".to_owned(),
    };
    Diagnostic::new(Code::Syntax, Span::new(source, at, at + length), fact)
}

/// Is this what may follow any operand?
fn goes_on(entry: Rule) -> bool {
    matches!(
        entry,
        Rule::add_sign
            | Rule::mul_sign
            | Rule::plus_sign
            | Rule::times_sign
            | Rule::power_sign
            | Rule::compare_sign
            | Rule::is_pattern
            | Rule::k_is
            | Rule::k_and
            | Rule::k_or
            | Rule::k_with
            | Rule::k_if
            | Rule::caret
            | Rule::coalesce
            | Rule::bar
            | Rule::mark
            | Rule::maybe
            | Rule::dots
            | Rule::tolerance
            | Rule::attrs
            | Rule::open
            | Rule::open_list
            | Rule::open_brace
            | Rule::open_angle
            | Rule::assign
    )
}

/// `a`, `a or b`, `a, b or c`.
fn one_of(names: &[&str]) -> String {
    match names {
        [] => "something else".to_owned(),
        [name] => (*name).to_owned(),
        [names @ .., last] => format!("{} or {last}", names.join(", ")),
    }
}

/// Builds the tree of one item.
struct Builder {
    source: SourceId,
    /// Where the item begins in the file.
    base: usize,
    errors: Vec<Diagnostic>,
}

impl Builder {
    fn span(&self, pair: &Pair<'_, Rule>) -> Span {
        let span = pair.as_span();
        Span::new(self.source, self.base + span.start(), self.base + span.end())
    }

    /// The span of a pair without the white space that pest counts to it.
    fn tight(&self, pair: &Pair<'_, Rule>) -> Span {
        let start = self.base + pair.as_span().start();
        let text = pair.as_str().trim_end();
        Span::new(self.source, start, start + text.len())
    }

    fn name(&self, pair: &Pair<'_, Rule>) -> Name {
        let text = pair.as_str();
        let bare = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
        Name { text: bare.to_owned(), span: self.span(pair) }
    }

    /// Counts what nests without brackets, such as `- - x`.
    fn limit(&mut self, count: usize, span: Span) {
        if count > MAX_DEPTH {
            let fact = format!("more than {MAX_DEPTH} operators in one expression");
            let help = "name parts of it in equations of their own";
            self.errors.push(Diagnostic::new(Code::TooLarge, span, fact).help(help));
        }
    }

    fn integer<T: std::str::FromStr + Default>(&mut self, pair: &Pair<'_, Rule>) -> T {
        pair.as_str().parse().unwrap_or_else(|_| {
            let fact = "this integer is out of range";
            self.errors.push(Diagnostic::new(Code::Syntax, self.span(pair), fact));
            T::default()
        })
    }
}

/// The parts of a pair that mean something.
fn parts<'t>(pair: Pair<'t, Rule>) -> impl Iterator<Item = Pair<'t, Rule>> {
    pair.into_inner().filter(|part| !human::is_punctuation(part.as_rule()))
}

/// Goes down through the levels of precedence that add nothing, without a stack frame for each.
fn descend(mut pair: Pair<'_, Rule>) -> Pair<'_, Rule> {
    while matches!(
        pair.as_rule(),
        Rule::alt
            | Rule::branch
            | Rule::sum
            | Rule::product
            | Rule::coalesced
            | Rule::power
            | Rule::unary
            | Rule::postfix
            | Rule::primary
            | Rule::operand_name
            | Rule::guard
            | Rule::conjunction
            | Rule::negation
            | Rule::comparison
            | Rule::arith
            | Rule::term
            | Rule::factor
            | Rule::operand
            | Rule::access
            | Rule::atom
    ) {
        let mut inner = parts(pair.clone());
        match (inner.next(), inner.next()) {
            (Some(only), None) => pair = only,
            _ => break,
        }
    }
    pair
}

/// The only part of a pair.
fn only(pair: Pair<'_, Rule>) -> Pair<'_, Rule> {
    parts(pair).next().expect("the grammar gives this rule one part")
}

#[cfg(test)]
mod tests;
