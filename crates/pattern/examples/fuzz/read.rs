//! What is done with each text.

use marquetry_pattern::core::{Operator, OpsetRange};
use marquetry_pattern::fmt;
use marquetry_pattern::{AttributeFacts, AttributeKind, Facts, Library, Operators, Signature};

/// Reads a text as far as it can be read, prints what it is and formats it; returns whether it is
/// accepted.
///
/// # Panics
///
/// If something that always holds does not: that is what is looked for.
pub(crate) fn read(text: &str) -> bool {
    let read = library(text);
    if let Ok(formatted) = fmt::format(text) {
        assert_eq!(fmt::format(&formatted).ok().as_ref(), Some(&formatted), "formatting is stable");
        assert_eq!(letters(text), letters(&formatted), "no word and no comment is lost");
        let again = library(&formatted);
        assert_eq!(read, again, "formatting changes no meaning: {formatted}");
    }
    read.is_ok()
}

/// All that is no white space, sorted: comments may move to the end of their line, and the comma
/// after the last name of an import goes.
fn letters(text: &str) -> Vec<char> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut letters: Vec<char> = text.chars().filter(|c| !c.is_whitespace() && *c != ',').collect();
    letters.sort_unstable();
    letters
}

/// The patterns of a text, or the codes and facts of its errors.
fn library(text: &str) -> Result<Vec<String>, Vec<String>> {
    match Library::parse("piece.pat", text, &Few) {
        Ok(library) => {
            let patterns = library.patterns().iter().chain(library.rules());
            Ok(patterns.map(ToString::to_string).collect())
        }
        Err(errors) => {
            let text = text.strip_prefix('\u{feff}').unwrap_or(text);
            let said = errors.iter().map(|error| {
                let range = error.span().range();
                assert!(!error.fact().is_empty(), "an error says what is wrong: {error:?}");
                assert!(text.get(range.clone()).is_some(), "{range:?} is a place: {error:?}");
                format!("{} {}", error.code, error.fact())
            });
            Err(said.collect())
        }
    }
}

/// Schemas of a few operators, so that what depends on schemas is reached too.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Few;

/// Name, least and greatest number of inputs, attributes with type and whether they are required.
type Entry = (&'static str, usize, Option<usize>, &'static [(&'static str, AttributeKind, bool)]);

use AttributeKind::{Float, Int, Ints, Other};

const FEW: &[Entry] = &[
    ("Relu", 1, Some(1), &[]),
    ("Add", 2, Some(2), &[]),
    ("Mul", 2, Some(2), &[]),
    ("Concat", 1, None, &[("axis", Int, true)]),
    ("Split", 1, Some(2), &[("axis", Int, false), ("split", Other, false)]),
    ("ReduceMean", 1, Some(2), &[("axes", Ints, false), ("keepdims", Int, false)]),
    ("Transpose", 1, Some(1), &[("perm", Ints, false)]),
    ("LayerNormalization", 2, Some(3), &[("axis", Int, false), ("epsilon", Float, false)]),
    ("Softmax", 1, Some(1), &[("axis", Int, false)]),
    ("Gelu", 1, Some(1), &[("approximate", AttributeKind::String, false)]),
];

impl Operators for Few {
    fn facts(&self, operator: &Operator, opsets: &[OpsetRange]) -> Facts {
        if !operator.domain.is_empty() {
            return Facts::Unchecked;
        }
        if opsets.iter().any(|range| range.min > 30) {
            return Facts::OutOfRange { since: 1 };
        }
        let Some((_, least, most, attributes)) =
            FEW.iter().find(|(name, ..)| *name == operator.name)
        else {
            // A name of one letter is unknown; most operators of the seeds are just not checked.
            return if operator.name.len() == 1 { Facts::Unknown } else { Facts::Unchecked };
        };
        Facts::Known(Signature {
            inputs: vec!["X".to_owned(); most.unwrap_or(1)],
            min_inputs: *least,
            max_inputs: *most,
            attributes: attributes
                .iter()
                .map(|(name, kind, required)| AttributeFacts {
                    name: (*name).to_owned(),
                    kind: *kind,
                    required: *required,
                })
                .collect(),
            commutative: matches!(operator.name.as_str(), "Add" | "Mul"),
        })
    }

    fn names(&self) -> Vec<String> {
        FEW.iter().map(|(name, ..)| (*name).to_owned()).collect()
    }
}
