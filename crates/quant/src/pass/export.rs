//! Export: what users take away.

use std::path::{Path, PathBuf};

use marquetry_ir::{ValueId, infer};
use serde::{Deserialize, Serialize};

use super::{Content, Context, Fact, Output, Pass, PassError, State, Summary};
use crate::Policy;
use crate::effective::with_moved;
use crate::encodings::{self, EncodingsError, Version};
use crate::export::qdq;
use crate::flat::Flat;
use crate::units::Units;

/// Lowers the plan to files; they are written when all passes are through.
///
/// In RON: `Export(qdq: "out.onnx", encodings: (path: "out.encodings", version: "1.0.0"), report:
/// "out.html")`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Export {
    /// The model with QuantizeLinear and DequantizeLinear.
    pub qdq: Option<PathBuf>,
    /// The encodings in AIMET's format.
    pub encodings: Option<EncodingsFile>,
    /// A report of the run, a page or JSON, as its name ends. Whoever runs the pipeline writes it when all
    /// is through, because it tells of the files too: `marquetry run` does.
    pub report: Option<PathBuf>,
}

/// A file of encodings.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncodingsFile {
    /// Where it goes.
    pub path: PathBuf,
    /// The version of the format.
    #[serde(default = "usual")]
    pub version: String,
}

impl Default for EncodingsFile {
    fn default() -> EncodingsFile {
        EncodingsFile { path: "out.encodings".into(), version: usual() }
    }
}

impl EncodingsFile {
    fn version(&self) -> Result<Version, PassError> {
        let version = || EncodingsError::Version { version: self.version.clone() };
        Version::parse(&self.version).ok_or_else(version).map_err(PassError::Encodings)
    }
}

/// What most readers take.
fn usual() -> String {
    Version::V1_0_0.name().to_owned()
}

/// The plan as it is lowered: where everything is quantized, who reads what is moved reads integers
/// as well.
///
/// # Errors
///
/// When the graph has a cycle.
pub fn lowered_plan(state: &State) -> Result<crate::Plan, PassError> {
    let Some(rules) = state.policy.everywhere() else { return Ok(state.plan.clone()) };
    let types = infer::run(&state.model);
    let flat = Flat::of(&state.model.graph, &types, &state.groups, &state.plan)
        .map_err(|error| PassError::Graph { message: error.to_string() })?;
    let units = Units::of(&flat.graph, &flat.types, &flat.groups, &rules.groups)
        .map_err(|cycle| PassError::Graph { message: cycle.to_string() })?;
    let plan = flat.enter(state.plan.clone());
    Ok(flat.leave(with_moved(&flat.graph, &flat.types, &units, &plan)))
}

impl Pass for Export {
    fn name(&self) -> &str {
        "Export"
    }

    fn requires(&self) -> &[Fact] {
        &[Fact::Encodings]
    }

    fn provides(&self) -> &[Fact] {
        &[]
    }

    fn check(&self, _: &Policy) -> Result<(), PassError> {
        if let Some(path) = &self.report {
            let end = path.extension().and_then(|end| end.to_str());
            if !matches!(end, Some("html" | "htm" | "json")) {
                return Err(PassError::Parameter {
                    pass: "Export",
                    parameter: "report",
                    value: path.display().to_string(),
                    allowed: "a name that ends in `.html` or `.json`, which says what it is",
                });
            }
        }
        self.encodings.as_ref().map_or(Ok(()), |file| file.version().map(|_| ()))
    }

    fn writes(&self) -> Vec<&Path> {
        let encodings = self.encodings.as_ref().map(|file| file.path.as_path());
        self.qdq.as_deref().into_iter().chain(encodings).chain(self.report.as_deref()).collect()
    }

    fn touches(&self, state: &State) -> Vec<ValueId> {
        state.plan.enabled().map(|(value, _)| value).collect()
    }

    fn run(&self, state: &mut State, _: &Context<'_>) -> Result<Summary, PassError> {
        let mut written = Vec::new();
        let mut notes = Vec::new();
        if let Some(path) = &self.qdq {
            let lowered = qdq::lower(&state.model, &lowered_plan(state)?)?;
            written.push(format!(
                "{} with {} QuantizeLinear and {} DequantizeLinear",
                path.display(),
                lowered.quantize,
                lowered.dequantize
            ));
            notes.extend(lowered.notes);
            let content = Content::Model(Box::new(lowered.model));
            state.outputs.push(Output { path: path.clone(), content });
        }
        if let Some(file) = &self.encodings {
            let version = file.version()?;
            let graph = &state.model.graph;
            let types = infer::run(&state.model);
            let document = encodings::of_plan(graph, &types, &state.plan, version)
                .map_err(PassError::Encodings)?;
            notes.extend(document.notes.iter().cloned());
            let text = encodings::render(&document, version).map_err(PassError::Encodings)?;
            written.push(format!("{} (encodings {})", file.path.display(), file.version));
            if state.plan.was_noted_by(super::equalize::NAME) {
                notes.push(
                    "these encodings do not fit the float model as it was, because its weights were \
                     equalized; without `Equalize` (`--no-equalize`) they do"
                        .to_owned(),
                );
            }
            state.outputs.push(Output { path: file.path.clone(), content: Content::Text(text) });
        }
        written.extend(self.report.iter().map(|path| format!("{} (report)", path.display())));
        let mut summary = Summary::new(
            self,
            match written.is_empty() {
                true => "nothing was asked for".to_owned(),
                false => written.join(", "),
            },
        );
        summary.notes = notes;
        Ok(summary)
    }
}
