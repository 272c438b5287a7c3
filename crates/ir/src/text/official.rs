//! The bytes that ONNX's own printer writes (read from its version 1.23.2), losses included.

use std::fmt::Write as _;

use super::attribute::type_of;
use super::{elements, literal};
use crate::{
    Attribute, AttributeValue, Content, DType, Dim, External, Function, Graph, Model, NodeId,
    Opsets, Storage, Tensor, TensorType, Type, ValueId,
};

/// Prints as `onnx.printer` does.
pub(super) struct Official {
    pub(super) out: String,
    indent: usize,
}

impl Official {
    pub(super) fn new() -> Self {
        Self { out: String::new(), indent: 3 }
    }

    pub(super) fn model(&mut self, model: &Model) {
        write!(self.out, "<\n   ir_version: {},\n   opset_import: ", model.ir_version)
            .expect("strings grow");
        self.opsets(&model.graph.opsets, ", ");
        let texts = [
            ("producer_name", &model.producer_name),
            ("producer_version", &model.producer_version),
            ("domain", &model.domain),
        ];
        for (key, text) in texts {
            self.text_property(key, text);
        }
        if let Some(version) = model.model_version {
            write!(self.out, ",\n   model_version: {version}").expect("strings grow");
        }
        self.text_property("doc_string", &model.doc);
        if !model.metadata.is_empty() {
            self.out.push_str(",\n   metadata_props: ");
            self.pairs(model.metadata.iter().map(|(key, value)| (key.as_str(), value.clone())));
        }
        self.out.push_str("\n>\n");
        self.graph(&model.graph);
        for function in &model.functions {
            self.out.push('\n');
            self.function(function);
        }
    }

    pub(super) fn graph(&mut self, graph: &Graph) {
        self.name(&graph.name);
        self.out.push(' ');
        self.values(graph, &graph.inputs);
        self.out.push_str(" => ");
        self.values(graph, &graph.outputs);
        self.out.push(' ');
        let constants = graph
            .initializers
            .iter()
            .filter_map(|&id| Some((graph.value(id), graph.value(id).constant.as_ref()?)));
        let constants: Vec<_> = constants.collect();
        if !constants.is_empty() || !graph.declared.is_empty() {
            self.out.push('\n');
            self.blanks(self.indent);
            self.out.push('<');
            let mut first = true;
            for (value, tensor) in constants {
                self.separate(&mut first, ", ");
                self.tensor(tensor, Some(value.name()));
            }
            for &value in &graph.declared {
                self.separate(&mut first, ", ");
                self.value(graph, value);
            }
            self.out.push_str(">\n");
        }
        self.nodes(graph);
    }

    fn function(&mut self, function: &Function) {
        self.out.push_str("<\n  domain: ");
        self.quote(function.domain.as_bytes());
        self.out.push_str(",\n");
        if !function.overload.is_empty() {
            self.out.push_str("  overload: ");
            self.quote(function.overload.as_bytes());
            self.out.push_str(",\n");
        }
        self.out.push_str("  opset_import: ");
        self.opsets(&function.body.opsets, ",");
        self.out.push_str("\n>\n");
        self.name(&function.name);
        self.out.push(' ');
        if !function.attributes.is_empty() {
            write!(self.out, "<{}>", function.attributes.join(",")).expect("strings grow");
        }
        self.names(&function.body, &function.body.inputs);
        self.out.push_str(" => ");
        self.names(&function.body, &function.body.outputs);
        self.out.push('\n');
        self.nodes(&function.body);
    }

    fn nodes(&mut self, graph: &Graph) {
        self.out.push_str("{\n");
        for node in super::print::order(graph) {
            self.node(graph, node);
        }
        self.blanks(self.indent - 3);
        self.out.push('}');
    }

    fn node(&mut self, graph: &Graph, id: NodeId) {
        let node = graph.node(id);
        self.blanks(self.indent);
        if !node.name.is_empty() {
            self.out.push('[');
            self.name(&node.name);
            self.out.push_str("] ");
        }
        self.slots(graph, &graph.outputs(id));
        self.out.push_str(" = ");
        if !node.domain.is_empty() {
            self.out.push_str(&node.domain);
            self.out.push('.');
        }
        self.out.push_str(&node.op_type);
        if !node.overload.is_empty() {
            self.out.push(':');
            self.out.push_str(&node.overload);
        }
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
        self.out.push('\n');
    }

