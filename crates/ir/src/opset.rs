//! Other versions of the standard operators: which of them mean the same, and models brought to a newer one.
//!
//! ```
//! use marquetry_ir::{opset, text};
//! let mut model = text::parse(r#"<ir_version: 8, opset_import: ["": 17]>
//! g (float[2,3] x) => (float[2,1] y) { y = ReduceMean <axes = [1]> (x) }"#).unwrap();
//! assert_eq!(opset::raise(&mut model, 18).unwrap().from, 17);
//! assert!(text::print(&model, &Default::default()).contains("y = ReduceMean (x, axes)"));
//! ```

mod convert;
mod draft;
mod same;

use self::draft::Plan;
use crate::infer::{self, Types};
use crate::schema::newest_opset;
use std::collections::BTreeMap;

use crate::{Function, Graph, Model, NodeId, Use};

/// What became of a model that was brought to a newer opset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Raised {
    /// The opset that it had.
    pub from: i64,
    /// The operators that are written otherwise now, bodies and functions included, and how many of each.
    pub rewritten: BTreeMap<String, usize>,
    /// Reading edges of the main graph that moved to another input or another node; without one where a
    /// constant is read in its place.
    pub moved: BTreeMap<Use, Option<Use>>,
}

/// Why a model cannot be brought to another opset.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RaiseError {
    /// An operator means something else there, and cannot be written otherwise.
    #[error("`{op_type}` at `{output}`{} cannot be brought from opset {from} to {to}: {why}", of(.function))]
    Obstacle {
        /// The operator.
        op_type: String,
        /// What its node computes first.
        output: String,
        /// The function of the model that it stands in.
        function: Option<String>,
        /// The opset of the graph.
        from: i64,
        /// The opset that was asked for.
        to: i64,
        /// What stands against it.
        why: String,
    },
    /// The model is of a newer one.
    #[error("the model is of opset {from}, which is newer than {to}")]
    Lower {
        /// The opset of the model.
        from: i64,
        /// The opset that was asked for.
        to: i64,
    },
    /// There is no such opset yet.
    #[error("there is no opset {to}; the newest one known is {newest}")]
    Unknown {
        /// The opset that was asked for.
        to: i64,
        /// The newest one.
        newest: i64,
    },
}

fn of(function: &Option<String>) -> String {
    function.as_ref().map_or_else(String::new, |name| format!(" in the function `{name}`"))
}

impl RaiseError {
    /// A stable name for the kind of error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Obstacle { .. } => "opset_not_raised",
            Self::Lower { .. } => "opset_lower",
            Self::Unknown { .. } => "unknown_opset",
        }
    }

    /// What can be done about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Obstacle { .. } => {
                "export the model for the newer opset, or leave the opset as it is".to_owned()
            }
            Self::Lower { from, .. } => {
                format!("an opset can only be raised: ask for more than {from}, or for none")
            }
            Self::Unknown { newest, .. } => format!("ask for {newest} at most"),
        }
    }
}

/// Brings a model to a newer opset, its functions too: attributes that became inputs are written as
/// constants, operators that changed in other ways are written so that they mean what they meant. What
/// the model computes stays the same to the bit. Functions of a newer opset yet stay as they are. Returns
/// the opset that the model had.
///
/// # Errors
///
/// When an operator has no equal there, and where there is no way up to the opset. The model is as it
/// was then.
pub fn raise(model: &mut Model, to: i64) -> Result<Raised, RaiseError> {
    let from = model.graph.opsets.version("").unwrap_or(1);
    let newest = newest_opset();
    if to > newest {
        return Err(RaiseError::Unknown { to, newest });
    }
    if to < from {
        return Err(RaiseError::Lower { from, to });
    }
    let main = plan(&model.graph, None, to, |_| infer::run(model))?;
    let functions = model.functions.iter();
    let functions =
        functions.map(|function| plan(&function.body, Some(function), to, infer::run_graph));
    let functions = functions.collect::<Result<Vec<_>, _>>()?;
    let mut names = draft::Names::of(model);
    let mut raised = Raised { from, ..Raised::default() };
    if let Some(main) = main {
        raised.moved = main.apply(&mut model.graph, &mut names, &mut raised.rewritten, false, to);
    }
    import(&mut model.graph, to);
    for (plan, function) in functions.into_iter().zip(&mut model.functions) {
        if let Some(plan) = plan {
            plan.apply(&mut function.body, &mut names, &mut raised.rewritten, true, to);
        }
    }
    model.ir_version = model.ir_version.max(ir_version(to));
    if names.written() {
        // Up to version 3 a constant has to be an input as well.
        model.ir_version = model.ir_version.max(4);
    }
    Ok(raised)
}

/// What has to change in a graph, if it is of an older opset.
fn plan(
    graph: &Graph,
    function: Option<&Function>,
    to: i64,
    types: impl FnOnce(&Graph) -> Types,
) -> Result<Option<Plan>, RaiseError> {
    let outdated = graph.opsets.version("").is_some_and(|from| from < to);
    outdated.then(|| Plan::new(graph, &types(graph), function, to)).transpose()
}

fn import(graph: &mut Graph, to: i64) {
    graph.opsets.set("", to);
    let holds = |node: &NodeId| graph.node(*node).bodies().next().is_some();
    for node in graph.nodes().filter(holds).collect::<Vec<_>>() {
        graph.edit_bodies(node, |body| import(body, to));
    }
}

/// The first version of the file format that allows an opset.
pub fn ir_version(opset: i64) -> i64 {
    match opset {
        ..9 => 3,
        9 => 4,
        10 => 5,
        11 => 6,
        12..15 => 7,
        15..19 => 8,
        19 | 20 => 9,
        21 | 22 => 10,
        23 => 11,
        24 => 12,
        25..28 => 13,
        _ => 14,
    }
}
