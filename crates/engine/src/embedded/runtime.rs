//! The only file that talks to rten.
//!
//! A stage is a model of its own without constants: weights are fed as views of the tensors that the
//! graph holds, so that they are not copied, however many programs there are. Inside, elements are
//! `f32`, `i32`, `i8` or `u8`.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::PoisonError;

use marquetry_ir::{DType, Graph, Model, Opsets, Tensor, onnx};
use rten::{ModelOptions, NodeId, RunOptions, Value, ValueOrView, ValueView};
use rten_tensor::Layout;

use super::lower::lowered;
use super::plan::Shared;
use crate::EngineError;
use crate::array::{bools, elements, tensor};
use crate::error::qualified;
use crate::piece::Piece;

thread_local! {
    static OPTIONS: ModelOptions = {
        let mut options = ModelOptions::with_all_ops();
        // Fusions make values vanish that may be asked for.
        options.enable_optimization(false);
        options
    };
}

/// Steps that run together in the runtime.
pub(super) struct Stage {
    model: rten::Model,
    inputs: Vec<(NodeId, usize)>,
    constants: Vec<(NodeId, Tensor)>,
    outputs: Vec<Output>,
    /// Names and operators of the nodes, for messages.
    nodes: Vec<(String, String)>,
}

struct Output {
    id: NodeId,
    value: usize,
    dtype: Option<DType>,
}

impl Stage {
    /// `leaves` says whether a value is read outside of the stage.
    pub(super) fn load(
        piece: &Piece,
        steps: &[usize],
        types: &[Option<DType>],
        constants: &[Option<Tensor>],
        shared: &Shared,
        leaves: impl Fn(&usize) -> bool,
    ) -> Result<Self, EngineError> {
        let steps: Vec<_> = steps.iter().map(|&step| &piece.steps[step]).collect();
        let name_of = |step: &crate::piece::Step| {
            (step.name.clone(), qualified(&step.content.domain, &step.content.op_type))
        };
        let nodes: Vec<(String, String)> = steps.iter().map(|step| name_of(step)).collect();
        let end = |node: Option<&(String, String)>| {
            node.map(|(name, _)| name.clone()).unwrap_or_default()
        };
        let fail = |reason: String| EngineError::Load {
            first: end(nodes.first()),
            last: end(nodes.last()),
            reason,
        };

        let made: BTreeSet<usize> =
            steps.iter().flat_map(|step| step.outputs.iter().flatten().copied()).collect();
        let read: BTreeSet<usize> = steps
            .iter()
            .flat_map(|step| step.reads())
            .filter(|value| !made.contains(value))
            .collect();
        let left: Vec<usize> = made.iter().copied().filter(|value| leaves(value)).collect();

        // Names must not clash with those of absent values: numbers serve better than the graph's own.
        let mut graph =
            Graph::new("stage", Opsets::onnx(steps.first().map_or(0, |step| step.opset)));
        let mut ids = vec![None; piece.values.len()];
        for &value in &read {
            let id = graph.add_input(&format!("v{value}"), None);
            ids[value] = Some(id.map_err(|error| fail(error.to_string()))?);
        }
        for &value in &made {
            let id = graph.add_value(&format!("v{value}"), None);
            ids[value] = Some(id.map_err(|error| fail(error.to_string()))?);
        }
        for step in &steps {
            let of = |slots: &[Option<usize>]| -> Vec<_> {
                slots.iter().map(|slot| slot.and_then(|value| ids[value])).collect()
            };
            graph
                .add_node(lowered(piece, step), &of(&step.inputs), &of(&step.outputs))
                .map_err(|error| fail(error.to_string()))?;
        }
        graph.outputs = left.iter().filter_map(|&value| ids[value]).collect();
        let bytes = onnx::encode(&Model::new(8, graph)).map_err(|error| fail(error.to_string()))?;
        let model = catch_unwind(AssertUnwindSafe(|| OPTIONS.with(|options| options.load(bytes))))
            .map_err(|_| fail("it panicked".to_owned()))?
            .map_err(|error| fail(error.to_string()))?;

        let id = |value: usize| {
            model.node_id(&format!("v{value}")).map_err(|error| fail(error.to_string()))
        };
        let (mut inputs, mut fed) = (Vec::new(), Vec::new());
        for value in read {
            match &constants[value] {
                None => inputs.push((id(value)?, value)),
                Some(constant) => fed.push((id(value)?, shared.aligned(piece, value, constant)?)),
            }
        }
        let outputs =
            left.into_iter().map(|value| Ok(Output { id: id(value)?, value, dtype: types[value] }));
        let outputs = outputs.collect::<Result<_, EngineError>>()?;
        Ok(Self { model, inputs, constants: fed, outputs, nodes })
    }

