use marquetry_ir::{DType, EvaluateError};

/// Why a match is not replaced. The graph is as it was.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// The model's operator set lacks an operator of the right side.
    #[error("`{op_type}` is not in opset {opset} of domain \"{domain}\"")]
    OperatorNotInOpset {
        /// The operator.
        op_type: String,
        /// Its domain.
        domain: String,
        /// What the model imports.
        opset: i64,
        /// The first opset that has it.
        since: Option<i64>,
    },
    /// The operator of the model's opset has no such attribute, in no spelling.
    #[error("`{op_type}` of opset {opset} has no attribute `{attribute}`")]
    AttributeNotInOpset {
        /// The operator.
        op_type: String,
        /// The attribute.
        attribute: String,
        /// What the model imports.
        opset: i64,
    },
    /// The operator of the model's opset takes fewer inputs.
    #[error("`{op_type}` of opset {opset} has no input {slot}")]
    InputNotInOpset {
        /// The operator.
        op_type: String,
        /// The position of the input.
        slot: usize,
        /// What the model imports.
        opset: i64,
    },
    /// What the right side says depends on something that is not known before a run.
    #[error("{what} is not known before a run")]
    NotKnown {
        /// What it is for.
        what: String,
    },
    /// What the right side says cannot be an attribute or a tensor here.
    #[error("{what} cannot be {wanted}")]
    WrongKind {
        /// What it is for.
        what: String,
        /// What it should be.
        wanted: String,
    },
    /// An operand of a node that needs it is absent in this match.
    #[error("`{name}` is absent in this match")]
    Absent {
        /// The variable.
        name: String,
    },
    /// A value belongs to a graph inside the one of the match.
    #[error("`{name}` is not visible in the graph of the match")]
    NotVisible {
        /// The variable or value.
        name: String,
    },
    /// An axis is counted from the front of a value of unknown rank, and may be another one elsewhere.
    #[error("`{name}` counts from the front, and how many axes there are is not known")]
    UnknownRank {
        /// The attribute.
        name: String,
    },
    /// What a `const` equation computes from is not constant.
    #[error("`{name}` is not constant")]
    NotConstant {
        /// The value.
        name: String,
    },
    /// A `const` equation could not be computed.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    /// The right side has another element type.
    #[error("`{output}` is `{old}` and would become `{new}`")]
    Dtype {
        /// The output.
        output: String,
        /// Its type.
        old: DType,
        /// What the right side gives.
        new: DType,
    },
    /// The right side has another shape.
    #[error("`{output}` is `{old}` and would become `{new}`")]
    Shape {
        /// The output.
        output: String,
        /// Its type.
        old: String,
        /// What the right side gives.
        new: String,
    },
    /// A node of the right side would not be valid here.
    #[error("{problem}")]
    Invalid {
        /// What is wrong with it.
        problem: String,
        /// What can be done.
        hint: Option<&'static str>,
    },
    /// There would be as many nodes as before: an output of the graph keeps its name, and what it is
    /// replaced by keeps its own.
    #[error("`{output}` is an output of its graph and `{by}` must keep its name too")]
    OutputKept {
        /// The output.
        output: String,
        /// What would stand in its place.
        by: String,
    },
    /// What [`VerifyEach`](super::VerifyEach) found.
    #[error("the outputs differ: {0}")]
    NotVerified(String),
    /// What a [strict](super::VerifyEach::is_strict) look could not compare.
    #[error("it could not be verified: {0}")]
    NotCompared(String),
    /// A function is written for other operator sets than the graph that calls it.
    #[error("`{function}` is written for opset {version} of domain \"{domain}\"")]
    OtherOpset {
        /// The function.
        function: String,
        /// A domain that it imports.
        domain: String,
        /// The version.
        version: i64,
    },
    /// The match lies in a body of a node that went into a function.
    #[error("it lies in a body of what `{by}` took into its function")]
    Enclosed {
        /// The pattern that took it.
        by: String,
    },
    /// The pattern has parts for which there is no way to write them down.
    #[error("{what} cannot be written out")]
    NotWritten {
        /// The part.
        what: String,
    },
}

impl Refusal {
    /// A stable name for the kind of refusal.
    pub fn code(&self) -> &'static str {
        match self {
            Self::OperatorNotInOpset { .. } => "operator_not_in_opset",
            Self::AttributeNotInOpset { .. } => "attribute_not_in_opset",
            Self::InputNotInOpset { .. } => "input_not_in_opset",
            Self::NotKnown { .. } => "not_known",
            Self::WrongKind { .. } => "wrong_kind",
            Self::Absent { .. } => "absent_operand",
            Self::NotVisible { .. } => "not_visible",
            Self::UnknownRank { .. } => "unknown_rank",
            Self::NotConstant { .. } => "not_constant",
            Self::Evaluate(_) => "not_evaluated",
            Self::Dtype { .. } => "dtype_differs",
            Self::Shape { .. } => "shape_differs",
            Self::Invalid { .. } => "invalid_node",
            Self::OutputKept { .. } => "output_kept",
            Self::NotVerified(_) => "not_verified",
            Self::NotCompared(_) => "not_compared",
            Self::OtherOpset { .. } => "other_opset",
            Self::Enclosed { .. } => "enclosed",
            Self::NotWritten { .. } => "not_written",
        }
    }

    /// What can be done about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::OperatorNotInOpset { since: Some(since), domain, .. } if domain.is_empty() => {
                format!(
                    "raise the opset of the model to {since} first (`--raise-opset {since}`), or \
                     outline the pattern instead"
                )
            }
            Self::OperatorNotInOpset { .. } => "import another version of the domain".to_owned(),
            Self::AttributeNotInOpset { .. } | Self::InputNotInOpset { .. } => {
                "limit the rule with `opset`, or convert the model".to_owned()
            }
            Self::NotKnown { .. } => {
                "give the inputs of the model fixed shapes, or add a `where` that asks for what is \
                 needed"
                    .to_owned()
            }
            Self::Absent { name } => format!("give it a default on the right side, `{name} ?? …`"),
            Self::NotConstant { name } => format!("declare it on the left side, `const {name}`"),
            Self::Dtype { .. } => {
                "write the type of constants, `{0.5 : float[1]}`, or add a `Cast`".to_owned()
            }
            Self::Invalid { hint, .. } => return hint.map(str::to_owned),
            Self::Shape { .. } => "add a `where` that excludes this case".to_owned(),
            Self::NotCompared(_) => {
                "give the inputs of the model types and shapes, or let it through with \
                 `--verify-each` alone"
                    .to_owned()
            }
            Self::NotVerified(_) => "see what `marquetry pattern verify` says of it".to_owned(),
            Self::Enclosed { by } => {
                format!("leave `{by}` out, and this one is done")
            }
            Self::UnknownRank { .. } => {
                "give the inputs of the model shapes, so that ranks are known".to_owned()
            }
            Self::WrongKind { .. }
            | Self::NotVisible { .. }
            | Self::Evaluate(_)
            | Self::OutputKept { .. }
            | Self::OtherOpset { .. }
            | Self::NotWritten { .. } => return None,
        })
    }
}
