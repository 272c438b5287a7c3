//! What was lost where: outputs, layers, tensors, and the search for ranges.

use std::fmt::Write as _;

use super::chart::{self, MARKS};
use super::table::{self, Cell, column, count, markup, measure, plain, still, table};
use super::text::{Text, decibels, grouped, labelled, number, percent, plural};
use crate::report::{Distance, Report, Tensor};

/// Rows that are shown at once, and rows of a page at most.
const ROWS: (usize, usize) = (20, 1500);

/// Tensors that are drawn in full: shown at once, and at most.
const DRAWN: (usize, usize) = (12, 150);

/// Values, such as readers, that are named.
const NAMED: usize = 12;

/// How far a tensor is off, in words.
pub(super) fn loss(distance: &Distance) -> String {
    match distance.sqnr_db {
        _ if distance.shapes_differ => "other shape".to_owned(),
        _ if distance.not_finite > 0 => {
            format!("{} not finite", grouped(distance.not_finite))
        }
        Some(sqnr) => decibels(sqnr),
        None if distance.is_equal() => "equal".to_owned(),
        None => "float is zero".to_owned(),
    }
}

fn loss_cell(distance: &Distance) -> Cell {
    // What is equal is better than any number, and what cannot be told worse.
    let value = match distance.sqnr_db {
        Some(sqnr) => sqnr,
        None if distance.is_equal() => 1e9,
        None => -1e9,
    };
    table::sorted(loss(distance), Some(value))
}

pub(super) fn layers(report: &Report) -> String {
    let mut out = String::from("<section id=\"layers\"><h2>What was lost where</h2>");
    if report.samples == 0 {
        out.push_str("<p class=\"lead\">No samples were run, so that nothing is known of it.</p></section>\n");
        return out;
    }
    out.push_str(
        "<p class=\"lead\">Layers are ordered by the noise that each adds: that of its output less that of \
         what it reads, as a part of the signal. Where noise of several layers meets, the parts do not \
         add up.</p>",
    );
    let plot = chart::along(&report.layers);
    if !plot.is_empty() {
        write!(
            out,
            "<figure class=\"chart\" role=\"img\" aria-label=\"Signal to noise along the model; the table \
             has the numbers\">{plot}<figcaption>Signal to noise at the output of every layer along the model, \
             in decibels: higher is better. The numbers mark the first {} of the table.</figcaption></figure>",
            plural(report.layers.len().min(MARKS), "layer")
        )
        .expect("a string takes any text");
    }
    let most = report.layers.first().map_or(0.0, |layer| layer.added);
    let rows = report.layers.iter().enumerate().map(|(rank, layer)| {
        let bar = if most > 0.0 { 100.0 * layer.added / most } else { 0.0 };
        vec![
            table::markup(labelled(&layer.name)),
            table::sorted(
                format!(
                    "{}<span class=\"bar\" aria-hidden=\"true\"><i style=\"width:{bar:.1}%\"></i></span>",
                    percent(layer.added)
                ),
                Some(layer.added),
            ),
            loss_cell(&layer.output),
            measure(layer.input_sqnr_db, decibels),
            plain(Some(layer.output.max_error)),
            count(layer.nodes),
            table::sorted(grouped(layer.position as u64 + 1), Some(layer.position as f64)),
            count(rank + 1),
        ]
    });
    let columns = [
        column("Layer", ""),
        column("Adds noise", "n"),
        column("At its output", "n"),
        column("At its input", "n wide"),
        column("Largest error", "n wide"),
        column("Nodes", "n wide"),
        column("Position", "n wide"),
        column("Rank", "n wide"),
    ];
    out.push_str(&table("layer", "Layers, the worst first", &columns, rows, ROWS));
    if report.counts.layers_left_out > 0 {
        write!(
            out,
            "<p class=\"lead\">{} could not be compared: the tensors of a sample are too large together.</p>",
            plural(report.counts.layers_left_out, "layer")
        )
        .expect("a string takes any text");
    }
    out.push_str("</section>\n");
    out
}

