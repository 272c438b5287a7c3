//! The formatter: one layout for what means the same.
//!
//! [`format()`] only moves white space: words stay as they are and in their order, so that the meaning
//! does too. It keeps comments and single blank lines, and a few choices of the author: whether
//! a short block stands on one line, and whether alternatives stand below each other. Everything
//! else follows from the grammar and a width of 100 characters. Formatting twice is formatting
//! once.

mod document;
mod gap;
mod items;
mod layout;
mod spacing;

use crate::diagnostic::Diagnostic;
use crate::parse::{Tree, trees};
use crate::source::Sources;

use document::{Doc, print};
use gap::{Found, found};
use layout::Layout;

/// The longest line, where there is a choice.
pub const WIDTH: usize = 100;

/// How often a text is laid out at most until nothing moves any more.
const ROUNDS: usize = 8;

/// Formats a pattern file.
///
/// ```
/// let text = "def   f( x )=Relu( x )|x # either way";
/// assert_eq!(marquetry_pattern::fmt::format(text)?, "def f(x) = Relu(x) | x  # either way\n");
/// # Ok::<(), Vec<marquetry_pattern::Diagnostic>>(())
/// ```
///
/// # Errors
///
/// Returns all syntax errors of the text; a text with errors has no layout.
pub fn format(text: &str) -> Result<String, Vec<Diagnostic>> {
    format_named(text, "<text>")
}

/// Formats a pattern file that errors call by a name.
///
/// # Errors
///
/// As [`format()`].
pub fn format_named(text: &str, name: &str) -> Result<String, Vec<Diagnostic>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut printed = laid_out(&text.replace("\r\n", "\n"), name)?;
    // A comment in the middle of a line goes to its end, where the next reading finds it behind
    // another word; that may break the line elsewhere.
    for _ in 0..ROUNDS {
        let again = laid_out(&printed, name)?;
        if again == printed {
            break;
        }
        printed = again;
    }
    Ok(printed)
}

/// Lays a text out, once.
fn laid_out(unix: &str, name: &str) -> Result<String, Vec<Diagnostic>> {
    let mut sources = Sources::default();
    let source = sources.add(name, unix);
    let trees = trees(source, unix).map_err(|mut errors| {
        errors.iter_mut().for_each(|error| error.attach(&sources));
        errors
    })?;
    let mut docs = Vec::new();
    let mut at = 0;
    for Tree { base, pair } in trees {
        between(&unix[at..base], at == 0, &mut docs);
        let mut layout = Layout::new(unix, base);
        docs.push(layout.item(pair));
        at = layout.at();
    }
    between(&unix[at..], at == 0, &mut docs);
    while matches!(docs.last(), Some(Doc::Hard | Doc::Blank)) {
        docs.pop();
    }
    let mut printed = print(&Doc::Concat(docs));
    if !printed.is_empty() {
        printed.push('\n');
    }
    Ok(printed)
}

/// What stands between two items: comments, each on its line or after the item, and blank lines.
fn between(gap: &str, first: bool, docs: &mut Vec<Doc>) {
    let mut fresh = first;
    for found in found(gap, !first) {
        match found {
            Found::Trailing(comment) => docs.push(Doc::Suffix(comment.to_owned())),
            Found::Comment(comment) => {
                if !fresh {
                    docs.push(Doc::Hard);
                }
                docs.push(Doc::Text(comment.to_owned()));
                fresh = false;
            }
            Found::Blank => {
                if !fresh {
                    docs.push(Doc::Hard);
                    docs.push(Doc::Blank);
                    fresh = true;
                }
            }
        }
    }
    if !fresh {
        docs.push(Doc::Hard);
    }
}

#[cfg(test)]
mod tests {
    use super::format;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(format(text).unwrap(), expected);
        assert_eq!(format(expected).unwrap(), expected, "a second time");
    }

    #[test]
    fn spaces_follow_the_grammar() {
        check(
            "def f <k> (x)=Op?<a=1|2 ,b , ...>( - x,,y? , 1 ) [1]*x+?{ 1/k :[2] }",
            "def f<k>(x) = Op?<a = 1 | 2, b, ...>(-x, , y?, 1)[1] * x +? {1 / k : [2]}\n",
        );
        check("use \"a.pat\"{a,b}", "use \"a.pat\" { a, b }\n");
        check(
            "rule r:- -5 ~>x where not a==[ 1 , 2 ][0:1]",
            "rule r: - -5 ~> x where not a == [1, 2][0:1]\n",
        );
    }

    #[test]
    fn comments_and_single_blank_lines_stay() {
        let text = "# head\n\n\n# more\npattern P (x) => (y) { # block\n\n  # first\n\n\n  y = Relu(x) # why\n  # last\n} # end\n# foot\n";
        let expected = "# head\n\n# more\npattern P (x) => (y) {  # block\n  # first\n\n  y = Relu(x)  # why\n  # last\n}  # end\n# foot\n";
        check(text, expected);
    }

    #[test]
    fn what_is_too_long_is_broken_at_commas_and_bars() {
        let operand = "com.acme.Operator<attribute = 1>(value)";
        check(
            &format!("def f(value) = {operand} | {operand} | {operand}"),
            &format!("def f(value) = {operand}\n  | {operand}\n  | {operand}\n"),
        );
        check(
            &format!("def f(value) = Concat<axis = 1>({operand}, {operand}, {operand})"),
            &format!(
                "def f(value) = Concat<axis = 1>(\n  {operand},\n  {operand},\n  {operand}\n)\n"
            ),
        );
    }

    #[test]
    fn blocks_on_one_line_stay_so_if_they_fit() {
        let short =
            "pattern P (x) => (y) { y = Relu(x) }\n  equals { y = Relu(x) }\n  quant { skip x }\n";
        check(short, short);
        let long = "pattern P (x) => (y) {\n  y = Relu(x)\n} quant {\n  skip x\n} verify { tol 1e-5; samples 3 }\n";
        check(long, long);
        check(
            "pattern P (x) => (y) {y=Relu(z) z=Neg(x)}",
            "pattern P (x) => (y) {\n  y = Relu(z)\n  z = Neg(x)\n}\n",
        );
    }

    #[test]
    fn a_comment_keeps_its_line() {
        let only = "rule r (x) => (y) { y = Neg(Neg(x)) } ~> {\n  # nothing\n}\n";
        check(only, only);
        check(
            "pattern P (x) => (y) { y = Relu(x)\n# last\n}",
            "pattern P (x) => (y) {\n  y = Relu(x)\n  # last\n}\n",
        );
    }

    #[test]
    fn a_text_with_errors_has_no_layout() {
        assert_eq!(format("def f(x = x\n\ndef g(").unwrap_err().len(), 2);
    }
}
