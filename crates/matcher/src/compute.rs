//! Computed numbers and conditions, in three-valued logic, over whatever can say what variables are.

use std::borrow::Cow;
use std::cmp::Ordering;

use marquetry_ir::{DType, Dim, Tensor};
use marquetry_pattern::core::{ExprId, VarId};
use marquetry_pattern::gexpr::{BinaryOp, CompareOp, Function, GExpr, GExprKind};

use crate::datum::{Datum, Elements, Float, mantissa};
use crate::index::{Index, ValueRow};
use crate::triangle;

/// Most elements of a list that an expression builds: a hostile model can ask for any number.
const LIST: usize = 1 << 12;

/// What expressions ask: what variables are bound to, and what is known of values.
pub(crate) trait World {
    /// What a variable is bound to; `Unbound` where it is not, or not yet.
    fn look_up(&self, var: VarId) -> Datum;

    /// The model that values are of, where there is one: it answers what is asked of them.
    fn index(&self) -> Option<&Index<'_>> {
        None
    }

    /// The element type of a value.
    fn dtype(&self, value: ValueRow) -> Option<DType> {
        self.index()?.dtype(value)
    }

    /// The shape of a value.
    fn shape(&self, value: ValueRow) -> Option<Cow<'_, [Dim]>> {
        self.index()?.shape(value).map(Cow::Borrowed)
    }

    /// The content of a value that is the same in every run, where it is known.
    fn known(&self, value: ValueRow) -> Option<&Tensor> {
        self.index()?.known(value)
    }

    /// Whether a value is the same in every run.
    fn is_constant(&self, value: ValueRow) -> bool {
        self.index().is_some_and(|index| index.is_constant(value))
    }

    /// Whether two values are one, or equal constants.
    fn same_value(&self, a: ValueRow, b: ValueRow) -> bool;

    /// How often a value is read.
    fn uses(&self, value: ValueRow) -> Option<usize> {
        Some(self.index()?.users(value).len())
    }

    /// Whether a value, or its absence, matches a pattern; `None` if that is not known.
    fn matches(&self, pattern: ExprId, at: Option<ValueRow>) -> Option<bool>;

    /// The value of an expression: `Unknown` where it depends on what is not known, `Unbound` where it
    /// depends on a variable that has not been met.
    fn evaluate(&self, expr: &GExpr) -> Datum {
        match &expr.kind {
            GExprKind::Int(number) => Datum::Int(*number),
            GExprKind::Float(number) => Datum::float(*number),
            GExprKind::String(text) => Datum::Text(text.clone()),
            GExprKind::Bool(truth) => Datum::Bool(*truth),
            GExprKind::None => Datum::None,
            GExprKind::Dtype(name) => DType::from_name(name).map_or(Datum::Unknown, Datum::Dtype),
            GExprKind::Var(var) => self.look_up(*var),
            GExprKind::List(items) => {
                let items: Vec<_> = items.iter().map(|item| self.evaluate(item)).collect();
                if items.contains(&Datum::Unbound) { Datum::Unbound } else { Datum::List(items) }
            }
            GExprKind::Tensor(tensor) => {
                let Some(dtype) = DType::from_name(&tensor.dtype) else { return Datum::Unknown };
                let items = tensor.elements.iter().map(|item| self.evaluate(item)).collect();
                let dims = tensor.dims.clone();
                Datum::Tensor(Box::new(Elements { dtype, dims, items }))
            }
            GExprKind::Negate(inner) => match self.evaluate(inner) {
                Datum::Int(number) => number.checked_neg().map_or(Datum::Unknown, Datum::Int),
                // How many axes there are from this one on.
                Datum::Axis(axis) => axis.to_end().map_or(Datum::Unknown, Datum::Int),
                Datum::Float(float) => Datum::Float(Float { number: -float.number, ..float }),
                Datum::Unbound => Datum::Unbound,
                _ => Datum::Unknown,
            },
            GExprKind::Not(inner) => match self.evaluate(inner) {
                Datum::Bool(truth) => Datum::Bool(!truth),
                other => open(other),
            },
            GExprKind::And(items) => self.junction(items, false),
            GExprKind::Or(items) => self.junction(items, true),
            GExprKind::Binary(op, a, b) => binary(*op, self.evaluate(a), self.evaluate(b)),
            GExprKind::Compare { first, rest } => self.comparisons(first, rest),
            GExprKind::Index(list, at) => index(&self.evaluate(list), &self.evaluate(at)),
            GExprKind::Slice(list, from, to) => {
                let bound = |bound: &Option<Box<GExpr>>| bound.as_ref().map(|at| self.evaluate(at));
                slice(self.evaluate(list), bound(from), bound(to))
            }
            GExprKind::Call(function, args) => {
                let args: Vec<_> = args.iter().map(|arg| self.evaluate(arg)).collect();
                self.call(*function, &args)
            }
            GExprKind::Is { var, negated, pattern } => self.is(*var, *negated, *pattern),
        }
    }

    /// `and` (`decisive` is false) or `or` (`decisive` is true).
    fn junction(&self, items: &[GExpr], decisive: bool) -> Datum {
        let mut result = Datum::Bool(!decisive);
        for item in items {
            match self.evaluate(item) {
                Datum::Bool(truth) if truth == decisive => return Datum::Bool(decisive),
                Datum::Bool(_) => {}
                Datum::Unbound => result = Datum::Unbound,
                _ if result != Datum::Unbound => result = Datum::Unknown,
                _ => {}
            }
        }
        result
    }

    fn comparisons(&self, first: &GExpr, rest: &[(CompareOp, GExpr)]) -> Datum {
        let mut left = self.evaluate(first);
        let mut result = Datum::Bool(true);
        for (op, operand) in rest {
            let right = self.evaluate(operand);
            match self.compare_two(*op, &left, &right) {
                Datum::Bool(true) => {}
                Datum::Bool(false) => return Datum::Bool(false),
                Datum::Unbound => result = Datum::Unbound,
                _ if result != Datum::Unbound => result = Datum::Unknown,
                _ => {}
            }
            left = right;
        }
        result
    }

    fn compare_two(&self, op: CompareOp, a: &Datum, b: &Datum) -> Datum {
        if *a == Datum::Unbound || *b == Datum::Unbound {
            return Datum::Unbound;
        }
        let not = |datum: Datum| match datum {
            Datum::Bool(truth) => Datum::Bool(!truth),
            other => other,
        };
        let ordered = |accept: fn(Ordering) -> bool| match a.order(b) {
            Some(order) => Datum::Bool(accept(order)),
            None if matches!((a, b), (Datum::Axis(_), _) | (_, Datum::Axis(_))) => Datum::Unknown,
            None => match (a.as_float(), b.as_float()) {
                (Some(_), Some(_)) => Datum::Bool(false),
                _ => Datum::Unknown,
            },
        };
        match op {
            CompareOp::Eq => self.equal(a, b, false),
            CompareOp::Ne => not(self.equal(a, b, false)),
            CompareOp::Near => self.equal(a, b, true),
            CompareOp::Lt => ordered(Ordering::is_lt),
            CompareOp::Le => ordered(Ordering::is_le),
            CompareOp::Gt => ordered(Ordering::is_gt),
            CompareOp::Ge => ordered(Ordering::is_ge),
            CompareOp::In => self.contains(b, a),
            CompareOp::NotIn => not(self.contains(b, a)),
        }
    }

    fn equal(&self, a: &Datum, b: &Datum, tolerant: bool) -> Datum {
        match (a, b) {
            (Datum::Value(a), Datum::Value(b)) => Datum::Bool(self.same_value(*a, *b)),
            (Datum::Operator(row), Datum::Text(text))
            | (Datum::Text(text), Datum::Operator(row)) => match self.index() {
                Some(index) => Datum::Bool(index.operator_name(*row).1 == text),
                None => Datum::Unknown,
            },
            (Datum::Operator(_), Datum::List(_)) => Datum::Bool(false),
            (a, b) => a.equals(b, tolerant),
        }
    }

    fn contains(&self, list: &Datum, item: &Datum) -> Datum {
        let list = match list {
            // The elements of a constant: `0 not in s`.
            Datum::Value(value) => self.known(*value).and_then(Datum::elements),
            other => Some(other.clone()),
        };
        let Some(Datum::List(items)) = list else { return Datum::Unknown };
        let mut result = Datum::Bool(false);
        for other in &items {
            match self.equal(other, item, false) {
                Datum::Bool(true) => return Datum::Bool(true),
                Datum::Bool(false) => {}
                unknown => result = unknown,
            }
        }
        result
    }

    fn is(&self, var: VarId, negated: bool, pattern: ExprId) -> Datum {
        let found = match self.look_up(var) {
            Datum::Unbound => return Datum::Unbound,
            Datum::Value(value) => self.matches(pattern, Some(value)),
            Datum::None => self.matches(pattern, None),
            _ => return Datum::Unknown,
        };
        match found {
            Some(found) => Datum::Bool(found != negated),
            None => Datum::Unknown,
        }
    }

    fn call(&self, function: Function, args: &[Datum]) -> Datum {
        use Function as F;
        if args.contains(&Datum::Unbound) {
            return Datum::Unbound;
        }
        let value = |at: usize| match args.get(at) {
            Some(Datum::Value(value)) => Some(*value),
            _ => None,
        };
        let known = match function {
            F::Sqrt => real(args, f64::sqrt),
            F::Exp => real(args, f64::exp),
            F::Log => real(args, f64::ln),
            F::Abs => match &args[0] {
                Datum::Int(number) => number.checked_abs().map(Datum::Int),
                _ => real(args, f64::abs),
            },
            F::Floor => real(args, f64::floor).and_then(integer),
            F::Ceil => real(args, f64::ceil).and_then(integer),
            F::Min => fold(args, |a, b| choose(a, b, Ordering::is_le)),
            F::Max => fold(args, |a, b| choose(a, b, Ordering::is_ge)),
            F::Sum => fold_or(args, Datum::Int(0), |a, b| Some(binary(BinaryOp::Add, a, b))),
            F::Prod => fold_or(args, Datum::Int(1), |a, b| Some(binary(BinaryOp::Mul, a, b))),
            F::Len => match &args[0] {
                Datum::List(items) => Some(count(items.len())),
                _ => None,
            },
            F::Range => range(args),
            F::Rep => match (args[0].clone(), args[1].as_int()) {
                (item, Some(times)) if !item.is_open() && (0..=LIST as i64).contains(&times) => {
                    Some(Datum::List(vec![item; times as usize]))
                }
                _ => None,
            },
            F::Sorted => args[0].as_list().and_then(|items| {
                let mut items = items.to_vec();
                let known = items.iter().all(|item| item.as_position().is_some());
                items.sort_by_key(|item| item.as_position());
                known.then_some(Datum::List(items))
            }),
            F::Reverse => {
                args[0].as_list().map(|items| Datum::List(items.iter().rev().cloned().collect()))
            }
            F::Rank => value(0).and_then(|value| self.shape(value)).map(|shape| count(shape.len())),
            F::Dim => value(0).and_then(|value| self.dim(value, args[1].as_position()?)),
            F::Shape => value(0).and_then(|value| {
                Some(Datum::List(self.shape(value)?.iter().map(Datum::dim).collect()))
            }),
            F::Numel => value(0).and_then(|value| {
                let dims = self.shape(value)?;
                let lengths: Option<Vec<usize>> =
                    dims.iter().map(marquetry_ir::Dim::known).collect();
                let product = lengths?.into_iter().try_fold(1_usize, usize::checked_mul)?;
                Some(count(product))
            }),
            F::Dtype => value(0).and_then(|value| self.dtype(value)).map(Datum::Dtype),
            F::Bits => {
                let dtype = match &args[0] {
                    Datum::Dtype(dtype) => Some(*dtype),
                    Datum::Value(value) => self.dtype(*value),
                    _ => None,
                };
                dtype.and_then(DType::bits).map(|bits| Datum::Int(i64::from(bits)))
            }
            F::Swap => swap(args),
            F::Compose => compose(args),
            F::IsIdentity => ints(&args[0])
                .map(|p| Datum::Bool(p.iter().enumerate().all(|(at, axis)| *axis == at as i64))),
            F::IsReshape => is_reshape(args),
            F::Widens => match (&args[0], &args[1]) {
                (Datum::Dtype(from), Datum::Dtype(to)) => Some(Datum::Bool(widens(*from, *to))),
                _ => None,
            },
            F::Item => value(0).and_then(|value| Datum::item(self.known(value)?)),
            F::Triangle => value(0).and_then(|value| {
                let numbers = triangle::halves(self.known(value)?);
                Some(Datum::List(numbers.into_iter().flatten().map(Datum::float).collect()))
            }),
            F::IsConst => value(0).map(|value| Datum::Bool(self.is_constant(value))),
            F::Broadcasts => value(0).zip(value(1)).and_then(|(x, y)| self.broadcasts(x, y)),
            F::Uses => value(0).and_then(|value| self.uses(value)).map(count),
        };
        known.unwrap_or(Datum::Unknown)
    }

    fn dim(&self, value: ValueRow, axis: i64) -> Option<Datum> {
        let shape = self.shape(value)?;
        Some(Datum::dim(&shape[position(axis, shape.len())?]))
    }

    fn broadcasts(&self, x: ValueRow, y: ValueRow) -> Option<Datum> {
        let (x, y) = (self.shape(x)?, self.shape(y)?);
        let Some(skipped) = y.len().checked_sub(x.len()) else { return Some(Datum::Bool(false)) };
        let mut known = true;
        for (a, b) in x.iter().zip(&y[skipped..]) {
            if a.known() == Some(1) {
                continue;
            }
            match Datum::dim(a).equals(&Datum::dim(b), false) {
                Datum::Bool(true) => {}
                Datum::Bool(false) => return Some(Datum::Bool(false)),
                _ => known = false,
            }
        }
        known.then_some(Datum::Bool(true))
    }
}

