//! Low-power blocks: block scales on a small integer grid, times one float per channel.

use crate::encoding::Encoding;
use crate::grid;
use crate::{Granularity, NumericError};

/// What the block scales of one channel became: `scale[b] = ints[b] · channel_scale`.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockScales {
    /// The float scale of the channel.
    pub channel_scale: f32,
    /// The integer scale of every block, from 1 to 2ᵇ.
    pub ints: Vec<u32>,
    /// Their products, the scales that blocks are quantized with.
    pub scales: Vec<f32>,
}

/// Puts the block scales of one channel on an integer grid of `bits` bits.
///
/// # Errors
///
/// `BadBlock` where there is no block or `bits` is not in 1..=16.
pub fn compress_block_scales(scales: &[f32], bits: u32) -> Result<BlockScales, NumericError> {
    if scales.is_empty() || !(1..=16).contains(&bits) {
        return Err(NumericError::BadBlock { size: scales.len() });
    }
    let levels = (1u32 << bits) as f32;
    let channel_scale = scales.iter().fold(0.0f32, |largest, &scale| largest.max(scale)) / levels;
    let ints: Vec<u32> = scales
        .iter()
        .map(|scale| (scale / channel_scale).round_ties_even().clamp(1.0, levels) as u32)
        .collect();
    let scales = ints.iter().map(|&int| int as f32 * channel_scale).collect();
    Ok(BlockScales { channel_scale, ints, scales })
}

/// The channel of every cell of a grid.
pub(crate) fn channels(shape: &[usize], channel: i64) -> Result<Vec<usize>, NumericError> {
    let at = grid::resolve(channel, shape.len())?;
    let inner: usize = shape[at + 1..].iter().product();
    let cells: usize = shape.iter().product();
    Ok((0..cells).map(|cell| cell / inner.max(1) % shape[at].max(1)).collect())
}

/// Puts the scales of an encoding by blocks on the integer grid of their channels.
pub(crate) fn compress(encoding: &mut Encoding, channel: i64) -> Result<(), NumericError> {
    let bits = scale_bits(encoding.granularity)?;
    let channels = channels(&encoding.shape, channel)?;
    let count = channels.iter().max().map_or(0, |last| last + 1);
    let mut channel_scales = Vec::with_capacity(count);
    for at in 0..count {
        let cells: Vec<usize> = (0..channels.len()).filter(|&cell| channels[cell] == at).collect();
        let scales: Vec<f32> =
            cells.iter().map(|&cell| encoding.cells[cell].scale as f32).collect();
        let blocks = compress_block_scales(&scales, bits)?;
        for (&cell, &scale) in cells.iter().zip(&blocks.scales) {
            encoding.cells[cell].scale = f64::from(scale);
        }
        channel_scales.push(f64::from(blocks.channel_scale));
    }
    encoding.channel_scales = channel_scales;
    Ok(())
}

/// How many bits the integer scale of a block takes; 2ᵇ itself is the largest.
///
/// # Errors
///
/// `BadBlock` where the expanded width is not above the stored one.
pub(crate) fn scale_bits(granularity: Granularity) -> Result<u32, NumericError> {
    match granularity {
        Granularity::Lpbq { compressed, decompressed, .. } if decompressed > compressed => {
            Ok(decompressed - compressed)
        }
        Granularity::Lpbq { size, .. } => Err(NumericError::BadBlock { size }),
        _ => Ok(0),
    }
}

/// The integer scale of every cell, from 1 to 2ᵇ.
///
/// # Errors
///
/// `BadAxis` for a channel that is no axis.
pub(crate) fn int_scales(encoding: &Encoding, channel: i64) -> Result<Vec<u32>, NumericError> {
    let channels = channels(&encoding.shape, channel)?;
    let cells = encoding.cells.iter().zip(channels);
    cells
        .map(|(cell, channel)| match encoding.channel_scales.get(channel) {
            // The scale is an exact multiple, up to the rounding of the product.
            Some(&whole) => Ok((cell.scale / whole).round() as u32),
            None => Err(NumericError::BadBlock { size: encoding.channel_scales.len() }),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_scales_are_never_zero() {
        let blocks = compress_block_scales(&[1.6, 0.01, 0.8], 4).unwrap();
        assert_eq!(blocks.ints, [16, 1, 8]);
        assert_eq!(blocks.scales[0], 1.6);
        assert!(compress_block_scales(&[], 4).is_err());
        assert!(compress_block_scales(&[1.0], 40).is_err());
    }

    #[test]
    fn every_channel_has_its_own_grid() {
        use crate::{Cell, DType, Spec};
        let granularity =
            Granularity::Lpbq { axis: 0, size: 2, channel: 1, compressed: 4, decompressed: 8 };
        let spec = Spec::weight(DType::Int4, granularity);
        let cell = |scale| Cell { scale, offset: -8.0 };
        let cells = vec![cell(1.6), cell(0.3), cell(0.8), cell(0.3)];
        let encoding = Encoding::finished(&spec, vec![2, 2], cells).unwrap();
        assert_eq!(int_scales(&encoding, 1).unwrap(), [16, 16, 8, 16]);
        assert_eq!(encoding.channel_scales.len(), 2);
    }
}
