//! Core as text, for people and snapshots. There is no parser for it.

mod build;

use std::cell::Cell;
use std::fmt;

use crate::core::{
    Arg, AttributePattern, Branch, DimPattern, DtypePattern, ExprId, ExprKind, Kind, Let, Operator,
    OpsetRange, Others, Output, Pattern, Role, ScopeId, Tolerance, TypePattern, VarId,
};
use crate::gexpr::{BinaryOp, CompareOp, GExpr, GExprKind};

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let print = Print { pattern: self, left: Cell::new(MAX_PARTS) };
        let list = |vars: &[VarId]| {
            vars.iter().map(|var| print.declared(*var)).collect::<Vec<_>>().join(", ")
        };
        write!(f, "{}", self.name)?;
        if !self.attributes.is_empty() {
            write!(f, " <{}>", list(&self.attributes))?;
        }
        writeln!(f, " ({}) => ({})", list(&self.inputs), list(&self.outputs))?;
        if let Some(family) = &self.family {
            writeln!(f, "  in {family}")?;
        }
        if self.priority != 0 {
            writeln!(f, "  priority {}", self.priority)?;
        }
        if let Some(times) = self.bounded {
            writeln!(f, "  bounded {times}")?;
        }
        for OpsetRange { domain, min, max, .. } in &self.opsets {
            let max = max.map_or(String::new(), |max| max.to_string());
            writeln!(f, "  opset {domain:?} {min}..{max}")?;
        }
        let roots: Vec<String> = self.roots.iter().map(|root| print.var(*root)).collect();
        writeln!(f, "  roots {}", roots.join(", "))?;
        for (at, scope) in self.scopes.iter().enumerate() {
            let id = ScopeId(at as u32);
            let role = if self.meaning == Some(id) { " (meaning)" } else { "" };
            writeln!(f, "  {id}{role}:")?;
            for (var, known) in self.vars() {
                for definition in known.definitions.iter().filter(|d| d.scope == id) {
                    writeln!(f, "    {} = {}", print.declared(var), print.expr(definition.expr))?;
                }
            }
            for item in &scope.lets {
                writeln!(f, "    let {}", print.binding(item))?;
            }
            for guard in &scope.guards {
                let word = if guard.soft { "where?" } else { "where" };
                writeln!(f, "    {word} {}", print.guard(&guard.condition))?;
            }
            for choice in &scope.choices {
                let branches: Vec<String> =
                    self.choice(*choice).branches.iter().map(ToString::to_string).collect();
                writeln!(f, "    either {}", branches.join(" or "))?;
            }
        }
        for (var, known) in self.vars() {
            if let Some(value) = &known.value {
                writeln!(f, "  {} := {}", print.var(var), print.guard(value))?;
            }
        }
        for (word, side) in [("equals", &self.equals), ("~>", &self.replacement)] {
            for line in side.iter().flat_map(|side| print.replacement(side)) {
                writeln!(f, "  {word} {line}")?;
            }
        }
        for hint in &self.hints {
            writeln!(f, "  {}", print.hint(hint))?;
        }
        if let Some(verify) = &self.verify {
            writeln!(f, "  verify {}", print.verify(verify))?;
        }
        Ok(())
    }
}

/// The most parts that are printed. Expressions are shared, so that writing them out can be
/// exponential; what is longer than this nobody reads.
const MAX_PARTS: usize = 5_000;

struct Print<'p> {
    pattern: &'p Pattern,
    left: Cell<usize>,
}

