//! Export: what users take away.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Content, Context, Fact, Output, Pass, PassError, State, Summary};
use crate::export::{encodings, qdq};

/// Lowers the plan to files; they are written when all passes are through.
///
/// In RON: `Export(qdq: "out.onnx", encodings: (path: "out.encodings", version: "1.0.0"))`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Export {
    /// The model with QuantizeLinear and DequantizeLinear.
    pub qdq: Option<PathBuf>,
    /// The encodings in AIMET's format.
    pub encodings: Option<EncodingsFile>,
}

/// A file of encodings.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncodingsFile {
    /// Where it goes.
    pub path: PathBuf,
    /// The version of the format.
    #[serde(default = "newest")]
    pub version: String,
}

fn newest() -> String {
    "1.0.0".to_owned()
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

    fn run(&self, state: &mut State, _: &Context<'_>) -> Result<Summary, PassError> {
        let mut written = Vec::new();
        let mut notes = Vec::new();
        if let Some(path) = &self.qdq {
            let lowered = qdq::lower(&state.model, &state.plan)?;
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
            if file.version != "1.0.0" {
                return Err(PassError::EncodingsVersion { version: file.version.clone() });
            }
            let text = encodings::render(&state.model.graph, &state.plan);
            written.push(format!("{} (encodings {})", file.path.display(), file.version));
            state.outputs.push(Output { path: file.path.clone(), content: Content::Text(text) });
        }
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
