//! `marquetry rewrite` and `marquetry outline`: replaces what patterns find.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use marquetry_engine::Native;
use marquetry_ir::opset;
use marquetry_matcher::rewrite::{
    Checked, RewriteError, RewriteOptions, Rewritten, Step, Until, VerifyEach, Way, rewrite,
};
use marquetry_matcher::verify::Each;
use marquetry_pattern::Library;
use marquetry_pattern::core::Pattern;
use marquetry_pattern::replacement::Replacement;
use marquetry_quant::pass::{Content, Output};
use serde_json::{Value, json};

use super::answer::{Answer, plural};
use super::args::{Cli, Outline, PatternFiles, Rewrite, VerifyHow};
use super::failure::{Exit, Failure};
use super::{engine, load, outputs};

/// What the inputs of `--verify-each` are drawn from.
const SEED: u64 = 1;

/// Stands for all names that there are.
const ALL: &str = "all";

pub(crate) fn run(args: &Rewrite, cli: &Cli) -> Result<Answer, Failure> {
    let library = load::library(&args.patterns.files, cli)?;
    let mut steps = Vec::new();
    let named = [&args.fuse, &args.outline, &args.expand];
    if !args.rules.is_empty() || named.iter().all(|names| names.is_empty()) {
        steps.extend(rules(&library, &args.rules)?);
    }
    if args.rules.is_empty() && args.patterns.files.is_empty() {
        // Nobody asked for a model that runs in one runtime only.
        steps.retain(|step| !is_foreign(step));
    }
    steps.extend(patterns(&library, &args.fuse, Way::Fuse)?);
    steps.extend(patterns(&library, &args.outline, Way::Outline)?);
    steps.extend(patterns(&library, &args.expand, Way::Expand)?);
    let until = if args.once { Until::Once } else { Until::Fixpoint };
    let job = Job {
        model: &args.model,
        patterns: &args.patterns,
        output: destination(args.dry_run, args.in_place, &args.model, &args.output)?,
        in_place: args.in_place,
        raise_opset: args.raise_opset,
        until,
        verify_each: args.verify_each,
    };
    job.run(&steps, cli)
}

pub(crate) fn run_outline(args: &Outline, cli: &Cli) -> Result<Answer, Failure> {
    let library = load::library(&args.patterns.files, cli)?;
    let names = if args.only.is_empty() { vec![ALL.to_owned()] } else { args.only.clone() };
    let steps = patterns(&library, &names, Way::Outline)?;
    let job = Job {
        model: &args.model,
        patterns: &args.patterns,
        output: destination(args.dry_run, args.in_place, &args.model, &args.output)?,
        in_place: args.in_place,
        raise_opset: None,
        until: Until::Fixpoint,
        verify_each: None,
    };
    job.run(&steps, cli)
}

/// Where the model goes, if it goes anywhere.
fn destination<'a>(
    dry_run: bool,
    in_place: bool,
    model: &'a Path,
    output: &'a Option<PathBuf>,
) -> Result<Option<&'a Path>, Failure> {
    if in_place {
        load::is_file(model)?;
        return Ok(Some(model));
    }
    Ok(output.as_deref().filter(|_| !dry_run))
}

/// Whether a rule builds operators that are not ONNX's own.
fn is_foreign(step: &Step<'_>) -> bool {
    let domains = step.pattern.replacement.as_ref().map(Replacement::domains);
    step.way == Way::Rule && domains.is_some_and(|domains| domains.iter().any(|it| !it.is_empty()))
}

fn rules<'l>(library: &'l Library, names: &[String]) -> Result<Vec<Step<'l>>, Failure> {
    let all = names.is_empty() || names.iter().any(|name| name == ALL);
    let chosen = choose(library.rules(), if all { &[] } else { names }, "rule")?;
    if chosen.is_empty() {
        return Err(Failure::new(Exit::Usage, "no_rules", "the pattern files declare no rule")
            .hint(
                "name patterns with `--fuse` or `--outline`, or give files with rules with `-p`",
            ));
    }
    Ok(chosen.into_iter().map(|pattern| Step { pattern, way: Way::Rule }).collect())
}

