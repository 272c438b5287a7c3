//! Quantization: `saturate(round_half_even(x / scale) + zero_point)` and back, in every integer type
//! and per tensor, along an axis or in blocks.

use marquetry_ir::{DType, Float8, Tensor};

use super::Fault;
use super::call::{Call, Outputs, axis};
use super::cast::{cast, pack};
use crate::array::{Element, elements, tensor};

/// Which scale holds for which element: scales per tensor, along an axis, or along an axis in blocks.
struct Granularity {
    /// Elements after the axis, elements along it, elements of it that share a scale.
    inner: usize,
    length: usize,
    block: usize,
    /// Scales along the axis; 0 for one scale in all.
    scales: usize,
    /// Whether scales differ on the other axes too, as blocked ones do.
    blocked: bool,
}

impl Granularity {
    fn new(call: &Call<'_>, x: &Tensor, scale: &Tensor) -> Result<Self, Fault> {
        let rank = x.dims().len();
        if scale.len() == 1 && scale.dims().len() <= 1 {
            return Ok(Self { inner: 1, length: 1, block: 1, scales: 0, blocked: false });
        }
        let at = axis(call.int("axis").unwrap_or(1), rank)?;
        let (inner, length) = (x.dims()[at + 1..].iter().product(), x.dims()[at]);
        let block = call.int("block_size").unwrap_or(0);
        if scale.dims().len() == 1 && (block == 0 || rank != 1) {
            if scale.dims()[0] != length {
                return Err(Fault::Invalid(format!(
                    "{} scales do not fit axis {at} of {:?}",
                    scale.len(),
                    x.dims()
                )));
            }
            return Ok(Self { inner, length, block: 1, scales: length, blocked: false });
        }
        let scales = *scale.dims().get(at).unwrap_or(&0);
        let block = match usize::try_from(block) {
            Ok(0) | Err(_) => length.div_ceil(scales.max(1)),
            Ok(block) => block,
        };
        let others = scale.dims().len() == rank
            && (0..rank).all(|other| other == at || scale.dims()[other] == x.dims()[other]);
        if !others || scales == 0 || length.div_ceil(block.max(1)) != scales {
            return Err(Fault::Invalid(format!(
                "scales of shape {:?} do not block {:?}",
                scale.dims(),
                x.dims()
            )));
        }
        Ok(Self { inner, length, block, scales, blocked: true })
    }

    /// The position of the scale of an element.
    fn of(&self, index: usize) -> usize {
        if self.scales == 0 {
            return 0;
        }
        let along = index / self.inner % self.length / self.block;
        if !self.blocked {
            return along;
        }
        (index / self.inner / self.length * self.scales + along) * self.inner + index % self.inner
    }
}

impl Granularity {
    /// Runs of neighbouring elements that share a scale: how long one is, and the scale of the `n`-th;
    /// nothing where neighbours do not share.
    fn runs(&self) -> Option<(usize, impl Fn(usize) -> usize + '_)> {
        let length = match (self.scales, self.blocked) {
            (0, _) => usize::MAX,
            (_, false) => self.inner,
            (_, true) => return None,
        };
        (length > 0).then_some((
            length,
            move |run: usize| if self.scales == 0 { 0 } else { run % self.scales },
        ))
    }
}

/// The least and greatest value of an integer type of up to 32 bits.
pub(crate) fn limits(dtype: DType) -> Option<(i64, i64)> {
    let bits = dtype.bits().filter(|&bits| dtype.is_integer() && bits <= 32)?;
    let unsigned =
        matches!(dtype, DType::Uint2 | DType::Uint4 | DType::Uint8 | DType::Uint16 | DType::Uint32);
    let values = 1_i64 << bits;
    Some(if unsigned { (0, values - 1) } else { (-values / 2, values / 2 - 1) })
}

fn zero_points(call: &Call<'_>, scale: &Tensor) -> Result<Option<Vec<i64>>, Fault> {
    let Some(zero) = call.optional(2) else { return Ok(None) };
    if zero.len() != scale.len() {
        return Err(Fault::invalid("there is not one zero point for each scale"));
    }
    zero.to_i64s().map(Some).ok_or_else(|| Fault::dtype(zero))
}

