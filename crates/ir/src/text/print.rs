//! Our text: everything that a file says, laid out to be read.

mod said;

use std::fmt::Write as _;

use self::said::{Said, quoted};
use super::attribute::{type_name, type_of};
use super::literal::TYPE_WORDS;
use super::{PrintOptions, elements, literal, summary};
use crate::{
    Attribute, AttributeValue, Content, DType, Dim, Function, Graph, Model, NodeId, SparseTensor,
    Storage, Tensor, TensorType, Type, ValueId,
};

/// Columns after which the inputs and outputs of a graph get lines of their own.
const WIDTH: usize = 100;

/// The nodes of a graph as they are printed: in file order wherever that is an order to run them in.
pub(super) fn order(graph: &Graph) -> Vec<NodeId> {
    graph.order().unwrap_or_else(|_| graph.nodes().collect())
}

/// Prints so that parsing gives back what was printed.
pub(super) struct Printer<'o> {
    pub(super) out: String,
    indent: usize,
    options: &'o PrintOptions,
}

impl<'o> Printer<'o> {
    pub(super) fn new(options: &'o PrintOptions) -> Self {
        Self { out: String::new(), indent: 0, options }
    }

    pub(super) fn model(&mut self, model: &Model) {
        let mut notes = Said::default();
        notes.messages("training_info", &model.opaque.training_info);
        notes.messages("device_configurations", &model.opaque.device_configurations);
        self.notes(&notes);
        let mut properties = Said::default();
        properties.add("ir_version", &model.ir_version.to_string());
        properties.opsets(&model.graph.opsets);
        properties.text("producer_name", &model.producer_name);
        properties.text("producer_version", &model.producer_version);
        properties.text("domain", &model.domain);
        if let Some(version) = model.model_version {
            properties.add("model_version", &version.to_string());
        }
        properties.text("doc_string", &model.doc);
        properties.pairs("metadata_props", &model.metadata);
        self.properties(&properties);
        self.graph(&model.graph);
        self.out.push('\n');
        for function in &model.functions {
            self.function(function);
        }
    }

    /// A graph, up to its closing brace.
    pub(super) fn graph(&mut self, graph: &Graph) {
        let mut notes = Said::default();
        notes.text("doc", &graph.doc);
        notes.pairs("metadata", &graph.metadata);
        notes.annotations(&graph.annotations);
        self.notes(&notes);
        // A graph named like a type or a number would be taken for one as the value of an attribute.
        if is_reserved(&graph.name) {
            self.out.push_str(&quoted(&graph.name));
        } else {
            literal::name(&mut self.out, &graph.name);
        }
        self.out.push(' ');
        self.signature(graph);
        self.constants_and_types(graph);
        self.nodes(graph);
    }

    fn function(&mut self, function: &Function) {
        self.out.push('\n');
        let mut notes = Said::default();
        notes.pairs("metadata", &function.metadata);
        self.notes(&notes);
        let mut properties = Said::default();
        properties.add("domain", &quoted(&function.domain));
        properties.text("overload", &function.overload);
        properties.opsets(&function.body.opsets);
        properties.text("doc_string", &function.doc);
        self.properties(&properties);
        literal::name(&mut self.out, &function.name);
        self.out.push(' ');
        if !function.attributes.is_empty() || !function.defaults.is_empty() {
            self.out.push('<');
            let mut first = true;
            for attribute in &function.attributes {
                self.separate(&mut first, ", ");
                literal::name(&mut self.out, attribute);
            }
            for default in &function.defaults {
                self.separate(&mut first, ", ");
                self.attribute(default);
            }
            self.out.push_str("> ");
        }
        self.signature(&function.body);
        self.constants_and_types(&function.body);
        self.nodes(&function.body);
        self.out.push('\n');
    }

    fn properties(&mut self, properties: &Said) {
        let lines: Vec<_> =
            properties.entries().iter().map(|property| format!("   {property}")).collect();
        write!(self.out, "<\n{}\n>\n", lines.join(",\n")).expect("strings grow");
    }

    fn signature(&mut self, graph: &Graph) {
        let start = self.out.len();
        for (values, separator) in [(&graph.inputs, ""), (&graph.outputs, " => ")] {
            self.out.push_str(separator);
            self.values(graph, values, false);
        }
        let line = self.out.rfind('\n').map_or(0, |at| at + 1);
        let written = &self.out[start..];
        if self.out.len() - line > WIDTH || written.contains('\n') {
            self.out.truncate(start);
            for (values, separator) in [(&graph.inputs, ""), (&graph.outputs, " => ")] {
                self.out.push_str(separator);
                self.values(graph, values, true);
            }
        }
    }

