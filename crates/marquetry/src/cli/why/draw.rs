//! Explanations as pictures: the text of the pattern with what became of each line.

use std::fmt::Write as _;

use marquetry_ir::Graph;
use marquetry_matcher::why::{Explanation, Line, NearMiss, State, Stop, Suggestion, Verdict};
use marquetry_pattern::{Sources, Span};

use super::super::answer::plural;

/// Where notes begin, counted from the text of the pattern.
const COLUMN: usize = 44;

/// Where text is broken.
const WIDTH: usize = 100;

/// A text with its white space made single blanks.
pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The name of a state, for programs.
pub(super) fn state(state: State) -> &'static str {
    match state {
        State::Satisfied => "satisfied",
        State::Begun => "begun",
        State::Stopped => "stopped",
        State::NotReached => "not_reached",
    }
}

/// The lines of a pattern with what became of them, and where it stopped.
pub(super) fn attempt(sources: &Sources, explanation: &Explanation, stop: &Stop) -> String {
    let mut out = String::new();
    if explanation.lines.is_empty() {
        return out;
    }
    let mut drawn = 0;
    let mut at = 0;
    let mut marked = false;
    while at < explanation.lines.len() {
        let first = sources.position(explanation.lines[at].span).0;
        let same = |line: &&Line| sources.position(line.span).0 == first;
        let group: Vec<&Line> = explanation.lines[at..].iter().take_while(same).collect();
        at += group.len();
        let last = group.iter().map(|line| last_line(sources, line.span)).max().unwrap_or(first);
        let (from, to) = (first.max(drawn + 1), last);
        drawn = drawn.max(last);
        let stopped = group.iter().any(|line| line.state == State::Stopped);
        let remark = remark(&group);
        let source = group[0].span.source;
        if from > to && !stopped {
            // Several equations on one line: what became of the later ones.
            continue;
        }
        for number in from..=to {
            let text = line_text(sources, source, number);
            let remark = if number == from { remark.as_str() } else { "" };
            row(&mut out, number, &text, remark);
            if stopped
                && !marked
                && sources.position(stop.at).0 == number
                && stop.at.source == source
            {
                mark(&mut out, sources, stop, &text);
                marked = true;
            }
        }
    }
    if !marked {
        let message = stopped_message(sources, stop);
        paragraph(&mut out, &format!("\nstopped: {message}"), 0, 9);
    }
    out
}

fn row(out: &mut String, number: usize, text: &str, remark: &str) {
    let width = text.chars().count();
    let line = match remark {
        "" => format!("{number:>4} │ {text}"),
        _ if width < COLUMN => {
            format!("{number:>4} │ {text}{}{remark}", " ".repeat(COLUMN - width))
        }
        _ => format!("{number:>4} │ {text}\n     │ {}{remark}", " ".repeat(COLUMN)),
    };
    out.push_str(&line);
    out.push('\n');
}

/// What became of the equations and conditions of one line.
fn remark(group: &[&Line]) -> String {
    let notes: Vec<&str> = group.iter().flat_map(|line| &line.notes).map(String::as_str).collect();
    let mut said = String::new();
    for note in &notes {
        if !said.is_empty() {
            said.push_str(if said.ends_with(':') { " " } else { ", " });
        }
        said.push_str(note);
    }
    let any = |state: State| group.iter().any(|line| line.state == state);
    if any(State::Stopped) {
        if said.is_empty() { String::new() } else { format!("… {said}") }
    } else if any(State::Begun) {
        format!("… {said}")
    } else if group.iter().all(|line| line.state == State::Satisfied) {
        format!("✓ {said}").trim_end().to_owned()
    } else {
        "not reached".to_owned()
    }
}

/// Marks the part where it stopped, and says why.
fn mark(out: &mut String, sources: &Sources, stop: &Stop, text: &str) {
    let (_, column) = sources.position(stop.at);
    let part = sources.text(stop.at).lines().next().unwrap_or_default();
    let length = part.trim_end().chars().count().max(1);
    // The column counts from the start of the line, the text is as in the file.
    let before = column - 1;
    let length = length.min(text.chars().count().saturating_sub(before).max(1));
    let middle = (length - 1) / 2;
    let line = format!("{}┬{}", "─".repeat(middle), "─".repeat(length - 1 - middle));
    writeln!(out, "     │ {}{line}", " ".repeat(before)).expect("a string takes any text");
    let message = stopped_message(sources, stop);
    let lead = format!("     │ {}╰── stopped: ", " ".repeat(before + middle));
    // Deep to the right there is no room for a text.
    let length = lead.chars().count();
    let indent = if length > WIDTH / 2 && length + message.chars().count() > WIDTH {
        writeln!(out, "{}", lead.trim_end()).expect("a string takes any text");
        out.push_str("     │       ");
        13
    } else {
        out.push_str(&lead);
        lead.chars().count()
    };
    let mut first = true;
    for line in wrapped(&message, WIDTH.saturating_sub(indent).max(40)) {
        if !first {
            write!(out, "     │{}", " ".repeat(indent.saturating_sub(6)))
                .expect("a string takes any text");
        }
        first = false;
        out.push_str(&line);
        out.push('\n');
    }
}