    /// The values that leave the stage.
    pub(super) fn run(
        &self,
        values: &[Option<Tensor>],
        shared: &Shared,
    ) -> Result<Vec<(usize, Tensor)>, EngineError> {
        let fail = |reason: String| self.failed(reason);
        let mut converted = Vec::with_capacity(self.inputs.len());
        for &(id, value) in &self.inputs {
            let tensor = values[value].as_ref();
            let tensor = tensor.ok_or_else(|| fail("an input was not computed".to_owned()))?;
            converted.push((id, inside(tensor).map_err(&fail)?));
        }
        let constants = self.constants.iter().map(|(id, tensor)| (*id, Cow::Borrowed(tensor)));
        let inputs: Vec<(NodeId, Cow<'_, Tensor>)> =
            converted.into_iter().chain(constants).collect();
        let mut views = Vec::with_capacity(inputs.len());
        for (id, tensor) in &inputs {
            views.push((*id, view(tensor).map_err(&fail)?));
        }
        let ids: Vec<NodeId> = self.outputs.iter().map(|output| output.id).collect();
        let options = RunOptions::default().with_thread_pool(shared.threads.pool.clone());
        let outputs = catch_unwind(AssertUnwindSafe(|| self.model.run(views, &ids, Some(options))))
            .map_err(|_| fail("the runtime panicked".to_owned()))?
            .map_err(|error| fail(error.to_string()))?;
        let outputs = self.outputs.iter().zip(outputs);
        outputs
            .map(|(output, value)| Ok((output.value, outside(value, output.dtype).map_err(&fail)?)))
            .collect()
    }

    /// The error of the node that the message names, or of the first one.
    fn failed(&self, reason: String) -> EngineError {
        let named =
            reason.strip_prefix("operator \"").and_then(|rest| rest.split_once("\" failed: "));
        let known = |name: &str| self.nodes.iter().find(|(node, _)| node == name);
        let (node, reason) = match named.and_then(|(name, reason)| Some((known(name)?, reason))) {
            Some((node, said)) => (Some(node), said.to_owned()),
            None => (self.nodes.first(), reason),
        };
        let (name, op) = node.cloned().unwrap_or_default();
        EngineError::Run { name, op, reason }
    }
}

impl Shared {
    /// A constant as the runtime takes it; one copy for all programs of a graph, or none where the
    /// tensor can be taken as it is.
    fn aligned(
        &self,
        piece: &Piece,
        value: usize,
        constant: &Tensor,
    ) -> Result<Tensor, EngineError> {
        let mut aligned = self.aligned.lock().unwrap_or_else(PoisonError::into_inner);
        let id = piece.values[value].id;
        // A folded or widened constant is another tensor than the graph's, but the same in all programs.
        if let Some(known) = aligned.get(&id) {
            return Ok(known.clone());
        }
        let fail = |reason: String| EngineError::Load {
            first: piece.values[value].name.clone(),
            last: piece.values[value].name.clone(),
            reason,
        };
        let form = match inside(constant).map_err(fail)? {
            Cow::Owned(form) => form,
            Cow::Borrowed(constant) => match elements_aligned(constant) {
                true => return Ok(constant.clone()),
                false => copied(constant),
            },
        };
        aligned.insert(id, form.clone());
        Ok(form)
    }
}

fn elements_aligned(tensor: &Tensor) -> bool {
    tensor.dtype().bits() == Some(8) || tensor.bytes().as_ptr().align_offset(4) == 0
}

fn copied(tensor: &Tensor) -> Tensor {
    let copy = match tensor.dtype() {
        DType::Float => crate::array::tensor(tensor.dims(), elements::<f32>(tensor).into_owned()),
        _ => crate::array::tensor(tensor.dims(), elements::<i32>(tensor).into_owned()),
    };
    copy.expect("a copy has the shape of what it copies")
}

/// The tensor in a type that the runtime has. Integers of 64 bits saturate: as indices and bounds,
/// which is all they are here, that means the same.
fn inside(x: &Tensor) -> Result<Cow<'_, Tensor>, String> {
    let converted = match x.dtype() {
        DType::Float | DType::Int32 | DType::Int8 | DType::Uint8 => {
            return Ok(if elements_aligned(x) { Cow::Borrowed(x) } else { Cow::Owned(copied(x)) });
        }
        DType::Int64 => {
            let saturated = |&x: &i64| x.clamp(i32::MIN.into(), i32::MAX.into()) as i32;
            tensor(x.dims(), elements::<i64>(x).iter().map(saturated).collect())
        }
        DType::Bool => {
            tensor(x.dims(), elements::<u8>(x).iter().map(|&x| i32::from(x != 0)).collect())
        }
        DType::Double => tensor(x.dims(), elements::<f64>(x).iter().map(|&x| x as f32).collect()),
        DType::Float16 | DType::BFloat16 => return Ok(Cow::Owned(crate::array::widened(x))),
        other => return Err(format!("`{other}` tensors do not enter the runtime")),
    };
    converted.map(Cow::Owned).map_err(|error| error.to_string())
}

