//! What kind of thing an expression of a condition computes, as far as the text says it.

use std::fmt;

use crate::core::{AttributePattern, ExprKind, Kind, Operator, Others, Pattern, VarId};
use crate::functions::{self, Parameter};
use crate::gexpr::{BinaryOp, GExpr, GExprKind};
use crate::operators::{AttributeKind, Facts, Operators};

/// The kind of thing that an expression computes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    /// The text does not say, or says different things.
    Any,
    /// `none`, which may take the place of anything.
    Nothing,
    Number,
    Text,
    Truth,
    Dtype,
    List(Box<Sort>),
    Value,
    Operator,
    Attributes,
}

impl Sort {
    fn list(item: Self) -> Self {
        Self::List(Box::new(item))
    }

    /// Whether something of one kind can be equal to something of the other.
    pub(crate) fn meets(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any | Self::Nothing, _) | (_, Self::Any | Self::Nothing) => true,
            (Self::List(a), Self::List(b)) => a.meets(b),
            (Self::Operator, Self::Text) | (Self::Text, Self::Operator) => true,
            // Flags of ONNX are integers.
            (Self::Number, Self::Truth) | (Self::Truth, Self::Number) => true,
            (a, b) => a == b,
        }
    }

    fn is(&self, wanted: &Self) -> bool {
        matches!(self, Self::Any) || self == wanted
    }

    pub(crate) fn is_number(&self) -> bool {
        self.is(&Self::Number)
    }

    pub(crate) fn is_truth(&self) -> bool {
        self.is(&Self::Truth)
    }

    pub(crate) fn is_list(&self) -> bool {
        matches!(self, Self::Any | Self::List(_))
    }

    pub(crate) fn is_dtype(&self) -> bool {
        self.is(&Self::Dtype)
    }

    /// What both are; `Any` if they differ.
    fn join(self, other: Self) -> Self {
        match (self, other) {
            (Self::Nothing, other) | (other, Self::Nothing) => other,
            (a, b) if a == b => a,
            (Self::List(a), Self::List(b)) => Self::list(a.join(*b)),
            _ => Self::Any,
        }
    }
}

impl fmt::Display for Sort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "anything",
            Self::Nothing => "nothing",
            Self::Number => "a number",
            Self::Text => "a string",
            Self::Truth => "a condition",
            Self::Dtype => "an element type",
            Self::List(item) => match **item {
                Self::Number => "a list of numbers",
                Self::Text => "a list of strings",
                Self::Value => "a list of values",
                _ => "a list",
            },
            Self::Value => "a value of the graph",
            Self::Operator => "an operator",
            Self::Attributes => "captured attributes",
        })
    }
}

/// The kinds of the variables of a pattern.
pub(crate) struct Sorts(Vec<Sort>);

impl Sorts {
    /// Finds out what the variables are: from the attributes that bind them, and from what
    /// computes them.
    pub(crate) fn new(pattern: &Pattern, operators: &dyn Operators) -> Self {
        let mut met: Vec<Option<Sort>> = pattern.vars.iter().map(|_| None).collect();
        for expr in &pattern.exprs {
            match &expr.kind {
                ExprKind::Op(op) => {
                    for attribute in &op.attributes {
                        let sort = declared(pattern, operators, &op.operators, &attribute.name);
                        bound(&attribute.pattern, &sort, &mut met);
                    }
                    if let Others::Rest(var) = op.others {
                        meet(&mut met, var, Sort::Attributes);
                    }
                }
                ExprKind::Scalar(var) => meet(&mut met, *var, Sort::Number),
                // All elements equal to a number, or those of a list.
                ExprKind::Full(inner) => {
                    if let ExprKind::Scalar(var) = pattern.expr(*inner).kind {
                        meet(&mut met, var, Sort::Any);
                    }
                }
                _ => {}
            }
        }
        let attribute = |at: usize| pattern.vars[at].kind == Kind::Attribute;
        let mut sorts = Self(Vec::new());
        for (at, var) in pattern.vars.iter().enumerate() {
            let sort = match var.kind {
                Kind::Value => Sort::Value,
                Kind::Dim => Sort::Number,
                Kind::Dtype => Sort::Dtype,
                Kind::Rest => Sort::Attributes,
                Kind::Operator => Sort::Operator,
                Kind::Attribute => met[at].clone().unwrap_or(Sort::Any),
            };
            sorts.0.push(if var.list { Sort::list(sort) } else { sort });
        }
        // Numbers that are computed from each other: each round gets one step further.
        let scopes = pattern.scopes.iter().flat_map(|scope| &scope.lets);
        let branches = pattern.exprs.iter().flat_map(|expr| match &expr.kind {
            ExprKind::Alt(alt) => alt.branches.as_slice(),
            _ => &[],
        });
        let computed: Vec<_> = scopes.chain(branches.flat_map(|branch| &branch.with)).collect();
        for _ in 0..3 {
            let mut next: Vec<Option<Sort>> = met.clone();
            for item in &computed {
                meet(&mut next, item.var, sorts.of(&item.value));
            }
            for (at, var) in pattern.vars.iter().enumerate() {
                if let (Some(given), true) = (&var.value, attribute(at)) {
                    meet(&mut next, VarId(at as u32), sorts.of(given));
                }
            }
            for (at, found) in next.into_iter().enumerate() {
                if let (Some(sort), true, false) = (found, attribute(at), pattern.vars[at].list) {
                    sorts.0[at] = sort;
                }
            }
        }
        sorts
    }