/// What an operand that is no number, truth or list makes of a result.
fn open(operand: Datum) -> Datum {
    if operand == Datum::Unbound { Datum::Unbound } else { Datum::Unknown }
}

fn count(length: usize) -> Datum {
    i64::try_from(length).map_or(Datum::Unknown, Datum::Int)
}

fn position(at: i64, length: usize) -> Option<usize> {
    let length = i64::try_from(length).ok()?;
    let at = if at < 0 { at.checked_add(length)? } else { at };
    (0..length).contains(&at).then_some(at as usize)
}

fn ints(datum: &Datum) -> Option<Vec<i64>> {
    datum.as_list()?.iter().map(Datum::as_int).collect()
}

fn real(args: &[Datum], function: impl Fn(f64) -> f64) -> Option<Datum> {
    let float = args.first()?.as_float()?;
    Some(Datum::Float(Float { number: function(float.number), ..float }))
}

fn integer(datum: Datum) -> Option<Datum> {
    datum.as_int().map(Datum::Int)
}

fn choose(a: Datum, b: Datum, accept: fn(Ordering) -> bool) -> Option<Datum> {
    Some(if accept(a.order(&b)?) { a } else { b })
}

fn fold(args: &[Datum], step: impl Fn(Datum, Datum) -> Option<Datum>) -> Option<Datum> {
    let items = match args {
        [Datum::List(items)] => items,
        items => items,
    };
    let mut items = items.iter().cloned();
    let first = items.next()?;
    items.try_fold(first, step).filter(|datum| !datum.is_open())
}

