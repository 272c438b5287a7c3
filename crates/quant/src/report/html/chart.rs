//! Charts: shapes that stretch to the width of the page, and labels of a constant size over them.

use std::fmt::Write as _;

use super::text::{Text, number};
use crate::report::{Bars, Channels, Curve, Layer, Tensor};

/// The unit that shapes are drawn in: charts are as wide and as high as the page wants.
const UNIT: f64 = 1000.0;

/// Marks of layers in the chart along the model.
pub(super) const MARKS: usize = 5;

fn svg(class: &str, content: &str) -> String {
    format!(
        "<svg class=\"{class}\" viewBox=\"0 0 {UNIT} {UNIT}\" preserveAspectRatio=\"none\" \
         aria-hidden=\"true\" focusable=\"false\">{content}</svg>"
    )
}

/// A place of a label or mark, in percent.
fn percent(part: f64) -> String {
    format!("{:.1}%", 100.0 * part)
}

fn at(x: f64) -> i64 {
    (x.clamp(-0.2, 1.2) * UNIT).round() as i64
}

/// A path through points in the unit square, y upwards.
fn path(points: impl Iterator<Item = (f64, f64)>) -> String {
    let mut d = String::new();
    for (x, y) in points {
        let letter = if d.is_empty() { 'M' } else { 'L' };
        write!(d, "{letter}{} {}", at(x), at(1.0 - y)).expect("a string takes any text");
    }
    d
}

/// A box in the unit square, y upwards.
fn block(d: &mut String, [left, right]: [f64; 2], [low, high]: [f64; 2]) {
    let (left, right) = (at(left), at(right));
    let (top, bottom) = (at(1.0 - high), at(1.0 - low));
    write!(d, "M{left} {bottom}V{top}H{right}V{bottom}Z").expect("a string takes any text");
}

/// The decibels of every layer along the model, with marks at the first layers of the list.
pub(super) fn along(layers: &[Layer]) -> String {
    let mut points: Vec<(usize, f64)> =
        layers.iter().filter_map(|layer| Some((layer.position, layer.output.sqnr_db?))).collect();
    points.sort_unstable_by_key(|&(position, _)| position);
    let last = points.last().map_or(0, |&(position, _)| position);
    if points.len() < 2 || last == 0 {
        return String::new();
    }
    let decibels = || points.iter().map(|&(_, sqnr)| sqnr);
    let top = (decibels().fold(10.0, f64::max) / 10.0).ceil().min(20.0) * 10.0;
    let bottom = (decibels().fold(0.0, f64::min) / 10.0).floor().max(-20.0) * 10.0;
    let x = |position: usize| position as f64 / last as f64;
    let y = |sqnr: f64| ((sqnr - bottom) / (top - bottom)).clamp(0.0, 1.0);
    let (mut shapes, mut labels) = (String::new(), String::new());
    let step = if top - bottom > 60.0 { 20.0 } else { 10.0 };
    let mut line = bottom;
    while line <= top {
        let height = at(1.0 - y(line));
        write!(shapes, "<path class=\"grid\" d=\"M0 {height}H{UNIT}\"/>")
            .expect("a string takes any text");
        let place = percent(1.0 - y(line));
        let unit = if line + step > top { " dB" } else { "" };
        write!(labels, "<span class=\"y\" style=\"top:{place}\">{line}{unit}</span>")
            .expect("a string takes any text");
        line += step;
    }
    let curve = path(points.iter().map(|&(position, sqnr)| (x(position), y(sqnr))));
    write!(shapes, "<path class=\"curve\" d=\"{curve}\"/>").expect("a string takes any text");
    for (rank, layer) in layers.iter().take(MARKS).enumerate() {
        let Some(sqnr) = layer.output.sqnr_db.filter(|_| layer.added > 0.0) else { continue };
        write!(
            labels,
            "<span class=\"dot\" style=\"left:{};top:{}\" title=\"{}\">{}</span>",
            percent(x(layer.position)),
            percent(1.0 - y(sqnr)),
            Text(&layer.name),
            rank + 1
        )
        .expect("a string takes any text");
    }
    labels.push_str(
        "<span class=\"x\" style=\"left:0\">first layer</span>\
         <span class=\"x\" style=\"right:0\">last</span>",
    );
    format!("<div class=\"plot\" aria-hidden=\"true\">{}{labels}</div>", svg("", &shapes))
}

/// The ends of the axis of a histogram: those of the bars and of the range together.
fn ends(bars: &Bars, range: Option<(f64, f64)>) -> Option<(f64, f64)> {
    let held = !bars.counts.is_empty() && bars.width > 0.0;
    let of_bars = held.then_some((bars.from, bars.from + bars.width * bars.counts.len() as f64));
    let (low, high) = match (of_bars, range) {
        (Some(a), Some(b)) => (a.0.min(b.0), a.1.max(b.1)),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => return None,
    };
    (high > low && (high - low).is_finite()).then_some((low, high))
}