    fn values(&mut self, graph: &Graph, values: &[ValueId], on_lines: bool) {
        self.out.push('(');
        self.indent += 3;
        let mut first = true;
        for &value in values {
            self.separate(&mut first, if on_lines { "," } else { ", " });
            if on_lines {
                self.new_line();
            }
            self.value(graph, value);
        }
        self.indent -= 3;
        if on_lines && !values.is_empty() {
            self.new_line();
        }
        self.out.push(')');
    }

    fn constants_and_types(&mut self, graph: &Graph) {
        if graph.initializers.is_empty() && graph.declared.is_empty() {
            return self.out.push(' ');
        }
        self.out.push_str(" <");
        self.indent += 3;
        let mut first = true;
        for &id in &graph.initializers {
            self.separate(&mut first, ",");
            self.new_line();
            let value = graph.value(id);
            if let Some(tensor) = &value.constant {
                self.tensor(tensor, Some(value.name()));
            } else if let Some(sparse) = &value.sparse {
                self.sparse(sparse, Some(value.name()));
            }
        }
        for &value in &graph.declared {
            self.separate(&mut first, ",");
            self.new_line();
            self.value(graph, value);
        }
        self.indent -= 3;
        self.new_line();
        self.out.push_str("> ");
    }

    fn value(&mut self, graph: &Graph, id: ValueId) {
        let value = graph.value(id);
        let mut notes = Said::default();
        notes.text("doc", &value.doc);
        notes.pairs("metadata", &value.metadata);
        if let Some(ty) = &value.ty {
            notes.denotations(ty);
        }
        self.notes(&notes);
        if let Some(ty) = &value.ty {
            self.ty(ty);
            self.out.push(' ');
        }
        literal::name(&mut self.out, value.name());
    }

    fn nodes(&mut self, graph: &Graph) {
        self.out.push('{');
        self.indent += 3;
        for node in order(graph) {
            self.new_line();
            self.node(graph, node);
        }
        self.indent -= 3;
        self.new_line();
        self.out.push('}');
    }

    fn node(&mut self, graph: &Graph, id: NodeId) {
        let node = graph.node(id);
        let mut notes = Said::default();
        notes.text("doc", &node.doc);
        notes.pairs("metadata", &node.metadata);
        notes.messages("device_configurations", &node.device_configurations);
        self.notes(&notes);
        if !node.name.is_empty() {
            self.out.push('[');
            literal::name(&mut self.out, &node.name);
            self.out.push_str("] ");
        }
        self.slots(graph, &graph.outputs(id));
        self.out.push_str(if graph.outputs(id).is_empty() { "= " } else { " = " });
        if !node.domain.is_empty() {
            if node.domain.split('.').all(literal::is_word) {
                self.out.push_str(&node.domain);
            } else {
                self.out.push_str(&quoted(&node.domain));
            }
            self.out.push('.');
        }
        literal::name(&mut self.out, &node.op_type);
        if !node.overload.is_empty() {
            self.out.push(':');
            literal::name(&mut self.out, &node.overload);
        }
        // Bodies come last: what the node reads is seen before them.
        let has_body = node.bodies().next().is_some();
        if !has_body {
            self.attributes(&node.attributes);
        }
        self.out.push_str(" (");
        self.slots(graph, &graph.inputs(id));
        self.out.push(')');
        if has_body {
            self.attributes(&node.attributes);
        }
    }

    fn attributes(&mut self, attributes: &[Attribute]) {
        if attributes.is_empty() {
            return;
        }
        self.out.push_str(" <");
        let mut first = true;
        for attribute in attributes {
            self.separate(&mut first, ", ");
            self.attribute(attribute);
        }
        self.out.push('>');
    }

    fn attribute(&mut self, attribute: &Attribute) {
        let mut notes = Said::default();
        notes.text("doc", &attribute.doc);
        self.notes(&notes);
        literal::name(&mut self.out, &attribute.name);
        match &attribute.value {
            AttributeValue::Reference { type_number, .. } if is_unnamed(*type_number) => {
                write!(self.out, ": type({type_number}) = ").expect("strings grow");
            }
            value => write!(self.out, ": {} = ", type_of(value)).expect("strings grow"),
        }
        self.attribute_value(&attribute.value);
    }

