//! Types and constants that follow from a graph, in a table beside it.
//!
//! Best effort and never fatal: what cannot be inferred is unknown. Lengths of axes keep their names,
//! and constants flow through shape arithmetic. The graph stays as it is; what it declares is merged
//! into the table, and where a declaration contradicts what follows from the operators, neither is
//! believed (see [`Types::conflicts`]).

mod content;
mod control;
mod fold;
mod rules;
mod site;
mod small;
mod update;

use std::collections::BTreeMap;

use self::content::{Content, Form};
use self::site::{Outcome, Site};
pub use self::update::Inference;
use crate::schema::canonical_domain;
use crate::{
    AttributeValue, DType, Dim, Function, Graph, Kind, Model, NodeId, Tensor, TensorType, Type,
    Value, ValueId,
};

/// Nodes that inference visits inside functions and bodies at most, all calls together: calls of calls
/// of calls can stand for any number.
const NESTED_VISITS: usize = 1 << 20;

/// Depth of bodies and calls inside each other that inference follows.
const DEPTH: usize = 64;

/// What is known of the values of a graph.
#[derive(Clone, Debug, Default)]
pub struct Types {
    types: Vec<Option<Type>>,
    contents: Vec<Option<Box<Content>>>,
    bodies: BTreeMap<NodeId, Vec<Types>>,
    conflicts: Vec<ValueId>,
}

/// What is known of the values of a model's main graph and of its subgraphs.
///
/// ```
/// use marquetry_ir::{Dim, infer, text};
///
/// let model = text::parse(
///     "<ir_version: 8, opset_import: [\"\" : 17]>
///      g (float[N, 3] x) => (y) <float[3, 5] w = {...}> { y = MatMul (x, w) }",
/// )?;
/// let types = infer::run(&model);
/// let y = model.graph.outputs[0];
/// assert_eq!(types.shape(y), Some(&[Dim::symbol("N"), Dim::Known(5)][..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn run(model: &Model) -> Types {
    let functions = model.functions.iter().map(|function| {
        let domain = canonical_domain(&function.domain);
        ((domain, function.name.as_str(), function.overload.as_str()), function)
    });
    let mut call = Call { functions: functions.collect(), depth: 0, visits: 0 };
    let mut types = Types::declared(&model.graph);
    types.infer(&model.graph, &Attributes::new(), &mut call);
    types
}

/// What is known of the values of a graph on its own; captured values are as declared.
pub fn run_graph(graph: &Graph) -> Types {
    let mut call = Call { functions: BTreeMap::new(), depth: 0, visits: 0 };
    let mut types = Types::declared(graph);
    types.infer(graph, &Attributes::new(), &mut call);
    types
}

impl Types {
    /// The type of a value, if anything is known of it.
    pub fn ty(&self, value: ValueId) -> Option<&Type> {
        self.types.get(value.index())?.as_ref()
    }

    /// The tensor type of a value, if it is known to be a tensor.
    pub fn tensor(&self, value: ValueId) -> Option<&TensorType> {
        self.ty(value)?.as_tensor()
    }

    /// The element type of a tensor.
    pub fn dtype(&self, value: ValueId) -> Option<DType> {
        self.tensor(value)?.dtype
    }

    /// The shape of a tensor, if at least its rank is known.
    pub fn shape(&self, value: ValueId) -> Option<&[Dim]> {
        self.tensor(value)?.shape.as_deref()
    }

    /// The number of axes of a tensor.
    pub fn rank(&self, value: ValueId) -> Option<usize> {
        Some(self.shape(value)?.len())
    }

    /// Whether a value is a constant of the file: an initializer that no caller can override, the
    /// output of a `Constant`, or one of these through `Identity`, `Cast`, `ConstantOfShape` and
    /// changes of shape.
    pub fn is_constant(&self, value: ValueId) -> bool {
        self.content(value).is_some_and(|content| content.constant)
    }

    /// The content of a value for which [`Types::is_constant`] holds. Large results of `Cast` and
    /// `ConstantOfShape` are computed at the first question.
    pub fn constant(&self, value: ValueId) -> Option<&Tensor> {
        self.content(value).filter(|content| content.constant)?.tensor()
    }

    /// The content of a value that is the same in every run: a constant, or what follows from
    /// constants and shapes by arithmetic on few elements.
    pub fn known(&self, value: ValueId) -> Option<&Tensor> {
        self.content(value)?.tensor()
    }

    /// The elements of a shape-like value (integers, at most a vector) as lengths of axes, names
    /// included.
    pub fn lengths(&self, value: ValueId) -> Option<Vec<Dim>> {
        Some(self.content(value)?.small().filter(|small| small.dims.len() <= 1)?.lengths())
    }

    /// The table of the `index`-th body of a node.
    pub fn body(&self, node: NodeId, index: usize) -> Option<&Types> {
        self.bodies.get(&node)?.get(index)
    }