    fn attributes(&mut self, attributes: &[Attribute]) {
        if attributes.is_empty() {
            return;
        }
        self.out.push_str(" <");
        let mut first = true;
        for attribute in attributes {
            self.separate(&mut first, ", ");
            let Attribute { name, value, .. } = attribute;
            write!(self.out, "{name}: {} = ", type_of(value)).expect("strings grow");
            self.attribute(value);
        }
        self.out.push('>');
    }

    fn attribute(&mut self, value: &AttributeValue) {
        match value {
            AttributeValue::Float(float) => literal::float(&mut self.out, *float),
            AttributeValue::Int(int) => write!(self.out, "{int}").expect("strings grow"),
            AttributeValue::String(bytes) => self.quote(bytes),
            AttributeValue::Tensor(tensor) => self.tensor(tensor, None),
            AttributeValue::Graph(graph) => self.body(graph),
            AttributeValue::Type(ty) => self.ty(ty),
            AttributeValue::Floats(floats) => {
                self.list(floats, |printer, float| literal::float(&mut printer.out, *float));
            }
            AttributeValue::Ints(ints) => self.list(ints, |printer, int| {
                write!(printer.out, "{int}").expect("strings grow");
            }),
            AttributeValue::Strings(strings) => {
                // The opening bracket goes with the first element.
                let mut separator = "[";
                for string in strings {
                    self.out.push_str(separator);
                    self.quote(string);
                    separator = ", ";
                }
                self.out.push(']');
            }
            AttributeValue::Tensors(tensors) => {
                self.list(tensors, |printer, tensor| printer.tensor(tensor, None));
            }
            AttributeValue::Graphs(graphs) => self.list(graphs, Self::body),
            AttributeValue::Types(types) => self.list(types, Self::ty),
            AttributeValue::Reference { name, .. } => {
                self.out.push('@');
                self.out.push_str(name);
            }
            // Announced, and then not printed.
            AttributeValue::Sparse(_) | AttributeValue::Sparses(_) => {}
        }
    }

    fn body(&mut self, graph: &Graph) {
        self.indent += 3;
        self.graph(graph);
        self.indent -= 3;
    }

    /// A constant of a graph under the name of its value, or the value of an attribute.
    fn tensor(&mut self, tensor: &Tensor, constant: Option<&str>) {
        self.dtype(Some(tensor.dtype()));
        if !tensor.dims().is_empty() {
            let dims: Vec<_> = tensor.dims().iter().map(ToString::to_string).collect();
            write!(self.out, "[{}]", dims.join(",")).expect("strings grow");
        }
        let own = tensor.notes.as_ref().map_or("", |notes| &notes.name);
        let name = constant.unwrap_or(own);
        if !name.is_empty() {
            self.out.push(' ');
            self.name(name);
        }
        if constant.is_some() {
            self.out.push_str(" = ");
        }
        match (&tensor.storage, tensor.content()) {
            (Storage::External(external), _) => self.external(external),
            (_, Content::Strings(strings)) => {
                // The opening brace goes with the first element.
                let mut separator = "{";
                for string in strings {
                    self.out.push_str(separator);
                    self.quote(string);
                    separator = ", ";
                }
                self.out.push('}');
            }
            _ if has_no_numbers(tensor.dtype()) => self.out.push_str("..."),
            _ => {
                self.out.push_str(" {");
                elements::write(&mut self.out, tensor, false);
                self.out.push('}');
            }
        }
    }

    fn external(&mut self, external: &External) {
        let number = |number: Option<u64>| number.map(|number| number.to_string());
        let pairs = [
            ("location", Some(external.location.clone())),
            ("offset", number(external.offset)),
            ("length", number(external.length)),
            ("checksum", external.checksum.clone()),
        ];
        self.pairs(pairs.into_iter().filter_map(|(key, value)| Some((key, value?))));
    }

    fn values(&mut self, graph: &Graph, values: &[ValueId]) {
        self.out.push('(');
        let mut first = true;
        for &value in values {
            self.separate(&mut first, ", ");
            self.value(graph, value);
        }
        self.out.push(')');
    }

    fn value(&mut self, graph: &Graph, value: ValueId) {
        let value = graph.value(value);
        if let Some(ty) = &value.ty {
            self.ty(ty);
        }
        self.out.push(' ');
        self.name(value.name());
    }

