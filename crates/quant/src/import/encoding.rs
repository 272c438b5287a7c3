//! What a QuantizeLinear or DequantizeLinear says, as an encoding.

use std::collections::BTreeMap;

use marquetry_ir::{AttributeValue, DType as ElementType, NodeId, Tensor, ValueId};

use super::Import;
use crate::encoding::Cell;
use crate::{DType, Encoding, Granularity, Spec, element, grid, inside};

impl Import<'_> {
    /// What QuantizeLinear or DequantizeLinear says.
    pub(super) fn encoding(
        &self,
        node: NodeId,
        rank: usize,
        dims: Option<&[usize]>,
    ) -> Result<Encoding, String> {
        let graph = self.graph();
        let content = graph.node(node);
        let int = |name: &str| content.attribute(name).and_then(AttributeValue::as_int);
        let scale_value = graph.input(node, 1).ok_or("it lacks a scale")?;
        let scale = self.types().constant(scale_value);
        let zero = graph.input(node, 2).and_then(|zero| self.types().constant(zero));
        let element = match (zero, int("output_dtype").filter(|&number| number != 0)) {
            (Some(zero), _) => zero.dtype(),
            (None, Some(number)) if content.op_type == "QuantizeLinear" => {
                ElementType::from_number(i32::try_from(number).unwrap_or(0))
            }
            _ => match graph.input(node, 0).and_then(|input| self.types().dtype(input)) {
                Some(stored) if content.op_type == "DequantizeLinear" => stored,
                _ => ElementType::Uint8,
            },
        };
        let dtype = DType::parse(&element.to_string()).ok_or("its type is not known")?;
        let axis = int("axis").unwrap_or(1);
        let block = int("block_size").and_then(|size| usize::try_from(size).ok()).unwrap_or(0);
        let product = match scale {
            Some(_) => None,
            None => Some(self.low_power_scale(scale_value)?),
        };
        let scale_tensor = match (scale, &product) {
            (Some(scale), _) => scale,
            (None, Some((scale, _))) => scale,
            (None, None) => return Err("its scale is computed".to_owned()),
        };
        let scales = scale_tensor.to_f32s().ok_or("its scale holds no floats")?.into_owned();
        let zeros = match zero {
            Some(zero) if dtype.is_integer() => {
                zero.to_i64s().ok_or("its zero point holds no integers")?
            }
            _ => vec![0; scales.len()],
        };
        if zeros.len() != scales.len() || scales.is_empty() {
            return Err("scale and zero point differ in shape".to_owned());
        }
        let shape = scale_tensor.dims();
        let low_power = product.is_some().then(|| dtype.bits());
        let (granularity, grid_shape, cells) = match (shape.len(), block) {
            (0, _) => (Granularity::PerTensor, Vec::new(), vec![0]),
            (1, 0) if shape[0] == 1 => (Granularity::PerTensor, Vec::new(), vec![0]),
            (1, 0) => {
                let at = grid::resolve(axis, rank).map_err(|error| error.to_string())?;
                let shape: Vec<usize> =
                    (0..rank).map(|other| if other == at { shape[0] } else { 1 }).collect();
                (Granularity::PerChannel(at as i64), shape, (0..scales.len()).collect())
            }
            _ => {
                let dims = dims.ok_or("an activation has one scale per block")?;
                self.blocks(axis, block, shape, dims, &scales, low_power)?
            }
        };
        let symmetric = dtype.is_signed() && zeros.iter().all(|&zero| zero == 0);
        let spec = Spec { symmetric, granularity, ..Spec::activation(dtype) };
        let lowest = Encoding::new(&spec, vec![], vec![]).lowest();
        let cells = cells.into_iter().map(|at| {
            // An 8-bit float has no offset.
            let offset = if dtype.is_integer() { (lowest - zeros[at]) as f64 } else { 0.0 };
            Cell { scale: f64::from(scales[at]), offset }
        });
        let mut encoding = Encoding::new(&spec, grid_shape, cells.collect());
        if let Some((_, floats)) = product {
            encoding.channel_scales = floats.into_iter().map(f64::from).collect();
        }
        Ok(encoding)
    }

    /// The type that a DequantizeLinear gives: that of its scale.
    pub(super) fn element(&self, node: NodeId) -> ElementType {
        let output = self.graph().output(node, 0).and_then(|value| self.types().dtype(value));
        output.filter(|dtype| element::is_quantizable(*dtype)).unwrap_or(ElementType::Float)
    }

    /// Scales that are constant integers times the constant float of their channel, and the floats.
    fn low_power_scale(&self, value: ValueId) -> Result<(Tensor, Vec<f32>), String> {
        let computed = || "its scale is computed".to_owned();
        let (way, value) = self.origin(&self.way, value).ok_or_else(computed)?;
        let (graph, types) = (self.at(&way), inside::types(self.types, &way));
        let (producer, _) = graph.producer(value).ok_or_else(computed)?;
        let node = graph.node(producer);
        let input = |slot: usize| {
            let value = graph.input(producer, slot)?;
            types?.constant(value)
        };
        let (Some(ints), Some(floats)) = (input(0), input(1)) else { return Err(computed()) };
        let zero = input(2).and_then(Tensor::to_i64s);
        let plain = node.op_type == "DequantizeLinear"
            && zero.is_none_or(|zero| zero.iter().all(|&zero| zero == 0));
        let wide = floats;
        let numbers = ints.to_i64s().zip(floats.to_f32s()).filter(|_| plain);
        let (integers, floats) = numbers.ok_or_else(computed)?;
        let axis = node.attribute("axis").and_then(AttributeValue::as_int).unwrap_or(1);
        let at = grid::resolve(axis, ints.dims().len()).map_err(|error| error.to_string())?;
        if floats.len() != ints.dims()[at] {
            return Err(computed());
        }
        let inner: usize = ints.dims()[at + 1..].iter().product();
        let scales: Vec<f32> = integers
            .iter()
            .enumerate()
            .map(|(element, &int)| int as f32 * floats[element / inner.max(1) % floats.len()])
            .collect();
        let scale = element::tensor(wide.dtype(), ints.dims(), &scales)
            .map_err(|error| error.to_string())?;
        Ok((scale, floats.into_owned()))
    }

    /// The grid of scales by blocks, which repeat along axes that a cell spans.
    fn blocks(
        &self,
        axis: i64,
        size: usize,
        shape: &[usize],
        dims: &[usize],
        scales: &[f32],
        low_power: Option<u32>,
    ) -> Result<(Granularity, Vec<usize>, Vec<usize>), String> {
        let axis = grid::resolve(axis, dims.len()).map_err(|error| error.to_string())?;
        if shape.len() != dims.len() || size == 0 || dims.len() < 2 {
            return Err("its blocks cannot be read".to_owned());
        }
        // Kernels have their output channels on one of the first two axes.
        let channel = if axis == 0 { 1 } else { 0 };
        let channel = if dims.len() > 2 && axis > 1 { 0 } else { channel };
        let granularity = match low_power {
            Some(compressed) => Granularity::Lpbq {
                axis: axis as i64,
                size,
                channel: channel as i64,
                compressed,
                decompressed: 2 * compressed,
            },
            None => Granularity::PerBlock { axis: axis as i64, size, channel: channel as i64 },
        };
        let grid: Vec<usize> = (0..dims.len())
            .map(|at| if at == axis || at == channel { shape[at] } else { 1 })
            .collect();
        let mut cells: BTreeMap<usize, usize> = BTreeMap::new();
        for element in 0..scales.len() {
            let (mut rest, mut cell, mut stride) = (element, 0, 1);
            for at in (0..shape.len()).rev() {
                let index = rest % shape[at];
                rest /= shape[at];
                if grid[at] > 1 {
                    cell += index * stride;
                }
                stride *= grid[at];
            }
            let first = *cells.entry(cell).or_insert(element);
            if scales[first].to_bits() != scales[element].to_bits() {
                return Err("its scales differ along an axis that has no channels".to_owned());
            }
        }
        Ok((granularity, grid, cells.into_values().collect()))
    }
}
