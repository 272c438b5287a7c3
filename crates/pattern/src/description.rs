//! What there is to read about an operator, for people who write patterns.

/// An operator as editors show it: the newest of its versions that the opset ranges admit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// The versions admitted: the first opset of each definition, oldest first.
    pub versions: Vec<u32>,
    /// The inputs, in order.
    pub inputs: Vec<Formal>,
    /// The outputs, in order.
    pub outputs: Vec<Formal>,
    /// What a pattern may write between `<` and `>`, sorted by name.
    pub attributes: Vec<Attribute>,
    /// What holds of it beyond its schema: `commutative`, `elementwise`, …
    pub facts: Vec<&'static str>,
}

/// An input or output of an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Formal {
    /// Its name in the schema.
    pub name: String,
    /// How many values it stands for.
    pub arity: FormalArity,
    /// The element types admitted, as ONNX text names them, perhaps cut short.
    pub types: String,
}

/// How many values an input or output stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormalArity {
    /// Exactly one.
    One,
    /// One or none; printed as `x?`.
    Optional,
    /// All the rest; printed as `xs...`.
    Rest,
}

impl Formal {
    /// Returns the name as a header of a pattern would write it: `x`, `x?` or `xs...`.
    pub fn written(&self) -> String {
        let mark = match self.arity {
            FormalArity::One => "",
            FormalArity::Optional => "?",
            FormalArity::Rest => "...",
        };
        format!("{}{mark}", self.name)
    }
}

/// An attribute of an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// Its name.
    pub name: String,
    /// Its type, as ONNX text names it.
    pub kind: String,
    /// A node without it is not valid.
    pub required: bool,
    /// What holds where a node does not say, as a pattern would write it.
    pub default: Option<String>,
    /// It is not an attribute in every version admitted: `an input from 13 on`.
    pub note: Option<String>,
}
