//! What patterns found, what they almost found, and what stays in float.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::losses::named;
use super::table::{self, column, count, markup, still, table};
use super::text::{Text, grouped, plural};
use crate::report::build::general;
use crate::report::{Place, Report};

/// Rows that are shown at once, and rows of a page at most.
const ROWS: (usize, usize) = (15, 300);

fn place(place: &Place) -> String {
    format!("<code>{}:{}</code>", Text(&place.file), place.line)
}

pub(super) fn groups(report: &Report) -> String {
    let mut out = String::from("<section id=\"groups\"><h2>Groups</h2>");
    if report.groups.is_empty() {
        out.push_str("<p class=\"lead\">No pattern found anything.</p></section>\n");
        return out;
    }
    let total: usize = report.groups.iter().map(|found| found.count).sum();
    write!(out, "<p class=\"lead\">{} that placement respects: what is inside stays as the group wants it.</p>",
        plural(total, "group"))
        .expect("a string takes any text");
    let rows = report.groups.iter().map(|found| {
        let declared = found.declared.as_ref().map_or_else(|| "–".to_owned(), place);
        vec![
            table::name(&found.pattern),
            count(found.count),
            count(found.nested),
            count(found.nodes),
            markup(declared),
            markup(format!(
                "<details><summary>{}</summary><p>{}</p></details>",
                plural(found.count, "place"),
                named(&found.at, found.count)
            )),
        ]
    });
    let columns = [
        column("Pattern", ""),
        column("Groups", "n"),
        column("Inside others", "n wide"),
        column("Nodes", "n wide"),
        column("Declared at", ""),
        still("Where", ""),
    ];
    out.push_str(&table("group", "Groups by pattern", &columns, rows, ROWS));
    out.push_str("</section>\n");
    out
}

pub(super) fn near_misses(report: &Report) -> String {
    let near = &report.near_misses;
    let mut out = String::from("<section id=\"near\"><h2>Near misses</h2>");
    if near.misses.is_empty() {
        writeln!(
            out,
            "<p class=\"lead\">None of {} almost matches.</p></section>",
            plural(near.patterns, "pattern")
        )
        .expect("a string takes any text");
        return out;
    }
    write!(
        out,
        "<p class=\"lead\">Places where one of {} almost matches. Most are something else that looks alike; one that \
         should be a group is worth a look with <code>marquetry why</code>.",
        plural(near.patterns, "pattern")
    )
    .expect("a string takes any text");
    if near.partly > 0 {
        write!(
            out,
            " The model is large: {} tried in its first places only; <code>marquetry why PATTERN MODEL</code> \
             looks everywhere.",
            if near.partly == 1 { "1 of them was".to_owned() } else { format!("{} of them were", near.partly) },
        )
        .expect("a string takes any text");
    }
    out.push_str("</p>");
    let rows = near.misses.iter().map(|miss| {
        let mut why = Text(&miss.reason).to_string();
        write!(
            why,
            "<br><code>{}</code> <span class=\"soft\">at</span> {}",
            Text(&miss.text),
            place(&miss.declared)
        )
        .expect("a string takes any text");
        if let Some(change) = &miss.change {
            write!(
                why,
                "<br><span class=\"soft\">With this it matches:</span> <code>{}</code>",
                Text(change)
            )
            .expect("a string takes any text");
        }
        let mut at = format!("<span class=\"name\">{}</span>", Text(&miss.at));
        if miss.also > 0 {
            write!(at, " <span class=\"soft\">and {} more</span>", grouped(miss.also as u64))
                .expect("a string takes any text");
        }
        vec![
            table::name(&miss.pattern),
            markup(at),
            table::sorted(
                format!("{} of {}", miss.satisfied, miss.equations),
                Some(miss.satisfied as f64),
            ),
            markup(why),
        ]
    });
    let columns =
        [column("Pattern", ""), column("At", ""), column("Holds", "n"), still("What does not", "")];
    out.push_str(&table("miss", "Near misses, the nearest first", &columns, rows, (8, 100)));
    out.push_str("</section>\n");
    out
}

pub(super) fn float(report: &Report) -> String {
    let mut out = String::from("<section id=\"float\"><h2>What stays in float</h2>");
    let counts = &report.counts;
    write!(
        out,
        "<p class=\"lead\">{} of {} kernels compute with integers.</p>",
        grouped(counts.integer_kernels as u64),
        grouped(counts.kernels as u64)
    )
    .expect("a string takes any text");
    if !report.float_kernels.is_empty() {
        let mut by_reason: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for kernel in &report.float_kernels {
            by_reason
                .entry(super::reasons(&general(&kernel.because)))
                .or_default()
                .push(kernel.node.clone());
        }
        let mut grouped: Vec<(String, Vec<String>)> = by_reason.into_iter().collect();
        grouped.sort_by_key(|(_, nodes)| std::cmp::Reverse(nodes.len()));
        let rows = grouped.iter().map(|(why, nodes)| {
            vec![markup(why.clone()), count(nodes.len()), markup(named(nodes, nodes.len()))]
        });
        let columns = [column("Why", ""), column("Kernels", "n"), still("Which", "")];
        out.push_str(&table("kernel", "Kernels in float, by the reason", &columns, rows, ROWS));
    }
    if !report.in_float.is_empty() {
        let rows = report.in_float.iter().map(|one| {
            let values = named(&one.values, one.count);
            vec![markup(super::reasons(&one.because)), count(one.count), markup(values)]
        });
        let columns = [column("Why", ""), column("Values", "n"), still("Which", "")];
        out.push_str(&table(
            "value",
            "Values without a quantizer, by the reason",
            &columns,
            rows,
            ROWS,
        ));
    }
    out.push_str("</section>\n");
    out
}

pub(super) fn completeness(report: &Report) -> String {
    let Some(complete) = &report.completeness else { return String::new() };
    let mut out = format!(
        "<section id=\"complete\"><h2>Completeness for <code>{}</code></h2><p class=\"lead\">Of the tensors that this \
         target asks an encoding for, {} have one, {} follow from another, {} lie inside of what it runs as one operator, and <b class=\"{}\">{} \
         have none</b>{}.</p>",
        Text(&report.target),
        grouped(complete.present as u64),
        grouped(complete.derived as u64),
        grouped(complete.inside as u64),
        if complete.missing == 0 { "good" } else { "fair" },
        grouped(complete.missing as u64),
        if complete.missing == 0 {
            ""
        } else {
            ": the target computes those from its own data, or refuses"
        },
    );
    if complete.missing > 0 {
        let rows = complete.lacking.iter().map(|lacking| {
            vec![
                table::name(&lacking.value),
                table::text(&lacking.role),
                markup(super::reasons(&lacking.because)),
            ]
        });
        let columns = [column("Tensor", ""), column("Role", ""), still("Why", "")];
        out.push_str(&table("lacking", "Tensors without an encoding", &columns, rows, ROWS));
    }
    out.push_str("</section>\n");
    out
}
