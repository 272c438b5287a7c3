//! One operator from one definition to the next.

use super::draft::{Draft, Operand};
use super::same::{means_the_same, moves_attributes};
use crate::schema::{Parameter, ParameterKind, Schema, lookup, versions};
use crate::{AttributeValue, Tensor};

/// Before this one, operands were broadcast in other ways.
const OLDEST: i64 = 7;

/// Brings a node from one opset to another, definition by definition; what stands against it otherwise.
pub(super) fn bring(draft: &mut Draft<'_>, from: i64, to: i64) -> Result<(), String> {
    let Some(mut old) = lookup("", draft.op_type(), from) else {
        return Err(format!("opset {from} has no such operator"));
    };
    let mut at = from;
    while let Some(new) =
        versions("", draft.op_type()).iter().find(|new| at < new.since && new.since <= to)
    {
        if !means_the_same(old, new) {
            if old.since < OLDEST && new.since <= OLDEST {
                return Err(format!("opsets before {OLDEST} are not converted"));
            }
            step(draft, old, new)?;
        }
        at = new.since;
        old = lookup("", draft.op_type(), at).ok_or("it was replaced by one that came later")?;
    }
    Ok(())
}

/// From one definition to the next one, which says something else.
fn step(draft: &mut Draft<'_>, old: &Schema, new: &Schema) -> Result<(), String> {
    match (old.name, new.since) {
        ("Softmax" | "LogSoftmax" | "Hardmax", 13) => softmax(draft),
        ("BatchNormalization", 9) => spatial(draft),
        ("BatchNormalization", 14) => trained(draft),
        ("Dropout", 10) => mask(draft),
        ("Scatter", 11) => replaced(draft, "ScatterElements"),
        ("Upsample", 10) => replaced(draft, "Resize"),
        ("Resize", 11) => resize(draft),
        ("RoiAlign", 16) => {
            let mode = AttributeValue::String("output_half_pixel".into());
            draft.set("coordinate_transformation_mode", mode);
            Ok(())
        }
        ("GridSample", 20) => grid_sample(draft),
        ("GroupNormalization", 21) => group_scale(draft),
        ("Split", 18) => {
            if matches!(draft.operand(1), Operand::Absent) {
                let count = i64::try_from(draft.output_count()).expect("results fit into memory");
                draft.set("num_outputs", AttributeValue::Int(count));
            }
            Ok(())
        }
        _ if moves_attributes(old, new) => inputs(draft, old, new),
        _ => Err(format!("its definition changed in opset {}", new.since)),
    }
}

/// Attributes become inputs.
fn inputs(draft: &mut Draft<'_>, old: &Schema, new: &Schema) -> Result<(), String> {
    for attribute in old.attributes.iter().filter(|old| new.attribute(old.name).is_none()) {
        let parameter = new.parameter(attribute.name).expect("what moves is a parameter");
        let slot = parameter.input.and_then(|input| new.input(input));
        // Counted from the front by default, and from the end later.
        let default = attribute.default.clone().filter(|_| new.name == "DFT");
        if let Some(value) = draft.take(attribute.name).or(default) {
            let operand = operand(draft, parameter, value, new.name == "TopK")?;
            draft.put(slot.expect("what moves becomes an input"), operand);
        }
    }
    Ok(())
}