/// The bars on a logarithmic scale, and what lies outside of the range.
fn histogram_shapes(bars: &Bars, range: Option<(f64, f64)>, (low, high): (f64, f64)) -> String {
    let x = |value: f64| (value - low) / (high - low);
    let most = bars.counts.iter().copied().max().unwrap_or(0);
    let height = |count: u64| ((count as f64) + 1.0).ln() / ((most as f64) + 1.0).ln();
    let mut d = String::new();
    for (index, &count) in bars.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let left = bars.from + bars.width * index as f64;
        block(&mut d, [x(left), x(left + bars.width)], [0.0, height(count)]);
    }
    let mut shapes = format!("<path class=\"fill\" d=\"{d}\"/>");
    if let Some((from, to)) = range {
        let (mut outside, mut edges) = (String::new(), String::new());
        for [left, right] in [[0.0, x(from)], [x(to), 1.0]] {
            // Bars have a width of their own, so that less than one of them says nothing.
            if right - left > (bars.width / (high - low)).max(0.002) {
                block(&mut outside, [left, right], [0.0, 1.0]);
            }
        }
        for end in [x(from), x(to)] {
            write!(edges, "M{} 0V{UNIT}", at(end)).expect("a string takes any text");
        }
        write!(shapes, "<path class=\"out\" d=\"{outside}\"/><path class=\"edge\" d=\"{edges}\"/>")
            .expect("a string takes any text");
    }
    shapes
}

/// A histogram in a line of a table.
pub(super) fn spark(tensor: &Tensor) -> String {
    let Some(bars) = &tensor.histogram else { return String::new() };
    let Some(ends) = ends(bars, tensor.range) else { return String::new() };
    svg("spark", &histogram_shapes(bars, tensor.range, ends))
}

/// A histogram with its range.
pub(super) fn histogram(tensor: &Tensor) -> String {
    let Some(bars) = &tensor.histogram else { return String::new() };
    let Some((low, high)) = ends(bars, tensor.range) else { return String::new() };
    let shapes = histogram_shapes(bars, tensor.range, (low, high));
    let mut labels = format!(
        "<span class=\"x\" style=\"left:0\">{}</span><span class=\"x\" style=\"right:0\">{}</span>",
        number(low),
        number(high)
    );
    let zero = -low / (high - low);
    if (0.12..0.88).contains(&zero) {
        write!(labels, "<span class=\"x\" style=\"left:{}\">0</span>", percent(zero))
            .expect("a string takes any text");
    }
    format!("<div class=\"plot low\" aria-hidden=\"true\">{}{labels}</div>", svg("", &shapes))
}

/// The range of every channel, and that of its grid.
pub(super) fn channels(channels: &Channels) -> String {
    let columns = [&channels.min, &channels.max, &channels.low, &channels.high]
        .map(Vec::len)
        .into_iter()
        .min();
    let columns = columns.unwrap_or(0);
    let all = channels.low.iter().chain(&channels.min);
    let low = all.copied().fold(0.0, f64::min);
    let high = channels.high.iter().chain(&channels.max).copied().fold(0.0, f64::max);
    if columns < 2 || high <= low || !(high - low).is_finite() {
        return String::new();
    }
    let x = |column: usize| column as f64 / columns as f64;
    let y = |value: f64| (value - low) / (high - low);
    let (mut held, mut lower, mut upper) = (String::new(), Vec::new(), Vec::new());
    for column in 0..columns {
        let (left, right) = (x(column), x(column + 1));
        let gap = (right - left) * 0.12;
        let reach = [y(channels.min[column]), y(channels.max[column])];
        block(&mut held, [left + gap, right - gap], reach);
        lower.extend([(left, y(channels.low[column])), (right, y(channels.low[column]))]);
        upper.extend([(left, y(channels.high[column])), (right, y(channels.high[column]))]);
    }
    let shapes = format!(
        "<path class=\"grid\" d=\"M0 {zero}H{UNIT}\"/><path class=\"fill\" d=\"{held}\"/>\
         <path class=\"edge\" d=\"{}\"/><path class=\"edge\" d=\"{}\"/>",
        path(lower.into_iter()),
        path(upper.into_iter()),
        zero = at(1.0 - y(0.0)),
    );
    let noun = if channels.per_column > 1 { "scales, several a column" } else { "scales" };
    format!(
        "<div class=\"plot low\" aria-hidden=\"true\">{}<span class=\"x\" style=\"left:0\">{} {noun}\
         </span><span class=\"x\" style=\"right:0\">{} … {}</span></div>",
        svg("", &shapes),
        channels.scales,
        number(low),
        number(high)
    )
}

/// The loss of every candidate on a logarithmic scale, and how many scales chose it.
pub(super) fn curve(curve: &Curve) -> String {
    let positive = |loss: f64| loss.max(1e-12).log10();
    let scaled: Vec<f64> = match curve.relative {
        true => curve.losses.iter().map(|&loss| positive(loss)).collect(),
        false => curve.losses.clone(),
    };
    let low = scaled.iter().copied().fold(f64::INFINITY, f64::min);
    let high = scaled.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if scaled.len() < 2 || high <= low || !(high - low).is_finite() {
        return String::new();
    }
    let last = (scaled.len() - 1) as f64;
    let points = scaled
        .iter()
        .enumerate()
        .map(|(at, loss)| (at as f64 / last, 0.06 + 0.94 * (loss - low) / (high - low)));
    let most = curve.chosen.iter().copied().max().unwrap_or(0).max(1) as f64;
    let mut bars = String::new();
    for (index, &count) in curve.chosen.iter().enumerate().filter(|(_, count)| **count > 0) {
        let (x, half) = (index as f64 / last, 0.35 / last);
        block(&mut bars, [x - half, x + half], [0.0, 0.5 * count as f64 / most]);
    }
    let shapes = format!(
        "<path class=\"fill\" opacity=\".45\" d=\"{bars}\"/><path class=\"curve\" d=\"{}\"/>",
        path(points)
    );
    format!(
        "<div class=\"plot low\" aria-hidden=\"true\">{}<span class=\"x\" style=\"left:0\">1/{} of the range\
         </span><span class=\"x\" style=\"right:0\">whole range</span></div>",
        svg("", &shapes),
        scaled.len()
    )
}
