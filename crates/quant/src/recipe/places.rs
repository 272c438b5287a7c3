//! Where steps of a recipe and their fields stand in its text, for errors.

use std::collections::BTreeMap;
use std::ops::Range;

use super::text::{Place, Tokens, place};

/// Where a step stands, and its fields.
#[derive(Debug)]
pub(crate) struct StepPlaces {
    pub(crate) own: Place,
    /// Where the content of every field begins, by the keys on the way to it, with dots between them.
    fields: BTreeMap<String, Place>,
}

impl StepPlaces {
    /// Of the step that stands in a part of a text. What is in lists and maps has no place of its own.
    pub(super) fn of(text: &str, step: &Range<usize>) -> StepPlaces {
        let mut fields = BTreeMap::new();
        // What a step does not close, the reader of RON tells.
        let _ = read(text, step, &mut fields);
        StepPlaces { own: place(text, step.start), fields }
    }

    /// The place of the first of these fields that is there; the step's own where a name is empty.
    pub(crate) fn first(&self, fields: &[&str]) -> Option<Place> {
        fields.iter().find_map(|&field| match field {
            "" => Some(self.own),
            _ => self.fields.get(field).copied(),
        })
    }
}

/// Finds the fields; none where brackets do not match.
fn read(text: &str, step: &Range<usize>, fields: &mut BTreeMap<String, Place>) -> Option<()> {
    let mut tokens = Tokens { text: &text[..step.end], at: step.start };
    // The keys of the structs around, the step's own among them, which has none.
    let mut around: Vec<&str> = Vec::new();
    let (mut key, mut before) = ("", "");
    let mut content = false;
    loop {
        let (span, token) = tokens.next()?;
        if std::mem::take(&mut content) {
            let keys = around.iter().skip(1).copied().chain([key]);
            let path = keys.collect::<Vec<_>>().join(".");
            fields.insert(path, place(text, span.start));
        }
        match token {
            "(" => around.push(std::mem::take(&mut key)),
            ")" => {
                around.pop()?;
                key = "";
                if around.is_empty() {
                    return Some(());
                }
            }
            "[" | "{" => skip(&mut tokens)?,
            "," => key = "",
            ":" => (key, content) = (before, true),
            _ => {}
        }
        before = token;
    }
}

/// Goes behind the bracket that closes the one that was read.
fn skip(tokens: &mut Tokens<'_>) -> Option<()> {
    let mut depth = 1_usize;
    while depth > 0 {
        match tokens.next()?.1 {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_at_any_depth() {
        let text = "Place(activations: UInt8,\n  weights: (granularity: PerBlock(0), // a: b\n    \
                    dtype: Int4), names: [\"a: (\", (x: 1)], last: \"(\")";
        let places = StepPlaces::of(text, &(0..text.len()));
        assert_eq!(places.first(&["nothing", "activations"]), Some((1, 20)));
        assert_eq!(places.first(&["weights.granularity"]), Some((2, 26)));
        assert_eq!(places.first(&["weights.dtype"]), Some((3, 12)));
        assert_eq!(places.first(&["last"]), Some((3, 50)));
        assert_eq!(places.first(&["x"]), None);
        assert_eq!(places.first(&["x", ""]), Some((1, 1)));
    }
}