/// The input that stands for an attribute.
fn operand(
    draft: &Draft<'_>,
    parameter: &Parameter,
    value: AttributeValue,
    vector: bool,
) -> Result<Operand, String> {
    let name = parameter.attribute;
    let floats = |dtype, dims: Vec<usize>, elements: &[f64]| {
        Tensor::from_f64s(dtype, dims, elements).and_then(Result::ok)
    };
    let tensor = match (&value, parameter.kind) {
        (AttributeValue::Reference { .. }, kind) => {
            let attribute = match kind {
                ParameterKind::Ints => "value_ints",
                ParameterKind::Floats => "value_floats",
                ParameterKind::Float => "value_float",
                ParameterKind::Int if !vector => "value_int",
                ParameterKind::Int | ParameterKind::Scalar => {
                    return Err(format!("`{name}` became an input, and is given by the caller"));
                }
            };
            return Ok(Operand::Given(name, attribute, value));
        }
        (AttributeValue::Ints(ints), _) => Tensor::from_i64s([ints.len()], ints).ok(),
        (AttributeValue::Int(int), _) => {
            let dims = if vector { vec![1] } else { Vec::new() };
            Tensor::from_i64s(dims, &[*int]).ok()
        }
        (AttributeValue::Floats(list), _) => Tensor::from_f32s([list.len()], list).ok(),
        (AttributeValue::Float(float), ParameterKind::Scalar) => {
            let Some(dtype) = draft.ty().and_then(|ty| ty.dtype) else {
                return Err(format!(
                    "`{name}` became an input of the type of the first one, which is not known"
                ));
            };
            floats(dtype, Vec::new(), &[f64::from(*float)])
        }
        (AttributeValue::Float(float), _) => Tensor::from_f32s([], &[*float]).ok(),
        _ => None,
    };
    tensor.map(|tensor| Operand::Constant(name, tensor)).ok_or_else(|| {
        format!("`{name}` became an input, and its content cannot be written as one")
    })
}

/// Up to opset 12, all axes from `axis` on were normalized together.
fn softmax(draft: &mut Draft<'_>) -> Result<(), String> {
    let axis = draft.attribute("axis").cloned().unwrap_or(AttributeValue::Int(1));
    let rank = draft.ty().and_then(|ty| ty.rank()).and_then(|rank| i64::try_from(rank).ok());
    let last = match (&axis, rank) {
        (AttributeValue::Int(axis), rank) => {
            *axis == -1 || rank.is_some_and(|rank| *axis == rank - 1)
        }
        _ => false,
    };
    draft.set("axis", AttributeValue::Int(-1));
    if !last {
        draft.flatten(axis);
    }
    Ok(())
}

fn spatial(draft: &mut Draft<'_>) -> Result<(), String> {
    match draft.take("spatial") {
        None | Some(AttributeValue::Int(1)) => Ok(()),
        Some(_) => Err("`spatial` is not 1, which only older opsets have".to_owned()),
    }
}

/// Up to opset 13 a batch normalization that gives more than one result trains; its results are other
/// ones later.
fn trained(draft: &Draft<'_>) -> Result<(), String> {
    let more = (1..draft.output_count()).any(|slot| draft.output(slot).is_some());
    if more {
        Err("it gives results of training, which are other ones there".to_owned())
    } else {
        Ok(())
    }
}

/// Up to opset 9 the mask is of floats.
fn mask(draft: &Draft<'_>) -> Result<(), String> {
    match draft.output(1) {
        Some(mask) if draft.graph.use_count(mask) > 0 || draft.graph.is_output(mask) => {
            Err("its mask is read, and is of another type there".to_owned())
        }
        _ => Ok(()),
    }
}

fn replaced(draft: &mut Draft<'_>, op_type: &str) -> Result<(), String> {
    draft.rename(op_type);
    Ok(())
}

/// Up to opset 10, places were multiplied by the scale, and cut off or, where it shrinks, rounded up.
fn resize(draft: &mut Draft<'_>) -> Result<(), String> {
    let mode = draft.attribute("mode").and_then(AttributeValue::as_str).unwrap_or("nearest");
    if mode == "nearest" {
        let scales = draft.constant(1).and_then(Tensor::to_f64s);
        let rounding = match scales {
            Some(scales) if scales.iter().all(|scale| *scale >= 1.0) => "floor",
            Some(scales) if scales.iter().all(|scale| *scale <= 1.0) => "ceil",
            Some(_) => return Err("it grows along one axis and shrinks along another".to_owned()),
            None => return Err("whether it grows or shrinks is not known before a run".to_owned()),
        };
        draft.set("nearest_mode", AttributeValue::String(rounding.into()));
    }
    draft.set("coordinate_transformation_mode", AttributeValue::String("asymmetric".into()));
    let scales = draft.operand(1).clone();
    let none = Tensor::from_f32s([0], &[]).expect("no elements are as many as the shape asks for");
    draft.put(1, Operand::Constant("roi", none));
    draft.put(2, scales);
    Ok(())
}

