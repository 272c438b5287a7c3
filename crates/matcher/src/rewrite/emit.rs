//! Writes operators so that they are legal in the opset of the graph: what patterns spell as an
//! attribute becomes an input where it is one, and the other way round.

use std::collections::BTreeMap;

use marquetry_ir::infer::Types;
use marquetry_ir::schema::{self, Arity, ParameterKind, Schema, View, canonical_domain};
use marquetry_ir::{
    Attribute, AttributeValue, DType, Evaluate, Graph, Node, Operation, Tensor, ValueId,
};

use super::extract;
use super::literal::{self, Literal};
use super::refusal::Refusal;
use super::sketch::{Origin, Sketch};
use crate::datum::Datum;
use crate::found::PlaceId;
use crate::index::{Index, ValueRow};
use crate::search::datum;

/// Nodes that are evaluated one below the other at most.
const DEPTH: usize = 64;

/// An input of a node to be built.
#[derive(Clone, Debug)]
pub(crate) enum Operand {
    Absent,
    /// A value of the sketch.
    Value(ValueId),
    Literal(Literal),
}

/// The content of an attribute of a node to be built.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// Computed.
    Datum(Datum),
    /// Copied from a node that was matched.
    Copied(AttributeValue),
}

/// A node to be built.
pub(crate) struct Request {
    pub(crate) domain: String,
    pub(crate) op_type: String,
    pub(crate) attributes: Vec<(String, Content)>,
    pub(crate) operands: Vec<Operand>,
    /// What its results are called.
    pub(crate) results: Vec<String>,
    /// The element type that result 0 must have, if it is known.
    pub(crate) expected: Option<DType>,
}

/// Writes into a sketch, for one place of a model.
pub(crate) struct Emitter<'a, 'm> {
    pub(crate) index: &'a Index<'m>,
    pub(crate) place: PlaceId,
    pub(crate) graph: &'m Graph,
    pub(crate) types: &'m Types,
    pub(crate) evaluate: &'a dyn Evaluate,
    pub(crate) sketch: Sketch,
    folded: BTreeMap<ValueId, Tensor>,
}

impl<'a, 'm> Emitter<'a, 'm> {
    pub(crate) fn new(index: &'a Index<'m>, place: PlaceId, evaluate: &'a dyn Evaluate) -> Self {
        let graph = index.graph(place);
        Self {
            index,
            place,
            graph,
            types: index.types(place),
            evaluate,
            sketch: Sketch::new(graph.opsets.clone()),
            folded: BTreeMap::new(),
        }
    }

    /// Whether an input has the element type of the first result.
    pub(crate) fn keeps_type(domain: &str, op_type: &str, slot: usize) -> bool {
        let newest = schema::versions(canonical_domain(domain), op_type).last();
        newest.is_some_and(|schema| {
            let variable = schema.formal_input(slot).and_then(|formal| formal.variable);
            let result = schema.formal_output(0).and_then(|formal| formal.variable);
            variable.is_some() && variable == result
        })
    }

    /// The value of the sketch that stands for one of the model.
    pub(crate) fn existing(&mut self, row: ValueRow) -> Result<ValueId, Refusal> {
        let Some(id) = self.index.id_within(row, self.place) else {
            let owner = self.index.graph(self.index.value_place(row));
            let name = owner.value(self.index.value_id(row)).name().to_owned();
            return Err(Refusal::NotVisible { name });
        };
        let content = extract::content(self.graph, self.types, id);
        let ty = self.types.ty(id).cloned();
        let name = self.graph.value(id).name();
        Ok(self.sketch.existing(Origin { id, row: Some(row) }, name, ty, content))
    }