fn stopped_message(sources: &Sources, stop: &Stop) -> String {
    if stop.span == stop.at {
        return stop.message.clone();
    }
    let (line, _) = sources.position(stop.span);
    let file = &sources.get(stop.span.source).path;
    format!("{}: `{}` in {file}, line {line}", stop.message, one_line(sources.text(stop.span)))
}

pub(super) fn alternatives(sources: &Sources, stop: &Stop) -> String {
    let mut out = String::new();
    for other in &stop.alternatives {
        let text = one_line(sources.text(other.span));
        let text = match text.starts_with('{') {
            true => "this branch".to_owned(),
            false => format!("`{}`", shortened(&text, 48)),
        };
        let (line, _) = sources.position(other.span);
        let file = match other.span.source == stop.at.source {
            true => String::new(),
            false => format!("{}, ", sources.get(other.span.source).path),
        };
        if out.is_empty() {
            out.push_str("\nThe other alternatives:\n");
        }
        paragraph(&mut out, &format!("  {file}line {line}, {text}: {}", other.message), 0, 4);
    }
    out
}

pub(super) fn changes(sources: &Sources, changes: &[Suggestion]) -> String {
    let mut out = String::new();
    if changes.is_empty() {
        return out;
    }
    out.push_str(match changes.len() {
        1 => "\nA change of the pattern that was tried, and matches here:\n",
        _ => "\nChanges of the pattern that were tried, and match here:\n",
    });
    for change in changes {
        paragraph(&mut out, &format!("  {}{}", change.change, further(change.further)), 0, 4);
        let (line, _) = sources.position(change.span);
        let file = &sources.get(change.span.source).path;
        if !change.line.is_empty() {
            writeln!(out, "    {file}:{line}: {}", change.line).expect("a string takes any text");
        }
    }
    out
}

fn further(count: usize) -> String {
    match count {
        0 => String::new(),
        count => format!(" (and at {} more)", plural(count, "place")),
    }
}

/// One kind of near miss.
pub(super) fn near(
    sources: &Sources,
    _graph: &Graph,
    anchor: &str,
    miss: &NearMiss,
    also: &[String],
) -> String {
    let Verdict::Miss(stop) = &miss.explanation.verdict else { return String::new() };
    let (line, _) = sources.position(stop.at);
    let mut out = String::new();
    let others = match also {
        [] => String::new(),
        also => format!(", and {} more like {}", plural(also.len(), "place"), also[0]),
    };
    let (satisfied, all) = miss.explanation.satisfied();
    writeln!(out, "{anchor}{others}").expect("a string takes any text");
    let nodes = plural(miss.explanation.nodes.len(), "node");
    let message = stopped_message(sources, stop);
    let text = shortened(&one_line(sources.text(stop.at)), 40);
    let said = format!(
        "  {satisfied} of {}, {nodes}; line {line} `{text}`: {message}",
        plural(all, "equation")
    );
    paragraph(&mut out, &said, 0, 4);
    if let Some(change) = &miss.suggestion {
        paragraph(&mut out, &format!("  fix: {}{}", change.change, further(change.further)), 0, 4);
    }
    out
}

fn paragraph(out: &mut String, text: &str, first: usize, indent: usize) {
    let (blank, text) = match text.strip_prefix('\n') {
        Some(text) => ("\n", text),
        None => ("", text),
    };
    let lead = text.len() - text.trim_start().len();
    out.push_str(blank);
    for (at, line) in wrapped(text.trim_start(), WIDTH - indent).into_iter().enumerate() {
        let indent = if at == 0 { first + lead } else { indent };
        writeln!(out, "{}{line}", " ".repeat(indent)).expect("a string takes any text");
    }
}

/// Lines of at most `width` letters, broken at blanks.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is a line from the start");
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(word.to_owned());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most - 1).collect();
    format!("{}…", kept.trim_end())
}

fn last_line(sources: &Sources, span: Span) -> usize {
    sources.position(span).0 + sources.text(span).trim_end().matches('\n').count()
}

fn line_text(sources: &Sources, source: marquetry_pattern::SourceId, number: usize) -> String {
    sources.get(source).text.lines().nth(number - 1).unwrap_or_default().trim_end().to_owned()
}