    /// What an expression computes.
    pub(crate) fn of(&self, expr: &GExpr) -> Sort {
        match &expr.kind {
            GExprKind::Int(_) | GExprKind::Float(_) | GExprKind::Negate(_) => Sort::Number,
            GExprKind::String(_) => Sort::Text,
            GExprKind::None => Sort::Nothing,
            GExprKind::Dtype(_) => Sort::Dtype,
            GExprKind::Tensor(_) => Sort::Any,
            GExprKind::Bool(_)
            | GExprKind::Not(_)
            | GExprKind::And(_)
            | GExprKind::Or(_)
            | GExprKind::Compare { .. }
            | GExprKind::Is { .. } => Sort::Truth,
            GExprKind::Var(var) => self.0[var.index()].clone(),
            GExprKind::List(items) => {
                Sort::list(items.iter().map(|item| self.of(item)).fold(Sort::Nothing, Sort::join))
            }
            GExprKind::Binary(BinaryOp::Concat, left, right) => {
                match self.of(left).join(self.of(right)) {
                    Sort::List(item) => Sort::List(item),
                    _ => Sort::list(Sort::Any),
                }
            }
            GExprKind::Binary(..) => Sort::Number,
            GExprKind::Index(base, _) => match self.of(base) {
                Sort::List(item) if *item != Sort::Nothing => *item,
                _ => Sort::Any,
            },
            GExprKind::Slice(base, ..) => match self.of(base) {
                Sort::List(item) => Sort::List(item),
                _ => Sort::list(Sort::Any),
            },
            GExprKind::Call(function, _) => functions::result(*function),
        }
    }
}

/// What an argument of a function must be, in words, if it is not that.
pub(crate) fn refused(parameter: Parameter, argument: &Sort) -> Option<&'static str> {
    let (fits, wanted) = match parameter {
        Parameter::Anything | Parameter::Value => (true, ""),
        Parameter::Number => (argument.is_number(), "a number"),
        Parameter::NumberOrList => (argument.is_number() || argument.is_list(), "numbers"),
        Parameter::List => (argument.is_list(), "a list"),
        Parameter::Dtype => (argument.is_dtype(), "an element type"),
        Parameter::ValueOrDtype => {
            (argument.is_dtype() || *argument == Sort::Value, "a value or an element type")
        }
    };
    (!fits).then_some(wanted)
}

fn meet(met: &mut [Option<Sort>], var: VarId, sort: Sort) {
    let known = &mut met[var.index()];
    *known = Some(match known.take() {
        Some(before) => before.join(sort),
        None => sort,
    });
}

fn bound(attribute: &AttributePattern, sort: &Sort, met: &mut [Option<Sort>]) {
    match attribute {
        AttributePattern::Bind(var) => meet(met, *var, sort.clone()),
        AttributePattern::List(items) => {
            let item = match sort {
                Sort::List(item) => item,
                _ => &Sort::Any,
            };
            items.iter().for_each(|pattern| bound(pattern, item, met));
        }
        AttributePattern::OneOf(items) => items.iter().for_each(|item| bound(item, sort, met)),
        AttributePattern::Any | AttributePattern::Value(_) | AttributePattern::Graph(_) => {}
    }
}

/// What the schema says that an attribute holds.
fn declared(
    pattern: &Pattern,
    operators: &dyn Operators,
    accepted: &[Operator],
    name: &str,
) -> Sort {
    let of = |operator: &Operator| {
        let Facts::Known(signature) = operators.facts(operator, &pattern.opsets) else {
            return Sort::Any;
        };
        let facts = signature.attributes.into_iter().find(|facts| facts.name == name);
        match facts.map(|facts| facts.kind) {
            // Numbers that stand for types are seen as types.
            Some(AttributeKind::Int | AttributeKind::String)
                if matches!(name, "to" | "dtype" | "output_dtype") =>
            {
                Sort::Dtype
            }
            Some(AttributeKind::Int | AttributeKind::Float) => Sort::Number,
            Some(AttributeKind::Ints | AttributeKind::Floats) => Sort::list(Sort::Number),
            Some(AttributeKind::String) => Sort::Text,
            Some(AttributeKind::Strings) => Sort::list(Sort::Text),
            Some(AttributeKind::Other) | None => Sort::Any,
        }
    };
    accepted.iter().map(of).reduce(Sort::join).unwrap_or(Sort::Any)
}
