//! The options of verbs about encodings.

use std::path::PathBuf;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum Encodings {
    /// Writes the encodings of a quantized model.
    Export {
        /// The quantized model.
        model: PathBuf,
        /// Where the encodings go; versions are 0.6.1, 1.0.0 and 2.0.0.
        #[arg(short, long, value_name = "FILE[@VERSION]")]
        output: String,
        /// Also writes the model without its quantizers.
        #[arg(long, value_name = "FILE.onnx")]
        float: Option<PathBuf>,
        /// Prints one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Quantizes a float model as a file of encodings, or of ONNX Runtime's tensor overrides, says.
    Import {
        /// The float model.
        model: PathBuf,
        /// The encodings.
        encodings: PathBuf,
        /// Where the quantized model goes.
        #[arg(short, long, value_name = "FILE.onnx", required_unless_present = "dry_run")]
        output: Option<PathBuf>,
        /// Leaves out what does not fit the model, instead of refusing it.
        #[arg(long)]
        lenient: bool,
        /// Says what would be written, and writes nothing.
        #[arg(long)]
        dry_run: bool,
        /// Prints one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Writes encodings in another version of the format.
    Convert {
        /// The encodings.
        file: PathBuf,
        /// Where they go.
        #[arg(short, long, value_name = "FILE[@VERSION]")]
        output: String,
        /// The float model, which knows what the file does not say.
        #[arg(long, value_name = "FILE.onnx")]
        model: Option<PathBuf>,
        /// Leaves out what does not fit the model, instead of refusing it.
        #[arg(long)]
        lenient: bool,
        /// Prints one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Says which tensors of a model have no encoding in a file.
    Check {
        /// The float model.
        model: PathBuf,
        /// The encodings.
        file: PathBuf,
        /// Prints one JSON object.
        #[arg(long)]
        json: bool,
    },
}
