//! Constants with a type or a shape: `{0.5 : float[1]}`, `{[[1, 2], [3, 4]]}`, `float[2] {1, 2}`,
//! `full(c)`.
//!
//! They become a variable of that type whose definition is the number or, in C order, the list of
//! its elements.

use super::exprs::literal;
use super::{Frame, Lowerer};
use crate::ast::{self, Attr, AttrValue, Call, Dimension};
use crate::core::{
    Alt, Branch, DimPattern, DtypePattern, ExprId, ExprKind, Kind, Role, TypePattern,
};
use crate::diagnostic::{Code, Diagnostic};
use crate::functions::is_dtype;
use crate::gexpr::{CompareOp, Function, GExpr, GExprKind, Tensor};
use crate::span::Span;

/// The most elements of a tensor that is written out.
const MAX_ELEMENTS: usize = 1 << 16;

impl<'a> Lowerer<'a> {
    /// `{e}`, `{e : float}`, `{e : float[2, 2]}`, `{[[1, 2], [3, 4]]}`.
    pub(super) fn constant(
        &mut self,
        frame: &mut Frame<'a>,
        constant: &'a ast::Constant,
        span: Span,
    ) -> ExprId {
        let value = self.guard(frame, &constant.value);
        let (value, nested) = self.flat(value);
        let dtype = constant.dtype.as_ref().map(|name| match is_dtype(&name.text) {
            true => DtypePattern::Named(name.text.clone()),
            false => DtypePattern::Var(self.lookup(frame, &name.text, name.span)),
        });
        let shape = match (&constant.shape, nested) {
            (Some(shape), _) => Some(self.guard(frame, shape)),
            (None, nested) => nested,
        };
        let literal =
            self.new_expr(ExprKind::Constant { value, tolerance: constant.tolerance }, span);
        self.typed(frame, literal, dtype, shape, span)
    }

    /// A constant of a type: a variable of that type that is defined by the constant.
    fn typed(
        &mut self,
        frame: &Frame<'a>,
        literal: ExprId,
        dtype: Option<DtypePattern>,
        shape: Option<GExpr>,
        span: Span,
    ) -> ExprId {
        if dtype.is_none() && shape.is_none() {
            return literal;
        }
        // Of a shape that is written, the constant need not be a scalar or a list.
        let literal = match &shape {
            Some(_) => self.new_expr(ExprKind::Full(literal), span),
            None => literal,
        };
        let sizes = shape.as_ref().and_then(sizes);
        let computed = if sizes.is_some() { None } else { shape };
        let types = TypePattern { dtype, shape: sizes, soft: false, span };
        let var = self.new_var("constant".to_owned(), span, Kind::Value, Role::Inlined);
        self.var_mut(var).types.push(types);
        self.define(var, frame.scope, literal);
        let met = self.new_expr(ExprKind::Var(var), span);
        let Some(wanted) = computed else { return met };
        let expr = |kind| GExpr { kind, span };
        let found = expr(GExprKind::Call(Function::Shape, vec![expr(GExprKind::Var(var))]));
        let rest = vec![(CompareOp::Eq, wanted)];
        let guard = Some(expr(GExprKind::Compare { first: found.into(), rest }));
        let branch = Branch { expr: met, with: Vec::new(), guard, absent: Vec::new() };
        self.new_expr(ExprKind::Alt(Alt { branches: vec![branch] }), span)
    }

    /// The elements of a list of lists in C order, and its shape; anything else as it is.
    pub(super) fn flat(&mut self, value: GExpr) -> (GExpr, Option<GExpr>) {
        let nested = |value: &GExpr| match &value.kind {
            GExprKind::List(items) => {
                items.iter().any(|item| matches!(item.kind, GExprKind::List(_)))
            }
            _ => false,
        };
        if !nested(&value) {
            return (value, None);
        }
        let span = value.span;
        let mut dims = Vec::new();
        let mut level = vec![value];
        while level.iter().any(|item| matches!(item.kind, GExprKind::List(_))) {
            let (mut below, mut length) = (Vec::new(), None);
            for item in level {
                let items = match item.kind {
                    GExprKind::List(items) => Some(items),
                    _ => None,
                };
                let found = items.as_ref().map(Vec::len);
                if found.is_none() || length.is_some_and(|length| Some(length) != found) {
                    let fact = "the lists of one level have different lengths";
                    let error = Diagnostic::new(Code::AttributeMismatch, item.span, fact);
                    let help = "write as many elements in each: `{[[1, 2], [3, 4]]}`";
                    self.error(error.help(help));
                    return (GExpr { kind: GExprKind::List(Vec::new()), span }, None);
                }
                length = found;
                below.extend(items.into_iter().flatten());
            }
            let length = length.and_then(|length| i64::try_from(length).ok()).unwrap_or(0);
            dims.push(GExpr { kind: GExprKind::Int(length), span });
            level = below;
        }
        let shape = GExpr { kind: GExprKind::List(dims), span };
        (GExpr { kind: GExprKind::List(level), span }, Some(shape))
    }

