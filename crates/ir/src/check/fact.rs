//! What can be wrong, with codes that stay.

use super::Severity;
use crate::DType;
use crate::schema::AttributeKind;

/// What a code means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The code.
    pub code: &'static str,
    /// How bad it is by the rules of ONNX.
    pub severity: Severity,
    /// What it says of a model, in a sentence.
    pub about: &'static str,
    /// What to do about it, where something can be said.
    pub hint: Option<&'static str>,
}

macro_rules! facts {
    ($($(#[doc = $doc:literal])* $name:ident { $($field:ident: $ty:ty = $field_doc:literal),* $(,)? }
        $code:literal $severity:ident $message:literal $(, $argument:expr)? $(=> $hint:literal)?;)*) => {
        /// What is wrong. Each kind has a code that never changes its meaning.
        #[derive(Clone, Debug, PartialEq, thiserror::Error)]
        #[non_exhaustive]
        pub enum Fact {
            $($(#[doc = $doc])*
            #[error($message $(, $argument)?)]
            $name { $(#[doc = $field_doc] $field: $ty,)* },)*
        }

        impl Fact {
            /// The stable code.
            pub fn code(&self) -> &'static str {
                match self { $(Self::$name { .. } => $code,)* }
            }

            /// How bad it is by the rules of ONNX.
            pub fn severity(&self) -> Severity {
                match self { $(Self::$name { .. } => Severity::$severity,)* }
            }

            /// What to do about it, where something can be said.
            pub fn hint(&self) -> Option<&'static str> {
                match self { $(Self::$name { .. } => facts!(@hint $($hint)?),)* }
            }

            /// What each code means, in order.
            pub const EXPLANATIONS: &'static [Explanation] = &[$(Explanation {
                code: $code,
                severity: Severity::$severity,
                about: concat!($($doc),*),
                hint: facts!(@hint $($hint)?),
            }),*];

            /// Every code there is, in order.
            pub const CODES: &'static [&'static str] = &[$($code),*];
        }
    };
    (@hint) => { None };
    (@hint $hint:literal) => { Some($hint) };
}

