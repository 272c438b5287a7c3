//! Numbers and constants in few letters.

use marquetry_ir::Tensor;

use super::SHOWN;
use crate::datum::{Datum, Float};
use crate::search::uniform;

/// How far a number is off, relative to what was wanted.
pub(in crate::why) fn relative(found: &Datum, wanted: &Datum) -> Option<f64> {
    let (found, wanted) = (found.as_float()?.number, wanted.as_float()?.number);
    let error = ((found - wanted) / wanted).abs();
    (error.is_finite() && error > 0.0 && error < 0.5).then_some(error)
}

pub(super) fn percent(error: f64) -> String {
    if error < 1e-4 { format!("{:.1e}", error) } else { format!("{:.2}%", error * 100.0) }
}

/// A number with the digits that its type has.
pub(super) fn number(float: Float) -> String {
    let number = float.number;
    let plain = if float.bits <= 11 {
        let rounded: f64 = format!("{number:.3e}").parse().unwrap_or(number);
        shortest(rounded)
    } else if float.bits <= 24 {
        let single = number as f32;
        if single.abs() < 1e-3 || single.abs() >= 1e6 {
            format!("{single:e}")
        } else {
            format!("{single}")
        }
    } else {
        shortest(number)
    };
    match plain.as_str() {
        "0e0" => "0".to_owned(),
        "NaN" => "nan".to_owned(),
        _ => plain,
    }
}

fn shortest(number: f64) -> String {
    if number.abs() < 1e-3 || number.abs() >= 1e6 {
        format!("{number:e}")
    } else {
        format!("{number}")
    }
}

/// The content of a constant in a few words.
pub(super) fn content(tensor: &Tensor) -> String {
    let show = |item: Datum| match item {
        Datum::Float(float) => number(float),
        Datum::Int(int) => int.to_string(),
        Datum::Bool(truth) => truth.to_string(),
        _ => "?".to_owned(),
    };
    if tensor.is_empty() {
        return "constant, empty".to_owned();
    }
    if tensor.len() == 1 {
        return Datum::item(tensor)
            .map_or_else(|| "constant".to_owned(), |item| format!("= {}", show(item)));
    }
    if let Some(item) = uniform(tensor) {
        return format!("constant, all elements {}", show(item));
    }
    match Datum::elements(tensor) {
        Some(Datum::List(items)) if items.len() <= SHOWN => {
            let items: Vec<_> = items.into_iter().map(show).collect();
            format!("constant, [{}]", items.join(", "))
        }
        _ => "constant".to_owned(),
    }
}
