//! Operators that stand for a layer of a network, and those that keep the shape of their input.

use super::dims::{broadcast as broadcast_shapes, sum};
use super::one;
use crate::Dim;
use crate::infer::site::{Shape, Site};

/// Shapes of operators whose first output is shaped like their first input.
pub(super) fn like_input(site: &Site<'_>, op: &str, count: usize) -> Option<Vec<Shape>> {
    let input = site.shape(0).map(<[Dim]>::to_vec);
    let mut shapes = vec![input.clone()];
    match op {
        "Dropout" => shapes.resize(count, input),
        "BatchNormalization" => shapes.resize(count, site.shape(3).map(<[Dim]>::to_vec)),
        "DynamicQuantizeLinear" => shapes.resize(count, Some(Vec::new())),
        "LayerNormalization" | "SimplifiedLayerNormalization" => {
            let folded = || {
                let mut shape = input?;
                let axis = site.axis("axis", shape.len())?;
                shape.iter_mut().skip(axis).for_each(|dim| *dim = Dim::Known(1));
                Some(shape)
            };
            shapes.resize(count, folded());
        }
        "com.microsoft/SkipLayerNormalization"
        | "com.microsoft/SkipSimplifiedLayerNormalization" => {
            shapes.extend([None, None, input]);
        }
        _ => {}
    }
    Some(shapes)
}

/// The shape that all inputs broadcast to.
pub(super) fn broadcast(site: &Site<'_>) -> Option<Vec<Dim>> {
    let shapes: Option<Vec<&[Dim]>> = (0..site.inputs.len()).map(|slot| site.shape(slot)).collect();
    // The old, one-sided broadcasting of opset 6 and before keeps the shape of the first input.
    if site.node().attribute("broadcast").is_some() {
        return site.shape(0).map(<[Dim]>::to_vec);
    }
    Some(broadcast_shapes(shapes?))
}

pub(super) fn rule(site: &Site<'_>, op: &str) -> Option<Vec<Shape>> {
    match op {
        "LSTM" | "GRU" | "RNN" => recurrent(site),
        "Attention" => attention(site),
        "com.microsoft/MultiHeadAttention" => {
            let (query, value) = (site.shape(0)?, site.shape(2)?);
            let [batch, length, _] = query else { return None };
            let [_, _, hidden] = value else { return None };
            Some(one(vec![batch.clone(), length.clone(), hidden.clone()]))
        }
        "com.microsoft/GroupQueryAttention" if site.input(1).is_some() => {
            Some(one(site.shape(0)?.to_vec()))
        }
        "NegativeLogLikelihoodLoss" | "SoftmaxCrossEntropyLoss" => {
            let reduced = site.string("reduction").is_none_or(|reduction| reduction != "none");
            Some(vec![
                if reduced { Some(Vec::new()) } else { site.shape(1).map(<[Dim]>::to_vec) },
                site.shape(0).map(<[Dim]>::to_vec),
            ])
        }
        "SequenceLength" | "OptionalHasElement" => Some(one(Vec::new())),
        _ => None,
    }
}

/// `Y [seq, directions, batch, hidden]`, `Y_h` and `Y_c [directions, batch, hidden]`; with layout 1 the
/// batch stands first.
fn recurrent(site: &Site<'_>) -> Option<Vec<Shape>> {
    let [first, second, _] = site.shape(0)? else { return None };
    let both = site.string("direction").is_some_and(|direction| direction == "bidirectional");
    let directions = Dim::Known(if both { 2 } else { 1 });
    let recurrence = site.shape(2).and_then(|shape| shape.get(2)).cloned();
    let hidden = site.int("hidden_size").map(Dim::Known).or(recurrence).unwrap_or(Dim::Unknown);
    let (all, last) = if site.flag("layout") {
        (
            vec![first.clone(), second.clone(), directions.clone(), hidden.clone()],
            vec![first.clone(), directions, hidden],
        )
    } else {
        (
            vec![first.clone(), directions.clone(), second.clone(), hidden.clone()],
            vec![directions, second.clone(), hidden],
        )
    };
    Some(vec![Some(all), Some(last.clone()), Some(last)])
}

/// Standard attention: `[batch, heads, length, size]`, or `[batch, length, heads · size]` with the
/// numbers of heads as attributes.
fn attention(site: &Site<'_>) -> Option<Vec<Shape>> {
    let (query, key, value) = (site.shape(0)?, site.shape(1), site.shape(2)?);
    let per_head = |dim: &Dim, heads: i64| match dim {
        Dim::Known(hidden) if heads > 0 && hidden % heads == 0 => Dim::Known(hidden / heads),
        _ => Dim::Unknown,
    };
    let past = site.shape(4).and_then(|past| past.get(2)).cloned();
    let total = |length: &Dim| match (site.input(4), &past) {
        (None, _) => length.clone(),
        (Some(_), Some(past)) => sum([past, length]),
        (Some(_), None) => Dim::Unknown,
    };
    let cache = |heads: &Dim, length: &Dim, size: &Dim, batch: &Dim| {
        Some(vec![batch.clone(), heads.clone(), total(length), size.clone()])
    };
    match (query, value) {
        ([batch, heads, length, _], [_, kv_heads, kv_length, size]) => {
            let output = vec![batch.clone(), heads.clone(), length.clone(), size.clone()];
            let key_size = key.and_then(|key| key.get(3)).cloned().unwrap_or(Dim::Unknown);
            Some(vec![
                Some(output),
                cache(kv_heads, kv_length, &key_size, batch),
                cache(kv_heads, kv_length, size, batch),
                Some(vec![batch.clone(), heads.clone(), length.clone(), total(kv_length)]),
            ])
        }
        ([batch, length, _], [_, kv_length, hidden]) => {
            let (heads, kv_heads) = (site.int("q_num_heads")?, site.int("kv_num_heads")?);
            let size = per_head(hidden, kv_heads);
            let width = match &size {
                Dim::Known(size) => size.checked_mul(heads).map_or(Dim::Unknown, Dim::Known),
                _ => Dim::Unknown,
            };
            let key_size =
                key.and_then(|key| key.get(2)).map_or(Dim::Unknown, |dim| per_head(dim, kv_heads));
            let kv_heads = Dim::Known(kv_heads);
            Some(vec![
                Some(vec![batch.clone(), length.clone(), width]),
                cache(&kv_heads, kv_length, &key_size, batch),
                cache(&kv_heads, kv_length, &size, batch),
                Some(vec![batch.clone(), Dim::Known(heads), length.clone(), total(kv_length)]),
            ])
        }
        _ => None,
    }
}
