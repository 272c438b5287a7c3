//! A report as a page: one file that needs nothing else, and says the most important things first.
//!
//! The page is a function of the report alone. It asks no network for anything, works without its
//! script, and is made for screens of any width, for paper and for screen readers.

mod chart;
mod losses;
mod structure;
mod table;
mod text;

use std::fmt::Write as _;

use self::text::{Text, bytes, decibels, grouped, labelled, percent, plural};
use super::{Distance, File, Report};
use crate::plan::Reason;

const STYLE: &str = include_str!("html/style.css");
const SCRIPT: &str = include_str!("html/script.js");

/// The hash of [`SCRIPT`]: no other script runs, whatever a name in a model holds.
const SCRIPT_HASH: &str = include_str!("html/script.sha256");

/// The page.
pub fn page(report: &Report) -> String {
    let mut out = String::new();
    let title = format!("Quantization of {}", Text(file_name(&report.float.path)));
    write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; \
         style-src 'unsafe-inline'; script-src 'sha256-{}'\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<link rel=\"icon\" href=\"data:,\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n",
        SCRIPT_HASH.trim()
    )
    .expect("a string takes any text");
    out.push_str(&head(report));
    out.push_str("<main>\n");
    for section in [
        summary(report),
        losses::layers(report),
        losses::outputs(report),
        losses::tensors(report),
        losses::curves(report),
        structure::completeness(report),
        structure::float(report),
        structure::groups(report),
        structure::near_misses(report),
        passes(report),
        files(report),
    ] {
        out.push_str(&section);
    }
    write!(out, "</main>\n{}<script>{SCRIPT}</script>\n</body>\n</html>\n", foot(report))
        .expect("a string takes any text");
    out
}

fn file_name(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}

fn head(report: &Report) -> String {
    let mut links = vec![("layers", "What was lost where"), ("tensors", "Tensors")];
    if !report.curves.is_empty() {
        links.push(("search", "Ranges of weights"));
    }
    if report.completeness.is_some() {
        links.push(("complete", "Completeness"));
    }
    links.extend([
        ("float", "What stays in float"),
        ("groups", "Groups"),
        ("near", "Near misses"),
        ("passes", "Passes"),
        ("files", "Files"),
    ]);
    let links: String =
        links.iter().map(|(id, name)| format!("<li><a href=\"#{id}\">{name}</a></li>")).collect();
    format!(
        "<header>\n<p class=\"over\">Quantization report · target <code>{}</code></p>\n<h1>{}</h1>\n\
         <nav aria-label=\"Sections\"><ul>{links}</ul></nav>\n</header>\n",
        Text(&report.target),
        Text(file_name(&report.float.path)),
    )
}

/// The output that lost most.
fn worst(report: &Report) -> Option<&Distance> {
    report.outputs.iter().reduce(|a, b| if b.noise() > a.noise() { b } else { a })
}

/// Whether it still works: a class, a word, and what that means.
fn verdict(report: &Report) -> (&'static str, &'static str, String) {
    let Some(worst) = worst(report) else {
        let why = match report.samples {
            0 => "No samples were run, so nothing is known of the outputs.",
            _ => "The models have no output in common.",
        };
        return ("none", "Not measured", why.to_owned());
    };
    let on = format!("on {}", plural(report.samples, "sample"));
    let name = format!("<span class=\"name\">{}</span>", Text(&worst.name));
    let class = match worst.sqnr_db {
        _ if worst.shapes_differ => {
            return ("bad", "Broken", format!("Output {name} has another shape than in float."));
        }
        _ if worst.not_finite > 0 => {
            let what = format!(
                "Output {name} differs from the float model by what is no finite number {on}."
            );
            return ("bad", "Broken", what);
        }
        None if worst.is_equal() => {
            return ("good", "Equal to the float model", format!("No output differs {on}."));
        }
        None => {
            return (
                "bad",
                "Far from the float model",
                format!("Output {name} is zero in float {on}."),
            );
        }
        Some(sqnr) if sqnr >= 30.0 => ("good", "Close to the float model"),
        Some(sqnr) if sqnr >= 20.0 => ("good", "Near the float model"),
        Some(sqnr) if sqnr >= 10.0 => ("fair", "Visibly off the float model"),
        Some(_) => ("bad", "Far from the float model"),
    };
    let sqnr = worst.sqnr_db.map_or_else(String::new, decibels);
    let mut what = format!("Its worst output {name} keeps {sqnr} of signal to noise {on}");
    if let Some(same) = worst.same_argmax {
        write!(what, ", and the highest score is the same in {} of {} rows", same.same, same.rows)
            .expect("a string takes any text");
    }
    what.push_str(". What that means for its task, only an evaluation shows.");
    (class.0, class.1, what)
}

