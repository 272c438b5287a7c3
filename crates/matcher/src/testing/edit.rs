//! Writing what was found into the file of a test.

use marquetry_pattern::{Sources, Span};

use super::Ran;

/// A text for a place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// What it replaces.
    pub span: Span,
    /// The new text.
    pub text: String,
}

/// A file with what was found written into it in place of what its tests expected. Everything else
/// stays, byte for byte. `None` where nothing can be written: the tests pass, or expect the opposite of
/// what is found.
///
/// All tests must be of one file.
pub fn bless(sources: &Sources, ran: &[Ran<'_>]) -> Option<String> {
    let failures = ran.iter().flat_map(|ran| &ran.failures);
    let mut edits: Vec<&Edit> = failures.flat_map(|failure| &failure.edits).collect();
    let source = edits.first()?.span.source;
    edits.retain(|edit| edit.span.source == source);
    edits.sort_by_key(|edit| edit.span);
    let mut text = sources.get(source).text.to_string();
    // From the end, so that places before stay where they are.
    for edit in edits.into_iter().rev() {
        text.replace_range(edit.span.range(), &edit.text);
    }
    Some(text)
}
