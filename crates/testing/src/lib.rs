//! Snapshot tests for patterns and rules: a graph as text, a pattern as text, and what is found or what
//! becomes of it.
//!
//! ```
//! use marquetry_testing::assert_matches;
//!
//! assert_matches!(
//!     "pattern Square (x) => (y) { y = x ^ 2 | x * x }",
//!     "g (float[8] x) => (float[8] y) { y = Mul (x, x) }",
//!     @r"
//!     Square: x=x y=y
//!       y=Mul
//!     "
//! );
//! ```
//!
//! ```
//! use marquetry_testing::assert_rewrite;
//!
//! assert_rewrite!(
//!     "rule double_neg: Neg(Neg(x)) ~> x",
//!     "g (float[8] x) => (float[8] y) { a = Neg (x) b = Neg (a) y = Relu (b) }",
//!     @r"
//!     double_neg at b: 2 nodes become 0
//!
//!     g (float[8] x) => (float[8] y) {
//!        y = Relu (x)
//!     }
//!     "
//! );
//! ```
//!
//! Without the inline text, the snapshot is a file beside the test. `cargo insta review` accepts what has
//! changed. The tests inside a pattern file run with [`assert_pattern_tests!`], or without any Rust with
//! `marquetry pattern test`; that its patterns are what their `equals` says, and its rules right, with
//! [`assert_verified!`] or `marquetry pattern verify`. Pattern texts may `use` the shipped definitions, such as `"std/math.pat"`.

mod drawn;
mod rewriting;
mod suite;
mod verified;

use std::fmt::Write;

use marquetry_ir::{Graph, Model, Opsets, ValueId, infer, text};
use marquetry_matcher::{Bound, Group, Groups, Options, Schemas, Spelling, find, group};
use marquetry_pattern::{Files, Library};

pub use self::rewriting::rewritten;
pub use self::suite::run_file;
pub use self::verified::verify_file;

#[doc(hidden)]
pub use insta as __insta;

/// The operator set that a graph without a header is written for.
pub const OPSET: i64 = marquetry_matcher::testing::OPSET;

/// Snapshots what a pattern finds in a graph, inline (`@"…"`) or in a file beside the test.
///
/// The pattern is the text of a `.pat` file, the graph is in ONNX's textual syntax, with or without a
/// header. `cargo insta review` accepts what has changed.
#[macro_export]
macro_rules! assert_matches {
    ($pattern:expr, $graph:expr $(, @$snapshot:literal)? $(,)?) => {
        $crate::__insta::assert_snapshot!($crate::matches($pattern, $graph) $(, @$snapshot)?)
    };
}

/// Snapshots what becomes of a graph, inline (`@"…"`) or in a file beside the test.
///
/// The rules of the text are applied until nothing changes, or, where it has no rules, patterns are
/// replaced by what they are said to equal. `by "…"` says what is applied instead: names of rules,
/// `fuse P`, `outline P` and `expand P`, with commas between them.
///
/// ```
/// use marquetry_testing::assert_rewrite;
///
/// assert_rewrite!(
///     "pattern Silu (x) => (y) { y = x * Sigmoid(x) }",
///     "g (float[8] a) => (float[8] b) { s = Sigmoid (a) b = Mul (s, a) }",
///     by "outline Silu",
///     @r#"
///     outline Silu at b: 2 nodes become 1
///
///     g (float[8] a) => (float[8] b) {
///        b = marquetry.patterns.Silu (a)
///     }
///     "#
/// );
/// ```
#[macro_export]
macro_rules! assert_rewrite {
    ($rules:expr, $graph:expr, by $by:expr $(, @$snapshot:literal)? $(,)?) => {
        $crate::__insta::assert_snapshot!($crate::rewritten($rules, $graph, $by) $(, @$snapshot)?)
    };
    ($rules:expr, $graph:expr $(, @$snapshot:literal)? $(,)?) => {
        $crate::__insta::assert_snapshot!($crate::rewritten($rules, $graph, "") $(, @$snapshot)?)
    };
}

/// Runs the `test` blocks of a pattern file, whose path is relative to the folder of the crate's manifest.
///
/// What is not as expected is drawn in the message of the panic. `marquetry pattern test --bless` writes
/// what is found into the file.
///
/// ```
/// # fn in_a_test() {
/// marquetry_testing::assert_pattern_tests!("../../examples/write-a-pattern/gelu.pat");
/// # }
/// # in_a_test();
/// ```
#[macro_export]
macro_rules! assert_pattern_tests {
    ($file:expr $(,)?) => {
        $crate::run_file(::std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join($file))
    };
}

