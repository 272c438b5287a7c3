//! What stands between two words: comments and blank lines.

/// Something between two words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found<'t> {
    /// A comment on the line of the word before.
    Trailing(&'t str),
    /// A comment on a line of its own.
    Comment(&'t str),
    /// One blank line or more.
    Blank,
}

/// Takes a gap apart; `after_word`: its first line belongs to a word.
pub(super) fn found(gap: &str, after_word: bool) -> Vec<Found<'_>> {
    let mut all = Vec::new();
    let mut lines = gap.split('\n').map(str::trim).enumerate().peekable();
    while let Some((at, line)) = lines.next() {
        let last = lines.peek().is_none();
        match line.starts_with('#') {
            true if at == 0 && after_word => all.push(Found::Trailing(line)),
            true => all.push(Found::Comment(line)),
            // The first line is what is left of one, and so is the last.
            false if at > 0 && !last && !matches!(all.last(), Some(Found::Blank)) => {
                all.push(Found::Blank);
            }
            false => {}
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_taken_apart() {
        assert_eq!(found("  ", true), []);
        assert_eq!(found("\n\n\n  ", true), [Found::Blank]);
        let gap = " # a\n# b\n\n\n  # c\n  ";
        let all =
            [Found::Trailing("# a"), Found::Comment("# b"), Found::Blank, Found::Comment("# c")];
        assert_eq!(found(gap, true), all);
    }
}
