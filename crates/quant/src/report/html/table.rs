//! Tables that scroll on their own, show their first rows, and can be sorted and filtered.

use std::fmt::Write as _;

use super::text::{Text, grouped, number, plural};

/// A column.
pub(super) struct Column {
    pub(super) head: &'static str,
    /// Of the cells: `n` for numbers, `wide` for what a phone has no room for.
    pub(super) class: &'static str,
    /// Whether it can be sorted by.
    pub(super) sorts: bool,
}

/// A column that can be sorted by.
pub(super) const fn column(head: &'static str, class: &'static str) -> Column {
    Column { head, class, sorts: true }
}

/// A column that has no order.
pub(super) const fn still(head: &'static str, class: &'static str) -> Column {
    Column { head, class, sorts: false }
}

/// A cell: markup, and the number that it is sorted by.
pub(super) struct Cell {
    markup: String,
    value: Option<Option<f64>>,
}

/// Text of a model.
pub(super) fn text(content: &str) -> Cell {
    markup(Text(content).to_string())
}

/// A name of a model.
pub(super) fn name(content: &str) -> Cell {
    markup(format!("<span class=\"name\">{}</span>", Text(content)))
}

/// What is markup already.
pub(super) fn markup(content: impl Into<String>) -> Cell {
    Cell { markup: content.into(), value: None }
}

/// Markup that is sorted by a number; nothing comes last.
pub(super) fn sorted(content: impl Into<String>, value: Option<f64>) -> Cell {
    Cell { markup: content.into(), value: Some(value.filter(|value| value.is_finite())) }
}

/// A count.
pub(super) fn count(value: usize) -> Cell {
    sorted(grouped(value as u64), Some(value as f64))
}

/// A number, or a dash.
pub(super) fn measure(value: Option<f64>, shown: impl Fn(f64) -> String) -> Cell {
    sorted(value.map_or_else(|| "–".to_owned(), shown), value)
}

/// A number with four digits, or a dash.
pub(super) fn plain(value: Option<f64>) -> Cell {
    measure(value, number)
}

/// A table whose first column names the row. `id` is unique on the page; rows beyond `first` are shown
/// on demand, and those beyond `most` not at all.
pub(super) fn table(
    id: &str,
    caption: &str,
    columns: &[Column],
    rows: impl ExactSizeIterator<Item = Vec<Cell>>,
    (first, most): (usize, usize),
) -> String {
    let total = rows.len();
    let mut out = String::new();
    if total > first {
        let shown = total.min(most);
        write!(
            out,
            "<div class=\"tools\"><label><input type=\"checkbox\" id=\"{id}-all\"> Show all {}</label>",
            grouped(shown as u64)
        )
        .expect("a string takes any text");
        if total > most {
            write!(
                out,
                "<span class=\"soft\">{} more in the JSON report</span>",
                plural(total - most, "row")
            )
            .expect("a string takes any text");
        }
        out.push_str("</div>");
    }
    write!(
        out,
        "<div class=\"scroll\" role=\"region\" aria-label=\"{caption}\" tabindex=\"0\">\
         <table data-first=\"{}\"><caption>{caption}</caption><thead><tr>",
        if total > first { first } else { 0 }
    )
    .expect("a string takes any text");
    for column in columns {
        let class =
            if column.sorts { column.class.to_owned() } else { format!("{} still", column.class) };
        write!(out, "<th scope=\"col\" class=\"{}\">{}</th>", class.trim(), column.head)
            .expect("a string takes any text");
    }
    out.push_str("</tr></thead><tbody>\n");
    for (index, row) in rows.take(most).enumerate() {
        out.push_str(if index >= first { "<tr class=\"more\">" } else { "<tr>" });
        for (place, (cell, column)) in row.iter().zip(columns).enumerate() {
            let tag = if place == 0 { "th scope=\"row\"" } else { "td" };
            let class = match column.class {
                "" => String::new(),
                class => format!(" class=\"{class}\""),
            };
            let value = match cell.value {
                None => String::new(),
                Some(None) => " data-v=\"\"".to_owned(),
                Some(Some(value)) => format!(" data-v=\"{value}\""),
            };
            let end = if place == 0 { "th" } else { "td" };
            write!(out, "<{tag}{class}{value}>{}</{end}>", cell.markup)
                .expect("a string takes any text");
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div>\n");
    out
}
