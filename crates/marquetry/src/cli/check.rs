//! `marquetry check`: what is wrong with a model.

use std::fmt::Write as _;

use marquetry_ir::check::{self, Severity, Target};
use serde_json::{Value, json};

use super::answer::{Answer, plural};
use super::args::{Check, Cli};
use super::failure::{Exit, Failure};
use super::load;

pub(crate) fn run(args: &Check, cli: &Cli) -> Result<Answer, Failure> {
    let target = Target::from_name(&args.target).ok_or_else(|| {
        Failure::new(Exit::Usage, "unknown_target", format!("there is no target `{}`", args.target))
            .hint(format!("use one of {}", Target::NAMES.join(", ")))
    })?;
    let model = load::model(&args.model, cli)?;
    let violations = check::run_for(&model, target);
    let errors =
        violations.iter().filter(|violation| violation.severity == Severity::Error).count();
    let warnings = violations.len() - errors;

    let mut text = String::new();
    for violation in &violations {
        writeln!(text, "{violation}").expect("a string takes any text");
        if let Some(hint) = violation.hint() {
            writeln!(text, "  help: {hint}").expect("a string takes any text");
        }
    }
    writeln!(text, "{}, {}", plural(errors, "error"), plural(warnings, "warning"))
        .expect("a string takes any text");
    let listed: Vec<Value> = violations
        .iter()
        .map(|violation| {
            json!({
                "code": violation.code(),
                "severity": if violation.severity == Severity::Error { "error" } else { "warning" },
                "place": violation.place.to_string(),
                "message": violation.fact.to_string(),
                "hint": violation.hint(),
            })
        })
        .collect();
    let json = json!({ "schema_version": 1, "errors": errors, "warnings": warnings, "violations": listed });
    let mut answer = Answer::new(text, json);
    answer.found = (errors > 0).then_some(Exit::Found);
    Ok(answer)
}