fn fold_or(
    args: &[Datum],
    empty: Datum,
    step: impl Fn(Datum, Datum) -> Option<Datum>,
) -> Option<Datum> {
    if matches!(args, [Datum::List(items)] if items.is_empty()) {
        return Some(empty);
    }
    fold(args, step)
}

fn binary(op: BinaryOp, a: Datum, b: Datum) -> Datum {
    if a == Datum::Unbound || b == Datum::Unbound {
        return Datum::Unbound;
    }
    if op == BinaryOp::Concat {
        return match (a, b) {
            (Datum::List(mut a), Datum::List(b)) => {
                a.extend(b);
                Datum::List(a)
            }
            _ => Datum::Unknown,
        };
    }
    if let (BinaryOp::Add | BinaryOp::Sub, Datum::Axis(_), Datum::Int(_) | Datum::Axis(_))
    | (BinaryOp::Add, Datum::Int(_), Datum::Axis(_)) = (op, &a, &b)
    {
        return moved(op, &a, &b).unwrap_or(Datum::Unknown);
    }
    if let (Datum::Int(a), Datum::Int(b)) = (&a, &b) {
        let (a, b) = (*a, *b);
        let exact = match op {
            BinaryOp::Add => a.checked_add(b),
            BinaryOp::Sub => a.checked_sub(b),
            BinaryOp::Mul => a.checked_mul(b),
            BinaryOp::FloorDiv => floor_div(a, b),
            BinaryOp::Mod => floor_div(a, b).and_then(|q| a.checked_sub(q.checked_mul(b)?)),
            BinaryOp::Pow => u32::try_from(b).ok().and_then(|b| a.checked_pow(b)),
            BinaryOp::Div if b != 0 && a.checked_rem(b) == Some(0) => a.checked_div(b),
            BinaryOp::Div | BinaryOp::Concat => None,
        };
        if let Some(exact) = exact {
            return Datum::Int(exact);
        }
        if matches!(op, BinaryOp::FloorDiv | BinaryOp::Mod) {
            return Datum::Unknown;
        }
    }
    let (Some(x), Some(y)) = (a.as_float(), b.as_float()) else { return Datum::Unknown };
    let (p, q) = (x.number, y.number);
    let number = match op {
        BinaryOp::Add => p + q,
        BinaryOp::Sub => p - q,
        BinaryOp::Mul => p * q,
        BinaryOp::Div => p / q,
        BinaryOp::FloorDiv => (p / q).floor(),
        BinaryOp::Mod => p - (p / q).floor() * q,
        BinaryOp::Pow => p.powf(q),
        BinaryOp::Concat => return Datum::Unknown,
    };
    Datum::Float(Float { number, bits: x.bits.min(y.bits) })
}

