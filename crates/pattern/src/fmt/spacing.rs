//! What the grammar says of single words: how they are printed, and whether a space stands before them.

use pest::iterators::Pair;

use crate::parse::Rule;

/// What stands in the text for a word: pest counts the white space before a look-ahead to it.
pub(super) fn literal<'p>(pair: &Pair<'p, Rule>) -> &'p str {
    let text = pair.as_str();
    match pair.as_rule() {
        Rule::assign
        | Rule::minus
        | Rule::dot
        | Rule::span_dots
        | Rule::arrow
        | Rule::add_sign
        | Rule::mul_sign
        | Rule::plus_sign
        | Rule::times_sign => text.split([' ', '\t', '\r', '\n', '#']).next().unwrap_or(text),
        Rule::tolerance => text,
        _ => text.trim_end(),
    }
}

/// Rules that are printed as they are written.
pub(super) fn is_word(kind: Rule) -> bool {
    matches!(
        kind,
        Rule::number
            | Rule::int
            | Rule::float
            | Rule::quoted
            | Rule::name
            | Rule::ident
            | Rule::upper
            | Rule::qual
            | Rule::op_path
            | Rule::dtype
            | Rule::tolerance
            | Rule::graph_text
            | Rule::mark
            | Rule::anything
            | Rule::absent_any
            | Rule::soft
            | Rule::maybe
            | Rule::operand_name
            | Rule::compare_sign
    )
}

pub(super) fn is_infix(kind: Rule) -> bool {
    matches!(
        kind,
        Rule::sum
            | Rule::product
            | Rule::coalesced
            | Rule::power
            | Rule::guard
            | Rule::conjunction
            | Rule::arith
            | Rule::term
    )
}

pub(super) fn closing(opener: Rule) -> Option<Rule> {
    Some(match opener {
        Rule::open => Rule::close,
        Rule::open_list => Rule::close_list,
        Rule::open_angle => Rule::close_angle,
        Rule::open_brace => Rule::close_brace,
        _ => return None,
    })
}

/// Whether a space stands before a part.
pub(super) fn spaced(parent: Rule, last: Rule, next: &Pair<'_, Rule>) -> bool {
    let kind = next.as_rule();
    match kind {
        Rule::comma | Rule::semicolon | Rule::dots | Rule::maybe | Rule::soft => return false,
        Rule::colon => return parent == Rule::constant,
        Rule::tolerance => return true,
        _ => {}
    }
    match parent {
        Rule::call
        | Rule::callee
        | Rule::guard_call
        | Rule::access
        | Rule::postfix
        | Rule::range
        | Rule::value_type
        | Rule::slice => false,
        Rule::shape => false,
        Rule::verify_in => kind != Rule::span_dots && last != Rule::span_dots,
        Rule::def => !matches!(kind, Rule::open | Rule::sig_attrs),
        // `- 5` is the negation of 5, `-5` is a number.
        Rule::unary | Rule::factor | Rule::operand if last == Rule::minus => {
            next.as_str().starts_with(|c: char| c == '-' || c.is_ascii_digit())
                || next.as_str().starts_with("inf")
                || next.as_str().starts_with("nan")
        }
        Rule::constant => kind != Rule::open_brace,
        _ => true,
    }
}
