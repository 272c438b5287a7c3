//! Runs the tests that stand in pattern files.
//!
//! ```
//! use marquetry_matcher::{Schemas, testing};
//! use marquetry_pattern::Library;
//!
//! let library = Library::parse(
//!     "square.pat",
//!     r#"
//!     pattern Square (x) => (y) { y = x ^ 2 | x * x }
//!
//!     test "a product of a value with itself"
//!       g (float[8] a) => (float[8] b) { b = Mul (a, a) }
//!       matches Square { x = a, y = b }
//!     "#,
//!     &Schemas,
//! )
//! .unwrap();
//! let setting = testing::Setting::default();
//! let ran = testing::run(&library, &library.tests()[0], &setting);
//! assert!(ran.passed());
//! ```
//!
//! A test that fails says what was expected and what was found, at the place where the expectation is
//! written, and often has [`Edit`]s that make it true: [`bless`] applies these.

mod edit;
mod graph;
mod matching;
mod rewriting;
mod same;
mod write;

use marquetry_ir::{Evaluate, Model};
use marquetry_pattern::ast::{ExpectKind, Test, TestKind};
use marquetry_pattern::core::Pattern;
use marquetry_pattern::{Label, Library, Span};

pub use self::edit::{Edit, bless};
pub use self::graph::{GraphError, OPSET, model};
pub(crate) use self::write::{float, is_name};

/// Reads the model of a test: the path of the pattern file, and the path that the test gives.
pub type ReadModel<'a> = &'a dyn Fn(&str, &str) -> Result<Model, String>;

/// What tests need from outside.
#[derive(Clone, Copy, Default)]
pub struct Setting<'a> {
    /// Reads models that tests name; without it such tests fail.
    pub read: Option<ReadModel<'a>>,
    /// Runs operators on constants where a test rewrites; without it nothing is folded, and rules that
    /// fold are refused.
    pub evaluate: Option<&'a dyn Evaluate>,
}

/// A test that was run.
#[derive(Clone, Debug)]
pub struct Ran<'l> {
    /// The test.
    pub test: &'l Test,
    /// What was not as expected; nothing if it passed.
    pub failures: Vec<Failure>,
}

impl Ran<'_> {
    /// Whether everything was as expected.
    pub fn passed(&self) -> bool {
        self.failures.is_empty()
    }
}

/// Something that was not as a test expects.
#[derive(Clone, Debug)]
pub struct Failure {
    /// A stable name for the kind of failure.
    pub code: &'static str,
    /// What is wrong in one sentence.
    pub fact: String,
    /// Where it shows: first the place in the test, then places in the pattern.
    pub labels: Vec<Label>,
    /// What was expected, and what was found, line by line; empty where the fact says it all.
    pub difference: Vec<Line>,
    /// The next step.
    pub hint: Option<String>,
    /// What to write instead, so that the test passes; nothing where that is not for a machine to say.
    pub edits: Vec<Edit>,
}

/// What a part of a test gives, unless it fails.
type Met<T = ()> = Result<T, Box<Failure>>;

/// A line of a comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// In both.
    Same(String),
    /// Expected, and not there.
    Expected(String),
    /// There, and not expected.
    Found(String),
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Same(text) => write!(f, "  {text}"),
            Self::Expected(text) => write!(f, "- {text}"),
            Self::Found(text) => write!(f, "+ {text}"),
        }
    }
}

impl Failure {
    fn new(code: &'static str, span: Span, fact: impl Into<String>, label: &str) -> Self {
        let label = Label { span, text: label.to_owned() };
        Self {
            code,
            fact: fact.into(),
            labels: vec![label],
            difference: Vec::new(),
            hint: None,
            edits: Vec::new(),
        }
    }

    fn label(mut self, span: Span, text: impl Into<String>) -> Self {
        self.labels.push(Label { span, text: text.into() });
        self
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The place in the test.
    pub fn span(&self) -> Span {
        self.labels.first().map(|label| label.span).unwrap_or_default()
    }
}

/// Runs one test of a library.
pub fn run<'l>(library: &'l Library, test: &'l Test, setting: &Setting<'_>) -> Ran<'l> {
    let failures = match &test.kind {
        TestKind::Counts { model, counts } => {
            matching::counts(library, test, model, counts, setting)
        }
        TestKind::Graph { graph, expects } => {
            let mut failures = Vec::new();
            for expect in expects {
                let failure = match &expect.kind {
                    ExpectKind::Matches { pattern, bindings } => {
                        matching::matches(library, graph, expect.span, pattern, bindings)
                    }
                    ExpectKind::Rejects { pattern, because } => {
                        matching::rejects(library, graph, expect.span, pattern, because.as_ref())
                    }
                    ExpectKind::Becomes { by, graph: after } => {
                        rewriting::becomes(library, test, graph, by, after, setting)
                    }
                };
                failures.extend(failure.err().map(|failure| *failure));
            }
            failures
        }
    };
    Ran { test, failures }
}

/// Runs all tests of a library, in file order.
pub fn run_all<'l>(library: &'l Library, setting: &Setting<'_>) -> Vec<Ran<'l>> {
    library.tests().iter().map(|test| run(library, test, setting)).collect()
}

/// The pattern that a test names.
fn named<'l>(library: &'l Library, name: &marquetry_pattern::ast::Name) -> &'l Pattern {
    library.tested(name).expect("the library refuses tests of what is not there")
}

/// The first line of a graph: a place that can be drawn.
fn first_line(graph: &marquetry_pattern::ast::Name) -> Span {
    let length = graph.text.lines().next().map_or(0, str::len);
    let start = graph.span.start as usize;
    Span::new(graph.span.source, start, start + length)
}