    /// Adds a node and returns its results.
    pub(crate) fn node(&mut self, request: Request) -> Result<Vec<ValueId>, Refusal> {
        let Request { domain, op_type, attributes, mut operands, mut results, expected } = request;
        let (opset, schema) = self.schema(&domain, &op_type)?;
        let mut node = Node::new(domain, op_type);
        let op = Written { opset, schema, name: node.op_type.clone() };
        self.inputs_as_attributes(&op, &mut operands, &mut node)?;
        for (name, content) in attributes {
            if let Content::Datum(Datum::None) = content {
                continue;
            }
            self.attribute(&op, &name, content, &mut operands, &mut node)?;
        }
        node.attributes.sort_by(|a, b| a.name.cmp(&b.name));
        while let Some(Operand::Absent) = operands.last() {
            operands.pop();
        }
        let mut inputs: Vec<Option<ValueId>> = operands
            .iter()
            .map(|operand| match operand {
                Operand::Value(value) => Some(*value),
                _ => None,
            })
            .collect();
        for (slot, operand) in operands.iter().enumerate() {
            if let Operand::Literal(literal) = operand {
                let dtype = self.literal_type(&op, slot, literal, &inputs, expected)?;
                let literal = rest_of_shape(&op, slot, literal);
                let content = literal.tensor(dtype)?;
                inputs[slot] = Some(self.sketch.constant(&format!("{}_c", results[0]), content));
            }
        }
        self.required(&op, &node, &inputs)?;
        // Results that nobody asked for, and that the operator has nevertheless.
        let all = schema.map_or(&[][..], |schema| &schema.outputs);
        let needed = all.iter().take_while(|formal| formal.arity == Arity::Single).count();
        for slot in results.len()..needed {
            results.push(format!("{}_{slot}", results[0]));
        }
        Ok(self.sketch.node(node, &inputs, &results))
    }

    /// Inputs and attributes that the operator must have.
    fn required(
        &self,
        op: &Written,
        node: &Node,
        inputs: &[Option<ValueId>],
    ) -> Result<(), Refusal> {
        let Some(schema) = op.schema else { return Ok(()) };
        let mut needed = schema.attributes.iter().filter(|attribute| attribute.required);
        if let Some(missing) = needed.find(|known| node.attribute(known.name).is_none()) {
            let what = format!("`{}` without its attribute `{}`", op.name, missing.name);
            return Err(Refusal::NotWritten { what });
        }
        let needed = schema.inputs.iter().enumerate();
        let needed = needed.filter(|(_, formal)| formal.arity == Arity::Single);
        for (slot, formal) in needed {
            if inputs.get(slot).copied().flatten().is_none() {
                return Err(Refusal::Absent { name: formal.name.to_owned() });
            }
        }
        Ok(())
    }

    /// The version of the domain, and the operator's definition in it where it is known.
    fn schema(
        &mut self,
        domain: &str,
        op_type: &str,
    ) -> Result<(i64, Option<&'static Schema>), Refusal> {
        let domain = canonical_domain(domain);
        let versions = schema::versions(domain, op_type);
        // Runtimes accept some operators below the opset that standardized them; a valid model does not.
        let standard = versions.iter().any(|schema| schema.closed);
        let opset = match self.graph.opsets.version(domain) {
            Some(opset) => opset,
            None if domain.is_empty() => 0,
            None => {
                let opset = versions.last().map_or(1, |newest| newest.since);
                if !self.sketch.imports.iter().any(|(known, _)| known == domain) {
                    self.sketch.imports.push((domain.to_owned(), opset));
                    self.sketch.graph.opsets.set(domain, opset);
                }
                opset
            }
        };
        if versions.is_empty() && !domain.is_empty() {
            return Ok((opset, None));
        }
        let found = schema::lookup(domain, op_type, opset)
            .filter(|schema| !schema.deprecated && (schema.closed || !standard));
        if found.is_some() {
            return Ok((opset, found));
        }
        let later = versions.iter().find(|schema| {
            schema.since > opset && !schema.deprecated && (schema.closed || !standard)
        });
        Err(Refusal::OperatorNotInOpset {
            op_type: op_type.to_owned(),
            domain: domain.to_owned(),
            opset,
            since: later.map(|schema| schema.since),
        })
    }

    /// Inputs that this opset has as attributes only.
    fn inputs_as_attributes(
        &mut self,
        op: &Written,
        operands: &mut Vec<Operand>,
        node: &mut Node,
    ) -> Result<(), Refusal> {
        let Some(schema) = op.schema else { return Ok(()) };
        if schema.input_arity().1 >= operands.len() {
            return Ok(());
        }
        for (slot, operand) in operands.drain(schema.inputs.len()..).enumerate() {
            let slot = slot + schema.inputs.len();
            let mut versions = schema::versions(schema.domain, schema.name).iter().rev();
            let name = versions.find_map(|other| Some(other.inputs.get(slot)?.name));
            let parameter = schema.parameters.iter().find(|known| name == known.input);
            let attribute = parameter.and_then(|known| schema.attribute(known.attribute));
            let content = match (&operand, attribute) {
                (Operand::Absent, _) => continue,
                (_, None) => return Err(op.no_input(slot)),
                (Operand::Literal(literal), Some(_)) => literal.content.clone(),
                (Operand::Value(value), Some(attribute)) => {
                    let name = self.sketch.graph.value(*value).name().to_owned();
                    let content = self.fold(*value)?;
                    let content = Datum::elements(&content).or_else(|| Datum::item(&content));
                    let wanted = format!("the attribute `{}`", attribute.name);
                    content.ok_or(Refusal::WrongKind { what: format!("`{name}`"), wanted })?
                }
            };
            if let Some(attribute) = attribute {
                let what = format!("the attribute `{}`", attribute.name);
                let value = literal::attribute(&content, Some(attribute.kind), &what)?;
                node.attributes.push(Attribute::new(attribute.name, value));
            }
        }
        Ok(())
    }

