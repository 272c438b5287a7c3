//! Attention in every form that ONNX gives it: grouped heads, masks, caches, windows, soft caps.

use marquetry_ir::{DType, Tensor};
use ndarray::linalg::general_mat_mul;
use ndarray::{Array4, ArrayD, Axis, Ix4, IxDyn, LinalgScalar, concatenate, s};

use super::Fault;
use super::call::{Call, Outputs, length};
use super::number::{Number, Real, numeric};
use crate::array::{Element, array, elements, flat, tensor};

pub(super) fn attention(call: &Call<'_>) -> Outputs {
    let q = call.input(0)?;
    numeric!(real q, T => attend::<T>(call))
}

/// A tensor as batch, heads, positions, features; three axes are split by the number of heads.
fn heads<T: Element>(x: &Tensor, heads: Option<i64>) -> Result<Array4<T>, Fault> {
    let x_array = array::<T>(x)?.into_owned();
    match *x.dims() {
        [_, _, _, _] => Ok(x_array.into_dimensionality::<Ix4>()?),
        [batch, positions, hidden] => {
            let heads = length(heads.unwrap_or(0))?;
            if heads == 0 || hidden % heads != 0 {
                return Err(Fault::Invalid(format!("{hidden} features do not make {heads} heads")));
            }
            let split = x_array.into_shape_with_order((batch, positions, heads, hidden / heads))?;
            Ok(split.permuted_axes([0, 2, 1, 3]).as_standard_layout().into_owned())
        }
        _ => Err(Fault::invalid("it takes three or four axes")),
    }
}

/// What is added to the scores before the softmax: zero, a mask, or negative infinity.
struct Bias {
    mask: Option<ArrayD<f64>>,
    causal: bool,
    /// How far to the left and right of a query keys may be.
    window: (i64, i64),
    /// Keys before the first query, for each batch.
    offsets: Vec<i64>,
    /// Keys that are no padding, for each batch.
    lengths: Option<Vec<i64>>,
}

impl Bias {
    fn new(
        call: &Call<'_>,
        [batch, heads, queries, _]: [usize; 4],
        past: usize,
    ) -> Result<Self, Fault> {
        let mask = call.optional(3).map(|mask| {
            let values = match mask.dtype() {
                DType::Bool => {
                    let keep = |&keep: &u8| if keep == 0 { f64::NEG_INFINITY } else { 0.0 };
                    elements::<u8>(mask).iter().map(keep).collect()
                }
                _ => mask.to_f64s().ok_or_else(|| Fault::dtype(mask))?,
            };
            let mask = ArrayD::from_shape_vec(IxDyn(mask.dims()), values)?;
            let keys = mask.shape().last().copied().unwrap_or(1);
            let spread = mask.broadcast(IxDyn(&[batch, heads, queries, keys]));
            Ok::<_, Fault>(
                spread.ok_or_else(|| Fault::invalid("the mask does not broadcast"))?.to_owned(),
            )
        });
        let lengths = call.optional(6).map(|lengths| {
            let lengths = lengths.to_i64s().filter(|lengths| lengths.len() == batch);
            lengths.ok_or_else(|| Fault::invalid("there is not one length for each batch"))
        });
        let lengths = lengths.transpose()?;
        let offsets = match &lengths {
            Some(lengths) if past == 0 => {
                lengths.iter().map(|length| length.saturating_sub(queries as i64)).collect()
            }
            _ => vec![past as i64; batch],
        };
        let side = |name: &str| call.int(name).unwrap_or(-1);
        Ok(Self {
            mask: mask.transpose()?,
            causal: call.flag("is_causal", false),
            window: (side("left_window_size"), side("right_window_size")),
            offsets,
            lengths,
        })
    }

    fn at(&self, batch: usize, head: usize, query: usize, key: usize) -> f64 {
        let ahead = (key as i64).saturating_sub((query as i64).saturating_add(self.offsets[batch]));
        let (left, right) = self.window;
        let hidden = (self.causal && ahead > 0)
            || (left >= 0 && ahead < -left)
            || (right >= 0 && ahead > right)
            || self.lengths.as_ref().is_some_and(|lengths| key as i64 >= lengths[batch]);
        if hidden {
            return f64::NEG_INFINITY;
        }
        match &self.mask {
            None => 0.0,
            // Keys beyond the mask are not attended to.
            Some(mask) => {
                mask.get([batch, head, query, key].as_slice()).copied().unwrap_or(f64::NEG_INFINITY)
            }
        }
    }
}