fn patterns<'l>(
    library: &'l Library,
    names: &[String],
    way: Way,
) -> Result<Vec<Step<'l>>, Failure> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let all = names.iter().any(|name| name == ALL);
    let mut chosen = choose(library.patterns(), if all { &[] } else { names }, "pattern")?;
    if all && way != Way::Outline {
        chosen.retain(|pattern| pattern.equals.is_some());
    }
    Ok(chosen.into_iter().map(|pattern| Step { pattern, way }).collect())
}

/// Those with these names, or all without any.
fn choose<'l>(
    known: &'l [Pattern],
    names: &[String],
    noun: &str,
) -> Result<Vec<&'l Pattern>, Failure> {
    for name in names {
        if !known.iter().any(|pattern| pattern.name == *name) {
            let known = known.iter().map(|pattern| pattern.name.as_str());
            return Err(load::unknown(noun, name, known));
        }
    }
    let wanted = |pattern: &&Pattern| names.is_empty() || names.contains(&pattern.name);
    Ok(known.iter().filter(wanted).collect())
}

/// What is read, what is done, and what is written.
struct Job<'a> {
    model: &'a Path,
    patterns: &'a PatternFiles,
    output: Option<&'a Path>,
    /// Whether the output is meant to be the model.
    in_place: bool,
    raise_opset: Option<i64>,
    until: Until,
    verify_each: Option<VerifyHow>,
}

impl Job<'_> {
    fn run(&self, steps: &[Step<'_>], cli: &Cli) -> Result<Answer, Failure> {
        if let Some(output) = self.output {
            let mut inputs: Vec<PathBuf> = Vec::new();
            inputs.extend((!self.in_place).then(|| self.model.to_owned()));
            let files = self.patterns.files.iter().filter(|path| path.as_os_str() != "std");
            inputs.extend(files.cloned());
            outputs::apart(&[output], &inputs)?;
            outputs::writable(output)?;
            outputs::not_a_terminal(output)?;
        }
        let mut model = load::model(self.model, cli)?;
        if let Some(output) = self.output {
            let beside = outputs::sidecars(self.model, &model);
            if let (true, Some(beside)) = (self.in_place, beside.first()) {
                let message = "its data are in a file beside it, which would not be replaced";
                return Err(Failure::new(Exit::Usage, "output_is_input", message)
                    .at(beside.display())
                    .hint("write the model to another folder with `-o`, and move it"));
            }
            outputs::apart(&[output], &beside)?;
        }
        if let Some(to) = self.raise_opset {
            opset::raise(&mut model, to).map_err(|error| {
                let exit = match error {
                    opset::RaiseError::Obstacle { .. } => Exit::Unsupported,
                    _ => Exit::Usage,
                };
                Failure::new(exit, error.code(), &error).at(self.model.display()).hint(error.hint())
            })?;
        }
        let operators = self.verify_each.map(|_| engine::operators(cli)).transpose()?;
        let each = self.verify_each.zip(operators.as_deref()).map(|(how, evaluate)| Each {
            evaluate,
            seed: SEED,
            strict: how == VerifyHow::Strict,
        });
        let verify = each.as_ref().map(|each| each as &dyn VerifyEach);
        let options = RewriteOptions { until: self.until, verify, ..RewriteOptions::default() };
        let rewritten = rewrite(&mut model, steps, &Native, &options)
            .map_err(|error| failure(self.model, &error))?;
        let mut answer = Answer::new(text(&rewritten, steps), json(&rewritten, self.output));
        // A script must not take what is unchanged for what it asked for.
        let refused = rewritten.applied.is_empty() && !rewritten.refused.is_empty();
        answer.found = refused.then_some(Exit::Found);
        if let Some(output) = self.output {
            let content = Content::Model(Box::new(model));
            answer.file = outputs::write(&[Output { path: output.to_owned(), content }])?;
        }
        for pattern in &rewritten.exhausted {
            answer.note(format!(
                "the search for `{pattern}` was given up in some places: too many ways to try"
            ));
        }
        Ok(answer)
    }
}

fn failure(path: &Path, error: &RewriteError) -> Failure {
    let exit = match error {
        RewriteError::NothingToBuild { .. } => Exit::Usage,
        RewriteError::Limit { .. } => Exit::Limit,
    };
    Failure::new(exit, error.code(), error).at(path.display()).hint(error.hint())
}

