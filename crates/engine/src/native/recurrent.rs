//! RNN, GRU and LSTM in every form that ONNX gives them: all activations, sequences of unequal lengths,
//! peepholes, coupled gates, batches that come first.
//!
//! Formulas are those of the operators' definitions, <https://onnx.ai/onnx/operators/>.

use marquetry_ir::{AttributeValue, Tensor};
use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, Array3, Array4, ArrayView2, Axis, Ix2, Ix3, LinalgScalar, s};

use super::Fault;
use super::call::{Call, Outputs, length};
use super::number::{Number, Real, numeric};
use crate::array::{Element, flat, tensor};

/// Which of the three operators.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Rnn,
    Gru,
    Lstm,
}

impl Kind {
    fn gates(self) -> usize {
        match self {
            Self::Rnn => 1,
            Self::Gru => 3,
            Self::Lstm => 4,
        }
    }

    /// The activations of one direction where none is named.
    fn activations(self) -> &'static [&'static str] {
        match self {
            Self::Rnn => &["Tanh"],
            Self::Gru => &["Sigmoid", "Tanh"],
            Self::Lstm => &["Sigmoid", "Tanh", "Tanh"],
        }
    }
}

/// The outputs are those of all steps, the last one, and for LSTM the last cell.
pub(super) fn recurrent(call: &Call<'_>) -> Outputs {
    let kind = match call.op() {
        "RNN" => Kind::Rnn,
        "GRU" => Kind::Gru,
        _ => Kind::Lstm,
    };
    let x = call.input(0)?;
    numeric!(real x, T => run::<T>(call, kind))
}

/// A function between gates and states, with its parameters.
#[derive(Clone, Copy)]
struct Activation<T> {
    function: Function,
    alpha: T,
    beta: T,
}

#[derive(Clone, Copy)]
enum Function {
    Affine,
    Elu,
    HardSigmoid,
    LeakyRelu,
    Relu,
    ScaledTanh,
    Sigmoid,
    Softplus,
    Softsign,
    Tanh,
    ThresholdedRelu,
}

impl Function {
    /// With its parameters where none are given; `None` for one that it does not take.
    fn named(name: &str) -> Option<(Self, Option<f64>, Option<f64>)> {
        Some(match name.to_ascii_lowercase().as_str() {
            "affine" => (Self::Affine, Some(1.0), Some(0.0)),
            "elu" => (Self::Elu, Some(1.0), None),
            "hardsigmoid" => (Self::HardSigmoid, Some(f64::from(0.2_f32)), Some(0.5)),
            "leakyrelu" => (Self::LeakyRelu, Some(f64::from(0.01_f32)), None),
            "relu" => (Self::Relu, None, None),
            "scaledtanh" => (Self::ScaledTanh, Some(1.0), Some(1.0)),
            "sigmoid" => (Self::Sigmoid, None, None),
            "softplus" => (Self::Softplus, None, None),
            "softsign" => (Self::Softsign, None, None),
            "tanh" => (Self::Tanh, None, None),
            "thresholdedrelu" => (Self::ThresholdedRelu, Some(1.0), None),
            _ => return None,
        })
    }
}

impl<T: Real + LinalgScalar> Activation<T> {
    /// All of them, for each direction.
    fn all(call: &Call<'_>, kind: Kind, directions: usize) -> Result<Vec<Vec<Self>>, Fault> {
        let names: Vec<&str> = match call.attribute("activations") {
            Some(AttributeValue::Strings(names)) => {
                names.iter().map(|name| std::str::from_utf8(name).unwrap_or_default()).collect()
            }
            _ => kind.activations().repeat(directions),
        };
        let each = kind.activations().len();
        if names.len() != each * directions {
            let (found, expected) = (names.len(), each * directions);
            return Err(Fault::Invalid(format!("{found} activations are not {expected}")));
        }
        let floats = |name: &str| {
            let floats = call.attribute(name).and_then(AttributeValue::as_floats);
            floats.unwrap_or_default().iter().copied().map(f64::from)
        };
        // Those that take a parameter take the next one of the list.
        let (mut alphas, mut betas) = (floats("activation_alpha"), floats("activation_beta"));
        let all = names.into_iter().map(|name| {
            let (function, alpha, beta) = Function::named(name)
                .ok_or_else(|| Fault::Unsupported(format!("`{name}` is no known activation")))?;
            let alpha = alpha.map(|default| alphas.next().unwrap_or(default)).unwrap_or(0.0);
            let beta = beta.map(|default| betas.next().unwrap_or(default)).unwrap_or(0.0);
            Ok(Self { function, alpha: T::of(alpha), beta: T::of(beta) })
        });
        let all: Vec<Self> = all.collect::<Result<_, Fault>>()?;
        Ok(all.chunks(each).map(<[Self]>::to_vec).collect())
    }