fn view(x: &Tensor) -> Result<ValueOrView<'_>, String> {
    fn of<'a, T>(x: &'a Tensor) -> Result<ValueOrView<'a>, String>
    where
        T: bytemuck::Pod,
        rten_tensor::TensorView<'a, T>: Into<ValueView<'a>>,
    {
        let elements: &'a [T] =
            bytemuck::try_cast_slice(x.bytes()).map_err(|error| error.to_string())?;
        let view = rten_tensor::TensorView::try_from_data(x.dims(), elements);
        let view: ValueView<'a> = view.map_err(|error| format!("{error:?}"))?.into();
        Ok(view.into())
    }
    match x.dtype() {
        DType::Float => of::<f32>(x),
        DType::Int32 => of::<i32>(x),
        DType::Int8 => of::<i8>(x),
        DType::Uint8 => of::<u8>(x),
        other => Err(format!("`{other}` tensors do not enter the runtime")),
    }
}

/// The value as the graph types it.
fn outside(value: Value, dtype: Option<DType>) -> Result<Tensor, String> {
    let (dims, made) = match value {
        Value::FloatTensor(x) => {
            let dims = x.shape().to_vec();
            let made = match dtype {
                Some(DType::Double) => {
                    tensor(dims.clone(), x.into_data().into_iter().map(f64::from).collect())
                }
                _ => tensor(dims.clone(), x.into_data()),
            };
            (dims, made)
        }
        Value::Int32Tensor(x) => {
            let dims = x.shape().to_vec();
            let x = x.into_data();
            let made = match dtype {
                Some(DType::Int64) => tensor(dims.clone(), x.into_iter().map(i64::from).collect()),
                Some(DType::Bool) => {
                    bools(dims.clone(), x.into_iter().map(|x| u8::from(x != 0)).collect())
                }
                _ => tensor(dims.clone(), x),
            };
            (dims, made)
        }
        Value::Int8Tensor(x) => {
            let dims = x.shape().to_vec();
            (dims.clone(), tensor(dims, x.into_data()))
        }
        Value::UInt8Tensor(x) => {
            let dims = x.shape().to_vec();
            (dims.clone(), tensor(dims, x.into_data()))
        }
        _ => return Err("what is no tensor does not leave the runtime".to_owned()),
    };
    made.map_err(|error| format!("the runtime gave no tensor of shape {dims:?}: {error}"))
}