/// The axis some steps away from another, or how far apart two are.
fn moved(op: BinaryOp, a: &Datum, b: &Datum) -> Option<Datum> {
    Some(match (a, b) {
        (Datum::Axis(axis), Datum::Int(by)) if op == BinaryOp::Sub => {
            Datum::Axis(axis.moved(by.checked_neg()?)?)
        }
        (Datum::Axis(axis), Datum::Int(by)) | (Datum::Int(by), Datum::Axis(axis)) => {
            Datum::Axis(axis.moved(*by)?)
        }
        (Datum::Axis(a), Datum::Axis(b)) if op == BinaryOp::Sub => Datum::Int(a.distance(*b)?),
        _ => return None,
    })
}

fn floor_div(a: i64, b: i64) -> Option<i64> {
    let quotient = a.checked_div(b)?;
    Some(if a % b != 0 && (a < 0) != (b < 0) { quotient - 1 } else { quotient })
}

fn index(list: &Datum, at: &Datum) -> Datum {
    if *list == Datum::Unbound || *at == Datum::Unbound {
        return Datum::Unbound;
    }
    let item = || {
        let items = list.as_list()?;
        items.get(position(at.as_int()?, items.len())?).cloned()
    };
    item().unwrap_or(Datum::Unknown)
}

fn slice(list: Datum, from: Option<Datum>, to: Option<Datum>) -> Datum {
    let bounds = [from, to];
    if list == Datum::Unbound || bounds.iter().flatten().any(|bound| *bound == Datum::Unbound) {
        return Datum::Unbound;
    }
    let cut = || {
        let items = list.as_list()?;
        let length = i64::try_from(items.len()).ok()?;
        let clamp = |bound: &Option<Datum>, open: i64| {
            let Some(bound) = bound else { return Some(open) };
            let at = bound.as_position()?;
            Some((if at < 0 { at.saturating_add(length) } else { at }).clamp(0, length))
        };
        let (from, to) = (clamp(&bounds[0], 0)?, clamp(&bounds[1], length)?);
        Some(Datum::List(items[from as usize..(to.max(from)) as usize].to_vec()))
    };
    cut().unwrap_or(Datum::Unknown)
}

