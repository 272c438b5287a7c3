//! Right sides and hints as text.

use super::{Print, operator};
use crate::core::VarId;
use crate::quant::{Hint, HintKind, Target};
use crate::replacement::{
    BuildExpr, BuildKind, BuildOp, BuildOperator, BuildStatement, Replacement, Sampler, Verify,
};

impl Print<'_> {
    pub(super) fn replacement(&self, replacement: &Replacement) -> Vec<String> {
        let vars =
            |vars: &[VarId]| vars.iter().map(|var| self.var(*var)).collect::<Vec<_>>().join(", ");
        let line = |statement: &BuildStatement| match statement {
            BuildStatement::Let(var, value) => {
                format!("let {} = {}", self.var(*var), self.guard(value))
            }
            BuildStatement::Equation { results, constant, expr, .. } => {
                let word = if *constant { "const " } else { "" };
                format!("{word}{} = {}", vars(results), self.built(expr))
            }
        };
        replacement.statements.iter().map(line).collect()
    }

    pub(super) fn verify(&self, verify: &Verify) -> String {
        let (tolerance, samples, samplers) = match verify {
            Verify::Off(reason) => return format!("off {reason:?}"),
            Verify::On { tolerance, samples, samplers } => (tolerance, samples, samplers),
        };
        let drawn = samplers.iter().map(|(var, sampler)| {
            let from = match sampler {
                Sampler::Distribution(name, numbers) => {
                    let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
                    format!("{name}({})", numbers.join(", "))
                }
                Sampler::OneOf(list) => self.guard(list),
                Sampler::Range(low, high) => format!("{low}..{high}"),
            };
            format!("{} in {from}", self.var(*var))
        });
        let clauses = drawn.chain(tolerance.map(|tolerance| format!("tol {tolerance}")));
        let clauses = clauses.chain(samples.map(|samples| format!("samples {samples}")));
        clauses.collect::<Vec<_>>().join("; ")
    }

    fn built(&self, expr: &BuildExpr) -> String {
        match &expr.kind {
            BuildKind::Var(var) => self.var(*var),
            BuildKind::Values(var) => format!("{}...", self.var(*var)),
            BuildKind::Absent => "none".to_owned(),
            BuildKind::Constant { value, dtype, shape } => {
                let dtype = dtype.as_ref().map_or(String::new(), |dtype| self.guard(dtype));
                let shape = shape.as_ref().map_or(String::new(), |shape| self.guard(shape));
                match dtype.is_empty() && shape.is_empty() {
                    true => format!("{{{}}}", self.guard(value)),
                    false => format!("{{{} : {dtype}{shape}}}", self.guard(value)),
                }
            }
            BuildKind::Op(op) => self.built_op(op),
            BuildKind::Coalesce(items) => {
                let items: Vec<String> = items.iter().map(|item| self.built(item)).collect();
                items.join(" ?? ")
            }
            BuildKind::If(condition, left, right) => {
                let (left, right) = (self.built(left), self.built(right));
                format!("if {} then {left} else {right}", self.guard(condition))
            }
        }
    }

    fn built_op(&self, op: &BuildOp) -> String {
        let name = match &op.operator {
            BuildOperator::Named(named) => operator(named),
            BuildOperator::Matched(var) => self.var(*var),
        };
        let attributes =
            op.attributes.iter().map(|a| format!("{} = {}", a.name, self.guard(&a.value)));
        let forward = op.forward.iter().map(|var| format!("{}...", self.var(*var)));
        let attributes: Vec<String> = attributes.chain(forward).collect();
        let attributes = match attributes.is_empty() {
            true => String::new(),
            false => format!("<{}>", attributes.join(", ")),
        };
        let args: Vec<String> = op.args.iter().map(|arg| self.built(arg)).collect();
        let output = if op.output == 0 { String::new() } else { format!("[{}]", op.output) };
        format!("{name}{attributes}({}){output}", args.join(", "))
    }

    pub(super) fn hint(&self, hint: &Hint) -> String {
        let target = |target: &Target| match target {
            Target::Var(var) => self.var(*var),
            Target::Interior => "interior".to_owned(),
            Target::Consts => "consts".to_owned(),
        };
        let list = |targets: &[Target]| targets.iter().map(target).collect::<Vec<_>>().join(", ");
        let text = match &hint.kind {
            HintKind::Skip(targets) => format!("skip {}", list(targets)),
            HintKind::Quantize(targets) => format!("quantize {}", list(targets)),
            HintKind::Share(targets) => format!("share {}", list(targets)),
            HintKind::Symmetric(targets) => format!("symmetric {}", list(targets)),
            HintKind::PerChannel(of, axis) => {
                format!("per_channel {} axis {}", target(of), self.guard(axis))
            }
            HintKind::Bias(of, from) => format!("bias {} of {}", target(of), list(from)),
            HintKind::Range(of, low, high) => {
                format!("range {} [{}, {}]", target(of), self.guard(low), self.guard(high))
            }
            HintKind::Tag(of, key, value) => {
                format!("tag {}: {key} = {}", target(of), self.guard(value))
            }
        };
        match &hint.when {
            Some(when) => format!("{text} when {}", self.guard(when)),
            None => text,
        }
    }
}