    pub(super) fn attribute_value(&mut self, value: &AttributeValue) {
        match value {
            AttributeValue::Float(float) => literal::exact_float(&mut self.out, *float),
            AttributeValue::Int(int) => write!(self.out, "{int}").expect("strings grow"),
            AttributeValue::String(bytes) => literal::quote(&mut self.out, bytes),
            AttributeValue::Tensor(tensor) => self.tensor(tensor, None),
            AttributeValue::Graph(graph) => self.graph(graph),
            AttributeValue::Sparse(sparse) => self.sparse(sparse, None),
            AttributeValue::Type(ty) => self.type_with_notes(ty),
            AttributeValue::Floats(floats) => self.list(floats, |printer, float| {
                literal::exact_float(&mut printer.out, *float);
            }),
            AttributeValue::Ints(ints) => self.list(ints, |printer, int| {
                write!(printer.out, "{int}").expect("strings grow");
            }),
            AttributeValue::Strings(strings) => self.list(strings, |printer, string| {
                literal::quote(&mut printer.out, string);
            }),
            AttributeValue::Tensors(tensors) => {
                self.list(tensors, |printer, tensor| printer.tensor(tensor, None));
            }
            AttributeValue::Graphs(graphs) => self.list(graphs, Self::graph),
            AttributeValue::Sparses(sparses) => {
                self.list(sparses, |printer, sparse| printer.sparse(sparse, None));
            }
            AttributeValue::Types(types) => self.list(types, Self::type_with_notes),
            AttributeValue::Reference { name, .. } => {
                self.out.push('@');
                literal::name(&mut self.out, name);
            }
        }
    }

    /// A constant of a graph under the name of its value, or the value of an attribute.
    fn tensor(&mut self, tensor: &Tensor, constant: Option<&str>) {
        self.tensor_notes(tensor, constant.is_some());
        self.dtype(Some(tensor.dtype()));
        if !tensor.dims().is_empty() {
            let dims: Vec<_> = tensor.dims().iter().map(ToString::to_string).collect();
            write!(self.out, "[{}]", dims.join(",")).expect("strings grow");
        }
        let own = tensor.notes.as_ref().map_or("", |notes| &notes.name);
        let name = constant.unwrap_or(own);
        if constant.is_some() || !name.is_empty() {
            self.out.push(' ');
            literal::name(&mut self.out, name);
        }
        self.out.push_str(if constant.is_some() { " = " } else { " " });
        if self.options.elide.is_some_and(|limit| tensor.len() > limit) {
            return self.out.push_str(&summary::of(tensor));
        }
        match tensor.content() {
            Content::Strings(strings) => {
                self.out.push('{');
                let mut first = true;
                for string in strings {
                    self.separate(&mut first, ", ");
                    literal::quote(&mut self.out, string);
                }
            }
            Content::Bytes(_) => {
                self.out.push('{');
                elements::write(&mut self.out, tensor, true);
            }
        }
        self.out.push('}');
    }

    fn tensor_notes(&mut self, tensor: &Tensor, is_constant: bool) {
        let mut notes = Said::default();
        if let Some(said) = &tensor.notes {
            if is_constant {
                notes.text("tensor_name", &said.name);
            }
            notes.text("doc", &said.doc);
            notes.pairs("metadata", &said.metadata);
        }
        match (&tensor.storage, tensor.content()) {
            // Strings have no other place.
            (Storage::Typed, Content::Bytes(_)) => notes.word("typed"),
            (Storage::External(place), _) => notes.external(place),
            _ => {}
        }
        self.notes(&notes);
    }

    fn sparse(&mut self, sparse: &SparseTensor, constant: Option<&str>) {
        self.out.push_str("sparse_tensor(");
        self.dtype(Some(sparse.values.dtype()));
        let dims: Vec<_> = sparse.dims.iter().map(ToString::to_string).collect();
        if !dims.is_empty() {
            write!(self.out, "[{}]", dims.join(",")).expect("strings grow");
        }
        self.out.push_str(") ");
        if let Some(name) = constant {
            literal::name(&mut self.out, name);
            self.out.push_str(" = ");
        }
        self.tensor(&sparse.values, None);
        self.out.push_str(" at ");
        self.tensor(&sparse.indices, None);
    }