fn range(args: &[Datum]) -> Option<Datum> {
    let (from, to) = match args {
        [to] => (0, to.as_int()?),
        // A bound counts from the end that the other one counts from.
        [Datum::Axis(from), Datum::Int(to @ 1..)] => (from.to_front()?, *to),
        [Datum::Int(from @ 0..), Datum::Axis(to)] => (*from, to.to_front()?),
        [from, to] => (from.as_position()?, to.as_position()?),
        _ => return None,
    };
    let length = usize::try_from(to.checked_sub(from)?.max(0)).ok()?;
    (length <= LIST).then(|| Datum::ints(from..to))
}

fn swap(args: &[Datum]) -> Option<Datum> {
    let rank = usize::try_from(args[0].as_int()?).ok().filter(|rank| *rank <= LIST)?;
    let (i, j) = (position(args[1].as_int()?, rank)?, position(args[2].as_int()?, rank)?);
    let mut permutation: Vec<i64> = (0..rank as i64).collect();
    permutation.swap(i, j);
    Some(Datum::ints(permutation))
}

fn compose(args: &[Datum]) -> Option<Datum> {
    let (p, q) = (ints(&args[0])?, ints(&args[1])?);
    let composed: Option<Vec<i64>> =
        q.iter().map(|&at| p.get(position(at, p.len())?).copied()).collect();
    composed.map(Datum::ints)
}

