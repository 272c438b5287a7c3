//! What is wrong with a source, where, and what to do about it.

use std::fmt;
use std::sync::Arc;

use crate::source::Sources;
use crate::span::Span;

/// A stable code; printed as `P001`.
///
/// Numbers are never reused. [`Code::title`] is the short name, [`Code::explain`] the long form.
/// Most are errors; [`Code::severity`] tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Code {
    /// The text does not follow the grammar.
    Syntax = 0,
    /// No operator, pattern or definition has this name.
    UnknownOperator = 1,
    /// Too many or too few inputs.
    InputCount = 2,
    /// A replacement uses a name that the match does not bind.
    UnboundInReplacement = 3,
    /// A name is bound by some alternatives only.
    UnevenAlternatives = 4,
    /// An alternative can never be the first match.
    Unreachable = 5,
    /// Two definitions of one name.
    DuplicateName = 6,
    /// Files use each other in a circle.
    ImportCycle = 7,
    /// Parts of a pattern share no value.
    Disconnected = 8,
    /// An attribute does not exist or has another type.
    AttributeMismatch = 9,
    /// A replacement uses a value that it deletes.
    DeletedInterior = 10,
    /// A required attribute is not mentioned.
    MissingAttribute = 11,
    /// A name is used as a value and as a number.
    AmbiguousKind = 12,
    /// A rule may not terminate.
    Nontermination = 13,
    /// An equation that no output needs.
    UnusedEquation = 14,
    /// The operator does not exist in the opset range.
    OpsetRange = 15,
    /// Rules of the same priority where one always hides the other.
    SamePriority = 16,
    /// A name of the header that the body never binds.
    HeaderUnbound = 17,
    /// A condition that is always unknown without shapes.
    AlwaysUnknown = 18,
    /// A replacement that may not be convex.
    NotConvex = 19,
    /// A hint that does not exist.
    UnknownHint = 20,
    /// A definition refers to itself.
    Recursion = 21,
    /// A name that nothing declares.
    UnknownName = 22,
    /// A file that cannot be loaded.
    Load = 23,
    /// Nested too deeply, or too large once definitions are inlined.
    TooLarge = 24,
    /// Allowed by the grammar, but not here, or not yet.
    Unsupported = 25,
    /// A condition compares or computes with what it cannot be about.
    KindMismatch = 26,
    /// A pattern that no node is needed for.
    NoNode = 27,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The text is refused.
    Error,
    /// The text means something, but hardly what is meant.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        })
    }
}

impl Code {
    /// Returns the code that is printed as this, such as `P007`; letters of either case.
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.to_string().eq_ignore_ascii_case(text))
    }

    /// Returns how bad it is.
    pub fn severity(self) -> Severity {
        match self {
            Code::SamePriority | Code::AlwaysUnknown => Severity::Warning,
            _ => Severity::Error,
        }
    }

    /// All codes, in order.
    pub const ALL: [Code; 28] = [
        Code::Syntax,
        Code::UnknownOperator,
        Code::InputCount,
        Code::UnboundInReplacement,
        Code::UnevenAlternatives,
        Code::Unreachable,
        Code::DuplicateName,
        Code::ImportCycle,
        Code::Disconnected,
        Code::AttributeMismatch,
        Code::DeletedInterior,
        Code::MissingAttribute,
        Code::AmbiguousKind,
        Code::Nontermination,
        Code::UnusedEquation,
        Code::OpsetRange,
        Code::SamePriority,
        Code::HeaderUnbound,
        Code::AlwaysUnknown,
        Code::NotConvex,
        Code::UnknownHint,
        Code::Recursion,
        Code::UnknownName,
        Code::Load,
        Code::TooLarge,
        Code::Unsupported,
        Code::KindMismatch,
        Code::NoNode,
    ];

    /// Returns the short name.
    pub fn title(self) -> &'static str {
        match self {
            Code::Syntax => "syntax error",
            Code::UnknownOperator => "unknown operator",
            Code::InputCount => "wrong number of inputs",
            Code::UnboundInReplacement => "unbound variable in replacement",
            Code::UnevenAlternatives => "variables differ between alternatives",
            Code::Unreachable => "unreachable alternative",
            Code::DuplicateName => "duplicate name",
            Code::ImportCycle => "import cycle",
            Code::Disconnected => "disconnected pattern",
            Code::AttributeMismatch => "attribute mismatch",
            Code::DeletedInterior => "replacement uses an interior value that it deletes",
            Code::MissingAttribute => "required attribute not mentioned",
            Code::AmbiguousKind => "ambiguous kind",
            Code::Nontermination => "rule may not terminate",
            Code::UnusedEquation => "unused equation",
            Code::OpsetRange => "no such operator in the opset range",
            Code::SamePriority => "same priority, one rule hides the other",
            Code::HeaderUnbound => "header name never bound",
            Code::AlwaysUnknown => "condition is always unknown",
            Code::NotConvex => "replacement may not be convex",
            Code::UnknownHint => "unknown hint",
            Code::Recursion => "recursive definition",
            Code::UnknownName => "unknown name",
            Code::Load => "cannot load file",
            Code::TooLarge => "too large",
            Code::Unsupported => "not supported",
            Code::KindMismatch => "kinds do not fit",
            Code::NoNode => "pattern without a node",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "P{:03}", *self as u32)
    }
}