pub(super) fn outputs(report: &Report) -> String {
    if report.outputs.is_empty() {
        return String::new();
    }
    let rows = report.outputs.iter().map(|output| {
        let same = output.same_argmax;
        vec![
            table::name(&output.name),
            loss_cell(output),
            plain(Some(output.max_error)),
            measure(output.cosine, |cosine| format!("{cosine:.5}")),
            table::sorted(
                same.map_or_else(
                    || "–".to_owned(),
                    |same| format!("{} of {}", same.same, same.rows),
                ),
                same.map(|same| same.same as f64),
            ),
        ]
    });
    let columns = [
        column("Output", ""),
        column("Signal to noise", "n"),
        column("Largest error", "n"),
        column("Cosine", "n"),
        column("Same highest score", "n"),
    ];
    let caption =
        format!("Outputs against the float model on {}", plural(report.samples, "sample"));
    format!(
        "<section id=\"outputs\"><h2>Outputs</h2>{}</section>\n",
        table("output", &caption, &columns, rows, ROWS)
    )
}

/// Tensors, those that lose most first.
fn by_loss(report: &Report) -> Vec<&Tensor> {
    let mut tensors: Vec<&Tensor> = report.tensors.iter().collect();
    let known = |tensor: &Tensor| tensor.own_sqnr_db.unwrap_or(f64::INFINITY);
    tensors.sort_by(|a, b| known(a).total_cmp(&known(b)));
    tensors
}

pub(super) fn tensors(report: &Report) -> String {
    if report.tensors.is_empty() {
        return String::new();
    }
    let tensors = by_loss(report);
    let columns = [
        column("Tensor", ""),
        column("Role", "wide"),
        column("Type", "wide"),
        column("Loses alone", "n"),
        column("Clipped", "n wide"),
        still("Distribution", ""),
        column("Lowest", "n wide"),
        column("Highest", "n wide"),
        column("Scale", "n wide"),
        column("Zero point", "n wide"),
    ];
    let rows = tensors.iter().map(|tensor| {
        let site = &tensor.site;
        let scale = match site.scales {
            None => markup("–"),
            Some((low, high)) if low == high => plain(Some(low)),
            Some((low, high)) => {
                table::sorted(format!("{} … {}", number(low), number(high)), Some(high))
            }
        };
        vec![
            table::name(&site.value),
            table::text(&site.role),
            table::text(&site.dtype),
            measure(tensor.own_sqnr_db, decibels),
            measure(tensor.clipped, percent),
            markup(chart::spark(tensor)),
            plain(tensor.range.map(|range| range.0)),
            plain(tensor.range.map(|range| range.1)),
            scale,
            plain(site.zero_point.map(|zero_point| zero_point as f64)),
        ]
    });
    let mut out = String::from(
        "<section id=\"tensors\"><h2>Tensors</h2><p class=\"lead\">Every quantized value, by what rounding and \
         clipping it alone leaves of it, in decibels. Distributions have a logarithmic height; red lines are \
         the ends of the range, and what lies in the red is clipped.</p>",
    );
    out.push_str(&table(
        "tensor",
        "Quantized values, those that lose most first",
        &columns,
        rows,
        ROWS,
    ));
    out.push_str("<h3>A closer look</h3>");
    let drawn = tensors.len().min(DRAWN.1);
    write!(
        out,
        "<p class=\"lead\">The {} that lose most, with the reasons for what {} became{}.</p>",
        plural(drawn, "tensor"),
        if drawn == 1 { "it" } else { "each" },
        if tensors.len() > drawn { "; the JSON report has all of them" } else { "" },
    )
    .expect("a string takes any text");
    if drawn > DRAWN.0 {
        write!(
            out,
            "<div class=\"tools\"><label><input type=\"checkbox\" id=\"cards-all\"> Show all {drawn}</label></div>"
        )
        .expect("a string takes any text");
    }
    out.push_str("<div class=\"cards\">\n");
    for (index, tensor) in tensors.iter().take(drawn).enumerate() {
        out.push_str(&card(tensor, index >= DRAWN.0, index == 0));
    }
    out.push_str("</div></section>\n");
    out
}

