//! `marquetry print`: a model in ONNX's textual syntax.

use marquetry_ir::text::{self, PrintOptions};
use serde_json::json;

use super::answer::Answer;
use super::args::{Cli, Print};
use super::failure::Failure;
use super::load;

pub(crate) fn run(args: &Print, cli: &Cli) -> Result<Answer, Failure> {
    let model = load::model(&args.model, cli)?;
    let options = match (args.official, args.full) {
        (true, _) => PrintOptions::official(),
        (false, true) => PrintOptions::default(),
        (false, false) => PrintOptions::summary(),
    };
    let text = text::print(&model, &options);
    let json = json!({ "schema_version": 1, "text": text });
    Ok(Answer::new(text, json))
}
