//! What samples, engines and passes refuse, as the command says it.

use marquetry_engine::{EngineError, SampleError};
use marquetry_quant::PassError;

use crate::cli::failure::{Exit, Failure};

pub(crate) fn sample_failure(error: &SampleError) -> Failure {
    Failure::new(Exit::Samples, error.code(), error).hint(error.hint())
}

pub(crate) fn engine_failure(error: &EngineError) -> Failure {
    let exit = match error {
        EngineError::Refused(_) | EngineError::Load { .. } => Exit::Unsupported,
        EngineError::Inputs { .. } | EngineError::Type { .. } => Exit::Samples,
        _ => Exit::Invalid,
    };
    let failure = Failure::new(exit, error.code(), error);
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// Why a pass failed.
pub(crate) fn pass_failure(error: &PassError) -> Failure {
    let exit = match error.code() {
        code if code.starts_with("samples_") => Exit::Samples,
        "no_samples" | "bad_sample" | "nan_in_calibration" => Exit::Samples,
        "statistics_unreadable" | "spill_failed" | "journal_failed" | "checkpoint_failed" => {
            Exit::Io
        }
        code if code.starts_with("statistics_") => Exit::Samples,
        code if code.starts_with("engine_") => Exit::Unsupported,
        "encodings_version" | "encodings_cannot_hold" | "not_in_onnx" => Exit::Unsupported,
        _ => Exit::Invalid,
    };
    let failure = Failure::new(exit, error.code(), error);
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}
