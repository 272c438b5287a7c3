//! The graph of a test.

use marquetry_ir::check::{self, Severity, Violation};
use marquetry_ir::text::{self, ParseError};
use marquetry_ir::{Graph, Model, Opsets};
use marquetry_pattern::core::OpsetRange;

/// The operator set of a graph that does not say its own, if it is valid there.
pub const OPSET: i64 = 23;

/// The oldest one that is tried.
const OLDEST: i64 = 7;

/// The version of the file format that knows all of these.
const IR_VERSION: i64 = 10;

/// Why a graph cannot be tested.
#[derive(Clone, Debug, PartialEq)]
pub enum GraphError {
    /// It is not in the syntax.
    Syntax(ParseError),
    /// It is no valid graph.
    Invalid(Box<Violation>),
}

/// The model of a graph in ONNX text.
///
/// Without a header it is of the newest operator set up to [`OPSET`] that all of `opsets` admit and in
/// which the graph is valid, so that text from older models can be pasted. The domains of its
/// operators are imported at version 1.
///
/// # Errors
///
/// When the text cannot be read, or the graph is not valid in any of these operator sets.
pub fn model(src: &str, opsets: &[OpsetRange]) -> Result<Model, GraphError> {
    if src.trim_start().starts_with('<') {
        let model = text::parse(src).map_err(GraphError::Syntax)?;
        return match violation(&model) {
            Some(violation) => Err(GraphError::Invalid(Box::new(violation))),
            None => Ok(model),
        };
    }
    let admitted = |version: &i64| {
        let ours = opsets.iter().filter(|range| matches!(range.domain.as_str(), "" | "ai.onnx"));
        ours.into_iter().all(|range| {
            i64::from(range.min) <= *version
                && range.max.is_none_or(|max| *version <= i64::from(max))
        })
    };
    let mut newest = None;
    // A range beyond them all: the pattern then says why it does not match.
    let versions = (OLDEST..=OPSET).rev().filter(admitted);
    for version in versions.chain([OPSET]) {
        let mut imports = Opsets::onnx(version);
        let graph = text::parse_graph(src, &imports).map_err(GraphError::Syntax)?;
        domains(&graph, &mut imports);
        let graph = text::parse_graph(src, &imports).map_err(GraphError::Syntax)?;
        let model = Model::new(IR_VERSION, graph);
        match violation(&model) {
            None => return Ok(model),
            Some(violation) => newest = newest.or(Some(violation)),
        }
    }
    let violation = newest.expect("at least one operator set has been tried");
    Err(GraphError::Invalid(Box::new(violation)))
}

fn violation(model: &Model) -> Option<Violation> {
    check::run(model).into_iter().find(|violation| violation.severity == Severity::Error)
}

/// Imports the domains of all operators that are not imported yet.
fn domains(graph: &Graph, imports: &mut Opsets) {
    let mut graphs = vec![graph];
    while let Some(graph) = graphs.pop() {
        for node in graph.nodes().map(|node| graph.node(node)) {
            if imports.version(&node.domain).is_none() {
                imports.set(&node.domain, 1);
            }
            graphs.extend(node.bodies());
        }
    }
}
