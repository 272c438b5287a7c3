//! The text of a lifted piece.

use std::fmt::Write as _;

use marquetry_ir::infer::Types;
use marquetry_ir::schema::View;
use marquetry_ir::{
    AttributeValue, DType, Graph, Model, NodeId, Tensor, TensorType, Type, ValueId,
};

use super::LiftError;
use super::constants::Constants;
use super::names::{Names, said, snake};
use super::select::Piece;
use crate::testing::{float, is_name};

/// The longest list of integers that is written as a literal.
const LONGEST_LIST: usize = 8;

/// The most elements of a constant that the test spells out; longer ones are made up.
const MOST_ELEMENTS: usize = 8;

/// What stands at an input of a node.
enum Argument {
    Absent,
    Value(ValueId),
    Literal(String),
}

/// A node as the pattern writes it.
struct Call {
    node: NodeId,
    attributes: Vec<(String, String)>,
    arguments: Vec<Argument>,
}

pub(super) struct Writer<'a> {
    model: &'a Model,
    graph: &'a Graph,
    types: &'a Types,
    known: &'a Constants,
    piece: &'a Piece,
    names: Names,
    /// Header inputs: those that are computed, then those that are constant.
    inputs: Vec<ValueId>,
    constants: Vec<ValueId>,
    /// Constants that the pattern writes as literals.
    literals: Vec<ValueId>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(
        model: &'a Model,
        types: &'a Types,
        known: &'a Constants,
        piece: &'a Piece,
    ) -> Self {
        Self {
            model,
            graph: &model.graph,
            types,
            known,
            piece,
            names: Names::default(),
            inputs: Vec::new(),
            constants: Vec::new(),
            literals: Vec::new(),
        }
    }

    pub(super) fn text(mut self, name: &str) -> Result<String, LiftError> {
        let calls: Vec<Call> =
            self.piece.nodes.iter().map(|node| self.call(*node)).collect::<Result<_, _>>()?;
        self.read(&calls);
        self.name_values();
        let mut text = self.pattern(name, &calls)?;
        text.push('\n');
        self.test(&mut text, name)?;
        Ok(text)
    }

    /// Collects the header.
    fn read(&mut self, calls: &[Call]) {
        let arguments = calls.iter().flat_map(|call| &call.arguments);
        for argument in arguments {
            let Argument::Value(value) = *argument else { continue };
            let ours = self.graph.producer(value);
            if ours.is_some_and(|(node, _)| self.piece.nodes.contains(&node)) {
                continue;
            }
            let list =
                if self.known.contains(value) { &mut self.constants } else { &mut self.inputs };
            if !list.contains(&value) {
                list.push(value);
            }
        }
        for &node in &self.piece.nodes {
            for value in self.graph.inputs(node).into_iter().flatten() {
                let known = self.constants.contains(&value) || self.literals.contains(&value);
                if self.known.contains(value) && !known {
                    self.literals.push(value);
                }
            }
        }
    }

    fn name_values(&mut self) {
        let graph = self.graph;
        for (at, value) in self.inputs.clone().into_iter().enumerate() {
            let said = said(graph.value(value).name()).filter(|_| at > 0);
            self.names.give(value, said.unwrap_or("x"));
        }
        for value in self.piece.outputs.clone() {
            self.names.give(value, "y");
        }
        for value in self.constants.clone() {
            let computed = graph.producer(value).is_some();
            let said = said(graph.value(value).name()).filter(|_| !computed);
            self.names.give(value, said.unwrap_or("w"));
        }
        for &node in &self.piece.nodes {
            for value in graph.outputs(node).into_iter().flatten() {
                if !self.names.knows(value) {
                    self.names.give(value, &snake(&graph.node(node).op_type));
                }
            }
        }
        for value in self.literals.clone() {
            self.names.give(value, "c");
        }
    }

    /// A node: inputs that stand for attributes are written as attributes.
    fn call(&self, node: NodeId) -> Result<Call, LiftError> {
        let view = View::new(self.graph, self.types, node);
        let mut attributes = Vec::new();
        for attribute in &view.node.attributes {
            let value = spelled(&attribute.name, &attribute.value);
            let default = view.default(&attribute.name);
            if value.is_some()
                && default.and_then(|known| spelled(&attribute.name, &known)) == value
            {
                continue;
            }
            if !is_name(&attribute.name) {
                return Err(LiftError::Unspeakable { name: attribute.name.clone() });
            }
            attributes.push((attribute.name.clone(), value.unwrap_or_else(|| "_".to_owned())));
        }
        let inputs = self.graph.inputs(node);
        let mut kept = inputs.len();
        // From the end: an input before one that must be written is written too.
        while let Some(slot) = kept.checked_sub(1) {
            let Some(value) = inputs[slot] else {
                kept = slot;
                continue;
            };
            let Some((name, content)) = self.parameter(&view, slot, value) else { break };
            let Some(text) = spelled(name, &content) else { break };
            let default = view.default(name).and_then(|known| spelled(name, &known));
            if default.as_ref() != Some(&text) {
                attributes.push((name.to_owned(), text));
            }
            kept = slot;
        }
        let arguments = inputs.iter().take(kept).map(|input| match input {
            None => Argument::Absent,
            Some(value) => match self.literal(node, *value) {
                Some(text) => Argument::Literal(text),
                None => Argument::Value(*value),
            },
        });
        Ok(Call { node, arguments: arguments.collect(), attributes })
    }

    /// The attribute that patterns write in place of an input, if its content is known.
    fn parameter(
        &self,
        view: &View<'_>,
        slot: usize,
        value: ValueId,
    ) -> Option<(&'static str, AttributeValue)> {
        let schema = view.schema?;
        let input = schema.inputs.get(slot)?.name;
        let parameter = schema.parameters.iter().find(|known| known.input == Some(input))?;
        if !self.known.contains(value) {
            return None;
        }
        let content = view.attribute(parameter.attribute)?.into_owned();
        Some((parameter.attribute, content))
    }

    /// A constant as a literal, if it is a number or a short list of integers.
    fn literal(&self, reader: NodeId, value: ValueId) -> Option<String> {
        // Asked first, because a large constant may only be computed when its content is.
        let shape = self.types.shape(value)?;
        let lengths: Option<Vec<usize>> = shape.iter().map(|dim| dim.known()).collect();
        let lengths = lengths?;
        if lengths.iter().product::<usize>() > LONGEST_LIST || !self.known.contains(value) {
            return None;
        }
        let tensor = self.types.constant(value)?;
        let numeric = tensor.dtype().is_integer() || tensor.dtype().is_float();
        if !numeric {
            return None;
        }
        if lengths.len() == 1 && tensor.dtype().is_integer() {
            let items = tensor.to_i64s().filter(|items| !items.is_empty())?;
            return Some(format!("{{{}}}", list(items.iter().map(i64::to_string))));
        }
        if tensor.len() != 1 || !self.is_neutral(reader, value, lengths.len()) {
            return None;
        }
        if tensor.dtype().is_integer() {
            return tensor.to_i64s()?.first().map(i64::to_string);
        }
        tensor.item().filter(|number| number.is_finite()).map(float)
    }

    /// Whether a constant of one element does not raise the rank of what its reader computes.
    fn is_neutral(&self, reader: NodeId, value: ValueId, rank: usize) -> bool {
        let others = self.graph.inputs(reader).into_iter().flatten();
        let others = others.filter(|other| *other != value);
        rank <= 1
            || others
                .map(|other| self.types.rank(other))
                .collect::<Option<Vec<_>>>()
                .is_some_and(|ranks| ranks.into_iter().max().is_none_or(|other| rank <= other))
    }

    fn pattern(&self, name: &str, calls: &[Call]) -> Result<String, LiftError> {
        let inputs = self.inputs.iter().map(|value| self.names.of(*value).to_owned());
        let constants =
            self.constants.iter().map(|value| format!("const {}", self.names.of(*value)));
        let header: Vec<String> = inputs.chain(constants).collect();
        let outputs: Vec<&str> =
            self.piece.outputs.iter().map(|value| self.names.of(*value)).collect();
        let (header, outputs) = (header.join(", "), outputs.join(", "));
        let mut text = format!("pattern {name} ({header}) => ({outputs}) {{\n");
        for call in calls {
            let node = self.graph.node(call.node);
            let results = self.results(call.node).join(", ");
            let operator = qualified(&node.domain, &node.op_type)?;
            let attributes: Vec<String> =
                call.attributes.iter().map(|(name, value)| format!("{name} = {value}")).collect();
            let attributes = match attributes.is_empty() {
                true => String::new(),
                false => format!("<{}>", attributes.join(", ")),
            };
            let arguments: Vec<&str> = call
                .arguments
                .iter()
                .map(|argument| match argument {
                    Argument::Absent => "none",
                    Argument::Value(value) => self.names.of(*value),
                    Argument::Literal(text) => text,
                })
                .collect();
            let arguments = arguments.join(", ");
            append(&mut text, format_args!("  {results} = {operator}{attributes}({arguments})\n"));
        }
        text.push_str("}\n");
        Ok(text)
    }

    /// Names of the results of a node, absent ones at the end left out.
    fn results(&self, node: NodeId) -> Vec<&str> {
        let outputs = self.graph.outputs(node);
        let count = outputs.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        let name = |value: &Option<ValueId>| value.map_or("_", |value| self.names.of(value));
        outputs[..count].iter().map(name).collect()
    }

    fn test(&self, text: &mut String, name: &str) -> Result<(), LiftError> {
        let graph = self.graph;
        let mut domains: Vec<&str> = vec![""];
        for &node in &self.piece.nodes {
            let domain = graph.node(node).domain.as_str();
            if !matches!(domain, "ai.onnx") && !domains.contains(&domain) {
                domains.push(domain);
            }
        }
        let imports = domains.iter().filter_map(|domain| {
            let version = graph.opsets.version(domain)?;
            Some(format!("\"{domain}\" : {version}"))
        });
        let imports = imports.collect::<Vec<_>>().join(", ");
        append(text, format_args!("test \"where it was lifted\"\n"));
        let version = self.model.ir_version;
        append(text, format_args!("  <ir_version: {version}, opset_import: [{imports}]>\n"));
        let typed = |value: &ValueId| format!("{} {}", self.ty(*value), self.names.of(*value));
        let inputs: Vec<String> = self.inputs.iter().map(typed).collect();
        let outputs: Vec<String> = self.piece.outputs.iter().map(typed).collect();
        append(text, format_args!("  g ({}) => ({})\n", inputs.join(", "), outputs.join(", ")));
        let constants: Vec<String> =
            self.constants.iter().chain(&self.literals).map(|value| self.content(*value)).collect();
        if !constants.is_empty() {
            append(text, format_args!("  <{}>\n", constants.join(", ")));
        }
        text.push_str("  {\n");
        for &id in &self.piece.nodes {
            let node = graph.node(id);
            let operator = qualified(&node.domain, &node.op_type)?;
            let attributes: Vec<String> = node
                .attributes
                .iter()
                .map(|attribute| format!("{}{}", attribute.name, written(&attribute.value)))
                .collect();
            let attributes = match attributes.is_empty() {
                true => String::new(),
                false => format!("<{}> ", attributes.join(", ")),
            };
            let inputs: Vec<&str> = graph
                .inputs(id)
                .into_iter()
                .map(|input| input.map_or("\"\"", |value| self.names.of(value)))
                .collect();
            let results: Vec<&str> = self
                .results(id)
                .into_iter()
                .map(|name| if name == "_" { "\"\"" } else { name })
                .collect();
            let (results, inputs) = (results.join(", "), inputs.join(", "));
            append(text, format_args!("    {results} = {operator} {attributes}({inputs})\n"));
        }
        text.push_str("  }\n");
        let header = self.inputs.iter().chain(&self.constants).chain(&self.piece.outputs);
        let bindings: Vec<String> =
            header.map(|value| format!("{name} = {name}", name = self.names.of(*value))).collect();
        append(text, format_args!("  matches {name} {{ {} }}\n", bindings.join(", ")));
        Ok(())
    }

    /// The type of a value; a float of any shape where it is not known.
    fn ty(&self, value: ValueId) -> String {
        let declared = || self.graph.value(value).ty.as_ref();
        let known = self.types.ty(value).or_else(declared);
        match known {
            Some(Type::Tensor(tensor)) => {
                let dtype = Some(tensor.dtype.unwrap_or(DType::Float));
                TensorType { dtype, ..tensor.clone() }.to_string()
            }
            Some(other) => other.to_string(),
            None => "float[]".to_owned(),
        }
    }

    /// A constant with its content: spelled out if it is short, made up if it is long.
    fn content(&self, value: ValueId) -> String {
        let name = self.names.of(value);
        let ty = self.ty(value);
        let lengths: Option<Vec<usize>> =
            self.types.shape(value).and_then(|shape| shape.iter().map(|dim| dim.known()).collect());
        let few = lengths.is_some_and(|dims| dims.iter().product::<usize>() <= MOST_ELEMENTS);
        let tensor = if few { self.types.constant(value) } else { None };
        match tensor {
            Some(tensor) => format!("{} = {}", [ty.as_str(), name].join(" "), elements(tensor)),
            None => format!("{ty} {name} = {{...}}"),
        }
    }
}