fn grid_sample(draft: &mut Draft<'_>) -> Result<(), String> {
    let mode = match draft.attribute("mode") {
        None => "linear",
        Some(mode) => match mode.as_str() {
            Some("bilinear") => "linear",
            Some("bicubic") => "cubic",
            Some("nearest") => return Ok(()),
            _ => return Err("its `mode` is not known".to_owned()),
        },
    };
    draft.set("mode", AttributeValue::String(mode.into()));
    Ok(())
}

/// Up to opset 20 there is a scale and a bias for each group, then for each channel.
fn group_scale(draft: &mut Draft<'_>) -> Result<(), String> {
    let channels = draft.ty().and_then(|ty| ty.shape.as_ref()?.get(1)?.known());
    let groups = draft.attribute("num_groups").and_then(AttributeValue::as_int);
    let (Some(channels), Some(groups)) = (channels, groups) else {
        return Err("the number of its channels is not known".to_owned());
    };
    let each = usize::try_from(groups).ok().and_then(|groups| channels.checked_div(groups));
    let each = each.filter(|each| each * usize::try_from(groups).unwrap_or(0) == channels);
    let Some(each) = each else {
        return Err("its channels cannot be divided into its groups".to_owned());
    };
    for (slot, name) in [(1, "scale"), (2, "bias")] {
        let repeated = match (draft.constant(slot), draft.operand(slot)) {
            (Some(tensor), _) => {
                let repeated = tensor.to_f64s().and_then(|elements| {
                    let elements = elements.into_iter();
                    let elements: Vec<f64> =
                        elements.flat_map(|element| std::iter::repeat_n(element, each)).collect();
                    Tensor::from_f64s(tensor.dtype(), [elements.len()], &elements)?.ok()
                });
                let repeated = repeated.filter(|repeated| repeated.len() == channels);
                repeated.map(|repeated| Operand::Constant(name, repeated))
            }
            (None, Operand::Value(vector)) => {
                let times = i64::try_from(each).expect("a length fits");
                Some(Operand::Repeated(name, *vector, times))
            }
            _ => None,
        };
        let Some(repeated) = repeated else {
            return Err(format!("its `{name}` has not one element for each group"));
        };
        draft.put(slot, repeated);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::all;

    #[test]
    fn what_is_not_converted_is_known() {
        let mut changed = Vec::new();
        let mut open = Vec::new();
        for new in all().iter().filter(|new| new.domain.is_empty() && new.since > OLDEST) {
            let old = lookup("", new.name, new.since - 1);
            let Some(old) = old else { continue };
            if !means_the_same(old, new) && !moves_attributes(old, new) {
                let place = format!("{} {}", new.name, new.since);
                let source = format!("{:?}, {})", new.name, new.since);
                let family = matches!(new.name, "Softmax" | "LogSoftmax" | "Hardmax");
                let arm = include_str!("convert.rs").contains(&source) || family;
                if arm { changed.push(place) } else { open.push(place) }
            }
        }
        assert_eq!(
            changed,
            [
                "BatchNormalization 9",
                "BatchNormalization 14",
                "GridSample 20",
                "GroupNormalization 21",
                "Hardmax 13",
                "LogSoftmax 13",
                "Resize 11",
                "RoiAlign 16",
                "Scatter 11",
                "Softmax 13",
                "Split 18",
                "Upsample 10",
            ],
        );
        // Sums may be kept in another type than before; sequence lengths went, and directions became two
        // lists.
        assert_eq!(open, ["Range 27", "Scan 9"]);
    }
}
