//! Encodings as ONNX stores them.

use std::borrow::Cow;

use marquetry_ir::DType as ElementType;

use crate::element as floats;
use crate::{DType, Encoding, Granularity, NumericError, grid as cells};

/// The encoding with scales as a tensor of this type holds them, so that integers fit them.
pub(super) fn narrowed(encoding: &Encoding, element_of: ElementType) -> Cow<'_, Encoding> {
    if element_of == ElementType::Float || encoding.dtype.is_cast() {
        return Cow::Borrowed(encoding);
    }
    let mut encoding = encoding.clone();
    let narrow = |scale: &mut f64| *scale = floats::scale(element_of, *scale);
    encoding.cells.iter_mut().for_each(|cell| narrow(&mut cell.scale));
    encoding.channel_scales.iter_mut().for_each(narrow);
    Cow::Owned(encoding)
}

/// The shape of scales as ONNX stores them, with the cell of every element.
pub(super) fn grid(
    encoding: &Encoding,
    dims: &[usize],
) -> Result<(Vec<usize>, Vec<usize>), NumericError> {
    match encoding.granularity {
        Granularity::PerTensor => Ok((Vec::new(), vec![0])),
        Granularity::PerChannel(_) => {
            Ok((vec![encoding.cells.len()], (0..encoding.cells.len()).collect()))
        }
        // One scale for every element but along the axis of the blocks: cells that span other
        // axes are repeated.
        Granularity::PerBlock { axis, .. } | Granularity::Lpbq { axis, .. } => {
            let axis = cells::resolve(axis, dims.len())?;
            let shape: Vec<usize> = (0..dims.len())
                .map(|at| if at == axis { encoding.shape[at] } else { dims[at] })
                .collect();
            let elements: usize = shape.iter().product();
            let cell = |element: usize| {
                let mut rest = element;
                let (mut cell, mut stride) = (0, 1);
                for at in (0..shape.len()).rev() {
                    let index = rest % shape[at];
                    rest /= shape[at];
                    if encoding.shape[at] > 1 {
                        cell += index * stride;
                    }
                    stride *= encoding.shape[at];
                }
                cell
            };
            Ok((shape.clone(), (0..elements).map(cell).collect()))
        }
    }
}

/// The element type of a stored type.
pub(crate) fn element(dtype: DType) -> ElementType {
    match dtype {
        DType::Int2 => ElementType::Int2,
        DType::Int4 => ElementType::Int4,
        DType::Int8 => ElementType::Int8,
        DType::Int16 => ElementType::Int16,
        DType::Int32 => ElementType::Int32,
        DType::UInt2 => ElementType::Uint2,
        DType::UInt4 => ElementType::Uint4,
        DType::UInt8 => ElementType::Uint8,
        DType::UInt16 => ElementType::Uint16,
        DType::UInt32 => ElementType::Uint32,
        DType::Float16 => ElementType::Float16,
        DType::BFloat16 => ElementType::BFloat16,
        DType::Float8E4M3Fn => ElementType::Float8E4M3Fn,
        DType::Float8E5M2 => ElementType::Float8E5M2,
    }
}
