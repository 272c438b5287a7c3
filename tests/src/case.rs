//! Case files: prose, then named sections.

/// The sections of a case, in file order. A line `--- name` begins one; what stands before the first
/// says what the case is about.
pub(crate) fn sections(case: &str) -> Vec<(&str, &str)> {
    let starts = case.match_indices("--- ").map(|(at, _)| at);
    let starts: Vec<_> = starts.filter(|&at| at == 0 || case[..at].ends_with('\n')).collect();
    let ends = starts.iter().copied().skip(1).chain([case.len()]);
    let section = |(&start, end): (&usize, usize)| case[start + "--- ".len()..end].split_once('\n');
    let sections = starts.iter().zip(ends).filter_map(section);
    sections.map(|(name, body)| (name.trim(), body)).collect()
}