    /// One attribute, in the spelling of this opset.
    fn attribute(
        &self,
        op: &Written,
        name: &str,
        content: Content,
        operands: &mut Vec<Operand>,
        node: &mut Node,
    ) -> Result<(), Refusal> {
        let what = format!("the attribute `{name}` of `{}`", op.name);
        let kind = op.schema.and_then(|schema| schema.attribute(name)).map(|known| known.kind);
        let vendor = op.schema.is_none_or(|schema| !schema.closed);
        let parameter = op.schema.and_then(|schema| schema.parameter(name));
        let slot = parameter.and_then(|known| op.schema?.input(known.input?));
        if let (None, Some(parameter), Some(slot)) = (kind, parameter, slot) {
            let content = match content {
                Content::Datum(content) => content,
                Content::Copied(value) => datum(name, &value),
            };
            while operands.len() <= slot {
                operands.push(Operand::Absent);
            }
            let list = matches!(parameter.kind, ParameterKind::Ints | ParameterKind::Floats);
            // The one operator whose single number is a vector.
            let vector = list || op.name == "TopK";
            let content = match content {
                Datum::List(items) => Datum::List(items),
                single if vector => Datum::List(vec![single]),
                single => single,
            };
            operands[slot] = Operand::Literal(Literal { content, dtype: None, dims: None, what });
            return Ok(());
        }
        if kind.is_none() && !vendor {
            // What the operator did before it had the attribute need not be said.
            let versions = op.schema.map_or(&[][..], |s| schema::versions(s.domain, s.name));
            let mut newest = versions.iter().rev();
            let default = newest.find_map(|other| other.attribute(name)?.default.as_ref());
            let written = match &content {
                Content::Datum(content) => content.clone(),
                Content::Copied(value) => datum(name, value),
            };
            let same = default.map(|value| datum(name, value).equals(&written, false));
            return if same == Some(Datum::Bool(true)) {
                Ok(())
            } else {
                Err(op.no_attribute(name))
            };
        }
        let value = match content {
            Content::Copied(value) => value,
            Content::Datum(content) => literal::attribute(&content, kind, &what)?,
        };
        node.attributes.push(Attribute::new(name, value));
        Ok(())
    }

    /// The element type of a constant: of what stands at the same type variable, else of the first
    /// input where that is admitted.
    fn literal_type(
        &mut self,
        op: &Written,
        slot: usize,
        literal: &Literal,
        inputs: &[Option<ValueId>],
        expected: Option<DType>,
    ) -> Result<DType, Refusal> {
        if let Some(dtype) = literal.dtype {
            return Ok(dtype);
        }
        let formal = op.schema.and_then(|schema| schema.formal_input(slot));
        if let Some(only) = formal.and_then(|formal| formal.types.only()) {
            return Ok(only);
        }
        let variable = formal.and_then(|formal| formal.variable);
        let same = |formal: Option<&schema::Formal>| {
            variable.is_some() && formal.and_then(|formal| formal.variable) == variable
        };
        for (other, input) in inputs.iter().enumerate() {
            let Some(input) = input else { continue };
            if same(op.schema.and_then(|schema| schema.formal_input(other)))
                && let Some(dtype) = self.sketch.dtype(*input)
            {
                return Ok(dtype);
            }
        }
        if let Some(expected) = expected
            && same(op.schema.and_then(|schema| schema.formal_output(0)))
        {
            return Ok(expected);
        }
        let admits = |dtype: DType| formal.is_none_or(|formal| formal.types.admits(dtype));
        let natural = literal.natural();
        let first = inputs.iter().flatten().next().copied();
        let first = first.and_then(|first| self.sketch.dtype(first));
        let like = |dtype: &DType| dtype.is_float() || natural == DType::Int64;
        if let Some(dtype) = first.filter(|dtype| admits(*dtype)).filter(like) {
            return Ok(dtype);
        }
        let others = formal.into_iter().flat_map(|formal| formal.types.dtypes());
        let alike = |dtype: &DType| dtype.is_float() == natural.is_float();
        let found = if admits(natural) { Some(natural) } else { others.into_iter().find(alike) };
        found.ok_or_else(|| Refusal::WrongKind {
            what: literal.what.clone(),
            wanted: format!("input {slot} of `{}`", op.name),
        })
    }

