//! A node with what is known of its inputs: what rules look at.

use std::borrow::Cow;

use super::content::Content;
use super::small::Small;
use super::{Attributes, Call, Types, control, fold, rules};
use crate::schema::{Formal, View};
use crate::{AttributeValue, DType, Dim, Graph, Node, NodeId, TensorType, Type, ValueId};

/// A shape, if the rank is known.
pub(super) type Shape = Option<Vec<Dim>>;

/// What follows for the outputs of a node.
#[derive(Default)]
pub(super) struct Outcome {
    pub(super) types: Vec<Option<Type>>,
    pub(super) contents: Vec<Option<Content>>,
    pub(super) bodies: Vec<Types>,
}

/// A node at which rules are applied.
pub(super) struct Site<'a> {
    pub(super) view: View<'a>,
    pub(super) types: &'a Types,
    pub(super) inputs: Vec<Option<ValueId>>,
    attributes: &'a Attributes,
}

impl<'a> Site<'a> {
    pub(super) fn new(
        graph: &'a Graph,
        types: &'a Types,
        node: NodeId,
        attributes: &'a Attributes,
    ) -> Self {
        Self { view: View::new(graph, types, node), types, inputs: graph.inputs(node), attributes }
    }

    pub(super) fn graph(&self) -> &'a Graph {
        self.view.graph
    }

    pub(super) fn node(&self) -> &'a Node {
        self.view.node
    }

    /// The operator with its domain where that is not the standard one: `com.microsoft/Gelu`.
    pub(super) fn op(&self) -> Cow<'a, str> {
        let node = self.node();
        match crate::schema::canonical_domain(&node.domain) {
            "" => Cow::Borrowed(&node.op_type),
            domain => Cow::Owned(format!("{domain}/{}", node.op_type)),
        }
    }

    pub(super) fn input(&self, slot: usize) -> Option<ValueId> {
        self.inputs.get(slot).copied().flatten()
    }

    pub(super) fn ty(&self, slot: usize) -> Option<&'a Type> {
        self.types.ty(self.input(slot)?)
    }

    pub(super) fn tensor(&self, slot: usize) -> Option<&'a TensorType> {
        self.ty(slot)?.as_tensor()
    }

    pub(super) fn dtype(&self, slot: usize) -> Option<DType> {
        self.tensor(slot)?.dtype
    }

    pub(super) fn shape(&self, slot: usize) -> Option<&'a [Dim]> {
        self.tensor(slot)?.shape.as_deref()
    }

    pub(super) fn rank(&self, slot: usize) -> Option<usize> {
        Some(self.shape(slot)?.len())
    }

    /// Number of elements of a vector input.
    pub(super) fn vector_len(&self, slot: usize) -> Option<usize> {
        match self.shape(slot)? {
            [dim] => dim.known(),
            _ => None,
        }
    }

    pub(super) fn content(&self, slot: usize) -> Option<&'a Content> {
        self.types.content(self.input(slot)?)
    }

    pub(super) fn constant(&self, slot: usize) -> bool {
        self.content(slot).is_some_and(|content| content.constant)
    }

    pub(super) fn small(&self, slot: usize) -> Option<Small> {
        self.content(slot)?.small()
    }

    pub(super) fn attribute(&self, name: &str) -> Option<Cow<'a, AttributeValue>> {
        match self.view.attribute(name)? {
            Cow::Borrowed(AttributeValue::Reference { name, .. }) => {
                self.attributes.get(name).map(Cow::Borrowed)
            }
            attribute => Some(attribute),
        }
    }

    pub(super) fn int(&self, name: &str) -> Option<i64> {
        self.attribute(name)?.as_int()
    }

    pub(super) fn flag(&self, name: &str) -> bool {
        self.int(name).is_some_and(|flag| flag != 0)
    }

    pub(super) fn ints(&self, name: &str) -> Option<Vec<i64>> {
        Some(self.attribute(name)?.as_ints()?.to_vec())
    }

    pub(super) fn string(&self, name: &str) -> Option<String> {
        Some(self.attribute(name)?.as_str()?.to_owned())
    }

    pub(super) fn call_attributes(&self) -> &'a Attributes {
        self.attributes
    }

    /// The element type that an attribute numbers.
    pub(super) fn dtype_named(&self, name: &str) -> Option<DType> {
        let number = i32::try_from(self.int(name)?).ok().filter(|&number| number != 0)?;
        Some(DType::from_number(number))
    }

    /// The parameter of this name: whether it is given at all, in either form.
    pub(super) fn has(&self, name: &str) -> bool {
        self.node().attribute(name).is_some() || self.view.input(name).is_some()
    }

    /// An axis that counts from the end where it is negative; `None` outside of `0..rank`.
    pub(super) fn axis(&self, name: &str, rank: usize) -> Option<usize> {
        axis(self.int(name)?, rank)
    }

    pub(super) fn axes(&self, name: &str, rank: usize) -> Option<Vec<usize>> {
        self.ints(name)?.into_iter().map(|number| axis(number, rank)).collect()
    }

    pub(super) fn infer(&self, call: &mut Call<'_>) -> Outcome {
        if let Some(outcome) = control::infer(self, call) {
            return outcome;
        }
        let count = self.node().output_count();
        let dtypes = rules::dtypes(self, count);
        let shapes = rules::shapes(self, count);
        let mut types = rules::other_types(self);
        types.resize(count.max(types.len()), None);
        let mut contents = fold::contents(self, &shapes);
        contents.resize_with(count, || None);
        for (slot, (dtype, shape)) in dtypes.into_iter().zip(shapes).enumerate() {
            let known = contents[slot].as_ref().and_then(Content::shape);
            let (dtype, shape) = match known {
                Some((dtype, known)) => (Some(dtype), shape.or(Some(known))),
                None => (dtype, shape),
            };
            if types[slot].is_none() && (dtype.is_some() || shape.is_some()) {
                types[slot] = Some(Type::Tensor(TensorType { dtype, shape, denotation: None }));
            }
        }
        Outcome { types, contents, bodies: Vec::new() }
    }

    /// The element type that the inputs give to a type variable of the schema.
    pub(super) fn dtype_of(&self, formal: &Formal) -> Option<DType> {
        if let Some(only) = formal.types.only() {
            return Some(only);
        }
        let (schema, variable) = (self.view.schema?, formal.variable?);
        let slots = (0..self.inputs.len()).filter(|&slot| {
            schema.formal_input(slot).is_some_and(|f| f.variable == Some(variable))
        });
        slots.into_iter().find_map(|slot| self.dtype(slot))
    }
}

/// An axis that counts from the end where it is negative; `None` outside of `0..rank`.
pub(super) fn axis(number: i64, rank: usize) -> Option<usize> {
    let rank = i64::try_from(rank).ok()?;
    let axis = if number < 0 { number.checked_add(rank)? } else { number };
    (0..rank).contains(&axis).then(|| usize::try_from(axis).ok())?
}