fn is_reshape(args: &[Datum]) -> Option<Datum> {
    let (shape, permutation) = (args[0].as_list()?, ints(&args[1])?);
    if shape.len() != permutation.len() {
        return Some(Datum::Bool(false));
    }
    // An axis that is not known to be of length 1 must keep its place among its like.
    let moved = permutation.iter().filter(|&&axis| {
        position(axis, shape.len()).is_some_and(|axis| shape[axis] != Datum::Int(1))
    });
    let moved: Vec<_> = moved.collect();
    if moved.is_sorted() {
        return Some(Datum::Bool(true));
    }
    (!shape.contains(&Datum::Unknown)).then_some(Datum::Bool(false))
}

/// Whether every number of one type is exactly one of the other.
fn widens(from: DType, to: DType) -> bool {
    if from == to || from == DType::Bool {
        return from == to || to.is_float() || to.is_integer();
    }
    let range = |dtype: DType| -> Option<(i64, u32)> {
        let bits = dtype.bits()?;
        let unsigned = matches!(
            dtype,
            DType::Uint2
                | DType::Uint4
                | DType::Uint8
                | DType::Uint16
                | DType::Uint32
                | DType::Uint64
        );
        Some(if unsigned { (0, bits) } else { (1, bits - 1) })
    };
    match (from.is_integer(), to.is_integer()) {
        (true, true) => match (range(from), range(to)) {
            (Some((sign, bits)), Some((other, wider))) => sign <= other && bits <= wider,
            _ => false,
        },
        (true, false) => {
            range(from).is_some_and(|(_, bits)| bits <= u32::from(mantissa(to))) && to.is_float()
        }
        (false, true) => false,
        (false, false) => matches!(
            (from, to),
            (DType::Float16 | DType::BFloat16, DType::Float | DType::Double)
                | (DType::Float, DType::Double)
                | (
                    DType::Float8E4M3Fn | DType::Float8E5M2 | DType::Float4E2M1,
                    DType::Float16 | DType::BFloat16 | DType::Float | DType::Double,
                )
        ),
    }
}