fn summary(report: &Report) -> String {
    let (class, word, what) = verdict(report);
    let mut out = format!(
        "<section class=\"plain\" id=\"summary\" aria-label=\"Summary\">\n\
         <div class=\"verdict {class}\"><strong>{word}</strong>{what}</div>\n<dl class=\"tiles\">"
    );
    let mut tile = |head: &str, big: String, small: String| {
        write!(
            out,
            "<div class=\"tile\"><dt>{head}</dt><dd class=\"big\">{big}</dd><dd class=\"small\">{small}</dd></div>"
        )
        .expect("a string takes any text");
    };
    if let Some(worst) = worst(report) {
        let small = match report.outputs.len() {
            1 => format!("at the output, on {}", plural(report.samples, "sample")),
            outputs => format!(
                "at the worst of {outputs} outputs, on {}",
                plural(report.samples, "sample")
            ),
        };
        tile("Signal to noise", losses::loss(worst), small);
    }
    if let Some(quantized) = &report.quantized {
        let (before, after) = (report.float.bytes as f64, quantized.bytes.max(1) as f64);
        let big = match before >= after {
            true => format!("{:.2}× smaller", before / after),
            false => format!("{:.2}× larger", after / before.max(1.0)),
        };
        let bar = (100.0 * after / before.max(1.0)).min(100.0);
        let small = format!(
            "{} → {}<span class=\"bar\" aria-hidden=\"true\"><i style=\"width:{bar:.1}%\"></i></span>",
            bytes(report.float.bytes),
            bytes(quantized.bytes)
        );
        tile("File", big, small);
    }
    let counts = &report.counts;
    let small = match counts.kernels - counts.integer_kernels.min(counts.kernels) {
        0 => "matrix products and convolutions, all of them".to_owned(),
        left => format!(
            "matrix products and convolutions; {} <a href=\"#float\">in float</a>",
            grouped(left as u64)
        ),
    };
    tile(
        "On integers",
        format!("{} of {}", grouped(counts.integer_kernels as u64), grouped(counts.kernels as u64)),
        small,
    );
    if let Some(first) = report.layers.first() {
        tile(
            "Lost most at",
            format!("+{}", percent(first.added)),
            format!("noise, by <a href=\"#layers\">{}</a>", labelled(&first.name)),
        );
    }
    out.push_str("</dl>\n</section>\n");
    out
}

/// A chain of reasons.
fn reasons(reasons: &[Reason]) -> String {
    let line = |reason: &Reason| {
        format!(
            "<li>{} <span class=\"soft\">({})</span></li>",
            labelled(&reason.what),
            Text(&reason.source)
        )
    };
    match reasons {
        [] => "<span class=\"soft\">No reason is known.</span>".to_owned(),
        _ => format!("<ul class=\"why\">{}</ul>", reasons.iter().map(line).collect::<String>()),
    }
}

fn passes(report: &Report) -> String {
    let total: f64 = report.passes.iter().map(|pass| pass.seconds).sum();
    let rows = report.passes.iter().map(|pass| {
        let bar = if total > 0.0 { 100.0 * pass.seconds / total } else { 0.0 };
        let mut done = Text(&pass.done).to_string();
        if !pass.notes.is_empty() {
            let notes: String =
                pass.notes.iter().take(100).map(|note| format!("<li>{}</li>", Text(note))).collect();
            write!(
                done,
                "<details><summary>{}</summary><ul class=\"why\">{notes}</ul></details>",
                plural(pass.notes.len(), "note")
            )
            .expect("a string takes any text");
        }
        vec![
            table::text(&pass.pass),
            table::markup(done),
            table::sorted(
                format!(
                    "{:.2}\u{a0}s<span class=\"bar\" aria-hidden=\"true\"><i style=\"width:{bar:.1}%\"></i></span>",
                    pass.seconds
                ),
                Some(pass.seconds),
            ),
        ]
    });
    let columns =
        [table::column("Pass", ""), table::still("What it did", ""), table::column("Time", "n")];
    let mut out = String::from("<section id=\"passes\"><h2>Passes</h2>");
    out.push_str(&table::table("pass", "Passes in order", &columns, rows, (50, 50)));
    if !report.notes.is_empty() {
        let notes: String =
            report.notes.iter().map(|note| format!("<li>{}</li>", Text(note))).collect();
        write!(out, "<h3>Notes</h3><ul class=\"why\">{notes}</ul>")
            .expect("a string takes any text");
    }
    out.push_str("</section>\n");
    out
}

fn files(report: &Report) -> String {
    let row = |kind: &str, file: &File| {
        vec![
            table::text(kind),
            table::name(&file.path),
            table::sorted(bytes(file.bytes), Some(file.bytes as f64)),
            table::count(file.nodes),
            table::name(&file.fingerprint),
        ]
    };
    let mut rows = vec![row("Float", &report.float)];
    rows.extend(report.quantized.iter().map(|file| row("Quantized", file)));
    let columns = [
        table::column("Model", ""),
        table::still("Path", ""),
        table::column("Size", "n"),
        table::column("Nodes", "n"),
        table::still("Fingerprint", "wide"),
    ];
    let counts = &report.counts;
    format!(
        "<section id=\"files\"><h2>Files and command</h2>{}<p class=\"lead\">The quantized model has {} \
         QuantizeLinear and {} DequantizeLinear, for {}, {} and {}.</p>\
         <h3>Command</h3><pre>{}</pre><details><summary>Pipeline</summary><pre>{}</pre></details></section>\n",
        table::table("file", "Models", &columns, rows.into_iter(), (50, 50)),
        grouped(counts.quantize as u64),
        grouped(counts.dequantize as u64),
        plural(counts.activations, "activation"),
        plural(counts.weights, "weight"),
        match counts.biases {
            1 => "1 bias".to_owned(),
            count => format!("{} biases", grouped(count as u64)),
        },
        Text(&report.command.join(" ")),
        lines(&report.pipeline),
    )
}

/// A text of several lines.
fn lines(text: &str) -> String {
    text.lines().map(|line| format!("{}\n", Text(line))).collect()
}

fn foot(report: &Report) -> String {
    format!(
        "<footer>\n<p>Signal to noise is 10·log₁₀(Σ x² / Σ (x − y)²) with x of the float model and y of the quantized \
         one, over all elements and {}. Noise in percent is Σ (x − y)² / Σ x². Words for it: from 30 dB close, from 20 dB \
         near, from 10 dB visibly off, below far.</p>\n<p>Written by {}. This page is drawn from the JSON report of the \
         same run and nothing else.</p>\n</footer>\n",
        match report.samples {
            0 => "no samples here".to_owned(),
            count => plural(count, "sample"),
        },
        Text(&report.tool)
    )
}
