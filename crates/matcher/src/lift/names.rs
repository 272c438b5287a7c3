//! Readable names for the values of a piece.

use std::collections::{BTreeMap, BTreeSet};

use marquetry_ir::ValueId;

use crate::testing::is_name;

/// The longest name that is taken over.
const LONGEST: usize = 20;

/// Names that were given, each once.
#[derive(Default)]
pub(super) struct Names {
    taken: BTreeSet<String>,
    by_value: BTreeMap<ValueId, String>,
}

impl Names {
    /// Gives a value a name, with a number if it is taken.
    pub(super) fn give(&mut self, value: ValueId, base: &str) {
        let mut name = base.to_owned();
        let mut number = 1;
        while !is_name(&name) || self.taken.contains(&name) {
            number += 1;
            name = format!("{base}{number}");
        }
        self.taken.insert(name.clone());
        self.by_value.insert(value, name);
    }

    pub(super) fn of(&self, value: ValueId) -> &str {
        self.by_value.get(&value).map_or("_", String::as_str)
    }

    pub(super) fn knows(&self, value: ValueId) -> bool {
        self.by_value.contains_key(&value)
    }
}

/// The word that a name of a model ends in, where it says something:
/// `encoder.layer.0.LayerNorm.weight` is a `weight`, `onnx::MatMul_907` says nothing.
pub(super) fn said(name: &str) -> Option<&str> {
    let last = name.rsplit(['/', '.', ':']).next()?;
    let last = last.trim_end_matches(|letter: char| letter == '_' || letter.is_ascii_digit());
    let lower = last.starts_with(|letter: char| letter.is_ascii_lowercase());
    let word = last.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_');
    (lower && word && last.len() > 1 && last.len() <= LONGEST).then_some(last)
}

/// An operator in small letters: `ReduceMean` is `reduce_mean`.
pub(super) fn snake(operator: &str) -> String {
    let letters: Vec<char> = operator.chars().collect();
    let mut name = String::new();
    for (at, letter) in letters.iter().enumerate() {
        let after_small = at > 0 && !letters[at - 1].is_ascii_uppercase();
        let before_small = letters.get(at + 1).is_some_and(char::is_ascii_lowercase);
        if letter.is_ascii_uppercase() && at > 0 && (after_small || before_small) {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name.retain(|letter| letter == '_' || letter.is_ascii_alphanumeric());
    if name.starts_with(|letter: char| letter.is_ascii_alphabetic()) {
        name
    } else {
        "v".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_something() {
        assert_eq!(said("encoder.layer.0.LayerNorm.weight"), Some("weight"));
        assert_eq!(said("onnx::MatMul_907"), None);
        assert_eq!(said("/layer/Add_output_0"), None);
        assert_eq!(said("attention_mask"), Some("attention_mask"));
        assert_eq!(
            ["ReduceMean", "MatMul", "LSTM", "GRUCell"].map(snake),
            ["reduce_mean", "mat_mul", "lstm", "gru_cell"]
        );
    }
}
