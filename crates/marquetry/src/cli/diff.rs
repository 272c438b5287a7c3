//! `marquetry diff`: in what two models differ.

use std::fmt::Write as _;

use marquetry_ir::diff::{self, Change};
use serde_json::{Value, json};

use super::answer::{Answer, plural};
use super::args::{Cli, Diff};
use super::failure::{Exit, Failure};
use super::load;

/// Differences that the text names; the JSON has them all.
const SHOWN: usize = 60;

pub(crate) fn run(args: &Diff, cli: &Cli) -> Result<Answer, Failure> {
    load::one_standard_input(&[&args.left, &args.right])?;
    let [left, right] = [load::model(&args.left, cli)?, load::model(&args.right, cli)?];
    let changes = diff::changes(&left, &right);
    let operators: Vec<(String, [usize; 2])> = diff::operators(&left, &right)
        .into_iter()
        .filter(|(_, [left, right])| left != right)
        .collect();
    let json = json!({
        "schema_version": 1,
        "same": changes.is_empty(),
        "operators": operators.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
        "changes": changes.iter().map(one).collect::<Vec<_>>(),
    });
    let mut answer = Answer::new(text(&changes, &operators), json);
    answer.found = (!changes.is_empty()).then_some(Exit::Found);
    Ok(answer)
}

fn one(change: &Change) -> Value {
    json!({
        "subject": change.subject.word(),
        "function": change.function,
        "name": change.name,
        "aspect": change.aspect,
        "left": change.left,
        "right": change.right,
    })
}

fn text(changes: &[Change], operators: &[(String, [usize; 2])]) -> String {
    if changes.is_empty() {
        return "no difference\n".to_owned();
    }
    let mut text = String::new();
    if !operators.is_empty() {
        let counted =
            |(name, [left, right]): &(String, [usize; 2])| format!("{name} {left} → {right}");
        let counts: Vec<String> = operators.iter().map(counted).collect();
        writeln!(text, "operators  {}\n", counts.join(", ")).expect("a string takes any text");
    }
    for change in changes.iter().take(SHOWN) {
        writeln!(text, "{change}").expect("a string takes any text");
    }
    let rest = changes.len().saturating_sub(SHOWN);
    if rest > 0 {
        writeln!(text, "… and {rest} more; --json names them all")
            .expect("a string takes any text");
    }
    writeln!(text, "\n{}", plural(changes.len(), "difference")).expect("a string takes any text");
    text
}