/// A tensor of one integer type from integers within its limits.
fn integers(dims: &[usize], integers: Vec<i64>, dtype: DType) -> Result<Tensor, Fault> {
    if dtype.bits().is_some_and(|bits| bits < 8) {
        return pack(dims, &integers, dtype);
    }
    cast(&tensor(dims, integers)?, dtype)
}

pub(super) fn quantize(call: &Call<'_>) -> Outputs {
    let (x, scale) = (call.input(0)?, call.input(1)?);
    let dtype = match (call.optional(2), call.int("output_dtype").filter(|&number| number != 0)) {
        (Some(zero), _) => zero.dtype(),
        (None, Some(number)) => DType::from_number(number.try_into().unwrap_or(0)),
        (None, None) => DType::Uint8,
    };
    if let Some(format) = Float8::of(dtype) {
        return quantize_float8(call, x, scale, dtype, format);
    }
    let narrow = dtype.bits().is_some_and(|bits| bits <= 16);
    let (least, most) = limits(dtype).filter(|_| narrow).ok_or_else(|| {
        Fault::Unsupported(format!("it is not written for elements of type `{dtype}`"))
    })?;
    let granularity = Granularity::new(call, x, scale)?;
    let zeros = zero_points(call, scale)?;
    let scales = scale.to_f64s().ok_or_else(|| Fault::dtype(scale))?;
    if let (Some(xs), DType::Float, None | Some(1)) =
        (x.f32s(), scale.dtype(), call.int("precision"))
        && let Some(quantized) =
            fast_quantize(&xs, x.dims(), &granularity, &scales, zeros.as_deref(), dtype)
    {
        return Ok(vec![quantized?]);
    }
    let xs = x.to_f64s().ok_or_else(|| Fault::dtype(x))?;
    // The division is done in the type of the scale, unless the node names another.
    let precision = call.int("precision").filter(|&number| number != 0);
    let double = match precision {
        Some(number) => DType::from_number(number.try_into().unwrap_or(0)) == DType::Double,
        None => scale.dtype() == DType::Double,
    };
    let quantized = xs.iter().enumerate().map(|(index, &x)| {
        let at = granularity.of(index);
        let ratio = if double { x / scales[at] } else { f64::from(x as f32 / scales[at] as f32) };
        let zero = zeros.as_ref().map_or(0, |zeros| zeros[at]);
        // A NaN has no integer: it becomes zero, as the conversion makes it.
        (ratio.round_ties_even() as i64).saturating_add(zero).clamp(least, most)
    });
    Ok(vec![integers(x.dims(), quantized.collect(), dtype)?])
}

/// The nearest 8-bit float of `x / scale`. Its zero point can only be zero.
fn quantize_float8(
    call: &Call<'_>,
    x: &Tensor,
    scale: &Tensor,
    dtype: DType,
    format: Float8,
) -> Outputs {
    let granularity = Granularity::new(call, x, scale)?;
    let scales = scale.to_f32s().ok_or_else(|| Fault::dtype(scale))?;
    let xs = x.to_f32s().ok_or_else(|| Fault::dtype(x))?;
    let saturate = call.int("saturate") != Some(0);
    let codes = xs.iter().enumerate();
    let codes: Vec<u8> =
        codes.map(|(at, &x)| format.encode(x / scales[granularity.of(at)], saturate)).collect();
    Ok(vec![Tensor::new(dtype, x.dims(), codes)?])
}

fn dequantize_float8(
    call: &Call<'_>,
    x: &Tensor,
    scale: &Tensor,
    dtype: DType,
    format: Float8,
) -> Outputs {
    let granularity = Granularity::new(call, x, scale)?;
    let scales = scale.to_f32s().ok_or_else(|| Fault::dtype(scale))?;
    let codes = x.bytes().iter().enumerate();
    let reals: Vec<f32> =
        codes.map(|(at, &code)| format.decode(code) * scales[granularity.of(at)]).collect();
    Ok(vec![cast(&tensor(x.dims(), reals)?, dtype)?])
}

