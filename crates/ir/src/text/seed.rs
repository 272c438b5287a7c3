//! Made-up content for `{...}`: the same on every machine and in every version.

use super::elements::{Literal, Packer};
use super::error::Problem;
use crate::{DType, Tensor};

/// Elements that `{...}` may stand for.
const LIMIT: u64 = 1 << 24;

/// A tensor whose elements depend on its name, type and position alone: multiples of 1/64 in
/// `[-1, 1)` for floats, which even `bfloat16` holds exactly; integers of 4 bits for the
/// rest, narrower where the type is.
pub(super) fn tensor(name: &str, dtype: DType, dims: &[usize]) -> Result<Tensor, Problem> {
    let count = dims.iter().try_fold(1_u64, |count, &dim| count.checked_mul(dim as u64));
    let count = count.filter(|&count| count <= LIMIT);
    let count = count.ok_or(Problem::SeededTooLarge { limit: LIMIT })?;
    let is_value = matches!(dtype, DType::Float | DType::Double | DType::Float16 | DType::BFloat16);
    if !is_value && !dtype.is_integer() && dtype != DType::Bool {
        return Err(Problem::NotSeeded { dtype });
    }
    let seed = hash(name);
    let mut packer = Packer::default();
    for index in 0..count {
        let random = mix(seed.wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        let text = if is_value {
            // 128 steps; written with a point, so that it is a value for halves too.
            format!("{:?}", (random >> 57) as f64 / 64.0 - 1.0)
        } else {
            small_integer(dtype, random).to_string()
        };
        let literal = if is_value { Literal::Float(&text) } else { Literal::Int(&text) };
        packer.push(dtype, literal).map_err(|_| Problem::NotSeeded { dtype })?;
    }
    Ok(Tensor::new(dtype, dims, packer.finish())?)
}

fn small_integer(dtype: DType, random: u64) -> i64 {
    let bits = if dtype == DType::Bool { 1 } else { dtype.bits().unwrap_or(4).min(4) };
    let value = (random >> (64 - bits)).cast_signed();
    let signed =
        matches!(dtype, DType::Int2 | DType::Int4 | DType::Int8 | DType::Int16 | DType::Int32)
            || dtype == DType::Int64;
    if signed { value - (1 << (bits - 1)) } else { value }
}

/// FNV-1a of the name.
fn hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The output function of SplitMix64 (Steele, Lea and Flood 2014).
fn mix(state: u64) -> u64 {
    let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_depends_on_the_name_alone() {
        let made = |name| tensor(name, DType::Float, &[64]).unwrap().f32s().unwrap().into_owned();
        assert_eq!(made("w"), made("w"));
        assert_ne!(made("w"), made("b"));
        assert!(made("w").iter().all(|&x| (-1.0..1.0).contains(&x) && (x * 64.0).fract() == 0.0));
        // The mean of 64 uniform elements strays from 0 by more than 0.4 once in 10^7 names.
        assert!(made("w").iter().sum::<f32>().abs() < 64.0 * 0.4);
    }

    #[test]
    fn integers_stay_in_their_type() {
        for dtype in [DType::Int2, DType::Uint2, DType::Int4, DType::Uint8, DType::Int64] {
            assert!(tensor("w", dtype, &[33]).is_ok(), "{dtype}");
        }
        let bits = tensor("w", DType::Bool, &[100]).unwrap().to_i64s().unwrap();
        assert!(bits.iter().all(|&bit| bit == 0 || bit == 1));
    }

    #[test]
    fn nobody_asks_for_terabytes() {
        let huge = tensor("w", DType::Float, &[1 << 30, 1 << 30]).unwrap_err();
        assert_eq!(huge.code(), "seeded_too_large");
    }
}
