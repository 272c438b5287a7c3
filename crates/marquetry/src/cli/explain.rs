//! `marquetry explain`: what a code means, and what was decided about a tensor.

mod tensor;

use marquetry_ir::check::{Explanation, Fact, Severity};
use marquetry_pattern::Code;
use marquetry_pattern::similar::closest;
use serde_json::{Value, json};

use super::answer::Answer;
use super::args::{Cli, Explain, Explained};
use super::failure::{Exit, Failure};

pub(crate) fn run(args: &Explain, cli: &Cli) -> Result<Answer, Failure> {
    match &args.what {
        Some(Explained::Tensor(args)) => tensor::run(args, cli),
        None => code(args.code.as_deref().unwrap_or_default()),
    }
}

fn code(asked: &str) -> Result<Answer, Failure> {
    let asked = asked.trim();
    if let Some(code) = Code::from_text(asked) {
        return Ok(pattern(code));
    }
    let violation = Fact::EXPLANATIONS.iter().find(|known| known.code.eq_ignore_ascii_case(asked));
    if let Some(known) = violation {
        return Ok(model(known));
    }
    let lower = asked.to_lowercase();
    let asked_here = lower.split_once('[').map_or(lower.as_str(), |(_, code)| code);
    if let Some((code, about)) =
        failures().find(|(code, _)| *code == asked_here.trim_end_matches(']'))
    {
        return Ok(general(code, about));
    }
    let codes: Vec<String> = codes();
    let nearest = closest(asked, codes.iter().map(String::as_str));
    let message = format!("there is no code `{asked}`");
    let failure = Failure::new(Exit::Usage, "unknown_code", message);
    let last = |letter| codes.iter().rev().find(|code| code.starts_with(letter)).cloned();
    Err(failure.hint(match nearest {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None => format!(
            "codes of pattern files are P000 to {}, codes of models V001 to {}; others stand in \
             brackets after `error`",
            last('P').unwrap_or_default(),
            last('V').unwrap_or_default()
        ),
    }))
}

/// All codes that can be explained.
fn codes() -> Vec<String> {
    let patterns = Code::ALL.iter().map(ToString::to_string);
    let models = Fact::CODES.iter().copied();
    let others = failures().map(|(code, _)| code);
    patterns.chain(models.chain(others).map(str::to_owned)).collect()
}

/// What is said about codes that are neither of pattern files nor of what is wrong with a model: that
/// of each crate whose errors reach the command line.
const FAILURES: &str = include_str!("codes.md");

/// Codes and what is said about them.
fn failures() -> impl Iterator<Item = (&'static str, &'static str)> {
    let sections = FAILURES.trim_start_matches("# ").split("\n# ");
    sections.filter_map(|section| section.split_once('\n'))
}

fn general(code: &str, about: &str) -> Answer {
    let about = about.trim();
    let title = about.lines().next().unwrap_or_default();
    let json = json!({
        "schema_version": 1,
        "code": code,
        "severity": "error",
        "title": title.trim_end_matches('.'),
        "text": about,
        "examples": [],
    });
    Answer::new(format!("{code}\n\n{about}\n"), json)
}

fn pattern(code: Code) -> Answer {
    let examples = code
        .examples()
        .into_iter()
        .map(|example| json!({ "bad": example.bad, "file": example.file, "text": example.text }));
    let json = json!({
        "schema_version": 1,
        "code": code.to_string(),
        "severity": code.severity().to_string(),
        "title": code.title(),
        "text": code.explain(),
        "examples": examples.collect::<Vec<Value>>(),
    });
    // Markdown is for programs; the fences say nothing to people.
    let text: String = code
        .explain()
        .lines()
        .map(|line| match line {
            "```pat bad" => "Wrong:".to_owned(),
            "```pat good" => "Right:".to_owned(),
            "```" => String::new(),
            _ => match line.strip_prefix("```pat bad file=") {
                Some(file) => format!("and in {file}:"),
                None => line.strip_prefix("# ").unwrap_or(line).to_owned(),
            },
        })
        .map(|line| line + "\n")
        .collect();
    Answer::new(text.replace("\n\n\n", "\n\n"), json)
}

fn model(known: &Explanation) -> Answer {
    let severity = if known.severity == Severity::Error { "error" } else { "warning" };
    let about = known.about.trim();
    let mut text = format!("{} {severity}\n\n{about}\n", known.code);
    if let Some(hint) = known.hint {
        text += &format!("\nWhat to do: {hint}.\n");
    }
    let json = json!({
        "schema_version": 1,
        "code": known.code,
        "severity": severity,
        "title": about.trim_end_matches('.'),
        "text": text,
        "hint": known.hint,
        "examples": [],
    });
    Answer::new(text, json)
}