pub(super) fn dequantize(call: &Call<'_>) -> Outputs {
    let (x, scale) = (call.input(0)?, call.input(1)?);
    let dtype = match call.int("output_dtype").filter(|&number| number != 0) {
        Some(number) => DType::from_number(number.try_into().unwrap_or(0)),
        None => scale.dtype(),
    };
    if let Some(format) = Float8::of(x.dtype()) {
        return dequantize_float8(call, x, scale, dtype, format);
    }
    let granularity = Granularity::new(call, x, scale)?;
    let zeros = zero_points(call, scale)?;
    let scales = scale.to_f64s().ok_or_else(|| Fault::dtype(scale))?;
    if dtype == DType::Float
        && scale.dtype() == DType::Float
        && let Some(reals) = fast_dequantize(x, &granularity, &scales, zeros.as_deref())
    {
        return Ok(vec![tensor(x.dims(), reals)?]);
    }
    let xs = x.to_i64s().ok_or_else(|| Fault::dtype(x))?;
    let reals = xs.iter().enumerate().map(|(index, &q)| {
        let at = granularity.of(index);
        let zero = zeros.as_ref().map_or(0, |zeros| zeros[at]);
        // In single precision, as runtimes compute it: the integer is rounded before the product.
        (q.wrapping_sub(zero) as f32) * (scales[at] as f32)
    });
    let output = tensor(x.dims(), reals.collect::<Vec<f32>>())?;
    Ok(vec![cast(&output, dtype)?])
}

/// The usual case: single precision, 8 or 16 bits, long runs of one scale. The same numbers as the
/// general case.
fn fast_quantize(
    xs: &[f32],
    dims: &[usize],
    granularity: &Granularity,
    scales: &[f64],
    zeros: Option<&[i64]>,
    dtype: DType,
) -> Option<Result<Tensor, Fault>> {
    fn all<T: Element>(
        xs: &[f32],
        dims: &[usize],
        run: usize,
        grid: impl Fn(usize) -> (f32, i32),
        narrow: impl Fn(i32) -> T,
        (least, most): (i32, i32),
    ) -> Result<Tensor, Fault> {
        let mut quantized = Vec::with_capacity(xs.len());
        for (at, xs) in xs.chunks(run).enumerate() {
            let (scale, zero) = grid(at);
            // Within 16 bits these bounds are exact, and a NaN becomes zero as everywhere.
            let (low, high) = ((least - zero) as f32, (most - zero) as f32);
            quantized.extend(
                xs.iter()
                    .map(|x| narrow((x / scale).round_ties_even().clamp(low, high) as i32 + zero)),
            );
        }
        Ok(tensor(dims, quantized)?)
    }
    let (run, scale_of) = granularity.runs()?;
    let (least, most) = limits(dtype)?;
    let limits = (i32::try_from(least).ok()?, i32::try_from(most).ok()?);
    let grid = |at: usize| {
        let at = scale_of(at);
        (scales[at] as f32, zeros.map_or(0, |zeros| zeros[at] as i32))
    };
    Some(match dtype {
        DType::Uint8 => all(xs, dims, run, grid, |q| q as u8, limits),
        DType::Int8 => all(xs, dims, run, grid, |q| q as i8, limits),
        DType::Uint16 => all(xs, dims, run, grid, |q| q as u16, limits),
        DType::Int16 => all(xs, dims, run, grid, |q| q as i16, limits),
        _ => return None,
    })
}

fn fast_dequantize(
    x: &Tensor,
    granularity: &Granularity,
    scales: &[f64],
    zeros: Option<&[i64]>,
) -> Option<Vec<f32>> {
    fn all<T: Element + Into<i32>>(
        x: &Tensor,
        run: usize,
        grid: impl Fn(usize) -> (f32, i32),
    ) -> Vec<f32> {
        let mut reals = Vec::with_capacity(x.len());
        for (at, quantized) in elements::<T>(x).chunks(run).enumerate() {
            let (scale, zero) = grid(at);
            reals.extend(quantized.iter().map(|&q| (q.into() - zero) as f32 * scale));
        }
        reals
    }
    let (run, scale_of) = granularity.runs()?;
    let grid = |at: usize| {
        let at = scale_of(at);
        (scales[at] as f32, zeros.map_or(0, |zeros| zeros[at] as i32))
    };
    Some(match x.dtype() {
        DType::Uint8 => all::<u8>(x, run, grid),
        DType::Int8 => all::<i8>(x, run, grid),
        DType::Uint16 => all::<u16>(x, run, grid),
        DType::Int16 => all::<i16>(x, run, grid),
        _ => return None,
    })
}