facts! {
    /// A value is read or returned that nothing defines.
    Undefined {} "V001" Error "nothing defines it"
        => "an input, an initializer or the output of a node must have this name";
    /// Nodes need each other's results.
    Cyclic { cycle: Vec<String> = "Names along the cycle." } "V002" Error
        "nodes need each other's results: {}", cycle.join(" -> ")
        => "one of them must read another value";
    /// A body defines a value that an enclosing graph defines too.
    Shadowed {} "V003" Error "an enclosing graph defines a value of this name too"
        => "rename the one in the body";
    /// Two nodes have one name.
    DuplicateNode { name: String = "The name." } "V004" Warning "the node name `{name}` is not unique"
        => "ONNX Runtime refuses the model; writing it gives unique names";
    /// A domain is used whose version the model does not say.
    NoOpset { domain: String = "The domain." } "V005" Error
        "the model does not import domain `{domain}`"
        => "add it to `opset_import`";
    /// One domain is imported twice.
    DuplicateOpset { domain: String = "The domain." } "V006" Error
        "domain `{domain}` is imported more than once"
        => "keep one import; `\"\"` and `ai.onnx` are the same domain";
    /// The version is none.
    BadOpset { domain: String = "The domain.", version: i64 = "The version." } "V007" Error
        "version {version} of domain `{domain}` does not exist"
        => "versions begin with 1";
    /// The version is newer than the schema table.
    NewOpset { version: i64 = "The version.", newest: i64 = "The newest known." } "V008" Warning
        "opset {version} is newer than {newest}, the newest one known"
        => "operators are taken to be as in the newest one known";
    /// The operator is not in the opset.
    UnknownOperator { domain: String = "The domain.", op: String = "The operator.", version: i64 = "The opset." }
        "V009" Warning "opset {version} of domain `{domain}` has no operator `{op}`"
        => "it is carried along as it is; check its spelling and the opset";
    /// The operator left the opset.
    Deprecated { op: String = "The operator.", version: i64 = "The opset." } "V010" Warning
        "operator `{op}` is no more in opset {version}"
        => "import the opset it was written for, or replace it";
    /// Too few or too many inputs or outputs.
    Arity {
        what: &'static str = "`inputs` or `outputs`.", found: usize = "How many there are.",
        least: usize = "How many there must be.", most: usize = "How many there may be.",
    } "V011" Error "it has {found} {what}, but the operator takes {}", range(*least, *most)
        => "see the definition of the operator in the model's opset";
    /// An input that is not optional is absent.
    MissingInput { input: &'static str = "The input." } "V012" Error "input `{input}` is missing"
        => "only optional inputs may be left out";
    /// An attribute that the operator does not have.
    UnknownAttribute { name: String = "The attribute." } "V013" Error
        "the operator has no attribute `{name}`"
        => "in another opset it may have; see the definition in the model's opset";
    /// An attribute of another kind.
    AttributeKind { name: String = "The attribute.", expected: AttributeKind = "The kind it has by the definition." }
        "V014" Error "attribute `{name}` must be of kind `{expected}`";
    /// An attribute that must be there is not.
    MissingAttribute { name: &'static str = "The attribute." } "V015" Error
        "attribute `{name}` is missing";
    /// Two attributes have one name.
    DuplicateAttribute { name: String = "The attribute." } "V016" Error
        "attribute `{name}` stands twice";
    /// The type of an input is not admitted.
    InputType { input: &'static str = "The input.", dtype: DType = "Its element type." } "V017" Error
        "input `{input}` must not be of type `{dtype}`"
        => "cast it, or use the operator of an opset that admits the type";
    /// Inputs that must have one type do not.
    MixedTypes { first: DType = "The type of one.", second: DType = "The type of another." } "V018" Error
        "inputs of one type variable are of types `{first}` and `{second}`"
        => "cast one of them";
    /// A declared type contradicts what follows from the operators.
    Contradiction {} "V019" Warning "its declared type contradicts what follows from the operators"
        => "remove the declaration, or correct it";
    /// A value's element type is none that is known.
    ElementType { number: i32 = "Its number." } "V020" Error "element type {number} does not exist";
    /// An initializer is declared with another type or shape.
    InitializerType {} "V021" Error "the initializer does not have the type that is declared for it";
    /// A tensor type without an element type.
    NoElementType {} "V022" Error "its declared type has no element type";
    /// An annotation names a tensor that is not there.
    Annotation { name: String = "The name." } "V023" Warning
        "a quantization annotation names `{name}`, which does not exist";
    /// A branch or body is missing or has the wrong number of inputs or outputs.
    Body {
        what: &'static str = "`inputs` or `outputs`.", expected: usize = "How many there must be.",
        found: usize = "How many there are.",
    } "V024" Error "the number of {what} of its body must be {expected}, not {found}";
    /// A key of the metadata stands twice.
    DuplicateMetadata { key: String = "The key." } "V025" Error "metadata key `{key}` stands twice";
    /// Two functions have one identity.
    DuplicateFunction { name: String = "The function." } "V026" Error "function `{name}` is defined twice";
    /// A function calls itself, directly or not.
    Recursion { cycle: Vec<String> = "Functions along the cycle." } "V027" Error
        "functions call each other in a circle: {}", cycle.join(" -> ")
        => "ONNX has no recursion; one call must go";
    /// A scale of zero, below zero, infinite or not a number.
    Scale { scale: f64 = "The first such scale." } "V030" Error "scale {scale} is not positive and finite"
        => "every runtime divides by it; calibrate again";
    /// A zero point of another type than the quantized values.
    ZeroPointType { zero_point: DType = "Its type.", quantized: DType = "Theirs." } "V031" Error
        "the zero point is `{zero_point}`, the quantized values are `{quantized}`";
    /// A zero point other than 0 where values are int32.
    ZeroPointInt32 {} "V032" Error "int32 values have no zero point but 0"
        => "runtimes ignore it without a word; leave it out or make it 0";
    /// A quantized type that the opset does not have for these operators.
    QuantizedType { dtype: DType = "The type.", needs: i64 = "The opset that has it." } "V033" Error
        "quantized type `{dtype}` needs opset {needs}"
        => "raise the opset, or use the operator of `com.microsoft`";
    /// An axis beyond the rank.
    Axis { axis: i64 = "The axis.", rank: usize = "The rank." } "V034" Error
        "axis {axis} is not one of {rank} axes";
    /// Scale and zero point of different shapes.
    ZeroPointShape {} "V035" Error "scale and zero point do not have the same shape";
    /// As many scales as no granularity asks for.
    ScaleShape { expected: String = "What the granularity asks for.", found: String = "What there is." }
        "V036" Error "the scale has shape {found}, but the axis asks for {expected}";
}

fn range(least: usize, most: usize) -> String {
    match most {
        usize::MAX => format!("at least {least}"),
        most if most == least => least.to_string(),
        most => format!("{least} to {most}"),
    }
}