    fn ty(&mut self, ty: &Type) {
        match ty {
            Type::Tensor(tensor) => self.tensor_type(tensor),
            Type::Sparse(tensor) => {
                self.out.push_str("sparse_tensor(");
                self.tensor_type(tensor);
                self.out.push(')');
            }
            Type::Sequence { element, .. } | Type::Optional { element, .. } => {
                let is_sequence = matches!(ty, Type::Sequence { .. });
                self.out.push_str(if is_sequence { "seq(" } else { "optional(" });
                if let Some(element) = element {
                    self.ty(element);
                }
                self.out.push(')');
            }
            Type::Map { key, value, .. } => {
                self.out.push_str("map(");
                self.dtype(Some(*key));
                self.out.push_str(", ");
                if let Some(value) = value {
                    self.ty(value);
                }
                self.out.push(')');
            }
            Type::Opaque { domain, name, .. } => {
                let comma = if domain.is_empty() { "" } else { "," };
                write!(self.out, "opaque({domain}{comma}{name})").expect("strings grow");
            }
            Type::Unspecified { .. } => {}
        }
    }

    fn tensor_type(&mut self, ty: &TensorType) {
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
                        Dim::Symbol(name) => self.name(name),
                        Dim::Unknown => self.out.push('?'),
                    }
                }
                self.out.push(']');
            }
        }
    }

    fn dtype(&mut self, dtype: Option<DType>) {
        self.out.push_str(dtype.and_then(DType::name).unwrap_or("undefined"));
    }

    fn slots(&mut self, graph: &Graph, slots: &[Option<ValueId>]) {
        let mut first = true;
        for slot in slots {
            self.separate(&mut first, ", ");
            self.name(slot.map_or("", |value| graph.value(value).name()));
        }
    }

    fn names(&mut self, graph: &Graph, values: &[ValueId]) {
        self.out.push('(');
        let slots: Vec<_> = values.iter().map(|&value| Some(value)).collect();
        self.slots(graph, &slots);
        self.out.push(')');
    }

    fn opsets(&mut self, opsets: &Opsets, separator: &str) {
        self.out.push('[');
        let mut first = true;
        for opset in &opsets.0 {
            self.separate(&mut first, separator);
            self.quote(opset.domain.as_bytes());
            write!(self.out, " : {}", opset.version).expect("strings grow");
        }
        self.out.push(']');
    }

    fn text_property(&mut self, key: &str, text: &str) {
        if !text.is_empty() {
            write!(self.out, ",\n   {key}: ").expect("strings grow");
            self.quote(text.as_bytes());
        }
    }

    fn pairs<'a>(&mut self, pairs: impl Iterator<Item = (&'a str, String)>) {
        self.out.push('[');
        let mut first = true;
        for (key, value) in pairs {
            self.separate(&mut first, ", ");
            self.quote(key.as_bytes());
            self.out.push_str(": ");
            self.quote(value.as_bytes());
        }
        self.out.push(']');
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

    fn separate(&mut self, first: &mut bool, separator: &str) {
        if !std::mem::take(first) {
            self.out.push_str(separator);
        }
    }

    fn name(&mut self, name: &str) {
        if literal::is_word(name) { self.out.push_str(name) } else { self.quote(name.as_bytes()) }
    }

    /// A string with quotes and backslashes escaped and nothing else. Bytes that are not UTF-8 become
    /// U+FFFD: text cannot hold them.
    fn quote(&mut self, bytes: &[u8]) {
        self.out.push('"');
        for char in String::from_utf8_lossy(bytes).chars() {
            if matches!(char, '"' | '\\') {
                self.out.push('\\');
            }
            self.out.push(char);
        }
        self.out.push('"');
    }

    fn blanks(&mut self, count: usize) {
        self.out.extend(std::iter::repeat_n(' ', count));
    }
}

/// Types whose elements the official printer replaces by `...`.
fn has_no_numbers(dtype: DType) -> bool {
    use DType::*;
    matches!(
        dtype,
        Complex64
            | Complex128
            | Uint4
            | Int4
            | Float4E2M1
            | Uint2
            | Int2
            | Float6E2M3
            | Float6E3M2
            | Unknown(_)
    )
}