/// An asymmetric grid of 8 bits from the range of the tensor, which always contains zero.
pub(super) fn dynamic_quantize(call: &Call<'_>) -> Outputs {
    let x = call.input(0)?;
    let items = x.f32s().ok_or_else(|| Fault::dtype(x))?;
    let (least, most) = items.iter().fold((0.0_f32, 0.0_f32), |(a, b), &x| (a.min(x), b.max(x)));
    let scale = (most - least) / 255.0;
    let scale = if scale == 0.0 { 1.0 } else { scale };
    let zero = (-least / scale).round_ties_even().clamp(0.0, 255.0);
    let quantized =
        items.iter().map(|&x| ((x / scale).round_ties_even() + zero).clamp(0.0, 255.0) as u8);
    Ok(vec![
        tensor(x.dims(), quantized.collect::<Vec<u8>>())?,
        tensor([], vec![scale])?,
        tensor([], vec![zero as u8])?,
    ])
}

#[cfg(test)]
mod tests {
    use marquetry_ir::{Attribute, AttributeValue, Operation};

    use super::*;
    use crate::native::lookup;

    #[test]
    fn limits_are_those_of_twos_complement() {
        assert_eq!(limits(DType::Int4), Some((-8, 7)));
        assert_eq!(limits(DType::Uint2), Some((0, 3)));
        assert_eq!(limits(DType::Int32), Some((i32::MIN.into(), i32::MAX.into())));
        assert_eq!(limits(DType::Float), None);
    }

    /// Quantizes along axis 1 of [2, 3, 5], once as it comes and once with every axis of the scales
    /// written out, which takes the general way.
    #[test]
    fn the_fast_way_gives_what_the_general_way_gives() {
        let xs: Vec<f32> =
            (0..30).map(|i| (i as f32 - 13.5) * 37.25).chain([f32::NAN]).take(30).collect();
        let x = Tensor::from_f32s([2, 3, 5], &xs).unwrap();
        let scale = Tensor::from_f32s([3], &[0.5, 1.5, 2.5]).unwrap();
        let attributes = [
            Attribute::new("axis", AttributeValue::Int(1)),
            Attribute::new("block_size", AttributeValue::Int(1)),
        ];
        for dtype in [DType::Uint8, DType::Int8, DType::Uint16, DType::Int16] {
            let zero = cast(&Tensor::from_i64s([3], &[3, 0, 100]).unwrap(), dtype).unwrap();
            let run = |op_type: &str, inputs: [Tensor; 3], attributes: &[Attribute]| {
                let operation = Operation { domain: "", op_type, opset: 21, attributes };
                let inputs = inputs.map(Some);
                let call = Call { operation, inputs: &inputs, outputs: Some(1) };
                let output =
                    if op_type == "QuantizeLinear" { quantize(&call) } else { dequantize(&call) };
                output.unwrap().remove(0)
            };
            let wide = |x: &Tensor| {
                let kernel = lookup("", "Expand").unwrap();
                let operation =
                    Operation { domain: "", op_type: "Expand", opset: 13, attributes: &[] };
                let shape = Tensor::from_i64s([3], &[2, 3, 5]).unwrap();
                let inputs = [Some(x.reshape([1, 3, 1]).unwrap()), Some(shape)];
                kernel
                    .run(&Call { operation, inputs: &inputs, outputs: Some(1) })
                    .unwrap()
                    .remove(0)
            };
            let q =
                run("QuantizeLinear", [x.clone(), scale.clone(), zero.clone()], &attributes[..1]);
            let general =
                run("QuantizeLinear", [x.clone(), wide(&scale), wide(&zero)], &attributes);
            assert_eq!(q, general);
            let y =
                run("DequantizeLinear", [q.clone(), scale.clone(), zero.clone()], &attributes[..1]);
            let general = run("DequantizeLinear", [q, wide(&scale), wide(&zero)], &attributes);
            assert_eq!(y, general);
        }
    }
}