    fn type_with_notes(&mut self, ty: &Type) {
        let mut notes = Said::default();
        notes.denotations(ty);
        self.notes(&notes);
        self.ty(ty);
    }

    /// A type without its own notes.
    pub(super) fn ty(&mut self, ty: &Type) {
        match ty {
            Type::Tensor(tensor) => self.tensor_type(tensor),
            Type::Sparse(tensor) => {
                self.out.push_str("sparse_tensor(");
                self.tensor_type(tensor);
                self.out.push(')');
            }
            Type::Sequence { element, .. } => self.element("seq(", element.as_deref()),
            Type::Optional { element, .. } => self.element("optional(", element.as_deref()),
            Type::Map { key, value, .. } => {
                self.out.push_str("map(");
                self.dtype(Some(*key));
                self.element(", ", value.as_deref());
            }
            Type::Opaque { domain, name, .. } => {
                self.out.push_str("opaque(");
                if !domain.is_empty() {
                    self.dotted(domain);
                    self.out.push(',');
                }
                if !name.is_empty() {
                    self.dotted(name);
                }
                self.out.push(')');
            }
            Type::Unspecified { .. } => self.out.push_str("unspecified"),
        }
    }

    fn element(&mut self, open: &str, element: Option<&Type>) {
        self.out.push_str(open);
        if let Some(element) = element {
            self.type_with_notes(element);
        }
        self.out.push(')');
    }

    pub(super) fn tensor_type(&mut self, ty: &TensorType) {
        self.dtype(ty.dtype);
        match &ty.shape {
            None => self.out.push_str("[]"),
            Some(dims) if dims.is_empty() => {}
            Some(dims) => {
                self.out.push('[');
                let mut first = true;
                for dim in dims {
                    self.separate(&mut first, ",");
                    match dim {
                        Dim::Known(length) => write!(self.out, "{length}").expect("strings grow"),
                        Dim::Symbol(name) => literal::name(&mut self.out, name),
                        Dim::Unknown => self.out.push('?'),
                    }
                }
                self.out.push(']');
            }
        }
    }

    fn dtype(&mut self, dtype: Option<DType>) {
        match dtype {
            None => self.out.push_str("undefined"),
            Some(dtype) => write!(self.out, "{dtype}").expect("strings grow"),
        }
    }

    /// A name with dots: each part as a name if that is what it is made of, else all in quotes.
    fn dotted(&mut self, name: &str) {
        if name.split('.').all(literal::is_word) {
            self.out.push_str(name);
        } else {
            literal::quote(&mut self.out, name.as_bytes());
        }
    }

    fn slots(&mut self, graph: &Graph, slots: &[Option<ValueId>]) {
        let mut first = true;
        for slot in slots {
            self.separate(&mut first, ", ");
            literal::name(&mut self.out, slot.map_or("", |value| graph.value(value).name()));
        }
    }

    fn list<T>(&mut self, elements: &[T], mut print: impl FnMut(&mut Self, &T)) {
        self.out.push('[');
        let mut first = true;
        for element in elements {
            self.separate(&mut first, ", ");
            print(self, element);
        }
        self.out.push(']');
    }

    /// Writes notes on a line of their own, which the thing they are about follows.
    fn notes(&mut self, notes: &Said) {
        if notes.entries().is_empty() || !self.options.notes {
            return;
        }
        let line = self.out.rfind('\n').map_or(0, |at| at + 1);
        let within_line = !self.out[line..].bytes().all(|byte| byte == b' ');
        if within_line {
            self.out.truncate(self.out.trim_end_matches(' ').len());
            self.indent += 3;
            self.new_line();
        }
        write!(self.out, "#@ {}", notes.entries().join(", ")).expect("strings grow");
        self.new_line();
        if within_line {
            self.indent -= 3;
        }
    }

    fn new_line(&mut self) {
        self.out.push('\n');
        self.out.extend(std::iter::repeat_n(' ', self.indent));
    }

    fn separate(&mut self, first: &mut bool, separator: &str) {
        if !std::mem::take(first) {
            self.out.push_str(separator);
        }
    }
}

fn is_reserved(name: &str) -> bool {
    DType::from_name(name).is_some() || TYPE_WORDS.contains(&name) || super::lexer::is_special(name)
}

/// Whether a type of attributes has a number only; 0 is none.
fn is_unnamed(type_number: i32) -> bool {
    type_number != 0 && type_name(type_number).is_none()
}