/// A place with what there is to say about it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Label {
    /// The place.
    pub span: Span,
    /// The fact: lower case, no full stop, names in backticks.
    pub text: String,
}

/// One error of a source, or a warning.
///
/// It displays as the title of its code; [`fact`](Self::fact) says what is wrong here, and the
/// labels say it where the text is drawn. It implements [`miette::Diagnostic`]; how it is drawn is
/// up to the caller.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}", code.title())]
pub struct Diagnostic {
    /// Which kind of error.
    pub code: Code,
    /// Places: the first is where it is wrong, the others are related, perhaps in other files.
    pub labels: Vec<Label>,
    /// The next step.
    pub help: Option<String>,
    file: Option<miette::NamedSource<Arc<str>>>,
    elsewhere: Vec<Diagnostic>,
}

impl Diagnostic {
    pub(crate) fn new(code: Code, span: Span, text: impl Into<String>) -> Self {
        let label = Label { span, text: text.into() };
        Self { code, labels: vec![label], help: None, file: None, elsewhere: Vec::new() }
    }

    pub(crate) fn label(mut self, span: Span, text: impl Into<String>) -> Self {
        self.labels.push(Label { span, text: text.into() });
        self
    }

    pub(crate) fn help(mut self, text: impl Into<String>) -> Self {
        self.help = Some(text.into());
        self
    }

    pub(crate) fn help_maybe(mut self, text: Option<String>) -> Self {
        self.help = text.or(self.help);
        self
    }

    /// Returns the place of the error.
    pub fn span(&self) -> Span {
        self.labels.first().map(|label| label.span).unwrap_or_default()
    }

    /// Returns how bad it is.
    pub fn severity(&self) -> Severity {
        self.code.severity()
    }

    /// Returns what is wrong in one phrase: the text of the first label.
    pub fn fact(&self) -> &str {
        self.labels.first().map_or("", |label| &label.text)
    }

    /// Returns the next step, if there is one.
    pub fn hint(&self) -> Option<&str> {
        self.help.as_deref()
    }

    /// Returns the name of the file of the error.
    pub fn file(&self) -> Option<&str> {
        self.file.as_ref().map(|file| file.name())
    }

    /// Returns line and column where a label begins and where it ends, all from 1; columns count
    /// characters. `None` if the label is in another file, or the text is not known.
    pub fn lines(&self, label: &Label) -> Option<[(usize, usize); 2]> {
        let text = self.file.as_ref()?.inner();
        let position = |at: u32| {
            let before = text.get(..at as usize)?;
            let line = before.rsplit('\n').next().unwrap_or(before);
            Some((before.matches('\n').count() + 1, line.chars().count() + 1))
        };
        Some([position(label.span.start)?, position(label.span.end)?])
    }

    /// Returns the places in other files, as diagnostics that know their text.
    pub fn elsewhere(&self) -> &[Diagnostic] {
        &self.elsewhere
    }

    /// Gives the diagnostic the texts that its labels are about.
    pub(crate) fn attach(&mut self, sources: &Sources) {
        let main = self.span().source;
        self.file = sources.named(main);
        let (here, there) = std::mem::take(&mut self.labels)
            .into_iter()
            .partition::<Vec<_>, _>(|label| label.span.source == main);
        self.labels = here;
        for label in there {
            let mut other = Self::new(self.code, label.span, label.text);
            other.file = sources.named(label.span.source);
            self.elsewhere.push(other);
        }
    }

    pub(crate) fn sort_key(&self) -> (Span, Code, Vec<Label>) {
        (self.span(), self.code, self.labels.clone())
    }
}

impl miette::Diagnostic for Diagnostic {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.code))
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.code.severity() {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        self.file.as_ref().map(|file| file as &dyn miette::SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = miette::LabeledSpan> + '_>> {
        self.file.as_ref()?;
        Some(drawn(&self.labels))
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn miette::Diagnostic> + 'a>> {
        related(&self.elsewhere)
    }
}

/// Labels as they are drawn: the first one is where it is.
pub(crate) fn drawn(labels: &[Label]) -> Box<dyn Iterator<Item = miette::LabeledSpan> + '_> {
    Box::new(labels.iter().enumerate().map(|(at, label)| {
        let text = Some(label.text.clone());
        if at == 0 {
            miette::LabeledSpan::new_primary_with_span(text, label.span)
        } else {
            miette::LabeledSpan::new_with_span(text, label.span)
        }
    }))
}

/// What is drawn behind it, if there is anything.
pub(crate) fn related<D: miette::Diagnostic>(
    others: &[D],
) -> Option<Box<dyn Iterator<Item = &dyn miette::Diagnostic> + '_>> {
    if others.is_empty() {
        return None;
    }
    Some(Box::new(others.iter().map(|other| other as &dyn miette::Diagnostic)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_their_numbers() {
        for (number, code) in Code::ALL.iter().enumerate() {
            assert_eq!(code.to_string(), format!("P{number:03}"));
        }
    }
}