    /// Values whose declared type contradicts what follows from the operators, in order.
    pub fn conflicts(&self) -> &[ValueId] {
        &self.conflicts
    }

    fn content(&self, value: ValueId) -> Option<&Content> {
        self.contents.get(value.index())?.as_deref()
    }

    /// What the graph itself says: declared types and initializers.
    fn declared(graph: &Graph) -> Self {
        let bound = graph.value_bound();
        let mut table = Self { types: vec![None; bound], ..Self::default() };
        table.contents.resize_with(bound, || None);
        for id in graph.values() {
            (table.types[id.index()], table.contents[id.index()]) = declared(graph.value(id));
        }
        table
    }

    fn infer(&mut self, graph: &Graph, attributes: &Attributes, call: &mut Call<'_>) {
        // A cycle is the validator's business; what is declared is still known.
        let Ok(order) = graph.order() else { return };
        for node in order {
            call.visits += usize::from(call.depth > 0);
            if call.visits > NESTED_VISITS {
                return;
            }
            let site = Site::new(graph, self, node, attributes);
            let outcome = site.infer(call);
            self.record(graph, node, outcome);
        }
    }

    fn record(&mut self, graph: &Graph, node: NodeId, outcome: Outcome) {
        let outputs = graph.outputs(node);
        for (output, ty) in outputs.iter().zip(outcome.types) {
            let (Some(output), Some(ty)) = (*output, ty) else { continue };
            let slot = &mut self.types[output.index()];
            match slot.as_mut() {
                None => *slot = Some(ty),
                Some(declared) => {
                    if !merge(declared, ty) {
                        self.conflicts.push(output);
                    }
                }
            }
        }
        for (output, content) in outputs.iter().zip(outcome.contents) {
            let (Some(output), Some(content)) = (*output, content) else { continue };
            self.contents[output.index()] = Some(Box::new(content));
        }
        if !outcome.bodies.is_empty() {
            self.bodies.insert(node, outcome.bodies);
        }
    }
}

/// What a value itself says.
fn declared(value: &Value) -> (Option<Type>, Option<Box<Content>>) {
    let (mut ty, mut content) = (value.ty.clone(), None);
    if let (Kind::Initializer, Some(tensor)) = (value.kind, &value.constant) {
        ty = Some(type_of(tensor));
        let form = Form::Tensor(tensor.clone());
        content = Some(Box::new(Content { constant: true, form }));
    } else if let (Kind::Initializer, Some(sparse)) = (value.kind, &value.sparse) {
        let dims = sparse.dims.iter().map(|&dim| Dim::Known(dim));
        ty = Some(Type::tensor(sparse.values.dtype(), dims));
    }
    (ty.map(normalized), content)
}

/// Attributes of the call, inside a function.
type Attributes = BTreeMap<String, AttributeValue>;

/// Where inference stands among bodies and calls.
struct Call<'a> {
    /// By domain, name and overload.
    functions: BTreeMap<(&'a str, &'a str, &'a str), &'a Function>,
    depth: usize,
    visits: usize,
}

fn type_of(tensor: &Tensor) -> Type {
    Type::tensor(tensor.dtype(), tensor.dims().iter().map(|&dim| Dim::from(dim)))
}

/// Without lengths that mean nothing: negative ones and empty names.
fn normalized(mut ty: Type) -> Type {
    if let Type::Tensor(tensor) = &mut ty {
        for dim in tensor.shape.iter_mut().flatten() {
            let nothing = match dim {
                Dim::Known(length) => *length < 0,
                Dim::Symbol(name) => name.is_empty(),
                Dim::Unknown => false,
            };
            if nothing {
                *dim = Dim::Unknown;
            }
        }
    }
    ty
}

/// Merges what was inferred into what was declared; `false` where they contradict each other, and then
/// the contradicting part is unknown.
fn merge(declared: &mut Type, inferred: Type) -> bool {
    let (Type::Tensor(known), Type::Tensor(found)) = (&mut *declared, inferred) else {
        return true;
    };
    let mut agree = true;
    match (known.dtype, found.dtype) {
        (None, dtype) => known.dtype = dtype,
        (Some(a), Some(b)) if a != b => {
            agree = false;
            known.dtype = None;
        }
        _ => {}
    }
    let Some(found) = found.shape else { return agree };
    let Some(shape) = &mut known.shape else {
        known.shape = Some(found);
        return agree;
    };
    if shape.len() != found.len() {
        known.shape = None;
        return false;
    }
    for (known, found) in shape.iter_mut().zip(found) {
        match (&*known, &found) {
            (Dim::Known(a), Dim::Known(b)) if a != b => {
                agree = false;
                *known = Dim::Unknown;
            }
            (Dim::Known(_), _) | (_, Dim::Unknown) => {}
            // A number says more than a name, and a name that came with the data more than one that
            // an exporter gave to this value alone.
            _ => *known = found,
        }
    }
    agree
}

#[cfg(test)]
mod tests;
