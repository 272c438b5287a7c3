//! "Did you mean": the closest of the names there are.

/// The closest of `known` to `name`, if it is close enough to be meant.
pub(crate) fn closest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let wanted = name.to_lowercase();
    let distances = known.iter().map(|known| {
        let lower = known.to_lowercase();
        // Two letters that are swapped are one slip.
        (strsim::osa_distance(&wanted, &lower), apart(&wanted, &lower), *known)
    });
    let (distance, _, known) = distances.min_by_key(|(distance, apart, _)| (*distance, *apart))?;
    (distance <= wanted.chars().count() / 3).then_some(known)
}

/// How far characters at the same places are apart: `UInt9` is meant to be `UInt8` rather than `UInt2`.
fn apart(one: &str, other: &str) -> u32 {
    let pairs = one.chars().zip(other.chars());
    pairs.map(|(one, other)| u32::from(one).abs_diff(u32::from(other))).sum()
}

/// The closest of `known` to `name`, or the longest that it begins with, or the shortest that begins
/// with it: `LayerNorm` for `LayerNormalization`.
pub(crate) fn near<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    // Three letters are no beginning that tells anything.
    let begins = |long: &str, short: &str| {
        short.len() > 3
            && long.get(..short.len()).is_some_and(|head| head.eq_ignore_ascii_case(short))
    };
    let shorter = known.iter().filter(|known| begins(name, known)).max_by_key(|known| known.len());
    let longer = known.iter().filter(|known| begins(known, name)).min_by_key(|known| known.len());
    closest(name, known).or(shorter.or(longer).copied())
}

/// One sentence that names the closest name, or all names.
pub(crate) fn hint(name: &str, known: &[&str]) -> String {
    match closest(name, known) {
        Some(known) => format!("did you mean `{known}`?"),
        None => format!("there are `{}`", known.join("`, `")),
    }
}

/// One sentence that names the closest name, or some of them.
pub(crate) fn hint_some(name: &str, known: &[&str], most: usize) -> String {
    match closest(name, known) {
        Some(known) => format!("did you mean `{known}`?"),
        None => {
            let more = known.len().saturating_sub(most);
            let some = known.iter().take(most).copied().collect::<Vec<_>>().join("`, `");
            let more = if more == 0 { String::new() } else { format!(" and {more} more") };
            format!("there are `{some}`{more}")
        }
    }
}

/// Names of a model that are near at most.
const NEAR: usize = 3;

/// One sentence that names the closest name; those in which what was asked for is a part, where `*` and
/// `?` stand for anything; or some of all.
pub(crate) fn hint_names(asked: &str, known: &[&str], most: usize) -> String {
    let parts = asked.split(['*', '?']).map(str::to_lowercase);
    let part = parts.max_by_key(String::len).unwrap_or_default();
    // Two letters are a part of nearly everything.
    let contains = |name: &&&str| part.len() > 2 && name.to_lowercase().contains(&part);
    let near: Vec<&str> = match closest(asked, known) {
        Some(known) => vec![known],
        None => known.iter().filter(contains).take(NEAR).copied().collect(),
    };
    match near[..] {
        [] => hint_some(asked, known, most),
        [one] => format!("did you mean `{one}`?"),
        _ => format!("did you mean one of `{}`?", near.join("`, `")),
    }
}

/// The most characters of a text of others that a message repeats.
const SHOWN: usize = 80;

/// A text of others as a message repeats it: on one line, and not much of it.
pub(crate) fn shown(text: &str) -> String {
    let mut chars = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut shown: String = chars.by_ref().take(SHOWN).collect();
    if chars.next().is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_suggested_and_far_ones_listed() {
        assert_eq!(closest("QuantiseBias", &["Check", "QuantizeBias"]), Some("QuantizeBias"));
        assert_eq!(closest("Gropu", &["Export", "Group"]), Some("Group"));
        assert_eq!(closest("UInt9", &["UInt2", "UInt4", "UInt8", "UInt16"]), Some("UInt8"));
        assert_eq!(closest("Int7", &["UInt8", "Int2", "Int8", "Int16"]), Some("Int8"));
        let known = ["Norm", "LayerNorm", "ConvBnRelu", "ConvBn"];
        assert_eq!(near("LayerNormalization", &known), Some("LayerNorm"));
        assert_eq!(near("conv", &known), Some("ConvBn"));
        assert_eq!(near("Rope", &known), None);
        let known = ["/a/Conv", "/b/Conv", "/b/Gemm"];
        assert_eq!(hint_names("/a/Conf", &known, 2), "did you mean `/a/Conv`?");
        assert_eq!(hint_names("b/*", &known, 2), "there are `/a/Conv`, `/b/Conv` and 1 more");
        assert_eq!(hint_names("gemm*", &known, 2), "did you mean `/b/Gemm`?");
        assert_eq!(hint_names("x*conv", &known, 2), "did you mean one of `/a/Conv`, `/b/Conv`?");
        assert_eq!(hint("Transmogrify", &["Check", "Place"]), "there are `Check`, `Place`");
    }
}
