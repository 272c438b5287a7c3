//! Core: the desugared, checked form of a pattern, which the matcher interprets.
//!
//! Sugar is gone: infix operators are [`Op`] or [`Chain`], `F?` and `+?` are [`Alt`], calls of
//! definitions and of other patterns are inlined, `dup` variables are copied per use.
//! What is left is read with five rules.
//!
//! 1. **A variable is met at a value.** If it is bound, the value must be the same one (or an equal
//!    constant). If it is not, it is bound to the value and then, if it has a [`Definition`] in a
//!    scope that holds, the definition must match there. Named equations, parameters of inlined
//!    definitions and inline names all are variables with a definition, so this one rule covers
//!    them (call by need).
//! 2. **Scopes hold or do not.** [`Pattern::ROOT`] always holds. A branch of a [`Choice`] holds when it is
//!    chosen; at most one branch of a choice does. A choice is taken when a variable with a
//!    definition in one of its branches is first met, in order of the branches, with backtracking.
//!    [`ExprKind::Scoped`] makes a scope hold when it is met. All guards and lets of a scope that
//!    holds take part in the match, and each of its choices must be taken in the end.
//! 3. **The match begins at [`Pattern::roots`]`[0]`**, an output met at the anchor. Further roots
//!    are outputs that no definition reaches from the ones before; they share a variable with
//!    them, and candidates are the users of values already bound.
//! 4. **Order is as listed**: alternatives, branches and arguments from left to right.
//! 5. **A variable that is unbound in the end** is absent if it is [`Var::optional`] or local; a
//!    header input that is not optional and is unbound or absent fails the match.
//!
//! A pattern whose `equals` is one operator has two branches in its outermost choice: the body as
//! written and the meaning (see [`Pattern::meaning`]); both bind the same header.

mod expr;
mod types;

use std::fmt;

use crate::gexpr::GExpr;
use crate::quant::Hint;
use crate::replacement::{Replacement, Verify};
use crate::span::Span;

pub use expr::{
    Alt, Arg, Attribute, AttributePattern, Branch, Chain, Expr, ExprKind, GraphPattern, Op,
    Operator, Optional, Others, Output, Repeat, Tolerance,
};
pub use types::{DimPattern, DtypePattern, TypePattern};

macro_rules! index_type {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub(crate) u32);

        impl $name {
            /// Returns the position in the arena of the pattern.
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    };
}

index_type! {
    /// A variable of a [`Pattern`]; printed as `v3`.
    VarId, "v"
}
index_type! {
    /// An expression of a [`Pattern`]; printed as `e3`.
    ExprId, "e"
}
index_type! {
    /// A scope of a [`Pattern`]; printed as `s3`.
    ScopeId, "s"
}
index_type! {
    /// A choice of a [`Pattern`]; printed as `c3`.
    ChoiceId, "c"
}

/// A checked pattern, or the left side of a rule.
///
/// Ids are only meaningful inside the pattern they came from.
#[derive(Clone, Debug)]
pub struct Pattern {
    /// The name in its file: capitalised for patterns, lower case for rules.
    pub name: String,
    /// The name where it is declared.
    pub span: Span,
    /// The family inside which matches may not overlap (`in fam`); `None` is the default family.
    pub family: Option<String>,
    /// `priority n`, by default 0; higher wins.
    pub priority: i64,
    /// `bounded n`: a rule that need not make the graph smaller, because it is applied at most so
    /// often at what it built itself.
    pub bounded: Option<u32>,
    /// Opset ranges, the file's and the pattern's own; all of them must admit the model.
    pub opsets: Vec<OpsetRange>,
    /// Header attributes, `<axes, eps>`.
    pub attributes: Vec<VarId>,
    /// Header inputs, `(x, scale?)`.
    pub inputs: Vec<VarId>,
    /// Header outputs, `=> (y)`.
    pub outputs: Vec<VarId>,
    /// Outputs where matching starts; the first one is met at the anchor. See the module's rule 3.
    pub roots: Vec<VarId>,
    /// All variables: the header's, the body's, those of inlined definitions, the replacement's.
    pub vars: Vec<Var>,
    /// All expressions; children come before their parents.
    pub exprs: Vec<Expr>,
    /// All scopes; [`Pattern::ROOT`] is the outermost.
    pub scopes: Vec<Scope>,
    /// All choices between scopes.
    pub choices: Vec<Choice>,
    /// The branch of the outermost choice that is the meaning as a spelling, if `equals` is one operator.
    pub meaning: Option<ScopeId>,
    /// `equals { … }`.
    pub equals: Option<Replacement>,
    /// The right side of `~>`; for rules only.
    pub replacement: Option<Replacement>,
    /// `quant { … }`.
    pub hints: Vec<Hint>,
    /// `verify …`.
    pub verify: Option<Verify>,
}

impl Pattern {
    /// The outermost scope, which always holds.
    pub const ROOT: ScopeId = ScopeId(0);

    /// Returns a variable.
    pub fn var(&self, var: VarId) -> &Var {
        &self.vars[var.index()]
    }

    /// Returns an expression.
    pub fn expr(&self, expr: ExprId) -> &Expr {
        &self.exprs[expr.index()]
    }

    /// Returns a scope.
    pub fn scope(&self, scope: ScopeId) -> &Scope {
        &self.scopes[scope.index()]
    }