/// The elements of a tensor between braces.
fn elements(tensor: &Tensor) -> String {
    // Printed as an attribute: type, shape, elements.
    let text = AttributeValue::Tensor(tensor.clone()).to_string();
    match text.find('{') {
        Some(at) => text[at..].to_owned(),
        None => "{...}".to_owned(),
    }
}

/// An attribute value as a pattern writes it; `None` where it has no words for it.
fn spelled(name: &str, value: &AttributeValue) -> Option<String> {
    let text = |bytes: &[u8]| {
        let text = std::str::from_utf8(bytes).ok()?;
        (!text.contains(['"', '\n', '\\'])).then(|| format!("\"{text}\""))
    };
    let number = |number: f32| number.is_finite().then(|| float(number.into()));
    match value {
        AttributeValue::Int(number) if matches!(name, "to" | "dtype" | "output_dtype") => {
            let dtype = DType::from_number(i32::try_from(*number).ok()?);
            dtype.name().map(str::to_owned)
        }
        AttributeValue::Int(number) => Some(number.to_string()),
        AttributeValue::Float(value) => number(*value),
        AttributeValue::String(bytes) => text(bytes),
        AttributeValue::Ints(numbers) => Some(list(numbers.iter().map(i64::to_string))),
        AttributeValue::Floats(numbers) => {
            let numbers: Option<Vec<_>> = numbers.iter().map(|value| number(*value)).collect();
            numbers.map(|numbers| list(numbers.into_iter()))
        }
        AttributeValue::Strings(strings) => {
            let strings: Option<Vec<_>> = strings.iter().map(|bytes| text(bytes)).collect();
            strings.map(|strings| list(strings.into_iter()))
        }
        _ => None,
    }
}

/// An attribute value in ONNX's syntax, with the type where the value does not show it.
fn written(value: &AttributeValue) -> String {
    let ty = match value {
        AttributeValue::Ints(items) if items.is_empty() => ": ints",
        AttributeValue::Floats(items) if items.is_empty() => ": floats",
        AttributeValue::Strings(items) if items.is_empty() => ": strings",
        AttributeValue::Float(_) => ": float",
        AttributeValue::Floats(_) => ": floats",
        _ => "",
    };
    format!("{ty} = {value}")
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

/// An operator with its domain.
fn qualified(domain: &str, operator: &str) -> Result<String, LiftError> {
    let whole = match domain {
        "" | "ai.onnx" => operator.to_owned(),
        domain => format!("{domain}.{operator}"),
    };
    match whole.split('.').all(is_name) {
        true => Ok(whole),
        false => Err(LiftError::Unspeakable { name: whole }),
    }
}

fn append(text: &mut String, what: std::fmt::Arguments<'_>) {
    text.write_fmt(what).expect("a string takes any text");
}
