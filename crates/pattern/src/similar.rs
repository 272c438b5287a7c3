//! "Did you mean …?"

/// Returns the candidate that is closest to `name`, if one is close: at most a third of its
/// letters differ, or the case. Names of one or two letters are close to nothing.
pub fn closest<'c>(name: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let limit = name.chars().count() / 3;
    candidates
        .into_iter()
        .filter(|candidate| *candidate != name)
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(distance, candidate)| {
            *distance <= limit || name.to_lowercase() == candidate.to_lowercase()
        })
        .min()
        .map(|(_, candidate)| candidate)
}

/// The number of letters to insert, delete, replace or exchange with their neighbour, without
/// regard to case (but not free of it: two names that differ in case only are at distance 1).
fn distance(a: &str, b: &str) -> usize {
    let letters = strsim::osa_distance(&a.to_lowercase(), &b.to_lowercase());
    if letters == 0 { usize::from(a != b) } else { letters }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_names_are_found() {
        assert_eq!(closest("ReduceMaen", ["ReduceMean", "ReduceMax"]), Some("ReduceMean"));
        assert_eq!(closest("relu", ["Relu"]), Some("Relu"));
        assert_eq!(closest("bais", ["bias", "x"]), Some("bias"));
        assert_eq!(closest("x", ["scale", "y"]), None);
        assert_eq!(closest("Op", ["Or"]), None);
        assert_eq!(closest("X", ["x"]), Some("x"));
    }
}