    /// The content of a value of the sketch that is the same in every run.
    pub(crate) fn fold(&mut self, value: ValueId) -> Result<Tensor, Refusal> {
        if let Some(content) = self.folded.get(&value) {
            return Ok(content.clone());
        }
        if let Some(content) = self.sketch.graph.initializer(value) {
            return Ok(content.clone());
        }
        if let Some(origin) = self.sketch.origins.get(&value).copied() {
            let row = origin.row.expect("what a right side reads was found in the index");
            let content = self.fold_existing(row, DEPTH)?;
            self.folded.insert(value, content.clone());
            return Ok(content);
        }
        let Some((node, slot)) = self.sketch.graph.producer(value) else {
            unreachable!("a value of a sketch is made there or stands for another one")
        };
        let inputs = self.sketch.graph.inputs(node);
        let inputs: Vec<Option<Tensor>> = inputs
            .into_iter()
            .map(|input| input.map(|input| self.fold(input)).transpose())
            .collect::<Result<_, _>>()?;
        let opset = self.sketch.graph.opsets.version(&self.sketch.graph.node(node).domain);
        let outputs = run(self.evaluate, self.sketch.graph.node(node), opset, &inputs)?;
        let name = self.sketch.graph.value(value).name().to_owned();
        let content = outputs.into_iter().nth(slot).ok_or(Refusal::NotConstant { name })?;
        self.folded.insert(value, content.clone());
        Ok(content)
    }

    /// The content of a value of the model.
    fn fold_existing(&self, row: ValueRow, depth: usize) -> Result<Tensor, Refusal> {
        if let Some(content) = self.index.known(row) {
            return Ok(content.clone());
        }
        let owner = self.index.graph(self.index.value_place(row));
        let name = owner.value(self.index.value_id(row)).name().to_owned();
        let refused = Refusal::NotConstant { name };
        let (true, Some((node, slot)), Some(depth)) =
            (self.index.is_constant(row), self.index.producer(row), depth.checked_sub(1))
        else {
            return Err(refused);
        };
        let inputs = self.index.inputs(node).iter();
        let inputs: Vec<Option<Tensor>> = inputs
            .map(|input| input.map(|input| self.fold_existing(input, depth)).transpose())
            .collect::<Result<_, _>>()?;
        let View { graph, node, .. } = self.index.view(node);
        let outputs = run(self.evaluate, node, graph.opsets.version(&node.domain), &inputs)?;
        outputs.into_iter().nth(slot as usize).ok_or(refused)
    }
}

fn run(
    evaluate: &dyn Evaluate,
    node: &Node,
    opset: Option<i64>,
    inputs: &[Option<Tensor>],
) -> Result<Vec<Tensor>, Refusal> {
    let operation = Operation {
        domain: canonical_domain(&node.domain),
        op_type: &node.op_type,
        opset: opset.unwrap_or(1),
        attributes: &node.attributes,
    };
    Ok(evaluate.evaluate(operation, inputs)?)
}

/// An operator in the opset of the graph.
struct Written {
    opset: i64,
    schema: Option<&'static Schema>,
    name: String,
}

impl Written {
    fn no_input(&self, slot: usize) -> Refusal {
        Refusal::InputNotInOpset { op_type: self.name.clone(), slot, opset: self.opset }
    }

    fn no_attribute(&self, name: &str) -> Refusal {
        Refusal::AttributeNotInOpset {
            op_type: self.name.clone(),
            attribute: name.to_owned(),
            opset: self.opset,
        }
    }
}

/// One length that is not known before a run can still be asked of a Reshape: it is what is left.
fn rest_of_shape(op: &Written, slot: usize, literal: &Literal) -> Literal {
    let mut literal = literal.clone();
    if op.name != "Reshape" || slot != 1 {
        return literal;
    }
    let Datum::List(items) = &mut literal.content else { return literal };
    let open = |item: &Datum| literal::open(item);
    // Beside a length of 0, -1 says nothing.
    let sure = !items.iter().any(|item| *item == Datum::Int(0) || *item == Datum::Int(-1));
    if sure
        && items.iter().filter(|item| open(item)).count() == 1
        && let Some(item) = items.iter_mut().find(|item| open(item))
    {
        *item = Datum::Int(-1);
    }
    literal
}