impl Print<'_> {
    /// A name that is clear: with the id where another variable has the same name.
    fn var(&self, var: VarId) -> String {
        let name = &self.pattern.var(var).name;
        let same = self.pattern.vars.iter().filter(|other| other.name == *name).count();
        if same > 1 { format!("{name}#{}", var.index()) } else { name.clone() }
    }

    fn declared(&self, var: VarId) -> String {
        let known = self.pattern.var(var);
        let mut text = String::new();
        if known.constant {
            text.push_str("const ");
        }
        if known.shared {
            text.push_str("shared ");
        }
        for pattern in &known.types {
            text.push_str(&self.type_pattern(pattern));
            text.push(' ');
        }
        text.push_str(&self.var(var));
        if known.list {
            text.push_str("...");
        }
        if known.optional && known.role == Role::Header {
            text.push('?');
        }
        text
    }

    fn type_pattern(&self, pattern: &TypePattern) -> String {
        let dtype = match &pattern.dtype {
            None => String::new(),
            Some(DtypePattern::Named(name)) => name.clone(),
            Some(DtypePattern::Var(var)) => self.var(*var),
        };
        let dims = pattern.shape.iter().flatten().map(|dim| match dim {
            DimPattern::Prefix => "...".to_owned(),
            DimPattern::Any => "_".to_owned(),
            DimPattern::Size(size) => size.to_string(),
            DimPattern::Var(var) => self.var(*var),
            DimPattern::Named(name) => format!("\"{name}\""),
        });
        let dims: Vec<String> = dims.collect();
        let soft = if pattern.soft { "?" } else { "" };
        format!("{dtype}[{}]{soft}", dims.join(", "))
    }

    fn expr(&self, expr: ExprId) -> String {
        let Some(left) = self.left.get().checked_sub(1) else { return "…".to_owned() };
        self.left.set(left);
        match &self.pattern.expr(expr).kind {
            ExprKind::Any => "_".to_owned(),
            ExprKind::AnyOrAbsent => "_?".to_owned(),
            ExprKind::Absent => "none".to_owned(),
            ExprKind::Var(var) => self.var(*var),
            ExprKind::Scalar(var) => format!("scalar {}", self.var(*var)),
            ExprKind::Constant { value, tolerance } => {
                let tolerance = match tolerance {
                    None => String::new(),
                    Some(Tolerance::Absolute(by)) => format!(" ± {by}"),
                    Some(Tolerance::Relative(by)) => format!(" ± {}%", by * 100.0),
                };
                format!("{}{tolerance}", self.guard(value))
            }
            ExprKind::Full(inner) => format!("full({})", self.expr(*inner)),
            ExprKind::Optional(optional) => {
                format!("({})?{}", self.expr(optional.present), self.absent(&optional.absent))
            }
            ExprKind::Scoped(scope, inner) => format!("{scope} in {}", self.expr(*inner)),
            ExprKind::Op(op) => {
                let names: Vec<String> = op.operators.iter().map(operator).collect();
                let mut attributes: Vec<String> = op
                    .attributes
                    .iter()
                    .map(|item| format!("{} = {}", item.name, self.attribute(&item.pattern)))
                    .collect();
                match op.others {
                    Others::Default => {}
                    Others::Any => attributes.push("...".to_owned()),
                    Others::Rest(var) => attributes.push(format!("{}...", self.var(var))),
                }
                let attributes = match attributes.is_empty() {
                    true => String::new(),
                    false => format!("<{}>", attributes.join(", ")),
                };
                let mut args: Vec<String> = op.args.iter().map(|arg| self.arg(arg)).collect();
                if op.open {
                    args.push("...".to_owned());
                }
                let bind = op.bind.map_or(String::new(), |var| format!(" as {}", self.var(var)));
                let exact = if op.exact { "!" } else { "" };
                let output = match &op.output {
                    Output::Index(0) => String::new(),
                    Output::Index(at) => format!("[{at}]"),
                    Output::Bind(vars) => {
                        let vars: Vec<String> = vars.iter().map(|var| self.var(*var)).collect();
                        format!(" => ({})", vars.join(", "))
                    }
                };
                format!("{}{bind}{exact}{attributes}({}){output}", names.join("|"), args.join(", "))
            }
            ExprKind::Chain(chain) => {
                let operands = chain.operands.iter().map(|operand| self.expr(*operand));
                let rest = chain.rest.iter().map(|var| format!("{}...", self.var(*var)));
                let operands: Vec<String> = operands.chain(rest).collect();
                format!("{}{{{}}}", operator(&chain.operator), operands.join(", "))
            }
            ExprKind::Alt(alt) => {
                let branches: Vec<String> =
                    alt.branches.iter().map(|branch| self.branch(branch)).collect();
                format!("({})", branches.join(" | "))
            }
            ExprKind::Repeat(repeat) => {
                let sign = if repeat.at_least_once { "+" } else { "*" };
                let step = self.expr(repeat.step);
                format!(
                    "({step}){sign}({}){}",
                    self.expr(repeat.last),
                    self.collected(&repeat.collected)
                )
            }
        }
    }

    fn branch(&self, branch: &Branch) -> String {
        let mut text = self.expr(branch.expr);
        for (at, item) in branch.with.iter().enumerate() {
            text.push_str(if at == 0 { " with " } else { ", " });
            text.push_str(&self.binding(item));
        }
        if let Some(guard) = &branch.guard {
            text.push_str(" if ");
            text.push_str(&self.guard(guard));
        }
        text.push_str(&self.absent(&branch.absent));
        text
    }

    fn absent(&self, absent: &[VarId]) -> String {
        let vars: Vec<String> = absent.iter().map(|var| self.var(*var)).collect();
        if vars.is_empty() { String::new() } else { format!(" without {}", vars.join(" ")) }
    }

    fn collected(&self, collected: &[VarId]) -> String {
        let vars: Vec<String> = collected.iter().map(|var| self.var(*var)).collect();
        if vars.is_empty() { String::new() } else { format!(" collecting {}", vars.join(" ")) }
    }

    fn binding(&self, item: &Let) -> String {
        format!("{} = {}", self.var(item.var), self.guard(&item.value))
    }

    fn arg(&self, arg: &Arg) -> String {
        match arg {
            Arg::One(expr) => self.expr(*expr),
            Arg::Each { expr, collected } => {
                format!("{}...{}", self.expr(*expr), self.collected(collected))
            }
        }
    }

    fn attribute(&self, pattern: &AttributePattern) -> String {
        let list = |items: &[AttributePattern]| {
            items.iter().map(|item| self.attribute(item)).collect::<Vec<_>>()
        };
        match pattern {
            AttributePattern::Any => "_".to_owned(),
            AttributePattern::Bind(var) => self.var(*var),
            AttributePattern::Value(value) => self.guard(value),
            AttributePattern::List(items) => format!("[{}]", list(items).join(", ")),
            AttributePattern::OneOf(items) => list(items).join(" | "),
            AttributePattern::Graph(graph) => {
                let vars = |vars: &[VarId]| {
                    vars.iter().map(|var| self.var(*var)).collect::<Vec<_>>().join(", ")
                };
                format!("({}) => ({}) {}", vars(&graph.inputs), vars(&graph.outputs), graph.scope)
            }
        }
    }

    fn guard(&self, guard: &GExpr) -> String {
        let list = |items: &[GExpr]| items.iter().map(|item| self.guard(item)).collect::<Vec<_>>();
        match &guard.kind {
            GExprKind::Int(value) => value.to_string(),
            GExprKind::Float(value) => format!("{value:?}"),
            GExprKind::String(text) => format!("{text:?}"),
            GExprKind::Bool(value) => value.to_string(),
            GExprKind::None => "none".to_owned(),
            GExprKind::Dtype(name) => name.clone(),
            GExprKind::Var(var) => match self.pattern.var(*var).kind {
                Kind::Rest => format!("{}...", self.var(*var)),
                _ => self.var(*var),
            },
            GExprKind::List(items) => format!("[{}]", list(items).join(", ")),
            GExprKind::Tensor(tensor) => {
                let elements = list(&tensor.elements).join(", ");
                format!("{}{:?} {{{elements}}}", tensor.dtype, tensor.dims)
            }
            GExprKind::Negate(inner) => format!("-{}", self.guard(inner)),
            GExprKind::Not(inner) => format!("not {}", self.guard(inner)),
            GExprKind::And(items) => format!("({})", list(items).join(" and ")),
            GExprKind::Or(items) => format!("({})", list(items).join(" or ")),
            GExprKind::Binary(op, left, right) => {
                format!("({} {} {})", self.guard(left), binary(*op), self.guard(right))
            }
            GExprKind::Compare { first, rest } => {
                let mut text = self.guard(first);
                for (sign, right) in rest {
                    text = format!("{text} {} {}", comparison(*sign), self.guard(right));
                }
                text
            }
            GExprKind::Index(base, at) => format!("{}[{}]", self.guard(base), self.guard(at)),
            GExprKind::Slice(base, from, to) => {
                let end = |end: &Option<Box<GExpr>>| {
                    end.as_ref().map_or(String::new(), |end| self.guard(end))
                };
                format!("{}[{}:{}]", self.guard(base), end(from), end(to))
            }
            GExprKind::Call(function, args) => {
                format!("{}({})", function.name(), list(args).join(", "))
            }
            GExprKind::Is { var, negated, pattern } => {
                let not = if *negated { "not " } else { "" };
                format!("{} is {not}{}", self.var(*var), self.expr(*pattern))
            }
        }
    }
}

fn operator(operator: &Operator) -> String {
    match operator.domain.as_str() {
        "" => operator.name.clone(),
        domain => format!("{domain}.{}", operator.name),
    }
}

fn binary(op: BinaryOp) -> &'static str {
    match op {
        BinaryOp::Add => "+",
        BinaryOp::Sub => "-",
        BinaryOp::Mul => "*",
        BinaryOp::Div => "/",
        BinaryOp::FloorDiv => "//",
        BinaryOp::Mod => "%",
        BinaryOp::Pow => "**",
        BinaryOp::Concat => "++",
    }
}

fn comparison(sign: CompareOp) -> &'static str {
    match sign {
        CompareOp::Eq => "==",
        CompareOp::Ne => "!=",
        CompareOp::Lt => "<",
        CompareOp::Le => "<=",
        CompareOp::Gt => ">",
        CompareOp::Ge => ">=",
        CompareOp::Near => "~=",
        CompareOp::In => "in",
        CompareOp::NotIn => "not in",
    }
}