    fn of(self, x: T) -> T {
        let Self { alpha, beta, .. } = self;
        let (zero, one) = (<T as Number>::ZERO, <T as Number>::ONE);
        match self.function {
            Function::Affine => alpha * x + beta,
            Function::Elu if x.below_zero() => alpha * x.exp_m1(),
            Function::HardSigmoid => clamped(alpha * x + beta, zero, one),
            Function::LeakyRelu if x.below_zero() => alpha * x,
            Function::Relu => Number::max(x, zero),
            Function::ScaledTanh => alpha * (beta * x).tanh(),
            // Through the hyperbolic tangent, which does not overflow.
            Function::Sigmoid => {
                let half = T::of(0.5);
                half * ((half * x).tanh() + one)
            }
            // ln(1 + eˣ), without an overflow of eˣ.
            Function::Softplus => Number::max(x, zero) + (zero - Number::abs(x)).exp().ln_1p(),
            Function::Softsign => x / (one + Number::abs(x)),
            Function::Tanh => x.tanh(),
            Function::ThresholdedRelu if x <= alpha => zero,
            Function::Elu | Function::LeakyRelu | Function::ThresholdedRelu => x,
        }
    }
}

fn clamped<T: Number>(x: T, least: T, most: T) -> T {
    Number::min(Number::max(x, least), most)
}

/// What one direction computes with.
struct Cell<'a, T> {
    kind: Kind,
    /// The number of features of a state.
    hidden: usize,
    /// Columns of gates: gates times hidden.
    recurrence: ArrayView2<'a, T>,
    /// For inputs and for states, as many as there are columns.
    biases: (Vec<T>, Vec<T>),
    /// Of LSTM, for input, output and forget gate.
    peepholes: Vec<T>,
    activations: Vec<Activation<T>>,
    clip: Option<T>,
    /// GRU resets behind the product, with its bias, instead of before it.
    reset_after: bool,
    /// LSTM forgets what it does not take in.
    coupled: bool,
}

