//! Something to say about places in sources that are right as such.

use std::fmt;
use std::sync::Arc;

use crate::diagnostic::{Label, drawn, related};
use crate::source::Sources;

/// What there is to say about places in the sources of a library: a test that failed, a pattern that
/// nearly matches.
///
/// It displays as its title and implements [`miette::Diagnostic`]; how it is drawn is up to the caller.
/// Errors of the sources themselves are [`Diagnostic`](crate::Diagnostic)s.
#[derive(Clone, Debug)]
pub struct Remark {
    code: String,
    title: String,
    help: Option<String>,
    labels: Vec<Label>,
    file: Option<miette::NamedSource<Arc<str>>>,
    elsewhere: Vec<Remark>,
}

impl Remark {
    /// Returns a remark with a stable code, a title, a next step, and the places that show it. The file
    /// of the first place is shown first.
    pub fn new(
        sources: &Sources,
        code: &str,
        title: &str,
        labels: &[Label],
        help: Option<&str>,
    ) -> Self {
        let mut remark = Self {
            code: code.to_owned(),
            title: title.to_owned(),
            help: help.map(str::to_owned),
            labels: Vec::new(),
            file: None,
            elsewhere: Vec::new(),
        };
        let Some(main) = labels.first().map(|label| label.span.source) else { return remark };
        remark.file = sources.named(main);
        for label in labels {
            if label.span.source == main {
                remark.labels.push(label.clone());
            } else {
                remark.elsewhere.push(Self {
                    code: code.to_owned(),
                    title: label.text.clone(),
                    help: None,
                    labels: vec![label.clone()],
                    file: sources.named(label.span.source),
                    elsewhere: Vec::new(),
                });
            }
        }
        remark
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.title)
    }
}

impl std::error::Error for Remark {}

impl miette::Diagnostic for Remark {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(&self.code))
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