fn attend<T: Element + Real + LinalgScalar>(call: &Call<'_>) -> Outputs {
    let (q_heads, kv_heads) = (call.int("q_num_heads"), call.int("kv_num_heads"));
    let flat_input = call.input(0)?.dims().len() == 3;
    let q = heads::<T>(call.input(0)?, q_heads)?;
    let joined = |slot: usize, past: usize| -> Result<Array4<T>, Fault> {
        let fresh = heads::<T>(call.input(slot)?, kv_heads)?;
        let Some(past) = call.optional(past) else { return Ok(fresh) };
        let past = array::<T>(past)?.into_owned().into_dimensionality::<Ix4>()?;
        Ok(concatenate(Axis(2), &[past.view(), fresh.view()])?)
    };
    let (k, v) = (joined(1, 4)?, joined(2, 5)?);
    let [batch, heads, queries, features] = [0, 1, 2, 3].map(|axis| q.shape()[axis]);
    let (groups, keys, width) = (k.shape()[1], k.shape()[2], v.shape()[3]);
    let matching =
        k.shape()[0] == batch && k.shape()[3] == features && v.shape()[..3] == k.shape()[..3];
    if !matching || groups == 0 || heads % groups != 0 {
        return Err(Fault::Invalid(format!(
            "queries {:?}, keys {:?} and values {:?} do not fit",
            q.shape(),
            k.shape(),
            v.shape()
        )));
    }
    let past = call.optional(4).map_or(0, |past| past.dims().get(2).copied().unwrap_or(0));
    let bias = Bias::new(call, [batch, heads, queries, keys], past)?;
    let scale = match call.attribute("scale").and_then(|scale| scale.as_float()) {
        Some(scale) => f64::from(scale),
        None => 1.0 / (features as f64).sqrt(),
    };
    let softcap = call.float("softcap", 0.0);
    let mode = call.int("qk_matmul_output_mode").unwrap_or(0);

    let mut output = Array4::<T>::from_elem((batch, heads, queries, width), <T as Number>::ZERO);
    let mut shown = Array4::<T>::from_elem((batch, heads, queries, keys), <T as Number>::ZERO);
    for b in 0..batch {
        for h in 0..heads {
            let group = h / (heads / groups);
            let mut scores = shown.slice_mut(s![b, h, .., ..]);
            let (q, k) = (q.slice(s![b, h, .., ..]), k.slice(s![b, group, .., ..]));
            general_mat_mul(T::of(scale), &q, &k.t(), <T as Number>::ZERO, &mut scores);
            let mut weights = scores.to_owned();
            for (i, (mut weights, mut scores)) in
                weights.rows_mut().into_iter().zip(scores.rows_mut()).enumerate()
            {
                let mut row: Vec<f64> = weights.iter().map(|&x| Number::to_f64(x)).collect();
                if softcap > 0.0 {
                    row.iter_mut().for_each(|x| *x = (*x / softcap).tanh() * softcap);
                }
                if mode == 1 {
                    scores.iter_mut().zip(&row).for_each(|(shown, &x)| *shown = T::of(x));
                }
                let added: Vec<f64> = (0..keys).map(|j| bias.at(b, h, i, j)).collect();
                row.iter_mut().zip(&added).for_each(|(x, add)| *x += add);
                if mode == 2 {
                    scores.iter_mut().zip(&row).for_each(|(shown, &x)| *shown = T::of(x));
                }
                softmax(&mut row, &added);
                if mode == 3 {
                    scores.iter_mut().zip(&row).for_each(|(shown, &x)| *shown = T::of(x));
                }
                weights.iter_mut().zip(&row).for_each(|(weight, &x)| *weight = T::of(x));
            }
            let mut out = output.slice_mut(s![b, h, .., ..]);
            let v = v.slice(s![b, group, .., ..]);
            general_mat_mul(<T as Number>::ONE, &weights, &v, <T as Number>::ZERO, &mut out);
        }
    }
    let output = if flat_input {
        let turned = output.permuted_axes([0, 2, 1, 3]);
        tensor([batch, queries, heads * width], flat(turned.into_dyn()))?
    } else {
        tensor([batch, heads, queries, width], flat(output.into_dyn()))?
    };
    let four = |x: Array4<T>| -> Result<Tensor, Fault> {
        Ok(tensor(x.shape().to_vec(), flat(x.into_dyn()))?)
    };
    Ok(vec![output, four(k)?, four(v)?, four(shown)?])
}

/// A row without any key to attend to has no weights.
fn softmax(row: &mut [f64], added: &[f64]) {
    if added.iter().all(|&add| add == f64::NEG_INFINITY) {
        row.fill(0.0);
        return;
    }
    let greatest = row.iter().copied().fold(f64::NEG_INFINITY, Number::max);
    row.iter_mut().for_each(|x| *x = (*x - greatest).exp());
    let sum: f64 = row.iter().sum();
    row.iter_mut().for_each(|x| *x /= sum);
}