    /// Returns a choice.
    pub fn choice(&self, choice: ChoiceId) -> &Choice {
        &self.choices[choice.index()]
    }

    /// Adds an expression, for patterns that are changed after checking. It may stand above others that
    /// were there before.
    pub fn add_expr(&mut self, expr: Expr) -> ExprId {
        self.exprs.push(expr);
        ExprId(
            u32::try_from(self.exprs.len() - 1).expect("a pattern has fewer than 2^32 expressions"),
        )
    }

    /// Iterates over the variables with their ids.
    pub fn vars(&self) -> impl Iterator<Item = (VarId, &Var)> {
        self.vars.iter().enumerate().map(|(at, var)| (VarId(at as u32), var))
    }

    /// Returns the variable of the user's text with this name: a header or body name, never a
    /// renamed local of an inlined definition.
    pub fn var_named(&self, name: &str) -> Option<VarId> {
        self.vars().find(|(_, var)| var.role != Role::Inlined && var.name == name).map(|(id, _)| id)
    }
}

/// A range of opset versions of one domain, both ends included: `opset "" 13..18`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpsetRange {
    /// The domain; `""` is the standard one.
    pub domain: String,
    /// The lowest version.
    pub min: u32,
    /// The highest version; `None` is open.
    pub max: Option<u32>,
    /// Where it is written.
    pub span: Span,
}

/// A variable.
#[derive(Clone, Debug)]
pub struct Var {
    /// The name as written; a local of an inlined definition is `square.x`.
    pub name: String,
    /// The first place where it is named.
    pub span: Span,
    /// What it stands for.
    pub kind: Kind,
    /// Where it comes from.
    pub role: Role,
    /// A list of what [`kind`](Self::kind) says: `xs...`, or a capture inside `F(xs)...` or `F*`.
    pub list: bool,
    /// May be absent (`x?`).
    pub optional: bool,
    /// Must be a compile-time constant (`const w`).
    pub constant: bool,
    /// May be used outside the match, and is kept (`shared d = …`).
    pub shared: bool,
    /// For the second and later uses of a `dup` variable: the variable whose definition was copied.
    /// The two may be bound to different values.
    pub copy_of: Option<VarId>,
    /// Types that the value must have, as written before the name.
    pub types: Vec<TypePattern>,
    /// What must match where the variable is first met; one for each scope that defines it.
    pub definitions: Vec<Definition>,
    /// For attribute parameters of inlined definitions: the value the caller gave, such as
    /// `1/sqrt(2)` in `scaled<k = 1/sqrt(2)>(x)`. Such a variable counts as bound from the start,
    /// so that meeting it, or `with k = e`, compares.
    pub value: Option<GExpr>,
}

/// What a variable stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A value of the graph.
    Value,
    /// The content of an attribute: a number, string, list, dtype or graph. In value position it
    /// matches a constant scalar and is bound to its number.
    Attribute,
    /// A dimension, `D` in `float[B, D] x`.
    Dim,
    /// An element type, `T` in `T[] x`.
    Dtype,
    /// The attributes of a node that no pattern names, `<rest...>`.
    Rest,
    /// An operator, `act` in `(Unary as act)(x)`.
    Operator,
}

/// Where a variable comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The header: an attribute, an input or an output.
    Header,
    /// The body as written.
    Local,
    /// A parameter or a local of an inlined definition or pattern, renamed apart.
    Inlined,
    /// The replacement or the `equals` block: bound by building, not by matching.
    Built,
}

/// What must match where a variable is first met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Definition {
    /// The definition counts only while this scope holds.
    pub scope: ScopeId,
    /// What must match.
    pub expr: ExprId,
}

/// A set of equations, guards and lets that hold together.
#[derive(Clone, Debug)]
pub struct Scope {
    /// Where it is written.
    pub span: Span,
    /// The scope around; `None` for [`Pattern::ROOT`].
    pub parent: Option<ScopeId>,
    /// Equations, in file order: each is also a [`Definition`] of its results.
    pub equations: Vec<Equation>,
    /// `where` and `where?`, one for each condition between commas.
    pub guards: Vec<Guard>,
    /// `let k = e`, in file order; a `k` that is already bound is checked instead.
    pub lets: Vec<Let>,
    /// `either … or …` of this scope; each must be taken.
    pub choices: Vec<ChoiceId>,
}

/// `either { … } or { … }`; also a body and its meaning.
#[derive(Clone, Debug)]
pub struct Choice {
    /// The branches, in order; exactly one of them holds in a match.
    pub branches: Vec<ScopeId>,
}

/// `a, b = Split(x)`.
#[derive(Clone, Debug)]
pub struct Equation {
    /// The names on the left.
    pub results: Vec<VarId>,
    /// The right side. Where there are several results, its operators bind them
    /// (see [`Output::Bind`]).
    pub expr: ExprId,
    /// The whole equation.
    pub span: Span,
}

/// A condition.
#[derive(Clone, Debug)]
pub struct Guard {
    /// The condition.
    pub condition: GExpr,
    /// `where?`: need not be known to be true, must not be known to be false.
    pub soft: bool,
}

/// `k = e`: binds `var`, or checks it with the constant tolerance if it is bound.
#[derive(Clone, Debug)]
pub struct Let {
    /// The variable.
    pub var: VarId,
    /// Its value.
    pub value: GExpr,
}
