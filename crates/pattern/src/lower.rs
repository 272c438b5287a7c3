//! Syntax tree to [Core](crate::core): names become variables, sugar goes, definitions are inlined.

mod attributes;
mod bodies;
mod builds;
mod calls;
mod constants;
mod exprs;
mod guards;
mod inline;
pub(crate) mod items;
pub(crate) mod meaning;
mod nodes;

use std::cell::LazyCell;
use std::collections::BTreeMap;

use crate::ast::{self, Dimension, Name, Param, ValueType};
use crate::core::{
    AttributePattern, Choice, Definition, DimPattern, DtypePattern, Expr, ExprId, ExprKind, Kind,
    OpsetRange, Pattern, Role, Scope, ScopeId, TypePattern, Var, VarId,
};
use crate::diagnostic::{Code, Diagnostic};
use crate::functions::is_dtype;
use crate::names::Names;
use crate::operators::Operators;
use crate::resolve::{Decl, Unit};
use crate::similar::closest;
use crate::span::Span;

/// The most expressions of one pattern after inlining.
const MAX_EXPRS: usize = 20_000;
/// The deepest nesting of expressions and inlined definitions together.
const MAX_LEVELS: usize = 128;

/// What all items are lowered against.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) units: &'a [Unit],
    pub(crate) operators: &'a dyn Operators,
}

/// Lowers one item.
pub(crate) struct Lowerer<'a> {
    context: Context<'a>,
    pattern: Pattern,
    errors: Vec<Diagnostic>,
    /// Items that are being inlined, innermost last: their declarations and where they are called.
    calls: Vec<(Decl, Span)>,
    levels: usize,
    /// Alternatives whose absent variables are computed when everything is lowered.
    absences: Vec<Absence>,
    /// Repetitions whose collected variables are computed when everything is lowered.
    collections: Vec<Collection>,
    full: bool,
    /// The call that is lowered next is the whole right side of an output.
    output: bool,
}

/// An alternative without some operands.
struct Absence {
    at: ExprId,
    /// The branch of an `Alt`; `None` for `Optional`.
    branch: Option<usize>,
    dropped: Vec<ExprId>,
    kept: Vec<ExprId>,
}

/// A repetition and the variables that were made inside it.
struct Collection {
    at: ExprId,
    /// The argument, for `F(xs)...`.
    argument: Option<usize>,
    inside: ExprId,
    made: std::ops::Range<usize>,
}

/// The names of one item at one place: of the pattern itself, or of a definition inlined there.
pub(crate) struct Frame<'a> {
    unit: usize,
    vars: BTreeMap<String, VarId>,
    names: Names,
    /// What is put before names: `square.`.
    prefix: String,
    scope: ScopeId,
    dups: BTreeMap<String, Dup<'a>>,
    /// Names need not be declared: rules without a header.
    free: bool,
    /// What the caller gave for an attribute, where it is not a variable: it takes the place of the
    /// name as the content of an attribute, so that a list there can bind its variables, and axes
    /// are compared as axes.
    contents: BTreeMap<String, AttributePattern>,
}

/// A `dup` equation.
#[derive(Clone, Copy)]
struct Dup<'a> {
    right: &'a ast::Expr,
    scope: ScopeId,
    met: bool,
}

impl<'a> Lowerer<'a> {
    pub(crate) fn new(
        context: Context<'a>,
        unit: usize,
        name: &Name,
        meta: Option<&ast::Meta>,
    ) -> Self {
        let mut opsets = context.units[unit].opsets.clone();
        opsets.extend(meta.iter().flat_map(|meta| meta.opsets.iter().cloned()));
        let pattern = Pattern {
            name: name.text.clone(),
            span: name.span,
            family: meta.and_then(|meta| meta.family.as_ref()).map(|family| family.text.clone()),
            priority: meta.map_or(0, |meta| meta.priority),
            bounded: meta.and_then(|meta| meta.bounded),
            opsets,
            attributes: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            roots: Vec::new(),
            vars: Vec::new(),
            exprs: Vec::new(),
            scopes: Vec::new(),
            choices: Vec::new(),
            meaning: None,
            equals: None,
            replacement: None,
            hints: Vec::new(),
            verify: None,
        };
        let mut lowerer = Self {
            context,
            pattern,
            errors: Vec::new(),
            calls: Vec::new(),
            levels: 0,
            absences: Vec::new(),
            collections: Vec::new(),
            full: false,
            output: false,
        };
        lowerer.new_scope(name.span, None);
        lowerer
    }

