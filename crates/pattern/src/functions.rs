//! The builtin functions of guard expressions: names and arguments.

use crate::gexpr::Function;
use crate::sort::Sort;

/// What an argument of a function is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parameter {
    /// A number, list, string, dtype or condition.
    Anything,
    /// A number.
    Number,
    /// Numbers, or one list of them.
    NumberOrList,
    /// A list.
    List,
    /// An element type.
    Dtype,
    /// A value of the graph.
    Value,
    /// A value of the graph or a dtype.
    ValueOrDtype,
}

use Parameter::{Anything, Dtype, List, Number, NumberOrList, Value, ValueOrDtype};

/// Name, function, parameters; the last parameter repeats if there may be more arguments than
/// the least number.
type Entry = (&'static str, Function, &'static [Parameter], std::ops::RangeInclusive<usize>);

const TABLE: &[Entry] = &[
    ("sqrt", Function::Sqrt, &[Number], 1..=1),
    ("exp", Function::Exp, &[Number], 1..=1),
    ("log", Function::Log, &[Number], 1..=1),
    ("abs", Function::Abs, &[Number], 1..=1),
    ("min", Function::Min, &[NumberOrList], 1..=usize::MAX),
    ("max", Function::Max, &[NumberOrList], 1..=usize::MAX),
    ("floor", Function::Floor, &[Number], 1..=1),
    ("ceil", Function::Ceil, &[Number], 1..=1),
    ("sum", Function::Sum, &[List], 1..=1),
    ("prod", Function::Prod, &[List], 1..=1),
    ("len", Function::Len, &[List], 1..=1),
    ("range", Function::Range, &[Number], 1..=2),
    ("rep", Function::Rep, &[Anything, Number], 2..=2),
    ("sorted", Function::Sorted, &[List], 1..=1),
    ("reverse", Function::Reverse, &[List], 1..=1),
    ("rank", Function::Rank, &[Value], 1..=1),
    ("dim", Function::Dim, &[Value, Number], 2..=2),
    ("shape", Function::Shape, &[Value], 1..=1),
    ("numel", Function::Numel, &[Value], 1..=1),
    ("dtype", Function::Dtype, &[Value], 1..=1),
    ("bits", Function::Bits, &[ValueOrDtype], 1..=1),
    ("swap", Function::Swap, &[Number], 3..=3),
    ("compose", Function::Compose, &[List], 2..=2),
    ("is_identity", Function::IsIdentity, &[List], 1..=1),
    ("is_reshape", Function::IsReshape, &[List], 2..=2),
    ("widens", Function::Widens, &[Dtype], 2..=2),
    ("item", Function::Item, &[Value], 1..=1),
    ("triangle", Function::Triangle, &[Value], 1..=1),
    ("is_const", Function::IsConst, &[Value], 1..=1),
    ("broadcasts", Function::Broadcasts, &[Value, Value], 2..=2),
    ("uses", Function::Uses, &[Value], 1..=1),
];

/// A builtin function.
#[derive(Clone, Debug)]
pub(crate) struct Builtin {
    pub(crate) function: Function,
    parameters: &'static [Parameter],
    pub(crate) arity: std::ops::RangeInclusive<usize>,
}

impl Builtin {
    /// What the argument of this position is.
    pub(crate) fn parameter(&self, at: usize) -> Parameter {
        self.parameters.get(at).or(self.parameters.last()).copied().unwrap_or(Number)
    }
}

/// What the argument of this position of a function is.
pub(crate) fn parameter(function: Function, at: usize) -> Parameter {
    builtin(function.name()).map_or(Anything, |builtin| builtin.parameter(at))
}

/// What a function returns.
pub(crate) fn result(function: Function) -> Sort {
    use Function as F;
    match function {
        F::Range | F::Shape | F::Swap | F::Compose | F::Triangle => {
            Sort::List(Box::new(Sort::Number))
        }
        F::Rep | F::Sorted | F::Reverse => Sort::List(Box::new(Sort::Any)),
        F::IsIdentity | F::IsReshape | F::Widens | F::IsConst | F::Broadcasts => Sort::Truth,
        F::Dtype => Sort::Dtype,
        // A constant may hold truths.
        F::Item => Sort::Any,
        _ => Sort::Number,
    }
}

/// Looks a function up by name.
pub(crate) fn builtin(name: &str) -> Option<Builtin> {
    TABLE.iter().find(|entry| entry.0 == name).map(|(_, function, parameters, arity)| Builtin {
        function: *function,
        parameters,
        arity: arity.clone(),
    })
}

/// The names of all functions.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|entry| entry.0)
}

impl Function {
    /// Returns the name as written.
    pub fn name(self) -> &'static str {
        let entry = TABLE.iter().find(|entry| entry.1 == self);
        entry.map(|entry| entry.0).expect("every function is in the table")
    }
}

/// The ONNX text names of element types.
pub(crate) const DTYPES: &[&str] = &[
    "float",
    "double",
    "float16",
    "bfloat16",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "bool",
    "string",
    "complex64",
    "complex128",
    "int4",
    "uint4",
    "int2",
    "uint2",
    "float4e2m1",
    "float8e4m3fn",
    "float8e4m3fnuz",
    "float8e5m2",
    "float8e5m2fnuz",
    "float8e8m0",
    "float6e2m3fn",
    "float6e3m2fn",
];

/// Is this the name of an element type?
pub(crate) fn is_dtype(name: &str) -> bool {
    DTYPES.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_again() {
        for name in names() {
            assert_eq!(builtin(name).unwrap().function.name(), name);
        }
    }
}