/// Everything about one tensor.
fn card(tensor: &Tensor, more: bool, open: bool) -> String {
    let site = &tensor.site;
    let own = tensor.own_sqnr_db.map_or_else(String::new, |own| format!(", {}", decibels(own)));
    let mut out = format!(
        "<details{}{}><summary><span class=\"name\">{}</span> <span class=\"soft\">{} as {}{own}</span></summary>\
         <div class=\"twin\"><dl class=\"facts\">",
        if more { " class=\"more\"" } else { "" },
        if open { " open" } else { "" },
        Text(&site.value),
        Text(&site.role),
        Text(&site.dtype),
    );
    let mut fact = |head: &str, content: String| {
        write!(out, "<dt>{head}</dt><dd>{content}</dd>").expect("a string takes any text");
    };
    let symmetric = if site.symmetric { "symmetric" } else { "asymmetric" };
    fact("Scales", format!("{}, {symmetric}", Text(&site.granularity)));
    if !tensor.shape.is_empty() {
        let dims: Vec<String> = tensor.shape.iter().map(ToString::to_string).collect();
        fact("Shape", dims.join(" × "));
    }
    if let Some((low, high)) = site.observed {
        fact("Observed", format!("{} … {}", number(low.into()), number(high.into())));
    }
    if let Some((low, high)) = tensor.range {
        fact("Range", format!("{} … {}", number(low), number(high)));
    }
    if let Some((low, high)) = site.scales {
        let scale =
            if low == high { number(low) } else { format!("{} … {}", number(low), number(high)) };
        fact("Scale", scale);
    }
    if let Some(zero_point) = site.zero_point {
        fact("Zero point", zero_point.to_string().replace('-', "−"));
    }
    if let Some(clipped) = tensor.clipped {
        fact("Clipped", percent(clipped));
    }
    if let Some(bars) = &tensor.histogram {
        let share = bars.zeros as f64 / bars.total.max(1) as f64;
        fact("Zeros", format!("{} of {} elements", percent(share), grouped(bars.total)));
        if bars.not_finite > 0 {
            fact(
                "Not finite",
                plural(usize::try_from(bars.not_finite).unwrap_or(usize::MAX), "element"),
            );
        }
    }
    fact("Read by", named(&site.readers, site.readers.len()));
    if site.float_readers > 0 {
        fact("In float by", plural(site.float_readers, "other reader"));
    }
    if !site.tied_to.is_empty() {
        fact("Shares its range with", named(&site.tied_to, site.tied_to.len()));
    }
    out.push_str("</dl><div>");
    let histogram = chart::histogram(tensor);
    if !histogram.is_empty() {
        write!(out, "<figure>{histogram}<figcaption>Distribution without zeros, logarithmic height; in red, what is \
                     beyond the range</figcaption></figure>")
            .expect("a string takes any text");
    }
    if let Some(channels) = &tensor.channels {
        let plot = chart::channels(channels);
        if !plot.is_empty() {
            write!(out, "<figure>{plot}<figcaption>From the smallest to the largest element under each scale; in red, \
                         the ends of its grid</figcaption></figure>")
                .expect("a string takes any text");
        }
    }
    out.push_str("</div></div><h3>Why</h3>");
    out.push_str(&super::reasons(&site.because));
    out.push_str("</details>\n");
    out
}

/// The first of several names.
pub(super) fn named(names: &[String], total: usize) -> String {
    let shown = names.iter().take(NAMED);
    let mut out: Vec<String> =
        shown.map(|name| format!("<span class=\"item\">{}</span>", labelled(name))).collect();
    if total > out.len() {
        out.push(format!("{} more", grouped((total - out.len()) as u64)));
    }
    if out.is_empty() { "–".to_owned() } else { out.join(", ") }
}

pub(super) fn curves(report: &Report) -> String {
    if report.curves.is_empty() {
        return String::new();
    }
    let mut out = String::from(
        "<section id=\"search\"><h2>Ranges of weights by what outputs lose</h2><p class=\"lead\">The loss of the \
         outputs of each layer for every part of the range that was tried, on a logarithmic height; bars say \
         how many scales chose which.</p>",
    );
    let drawn = report.curves.len().min(DRAWN.1);
    if drawn > DRAWN.0 {
        write!(
            out,
            "<div class=\"tools\"><label><input type=\"checkbox\" id=\"curves-all\"> Show all {drawn}</label></div>"
        )
        .expect("a string takes any text");
    }
    out.push_str("<div class=\"cards many\">\n");
    for (index, curve) in report.curves.iter().take(drawn).enumerate() {
        let least = curve.losses.iter().copied().fold(f64::INFINITY, f64::min);
        let gain = match curve.relative {
            true => format!("best single part: {} of the loss of the whole range", percent(least)),
            false => format!("least loss {}", number(least)),
        };
        writeln!(
            out,
            "<figure{}><span class=\"name\">{}</span>{}<figcaption>{gain}</figcaption></figure>",
            if index >= DRAWN.0 { " class=\"more\"" } else { "" },
            Text(&curve.weight),
            chart::curve(curve),
        )
        .expect("a string takes any text");
    }
    out.push_str("</div></section>\n");
    out
}