    /// A tensor literal, checked: known type, known lengths, and as many elements as they ask for.
    pub(super) fn tensor(&mut self, tensor: &ast::TensorLiteral) -> Option<Tensor> {
        let span = tensor.span;
        let mut wrong = |span, fact: String, help: &str| {
            let error = Diagnostic::new(Code::AttributeMismatch, span, fact);
            self.error(error.help(help.to_owned()));
        };
        if !is_dtype(&tensor.dtype.text) {
            let fact = format!("`{}` is no element type", tensor.dtype.text);
            wrong(tensor.dtype.span, fact, "write one of ONNX's, such as `float` or `int64`");
            return None;
        }
        let mut dims = Vec::new();
        for dimension in &tensor.dims {
            let length = match dimension {
                Dimension::Size(size) => usize::try_from(*size).ok(),
                _ => None,
            };
            let Some(length) = length else {
                let fact = "a tensor that is written out has known dimensions".to_owned();
                wrong(span, fact, "write numbers: `float[2, 2] {1, 2, 3, 4}`");
                return None;
            };
            dims.push(length);
        }
        let wanted = dims.iter().try_fold(1_usize, |product, dim| product.checked_mul(*dim));
        let found = tensor.elements.len();
        if wanted != Some(found) || found > MAX_ELEMENTS {
            let wanted = wanted.map_or("too many".to_owned(), |wanted| wanted.to_string());
            let fact = format!("its type asks for {wanted} elements, and {found} are written");
            wrong(span, fact, "write as many elements as its dimensions multiply to");
            return None;
        }
        let elements = tensor.elements.iter().map(|&element| literal(element, span)).collect();
        Some(Tensor { dtype: tensor.dtype.text.clone(), dims, elements })
    }

    pub(super) fn full(&mut self, frame: &mut Frame<'a>, call: &'a Call, span: Span) -> ExprId {
        if let [ast::Arg::One(expr)] = &call.args[..] {
            let inner = self.expr(frame, expr);
            if matches!(
                self.pattern.expr(inner).kind,
                ExprKind::Scalar(_) | ExprKind::Constant { .. }
            ) {
                return self.new_expr(ExprKind::Full(inner), span);
            }
        }
        self.unsupported(span, "`full` takes one number", Some("write `full(eps)` or `full(0.5)`"));
        self.placeholder(span)
    }

    /// `Constant<value = float {0.5}>()`, as ONNX's printer writes a constant that is computed by a
    /// node: a literal, which matches the constant however it is stored. Its element type follows
    /// from where it stands and is not looked at, so that the text of a model is also found in the
    /// same model of another precision.
    pub(super) fn constant_node(
        &mut self,
        frame: &mut Frame<'a>,
        call: &'a Call,
        span: Span,
    ) -> ExprId {
        let value = match &call.attributes[..] {
            [Attr::Named(_, values)] => match &values[..] {
                [AttrValue::Tensor(tensor)] => {
                    let Some(tensor) = self.tensor(tensor) else { return self.placeholder(span) };
                    return self.pasted(frame, tensor, span);
                }
                [AttrValue::Expr(guard)] => Some(self.guard(frame, guard)),
                _ => None,
            },
            _ => None,
        };
        let Some(value) = value else {
            let help = "write its `value`, or take it as an input of the pattern: `const w`";
            self.unsupported(span, "a constant without its content", Some(help));
            return self.placeholder(span);
        };
        self.new_expr(ExprKind::Constant { value, tolerance: None }, span)
    }

    fn pasted(&mut self, frame: &Frame<'a>, tensor: Tensor, span: Span) -> ExprId {
        let Tensor { dims, mut elements, .. } = tensor;
        let expr = |kind| GExpr { kind, span };
        let value = match elements.len() {
            1 => elements.swap_remove(0),
            _ => expr(GExprKind::List(elements)),
        };
        let scalar = !matches!(value.kind, GExprKind::List(_));
        let literal = self.new_expr(ExprKind::Constant { value, tolerance: None }, span);
        if scalar || dims.len() == 1 {
            return literal;
        }
        let size = |dim| expr(GExprKind::Int(i64::try_from(dim).unwrap_or(i64::MAX)));
        let shape = expr(GExprKind::List(dims.into_iter().map(size).collect()));
        self.typed(frame, literal, None, Some(shape), span)
    }
}

/// The dimensions of a shape that is written out in numbers.
fn sizes(shape: &GExpr) -> Option<Vec<DimPattern>> {
    let GExprKind::List(items) = &shape.kind else { return None };
    let size = |item: &GExpr| match item.kind {
        GExprKind::Int(size) => Some(DimPattern::Size(size)),
        _ => None,
    };
    items.iter().map(size).collect()
}
