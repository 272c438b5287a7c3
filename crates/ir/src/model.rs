use bytes::Bytes;

use crate::{Attribute, Graph};

/// Key-value pairs that a file attaches to a model, graph, node, value or tensor, in file order.
pub type Metadata = Vec<(String, String)>;

/// A whole ONNX model.
///
/// ```
/// use marquetry_ir::{Graph, Model, Opsets, onnx};
///
/// let model = Model::new(8, Graph::new("empty", Opsets::onnx(17)));
/// let bytes = onnx::encode(&model)?;
/// assert_eq!(onnx::decode(bytes)?.graph.opsets.version(""), Some(17));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Model {
    /// The version of the file format.
    pub ir_version: i64,
    /// The program that wrote the file; empty if it does not say.
    pub producer_name: String,
    /// Its version; empty if it does not say.
    pub producer_version: String,
    /// The namespace of the model, in reverse DNS form; empty if it does not say.
    pub domain: String,
    /// The version of the model itself.
    pub model_version: Option<i64>,
    /// The documentation; empty if there is none.
    pub doc: String,
    /// The main graph; its [`Graph::opsets`] are the model's imports.
    pub graph: Graph,
    /// Functions that nodes may call.
    pub functions: Vec<Function>,
    /// Key-value pairs of the model.
    pub metadata: Metadata,
    /// Parts that Marquetry carries along without looking inside.
    pub opaque: Opaque,
}

/// Encoded messages of a model that are kept as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opaque {
    /// `TrainingInfoProto` messages.
    pub training_info: Vec<Bytes>,
    /// `DeviceConfigurationProto` messages.
    pub device_configurations: Vec<Bytes>,
}

/// A function that the model brings along: an operator with a body.
#[derive(Clone, Debug)]
pub struct Function {
    /// The domain; with the name and the overload it identifies the function.
    pub domain: String,
    /// The name, which is the operator type of a call.
    pub name: String,
    /// The overload; empty for the only one.
    pub overload: String,
    /// Attributes that a call must give.
    pub attributes: Vec<String>,
    /// Attributes with the value that holds where a call gives none.
    pub defaults: Vec<Attribute>,
    /// The documentation; empty if there is none.
    pub doc: String,
    /// Key-value pairs of the function.
    pub metadata: Metadata,
    /// The body; its inputs and outputs are the function's, and it has opset imports of its own.
    pub body: Graph,
}

/// One imported operator set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opset {
    /// The domain as written; `""` and `"ai.onnx"` are the same one.
    pub domain: String,
    /// The version.
    pub version: i64,
}

/// The operator sets that the nodes of a graph are written for, in file order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opsets(pub Vec<Opset>);

impl Opsets {
    /// ONNX's own operators at `version`.
    pub fn onnx(version: i64) -> Self {
        Self(vec![Opset { domain: String::new(), version }])
    }

    /// The version imported for a domain.
    pub fn version(&self, domain: &str) -> Option<i64> {
        self.0.iter().find(|opset| same_domain(&opset.domain, domain)).map(|opset| opset.version)
    }

    /// Imports a domain at a version, replacing what was imported.
    pub fn set(&mut self, domain: &str, version: i64) {
        match self.0.iter_mut().find(|opset| same_domain(&opset.domain, domain)) {
            Some(opset) => opset.version = version,
            None => self.0.push(Opset { domain: domain.to_owned(), version }),
        }
    }
}

impl Model {
    /// A model around a graph, at the given version of the file format.
    pub fn new(ir_version: i64, graph: Graph) -> Self {
        Self {
            ir_version,
            producer_name: String::new(),
            producer_version: String::new(),
            domain: String::new(),
            model_version: None,
            doc: String::new(),
            graph,
            functions: Vec::new(),
            metadata: Vec::new(),
            opaque: Opaque::default(),
        }
    }

    /// The function that a node with this domain, operator and overload calls.
    pub fn function(&self, domain: &str, name: &str, overload: &str) -> Option<&Function> {
        self.functions.iter().find(|function| {
            same_domain(&function.domain, domain)
                && function.name == name
                && function.overload == overload
        })
    }
}

fn same_domain(a: &str, b: &str) -> bool {
    let canonical =
        |domain: &str| if domain == "ai.onnx" { String::new() } else { domain.to_owned() };
    a == b || canonical(a) == canonical(b)
}