impl<T: Element + Real + LinalgScalar> Cell<'_, T> {
    fn activate(&self, which: usize, x: T) -> T {
        let x = self.clip.map_or(x, |most| clamped(x, <T as Number>::ZERO - most, most));
        self.activations[which].of(x)
    }

    /// One step of all sequences: `inputs` are their products with the weights, row by row; rows that
    /// are not `active` stay as they are.
    fn step(
        &self,
        inputs: &Array2<T>,
        active: &[bool],
        state: &mut Array2<T>,
        cell: &mut Array2<T>,
    ) {
        let products = self.recurred(&self.recurrence, state);
        let rows = (0..active.len()).filter(|&row| active[row]);
        match self.kind {
            Kind::Rnn => {
                for row in rows {
                    for j in 0..self.hidden {
                        state[[row, j]] = self.activate(0, self.sum(inputs, &products, row, j));
                    }
                }
            }
            Kind::Gru => self.gated(inputs, &products, &rows.collect::<Vec<_>>(), state),
            Kind::Lstm => {
                for row in rows {
                    for j in 0..self.hidden {
                        self.remember(inputs, &products, [row, j], state, cell);
                    }
                }
            }
        }
    }

    /// States times weights.
    fn recurred(&self, weights: &ArrayView2<'_, T>, state: &Array2<T>) -> Array2<T> {
        let mut products = Array2::from_elem((state.nrows(), weights.nrows()), <T as Number>::ZERO);
        general_mat_mul(
            <T as Number>::ONE,
            state,
            &weights.t(),
            <T as Number>::ZERO,
            &mut products,
        );
        products
    }

    /// What goes into the gate of a column: both products and both biases.
    fn sum(&self, inputs: &Array2<T>, products: &Array2<T>, row: usize, column: usize) -> T {
        let (of_input, of_state) = &self.biases;
        inputs[[row, column]] + products[[row, column]] + (of_input[column] + of_state[column])
    }

    /// A step of GRU: update, reset, and what is new.
    fn gated(
        &self,
        inputs: &Array2<T>,
        products: &Array2<T>,
        rows: &[usize],
        state: &mut Array2<T>,
    ) {
        let hidden = self.hidden;
        let (of_input, of_state) = &self.biases;
        let mut reset = state.clone();
        for &row in rows {
            for j in 0..hidden {
                let r = self.activate(0, self.sum(inputs, products, row, hidden + j));
                let column = 2 * hidden + j;
                reset[[row, j]] = match self.reset_after {
                    true => r * (products[[row, column]] + of_state[column]),
                    false => r * state[[row, j]],
                };
            }
        }
        if !self.reset_after {
            let weights = self.recurrence.slice(s![2 * hidden.., ..]);
            reset = self.recurred(&weights, &reset);
            for mut row in reset.rows_mut() {
                for (x, &bias) in row.iter_mut().zip(&of_state[2 * hidden..]) {
                    *x = *x + bias;
                }
            }
        }
        for &row in rows {
            for j in 0..hidden {
                let z = self.activate(0, self.sum(inputs, products, row, j));
                let column = 2 * hidden + j;
                let fresh = inputs[[row, column]] + of_input[column] + reset[[row, j]];
                let fresh = self.activate(1, fresh);
                state[[row, j]] = (<T as Number>::ONE - z) * fresh + z * state[[row, j]];
            }
        }
    }

    /// A step of LSTM for one feature.
    fn remember(
        &self,
        inputs: &Array2<T>,
        products: &Array2<T>,
        [row, j]: [usize; 2],
        state: &mut Array2<T>,
        cell: &mut Array2<T>,
    ) {
        let hidden = self.hidden;
        let gate = |at: usize| self.sum(inputs, products, row, at * hidden + j);
        let peek = |at: usize, cell: T| match self.peepholes.get(at * hidden + j) {
            Some(&weight) => weight * cell,
            None => <T as Number>::ZERO,
        };
        let before = cell[[row, j]];
        let taken = self.activate(0, gate(0) + peek(0, before));
        let kept = match self.coupled {
            true => <T as Number>::ONE - taken,
            false => self.activate(0, gate(2) + peek(2, before)),
        };
        let fresh = self.activate(1, gate(3));
        let after = kept * before + taken * fresh;
        let shown = self.activate(0, gate(1) + peek(1, after));
        cell[[row, j]] = after;
        // The cell is no sum of a gate, so that it is not clipped.
        state[[row, j]] = shown * self.activations[2].of(after);
    }
}

