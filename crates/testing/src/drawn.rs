//! What is wrong, as a picture in the message of a panic.

use std::fmt::Write;

use marquetry_matcher::testing::{Failure, Ran};
use marquetry_pattern::{Diagnostic, Label, Library, Remark};
use miette::{GraphicalReportHandler, GraphicalTheme};

/// The width of pictures.
const WIDTH: usize = 100;

fn picture(diagnostic: &dyn miette::Diagnostic) -> String {
    let theme = GraphicalTheme::unicode_nocolor();
    let handler = GraphicalReportHandler::new_themed(theme).with_width(WIDTH).with_links(false);
    let mut text = String::new();
    handler.render_report(&mut text, diagnostic).expect("a string takes any text");
    text
}

/// All errors of pattern files.
pub(crate) fn errors(errors: &[Diagnostic]) -> String {
    errors.iter().map(|error| picture(error)).collect()
}

/// What was not as the tests of a library expect.
pub(crate) fn failures(library: &Library, ran: &[Ran<'_>]) -> String {
    let mut text = String::new();
    for ran in ran {
        for failure in &ran.failures {
            text.push_str(&self::failure(library, &ran.test.title.text, failure));
        }
    }
    text
}

/// Something about places in the files of a library.
pub(crate) fn remark(
    library: &Library,
    code: &str,
    title: &str,
    labels: &[Label],
    hint: Option<&str>,
) -> String {
    picture(&Remark::new(library.sources(), code, title, labels, hint))
}

fn failure(library: &Library, title: &str, failure: &Failure) -> String {
    let title = format!("{title}: {}", failure.fact);
    let hint = failure.hint.as_deref();
    let mut text = remark(library, failure.code, &title, &failure.labels, hint);
    for line in &failure.difference {
        writeln!(text, "    {line}").expect("a string takes any text");
    }
    text
}