fn text(rewritten: &Rewritten, steps: &[Step<'_>]) -> String {
    let mut text = String::new();
    let put = |text: &mut String, line: std::fmt::Arguments<'_>| {
        text.write_fmt(line).expect("a string takes any text");
    };
    let width = steps.iter().map(|step| step.pattern.name.len()).max().unwrap_or(0);
    for step in steps {
        let name = &step.pattern.name;
        let of = |pattern: &str, way: Way| pattern == name && way == step.way;
        let applied = rewritten.applied.iter().filter(|one| of(&one.pattern, one.way)).count();
        let refused = rewritten.refused.iter().filter(|one| of(&one.pattern, one.way)).count();
        if applied + refused > 0 {
            let way = word(step.way);
            put(&mut text, format_args!("{name:width$}  {way:<8}{applied:>5} applied"));
            if refused > 0 {
                put(&mut text, format_args!(", {refused} refused"));
            }
            let open = rewritten.applied.iter().filter(|one| {
                of(&one.pattern, one.way) && matches!(one.checked, Some(Checked::NotCompared(_)))
            });
            let open = open.count();
            if open > 0 {
                put(&mut text, format_args!(", {open} not verified"));
            }
            text.push('\n');
        }
    }
    if text.is_empty() {
        text.push_str("nothing to rewrite\n");
    }
    let (before, after) = (rewritten.nodes_before, rewritten.nodes_after);
    put(&mut text, format_args!("{} before, {after} after\n", plural(before, "node")));
    let open = rewritten.applied.iter().filter_map(|one| match &one.checked {
        Some(Checked::NotCompared(reason)) => Some((one.pattern.as_str(), reason.as_str())),
        _ => None,
    });
    for (pattern, reason) in open.collect::<std::collections::BTreeSet<_>>() {
        put(&mut text, format_args!("\n{pattern} not verified: {reason}\n"));
    }
    // The same reason mostly comes many times.
    let mut reasons: BTreeMap<(&str, Way, String), (usize, usize)> = BTreeMap::new();
    for (at, refused) in rewritten.refused.iter().enumerate() {
        let key = (refused.pattern.as_str(), refused.way, refused.reason.to_string());
        reasons.entry(key).or_insert((at, 0)).1 += 1;
    }
    for ((pattern, _, reason), (at, count)) in reasons {
        let refused = &rewritten.refused[at];
        let others = match count {
            1 => String::new(),
            _ => format!(" and {} more", plural(count - 1, "place")),
        };
        let (output, code) = (&refused.output, refused.reason.code());
        put(
            &mut text,
            format_args!("\n{pattern} at `{output}`{others} refused[{code}]: {reason}\n"),
        );
        if let Some(hint) = refused.reason.hint() {
            put(&mut text, format_args!("  help: {hint}\n"));
        }
    }
    text
}

fn json(rewritten: &Rewritten, output: Option<&Path>) -> Value {
    let applied = rewritten.applied.iter().map(|one| {
        json!({
            "pattern": one.pattern,
            "way": word(one.way),
            "output": one.output,
            "matched": one.matched,
            "built": one.built,
            "verified": one.checked.as_ref().map(|checked| *checked == Checked::Same),
            "not_verified": match &one.checked {
                Some(Checked::NotCompared(reason)) => Some(reason),
                _ => None,
            },
        })
    });
    let refused = rewritten.refused.iter().map(|one| {
        json!({
            "pattern": one.pattern,
            "way": word(one.way),
            "output": one.output,
            "code": one.reason.code(),
            "message": one.reason.to_string(),
            "hint": one.reason.hint(),
        })
    });
    json!({
        "schema_version": 1,
        "applied": applied.collect::<Vec<_>>(),
        "refused": refused.collect::<Vec<_>>(),
        "exhausted": rewritten.exhausted,
        "nodes": { "before": rewritten.nodes_before, "after": rewritten.nodes_after },
        "output": output.map(|output| output.display().to_string()),
    })
}

fn word(way: Way) -> &'static str {
    match way {
        Way::Rule => "rule",
        Way::Fuse => "fuse",
        Way::Outline => "outline",
        Way::Expand => "expand",
    }
}
