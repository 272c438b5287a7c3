//! Products of matrices.

use super::dims::{broadcast, either};
use super::one;
use crate::Dim;
use crate::infer::site::{Shape, Site};

pub(super) fn rule(site: &Site<'_>, op: &str) -> Option<Vec<Shape>> {
    let shape = match op {
        "MatMul" | "MatMulInteger" => matmul(site.shape(0)?, site.shape(1)?)?,
        "QLinearMatMul" => matmul(site.shape(0)?, site.shape(3)?)?,
        "com.microsoft/FusedMatMul" => fused(site)?,
        "com.microsoft/DynamicQuantizeMatMul" => matmul(site.shape(0)?, site.shape(1)?)?,
        "com.microsoft/MatMulNBits" => {
            let mut out = site.shape(0)?.to_vec();
            *out.last_mut()? = Dim::Known(site.int("N")?);
            out
        }
        "Gemm" | "com.microsoft/FusedGemm" => gemm(site, 1)?,
        "com.microsoft/QGemm" => gemm(site, 3)?,
        "Einsum" => einsum(site)?,
        "Det" => {
            let input = site.shape(0)?;
            input[..input.len().checked_sub(2)?].to_vec()
        }
        _ => return None,
    };
    Some(one(shape))
}

fn matmul(a: &[Dim], b: &[Dim]) -> Option<Vec<Dim>> {
    let (rows, a_batch) = match a {
        [] => return None,
        [_] => (None, &a[..0]),
        [batch @ .., rows, _] => (Some(rows), batch),
    };
    let (columns, b_batch) = match b {
        [] => return None,
        [_] => (None, &b[..0]),
        [batch @ .., _, columns] => (Some(columns), batch),
    };
    let mut out = broadcast([a_batch, b_batch]);
    out.extend(rows.cloned());
    out.extend(columns.cloned());
    Some(out)
}

fn fused(site: &Site<'_>) -> Option<Vec<Dim>> {
    if site.flag("transBatchA") || site.flag("transBatchB") {
        return None;
    }
    let swapped = |slot: usize, flag: &str| {
        let mut shape = site.shape(slot)?.to_vec();
        let rank = shape.len();
        if rank >= 2 && site.flag(flag) {
            shape.swap(rank - 1, rank - 2);
        }
        Some(shape)
    };
    matmul(&swapped(0, "transA")?, &swapped(1, "transB")?)
}

fn gemm(site: &Site<'_>, right: usize) -> Option<Vec<Dim>> {
    let pick = |slot: usize, axis: usize| match site.shape(slot) {
        Some(shape) => shape.get(axis).cloned().unwrap_or(Dim::Unknown),
        None => Dim::Unknown,
    };
    let rows = pick(0, usize::from(site.flag("transA")));
    let columns = pick(right, usize::from(!site.flag("transB")));
    Some(vec![rows, columns])
}

fn einsum(site: &Site<'_>) -> Option<Vec<Dim>> {
    let equation = site.string("equation")?.replace(' ', "");
    let (terms, result) = match equation.split_once("->") {
        Some((terms, result)) => (terms, Some(result)),
        None => (equation.as_str(), None),
    };
    let mut letters: Vec<(char, Dim, usize)> = Vec::new();
    let mut ellipsis: Vec<Vec<Dim>> = Vec::new();
    let mut known = true;
    for (slot, term) in terms.split(',').enumerate() {
        let (before, after) = term.split_once("...").unwrap_or((term, ""));
        let named = before.chars().count() + after.chars().count();
        let shape = site.shape(slot);
        let middle = match shape {
            Some(shape) => shape.len().checked_sub(named)?,
            None => 0,
        };
        known &= shape.is_some() || !term.contains("...");
        if let Some(shape) = shape {
            let start = before.chars().count();
            ellipsis.push(shape.get(start..start + middle)?.to_vec());
        }
        let places = before.chars().enumerate().chain(
            after.chars().enumerate().map(|(at, c)| (before.chars().count() + middle + at, c)),
        );
        for (at, letter) in places {
            let dim = shape.and_then(|shape| shape.get(at)).unwrap_or(&Dim::Unknown);
            match letters.iter_mut().find(|(known, ..)| *known == letter) {
                Some((_, known, times)) => {
                    *known = match (&*known, dim) {
                        (Dim::Known(1), other) => other.clone(),
                        (_, Dim::Known(1)) => known.clone(),
                        (known, other) => either(known, other),
                    };
                    *times += 1;
                }
                None => letters.push((letter, dim.clone(), 1)),
            }
        }
    }
    if !known {
        return None;
    }
    let batch = broadcast(ellipsis.iter().map(Vec::as_slice));
    let dim_of = |letter: char| letters.iter().find(|(known, ..)| *known == letter);
    let Some(result) = result else {
        // Implicit form: the ellipsis, then the letters that stand once, in order of the alphabet.
        let mut single: Vec<_> = letters.iter().filter(|(.., times)| *times == 1).collect();
        single.sort_by_key(|(letter, ..)| *letter);
        let mut out = batch;
        out.extend(single.into_iter().map(|(_, dim, _)| dim.clone()));
        return Some(out);
    };
    let (before, after) = result.split_once("...").unwrap_or((result, ""));
    let mut out = Vec::new();
    for letter in before.chars() {
        out.push(dim_of(letter)?.1.clone());
    }
    if result.contains("...") {
        out.extend(batch);
    }
    for letter in after.chars() {
        out.push(dim_of(letter)?.1.clone());
    }
    Some(out)
}
