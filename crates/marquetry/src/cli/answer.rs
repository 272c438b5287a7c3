//! What a verb has to say, before anything is printed.

use std::borrow::Cow;

use serde_json::Value;

use super::failure::Exit;

/// The answer of a verb: for people, and for programs.
#[derive(Debug)]
pub(crate) struct Answer {
    /// For people.
    pub(crate) text: String,
    /// For programs.
    pub(crate) json: Value,
    /// Remarks that are no result: printed on standard error.
    pub(crate) notes: Vec<String>,
    /// A file that goes to standard output; what is said goes to standard error then.
    pub(crate) file: Option<Vec<u8>>,
    /// Set where the check that was asked for found something.
    pub(crate) found: Option<Exit>,
}

impl Answer {
    pub(crate) fn new(text: String, json: Value) -> Self {
        Self { text, json, notes: Vec::new(), file: None, found: None }
    }

    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }
}

/// A text without what a terminal would obey: names in models are written by others. Colours stay where they
/// are wanted.
pub(crate) fn harmless(text: &str, colours: bool) -> Cow<'_, str> {
    if !text.chars().any(is_obeyed) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(is_obeyed) {
        let (before, found) = rest.split_at(at);
        shown.push_str(before);
        let length = match colour(found).filter(|_| colours) {
            Some(length) => {
                shown.push_str(&found[..length]);
                length
            }
            None => {
                let char = found.chars().next().expect("it was found");
                shown.extend(char.escape_unicode());
                char.len_utf8()
            }
        };
        rest = &found[length..];
    }
    shown.push_str(rest);
    Cow::Owned(shown)
}

/// Whether a terminal does something else with a character than to show it: control characters, and those that
/// turn the direction of what follows.
fn is_obeyed(char: char) -> bool {
    let turns = matches!(char, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    turns || (char.is_control() && !matches!(char, '\n' | '\t'))
}

/// The length of a change of colour that a text begins with.
fn colour(text: &str) -> Option<usize> {
    let inside = text.strip_prefix("\u{1b}[")?;
    let end = inside.find(|char: char| !char.is_ascii_digit() && char != ';')?;
    inside[end..].starts_with('m').then_some(2 + end + 1)
}

/// `1 node`, `2 nodes`.
pub(crate) fn plural(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Bytes with the unit that suits them.
pub(crate) fn bytes(count: u64) -> String {
    let mut amount = count as f64;
    let mut units = ["B", "kB", "MB", "GB"].into_iter();
    let mut unit = units.next().expect("there are four units");
    for larger in units {
        if amount < 1000.0 {
            break;
        }
        amount /= 1000.0;
        unit = larger;
    }
    if unit == "B" { format!("{count} B") } else { format!("{amount:.1} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::{bytes, harmless};

    #[test]
    fn terminals_are_told_nothing_by_names() {
        let name = "a\u{1b}]0;title\u{7}b\u{202e}c\td\n";
        let shown = "a\\u{1b}]0;title\\u{7}b\\u{202e}c\td\n";
        assert_eq!(harmless(name, true), shown);
        assert_eq!(harmless("\u{1b}[1;31mred\u{1b}[0m", true), "\u{1b}[1;31mred\u{1b}[0m");
        assert_eq!(harmless("\u{1b}[1mred\u{1b}[2J", false), "\\u{1b}[1mred\\u{1b}[2J");
        assert_eq!(harmless("\u{1b}[1mred\u{1b}[2J", true), "\u{1b}[1mred\\u{1b}[2J");
    }

    #[test]
    fn bytes_have_a_suitable_unit() {
        assert_eq!([bytes(999), bytes(91_301), bytes(4_000_000)], ["999 B", "91.3 kB", "4.0 MB"]);
    }
}