/// Verifies the patterns with an `equals` and the rules of a file, whose path is relative to the folder of
/// the crate's manifest: both sides are run on graphs made from the pattern, and compared.
///
/// What differs is drawn in the message of the panic, with the smallest graph on which it does, written
/// as a `test` block. `verify off "reason"` in the file excepts a pattern. Samples are no proof; the same
/// ones are drawn every time.
///
/// ```
/// # fn in_a_test() {
/// marquetry_testing::assert_verified!("../../examples/write-a-pattern/gelu.pat");
/// # }
/// # in_a_test();
/// ```
#[macro_export]
macro_rules! assert_verified {
    ($file:expr $(,)?) => {
        $crate::verify_file(::std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join($file))
    };
}

/// What the patterns of a text find in a graph, as [`render`] shows it.
///
/// # Panics
///
/// Where one of the texts is wrong: it is the test then that is wrong.
pub fn matches(patterns: &str, graph: &str) -> String {
    let library = library(patterns);
    let model = model(graph);
    render(&model, &groups(&model, &library))
}

/// The library of a text, which may use the shipped files.
fn library(text: &str) -> Library {
    let mut files = marquetry::library::FILES.to_vec();
    files.push(("test.pat", text));
    let library = Library::load(&Files(&files), &["test.pat"], &Schemas);
    library.unwrap_or_else(|errors| panic!("the pattern is wrong:\n{}", drawn::errors(&errors)))
}

/// The model of a text: a whole one, or a graph without a header, which is of opset [`OPSET`] then.
///
/// # Panics
///
/// Where the text is wrong.
pub fn model(src: &str) -> Model {
    let parsed = if src.trim_start().starts_with('<') {
        text::parse(src)
    } else {
        text::parse_graph(src, &Opsets::onnx(OPSET)).map(|graph| Model::new(10, graph))
    };
    parsed.unwrap_or_else(|error| panic!("the graph is wrong: {error}"))
}

/// The groups that a library finds in a model.
pub fn groups(model: &Model, library: &Library) -> Groups {
    let types = infer::run(model);
    let matches = find(model, &types, library.patterns(), &Options::default());
    group(&matches, library.patterns())
}

/// Groups as text, nested ones indented: the pattern, what its variables are bound to, and a line with
/// the nodes by their first results. Empty where there are none.
pub fn render(model: &Model, groups: &Groups) -> String {
    let mut out = String::new();
    for group in groups.groups.iter().filter(|group| group.parent.is_none()) {
        show(&mut out, model, groups, group, 0);
    }
    out
}

fn show(out: &mut String, model: &Model, groups: &Groups, group: &Group, depth: usize) {
    let graph = groups.graph(model, group.place);
    let indent = "  ".repeat(depth);
    let meant = if group.spelling == Spelling::Meaning { " (the operator)" } else { "" };
    let bindings = group.bindings.iter().filter(|binding| binding.bound != Bound::Absent);
    let bindings: String = bindings
        .map(|binding| format!(" {}={}", binding.name, bound(graph, &binding.bound)))
        .collect();
    let nodes: Vec<_> = group
        .nodes
        .iter()
        .map(|&node| {
            let output = graph.outputs(node).into_iter().flatten().next();
            format!(
                "{}={}",
                output.map_or("", |value| name(graph, value)),
                graph.node(node).op_type
            )
        })
        .collect();
    let (pattern, nodes) = (&group.pattern, nodes.join(" "));
    writeln!(out, "{indent}{pattern}{meant}:{bindings}\n{indent}  {nodes}")
        .expect("a string takes any text");
    for inner in &groups.groups {
        let parent = inner.parent.map(|id| groups.get(id));
        if parent.is_some_and(|parent| std::ptr::eq(parent, group)) {
            show(out, model, groups, inner, depth + 1);
        }
    }
}

fn name(graph: &Graph, value: ValueId) -> &str {
    graph.value(value).name()
}

fn bound(graph: &Graph, content: &Bound) -> String {
    match content {
        Bound::Absent => "none".to_owned(),
        Bound::Value(value) => name(graph, *value).to_owned(),
        Bound::Int(number) => number.to_string(),
        Bound::Float(number) => format!("{number:.6}").trim_end_matches('0').to_owned(),
        Bound::Text(text) | Bound::Symbol(text) => text.clone(),
        Bound::Dtype(dtype) => dtype.to_string(),
        Bound::Operator(_, name) => name.clone(),
        Bound::Attributes(attributes) => {
            let each = attributes
                .iter()
                .map(|(name, content)| format!("{name}={}", bound(graph, content)));
            format!("<{}>", each.collect::<Vec<_>>().join(", "))
        }
        Bound::List(items) => {
            let items: Vec<_> = items.iter().map(|item| bound(graph, item)).collect();
            format!("[{}]", items.join(", "))
        }
    }
}
