//! What a verb has to say, before anything is printed.

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
    use super::bytes;

    #[test]
    fn bytes_have_a_suitable_unit() {
        assert_eq!([bytes(999), bytes(91_301), bytes(4_000_000)], ["999 B", "91.3 kB", "4.0 MB"]);
    }
}