    fn frame(&self, unit: usize, prefix: String, scope: ScopeId) -> Frame<'a> {
        Frame {
            unit,
            vars: BTreeMap::new(),
            names: Names::default(),
            prefix,
            scope,
            dups: BTreeMap::new(),
            free: false,
            contents: BTreeMap::new(),
        }
    }

    fn error(&mut self, error: Diagnostic) {
        self.errors.push(error);
    }

    fn opsets(&self) -> &[OpsetRange] {
        &self.pattern.opsets
    }

    fn new_scope(&mut self, span: Span, parent: Option<ScopeId>) -> ScopeId {
        let id = ScopeId(self.pattern.scopes.len() as u32);
        self.pattern.scopes.push(Scope {
            span,
            parent,
            equations: Vec::new(),
            guards: Vec::new(),
            lets: Vec::new(),
            choices: Vec::new(),
        });
        id
    }

    fn new_choice(&mut self, scope: ScopeId, branches: Vec<ScopeId>) {
        let id = crate::core::ChoiceId(self.pattern.choices.len() as u32);
        self.pattern.choices.push(Choice { branches });
        self.pattern.scopes[scope.index()].choices.push(id);
    }

    fn new_expr(&mut self, kind: ExprKind, span: Span) -> ExprId {
        if self.pattern.exprs.len() >= MAX_EXPRS && !self.full {
            self.full = true;
            let fact =
                format!("this has more than {MAX_EXPRS} parts after its definitions are inlined");
            let place = self.pattern.span;
            self.error(Diagnostic::new(Code::TooLarge, place, fact).help("split it"));
        }
        let id = ExprId(self.pattern.exprs.len() as u32);
        self.pattern.exprs.push(Expr { kind, span });
        id
    }

    /// Something that stands for an expression with an error.
    fn placeholder(&mut self, span: Span) -> ExprId {
        self.new_expr(ExprKind::Any, span)
    }

    fn new_var(&mut self, name: String, span: Span, kind: Kind, role: Role) -> VarId {
        let id = VarId(self.pattern.vars.len() as u32);
        self.pattern.vars.push(Var {
            name,
            span,
            kind,
            role,
            list: false,
            optional: false,
            constant: false,
            shared: false,
            copy_of: None,
            types: Vec::new(),
            definitions: Vec::new(),
            value: None,
        });
        id
    }

    fn var_mut(&mut self, var: VarId) -> &mut Var {
        &mut self.pattern.vars[var.index()]
    }

    fn define(&mut self, var: VarId, scope: ScopeId, expr: ExprId) {
        self.var_mut(var).definitions.push(Definition { scope, expr });
    }

    /// Returns the variable of a name, and makes it where it is first met.
    fn lookup(&mut self, frame: &mut Frame<'a>, name: &str, span: Span) -> VarId {
        if let Some(var) = frame.vars.get(name) {
            return *var;
        }
        let names = &frame.names;
        let value = names.declared.contains_key(name) || names.constants.contains(name);
        let kind = if names.rests.contains(name) {
            Kind::Rest
        } else if names.operators.contains(name) {
            Kind::Operator
        } else if !value && (names.attributes.contains(name) || names.computed.contains(name)) {
            Kind::Attribute
        } else if names.dims.contains(name) {
            Kind::Dim
        } else if names.dtypes.contains(name) {
            Kind::Dtype
        } else {
            Kind::Value
        };
        let undeclared = kind == Kind::Value && !value && !frame.free && !name.starts_with('_');
        if undeclared {
            let fact = format!("`{name}` is not in the header, and no equation defines it");
            let similar = closest(name, names.all()).map(|name| format!("did you mean `{name}`?"));
            let help = similar.unwrap_or_else(|| {
                format!("add it to the inputs, or write `_{name}` if it does not matter what it is")
            });
            self.error(Diagnostic::new(Code::UnknownName, span, fact).help(help));
        }
        let role = if frame.prefix.is_empty() { Role::Local } else { Role::Inlined };
        let var = self.new_var(format!("{}{name}", frame.prefix), span, kind, role);
        frame.vars.insert(name.to_owned(), var);
        var
    }

    /// Makes the variables of a header: attributes, inputs, outputs.
    fn header(&mut self, frame: &mut Frame<'a>, signature: &'a ast::Signature) {
        for attribute in &signature.attributes {
            let kind = if attribute.rest { Kind::Rest } else { Kind::Attribute };
            let name = &attribute.name;
            let var = self.new_var(name.text.clone(), name.span, kind, Role::Header);
            if let Some(default) = &attribute.default {
                self.unsupported(default.span, "a pattern's attribute has no default", None);
            }
            self.declare(frame, name, var);
            self.pattern.attributes.push(var);
        }
        for param in &signature.params {
            let var = self.param(frame, param, Role::Header);
            self.pattern.inputs.push(var);
        }
        for param in &signature.results {
            let var = match frame.vars.get(&param.name.text) {
                Some(var) if self.pattern.inputs.contains(var) => *var,
                _ => self.param(frame, param, Role::Header),
            };
            self.pattern.outputs.push(var);
        }
    }

    fn param(&mut self, frame: &mut Frame<'a>, param: &'a Param, role: Role) -> VarId {
        let name = format!("{}{}", frame.prefix, param.name.text);
        let var = self.new_var(name, param.name.span, Kind::Value, role);
        let types = self.type_pattern(frame, param.value_type.as_ref());
        let made = self.var_mut(var);
        made.list = param.list;
        made.optional = param.optional;
        made.constant = param.constant;
        made.types.extend(types);
        self.declare(frame, &param.name, var);
        var
    }

    fn declare(&mut self, frame: &mut Frame<'a>, name: &Name, var: VarId) {
        if let Some(first) = frame.vars.insert(name.text.clone(), var) {
            let first = self.pattern.var(first).span;
            let fact = format!("`{}` is declared a second time", name.text);
            let error = Diagnostic::new(Code::DuplicateName, name.span, fact);
            self.error(error.label(first, "first here").help("rename one of them"));
        }
    }

    fn type_pattern(
        &mut self,
        frame: &mut Frame<'a>,
        value_type: Option<&'a ValueType>,
    ) -> Option<TypePattern> {
        let value_type = value_type?;
        let dtype = value_type.dtype.as_ref().map(|name| match is_dtype(&name.text) {
            true => DtypePattern::Named(name.text.clone()),
            false => DtypePattern::Var(self.lookup(frame, &name.text, name.span)),
        });
        let shape = value_type.shape.as_ref().filter(|shape| !shape.is_empty()).map(|shape| {
            for (at, dimension) in shape.iter().enumerate() {
                if at > 0 && matches!(dimension, Dimension::Prefix) {
                    let fact = "`...` stands for the leading dimensions only";
                    self.unsupported(value_type.span, fact, Some("write it first: `[..., D]`"));
                }
            }
            let pattern = |dimension: &'a Dimension| match dimension {
                Dimension::Prefix => DimPattern::Prefix,
                Dimension::Any => DimPattern::Any,
                Dimension::Size(size) => DimPattern::Size(*size),
                Dimension::Named(name) => DimPattern::Named(name.clone()),
                Dimension::Var(name) => DimPattern::Var(self.lookup(frame, &name.text, name.span)),
            };
            shape.iter().map(pattern).collect()
        });
        Some(TypePattern { dtype, shape, soft: value_type.soft, span: value_type.span })
    }

    fn unsupported(&mut self, span: Span, fact: &str, help: Option<&str>) {
        let error = Diagnostic::new(Code::Unsupported, span, fact);
        self.error(error.help_maybe(help.map(str::to_owned)));
    }

    /// Says once for each name that a value is computed with as if it were a number.
    fn report_arithmetic(&mut self, frame: &Frame<'a>) {
        for (name, span) in &frame.names.arithmetic {
            let fact = format!("`{name}` is a value of the graph; a number is needed here");
            let help = format!(
                "write `item({name})` for the number of a constant, or make `{name}` a header attribute"
            );
            let error = Diagnostic::new(Code::AmbiguousKind, *span, fact).help(help);
            let error = match frame.names.declared.get(name) {
                Some(declared) => {
                    error.label(*declared, format!("`{name}` is declared as a value"))
                }
                None => error,
            };
            self.error(error);
        }
    }

    /// Goes one level deeper, unless that is too deep.
    fn deeper<T>(&mut self, span: Span, inner: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if self.full {
            return None;
        }
        if self.levels >= MAX_LEVELS {
            let fact =
                format!("this is nested deeper than {MAX_LEVELS}, inlined definitions counted");
            self.full = true;
            self.error(Diagnostic::new(Code::TooLarge, span, fact).help("split it"));
            return None;
        }
        self.levels += 1;
        let result = inner(self);
        self.levels -= 1;
        Some(result)
    }

    /// Computes what could not be known before everything was lowered.
    pub(crate) fn finish(mut self) -> (Pattern, Vec<Diagnostic>) {
        if !self.full {
            self.settle_absences();
            self.settle_collections();
            self.pattern.roots = crate::reach::roots(&self.pattern);
        }
        (self.pattern, self.errors)
    }

    fn settle_absences(&mut self) {
        let everywhere = crate::reach::occurrences(&self.pattern);
        for absence in std::mem::take(&mut self.absences) {
            let mut inside = vec![0; self.pattern.vars.len()];
            for expr in &absence.dropped {
                crate::reach::count(&self.pattern, *expr, &mut inside);
            }
            // Only asked for what occurs nowhere else, which is seldom anything.
            let kept = LazyCell::new(|| {
                let mut counts = vec![0; self.pattern.vars.len()];
                for expr in &absence.kept {
                    crate::reach::count(&self.pattern, *expr, &mut counts);
                }
                counts
            });
            // `z?` written twice is there twice, or not at all.
            let itself = |at: usize| {
                absence.branch.is_none()
                    && absence.dropped.iter().any(|expr| {
                        matches!(self.pattern.expr(*expr).kind, ExprKind::Var(var) if var.index() == at)
                    })
            };
            let absent: Vec<VarId> = (0..inside.len())
                .filter(|at| {
                    let only_here =
                        inside[*at] > 0 && inside[*at] == everywhere[*at] && kept[*at] == 0;
                    only_here || itself(*at)
                })
                .map(|at| VarId(at as u32))
                .collect();
            match (&mut self.pattern.exprs[absence.at.index()].kind, absence.branch) {
                (ExprKind::Alt(alt), Some(branch)) => alt.branches[branch].absent = absent,
                (ExprKind::Optional(optional), _) => optional.absent = absent,
                _ => {}
            }
        }
    }

    pub(crate) fn settle_collections(&mut self) {
        let everywhere = crate::reach::occurrences(&self.pattern);
        for collection in std::mem::take(&mut self.collections) {
            let mut inside = vec![0; self.pattern.vars.len()];
            crate::reach::count(&self.pattern, collection.inside, &mut inside);
            // In a chain, each step has attributes of its own, those of the header too.
            let chain = collection.argument.is_none();
            let collected: Vec<VarId> = (0..inside.len())
                .filter(|at| {
                    let var = &self.pattern.vars[*at];
                    let own = chain && var.kind == Kind::Attribute && var.value.is_none();
                    let made =
                        (collection.made.contains(at) || own) && inside[*at] == everywhere[*at];
                    inside[*at] > 0 && (made || var.list)
                })
                .map(|at| VarId(at as u32))
                .collect();
            for var in &collected {
                self.var_mut(*var).list = true;
            }
            match (&mut self.pattern.exprs[collection.at.index()].kind, collection.argument) {
                (ExprKind::Op(op), Some(argument)) => {
                    if let crate::core::Arg::Each { collected: slot, .. } = &mut op.args[argument] {
                        *slot = collected;
                    }
                }
                (ExprKind::Repeat(repeat), _) => {
                    repeat.collected =
                        collected.into_iter().filter(|var| *var != repeat.hole).collect();
                    let hole = repeat.hole;
                    self.var_mut(hole).list = false;
                }
                _ => {}
            }
        }
    }
}