fn run<T: Element + Real + LinalgScalar>(call: &Call<'_>, kind: Kind) -> Outputs {
    let batch_first = call.flag("layout", false);
    let three = |slot: usize| -> Result<Array3<T>, Fault> {
        Ok(call.array::<T>(slot)?.into_owned().into_dimensionality::<Ix3>()?)
    };
    // Sequences and states with the batch in the middle.
    let turned = |x: Array3<T>| -> Array3<T> {
        match batch_first {
            true => x.permuted_axes([1, 0, 2]).as_standard_layout().into_owned(),
            false => x,
        }
    };
    let x = turned(three(0)?);
    let (weights, recurrence) = (three(1)?, three(2)?);
    let (steps, batch, features) = x.dim();
    let (directions, columns, hidden) = recurrence.dim();
    let (backward, expected) = match call.str("direction", "forward") {
        "forward" => (vec![false], 1),
        "reverse" => (vec![true], 1),
        "bidirectional" => (vec![false, true], 2),
        other => return Err(Fault::Invalid(format!("`{other}` is no direction"))),
    };
    let named = call.int("hidden_size").is_none_or(|size| usize::try_from(size) == Ok(hidden));
    let fits = named
        && directions == expected
        && columns == kind.gates() * hidden
        && weights.dim() == (directions, columns, features);
    if !fits {
        return Err(Fault::Invalid(format!(
            "inputs {:?}, weights {:?} and {:?}, and states of {} do not fit",
            x.dim(),
            weights.dim(),
            recurrence.dim(),
            call.int("hidden_size").unwrap_or(hidden as i64)
        )));
    }
    let rows = |slot: usize, columns: usize| -> Result<Option<Array2<T>>, Fault> {
        let Some(_) = call.optional(slot) else { return Ok(None) };
        let rows = call.array::<T>(slot)?.into_owned().into_dimensionality::<Ix2>()?;
        match rows.dim() == (directions, columns) {
            true => Ok(Some(rows)),
            false => Err(Fault::Invalid(format!("input {slot} has the shape {:?}", rows.dim()))),
        }
    };
    let biases = rows(3, 2 * columns)?;
    let peepholes = if kind == Kind::Lstm { rows(7, 3 * hidden)? } else { None };
    let state = |slot: usize| -> Result<Array3<T>, Fault> {
        let dims = (directions, batch, hidden);
        let Some(_) = call.optional(slot) else {
            return Ok(Array3::from_elem(dims, <T as Number>::ZERO));
        };
        let state = turned(three(slot)?);
        match state.dim() == dims {
            true => Ok(state),
            false => Err(Fault::Invalid(format!("input {slot} has the shape {:?}", state.dim()))),
        }
    };
    let mut last = state(5)?;
    let mut cells = if kind == Kind::Lstm { state(6)? } else { last.clone() };
    let lengths = lengths(call, steps, batch)?;
    let activations = Activation::<T>::all(call, kind, directions)?;
    let clip = call.attribute("clip").and_then(AttributeValue::as_float);

    let mut shown = Array4::<T>::from_elem((steps, directions, batch, hidden), <T as Number>::ZERO);
    let all = x.to_shape((steps * batch, features))?;
    for (at, (&backward, activations)) in backward.iter().zip(activations).enumerate() {
        let bias = |half: usize| match &biases {
            Some(biases) => {
                biases.row(at).iter().skip(half * columns).take(columns).copied().collect()
            }
            None => vec![<T as Number>::ZERO; columns],
        };
        let cell = Cell {
            kind,
            hidden,
            recurrence: recurrence.index_axis(Axis(0), at),
            biases: (bias(0), bias(1)),
            peepholes: peepholes.as_ref().map(|rows| rows.row(at).to_vec()).unwrap_or_default(),
            activations,
            clip: clip.map(|most| Real::of(f64::from(most))),
            reset_after: call.flag("linear_before_reset", false),
            coupled: call.flag("input_forget", false),
        };
        let mut products = Array2::<T>::from_elem((steps * batch, columns), <T as Number>::ZERO);
        let weights = weights.index_axis(Axis(0), at);
        general_mat_mul(<T as Number>::ONE, &all, &weights.t(), <T as Number>::ZERO, &mut products);
        let mut state = last.index_axis(Axis(0), at).to_owned();
        let mut memory = cells.index_axis(Axis(0), at).to_owned();
        for step in 0..steps {
            let active: Vec<bool> = lengths.iter().map(|&length| step < length).collect();
            // Where each sequence is: from its own end, if backward.
            let place = |row: usize| match backward {
                true => lengths[row] - 1 - step,
                false => step,
            };
            let mut inputs = Array2::<T>::from_elem((batch, columns), <T as Number>::ZERO);
            for row in (0..batch).filter(|&row| active[row]) {
                inputs.row_mut(row).assign(&products.row(place(row) * batch + row));
            }
            cell.step(&inputs, &active, &mut state, &mut memory);
            for row in (0..batch).filter(|&row| active[row]) {
                shown.slice_mut(s![place(row), at, row, ..]).assign(&state.row(row));
            }
        }
        // What has no step has no state, as in ONNX Runtime; the definition does not say.
        for row in (0..batch).filter(|&row| lengths[row] == 0) {
            state.row_mut(row).fill(<T as Number>::ZERO);
            memory.row_mut(row).fill(<T as Number>::ZERO);
        }
        last.index_axis_mut(Axis(0), at).assign(&state);
        cells.index_axis_mut(Axis(0), at).assign(&memory);
    }

    let shown = if batch_first { shown.permuted_axes([2, 0, 1, 3]) } else { shown };
    let made = |x: ndarray::ArrayD<T>| -> Result<Tensor, Fault> {
        let dims = x.shape().to_vec();
        Ok(tensor(dims, flat(x))?)
    };
    let mut outputs = vec![made(shown.into_dyn())?, made(turned(last).into_dyn())?];
    if kind == Kind::Lstm {
        outputs.push(made(turned(cells).into_dyn())?);
    }
    Ok(outputs)
}

/// How many steps each sequence has.
fn lengths(call: &Call<'_>, steps: usize, batch: usize) -> Result<Vec<usize>, Fault> {
    let Some(given) = call.optional(4) else { return Ok(vec![steps; batch]) };
    let lengths = given.to_i64s().ok_or_else(|| Fault::dtype(given))?;
    let lengths = lengths.iter().map(|&x| length(x)).collect::<Result<Vec<_>, _>>()?;
    if lengths.len() != batch || lengths.iter().any(|&length| length > steps) {
        return Err(Fault::Invalid(format!(
            "lengths {lengths:?} are not {batch} of up to {steps}"
        )));
    }
    Ok(lengths)
}
