//! Places of the protocol, lines and UTF-16 units, and our own, bytes.

use std::ops::Range;

use serde_json::{Value, json};

/// A text with the beginnings of its lines.
pub(super) struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let after = text.match_indices('\n').map(|(at, _)| at + 1);
        Self { text, starts: std::iter::once(0).chain(after).collect() }
    }

    /// The byte at a place of the protocol; places after the end of a line or text are its end.
    pub(super) fn offset(&self, position: &Value) -> Option<usize> {
        let number = |name: &str| position[name].as_u64().and_then(|at| usize::try_from(at).ok());
        let (line, units) = (number("line")?, number("character")?);
        let Some(&start) = self.starts.get(line) else { return Some(self.text.len()) };
        let end = self.starts.get(line + 1).map_or(self.text.len(), |next| next - 1);
        let mut passed = 0;
        for (at, c) in self.text[start..end].char_indices() {
            if passed >= units {
                return Some(start + at);
            }
            passed += c.len_utf16();
        }
        Some(end)
    }

    /// The bytes of a range of the protocol, if it has a beginning and an end.
    pub(super) fn bytes(&self, range: &Value) -> Option<Range<usize>> {
        let (start, end) = (self.offset(&range["start"])?, self.offset(&range["end"])?);
        Some(start..end.max(start))
    }

    pub(super) fn position(&self, offset: usize) -> Value {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        let line = self.starts.partition_point(|start| *start <= offset) - 1;
        let before = &self.text[self.starts[line]..offset];
        let character: usize = before.chars().map(char::len_utf16).sum();
        json!({ "line": line, "character": character })
    }

    pub(super) fn range(&self, bytes: &Range<usize>) -> Value {
        json!({ "start": self.position(bytes.start), "end": self.position(bytes.end) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_utf_16_units() {
        let text = "β😀x\ny";
        let lines = Lines::new(text);
        let x = text.find('x').unwrap();
        assert_eq!(lines.position(x), json!({ "line": 0, "character": 3 }));
        assert_eq!(lines.offset(&json!({ "line": 0, "character": 3 })), Some(x));
        // Inside of a pair of surrogates, after the end of a line, after the last line.
        assert_eq!(lines.offset(&json!({ "line": 0, "character": 2 })), Some(x));
        assert_eq!(lines.offset(&json!({ "line": 0, "character": 99 })), Some(x + 1));
        assert_eq!(lines.offset(&json!({ "line": 9, "character": 0 })), Some(text.len()));
        assert_eq!(lines.offset(&json!({ "line": -1, "character": 0 })), None);
    }

    #[test]
    fn every_place_comes_back() {
        let text = "a\r\n\nbéta\n";
        let lines = Lines::new(text);
        for (at, _) in text.char_indices().filter(|(_, c)| *c != '\r') {
            assert_eq!(lines.offset(&lines.position(at)), Some(at));
        }
    }
}
