//! Shapes and content of what nothing computes, as its first reader needs them.

use marquetry_ir::DType;
use marquetry_ir::schema::Schema;
use marquetry_pattern::core::{DimPattern, DtypePattern, TypePattern};
use marquetry_pattern::gexpr::{Function, GExprKind};

use super::Stuck;
use super::domain;
use super::fill::{Fill, Shapes, Style};
use super::operand::Need;
use super::random::Random;
use super::sketch::{Leaf, Number, SketchNode, Source};
use crate::datum::Datum;
use crate::index::ValueRow;
use crate::plan::Constraint;

impl Style {
    pub(super) fn draw(random: &mut Random) -> Self {
        let kind = match random.below(10) {
            0 => Shapes::Ones,
            1 => Shapes::Equal,
            2 if random.once_in(3) => Shapes::Empty,
            2..=4 => Shapes::Alike,
            _ => Shapes::Distinct,
        };
        let rank = [2, 3, 4, 3, 4, 2, 1, 3][random.below(8)];
        let mut lengths = vec![2, 3, 5, 7, 4, 6];
        random.shuffle(&mut lengths);
        Self { kind, rank, lengths, alike: None }
    }
}

impl<'a, 'p> Fill<'a, 'p> {
    /// Chooses type and content of an input that nothing computes.
    pub(super) fn leaf(
        &mut self,
        node: &'a SketchNode<'p>,
        schema: &'static Schema,
        slot: usize,
        attributes: &[(&'static str, Datum)],
    ) -> Result<(), Stuck> {
        let Some(row) = node.inputs[slot] else { return Ok(()) };
        let sketch = self.sketch;
        let Source::Leaf(leaf) = &sketch.values[row.index()] else { return Ok(()) };
        let types = leaf.var.map(|var| sketch.pattern.var(var).types.as_slice());
        let types = types.unwrap_or_default();
        let dtype = self.dtype_of(node, schema, slot, types)?;
        let constant = leaf.constant || self.is_asked(leaf) || self.wants_constant(leaf);
        let (dims, positive) = match self.wanted(node, slot, attributes, types, dtype)? {
            Need::Shape(dims) => (dims, false),
            Need::Positive(dims) => (dims, true),
            Need::Content(tensor) => {
                self.fixed[row.index()] = true;
                self.set(row, tensor, true);
                return Ok(());
            }
            Need::Held(tensor) => {
                self.fixed[row.index()] = true;
                self.set(row, tensor, constant);
                return Ok(());
            }
        };
        for ty in types {
            self.unify(ty, &dims)?;
        }
        let count = dims.iter().product();
        let numbers = match dims[..] {
            [.., rows, columns] if self.asks(leaf, &[Function::Triangle]) => {
                triangle(&mut self.random, dtype, &dims, rows, columns)
            }
            _ if self.places[row.index()] && !dtype.is_float() => {
                // It becomes a position somewhere below: 0 and 1 are some nearly everywhere.
                self.fixed[row.index()] = true;
                (0..count).map(|_| self.random.below(2) as f64).collect()
            }
            _ if self.narrows && matches!(dtype, DType::Int32 | DType::Int64) => {
                // Mostly more than 8 bits.
                (0..count).map(|_| self.random.uniform(-4e4, 4e4).round()).collect()
            }
            _ => numbers(&mut self.random, dtype, count, positive),
        };
        let tensor = self.tensor(dtype, &dims, &numbers)?;
        self.positive[row.index()] = positive;
        self.set(row, tensor, constant);
        Ok(())
    }

    /// Whether a condition asks for what the value holds, so that it must be a constant.
    fn is_asked(&self, leaf: &Leaf<'p>) -> bool {
        self.asks(leaf, &[Function::IsConst, Function::Item, Function::Triangle])
    }

    /// Whether a condition calls one of these functions with the value.
    fn asks(&self, leaf: &Leaf<'p>, functions: &[Function]) -> bool {
        let Some(var) = leaf.var else { return false };
        let mut asked = false;
        for (constraint, _) in &self.sketch.constraints {
            let Constraint::Guard { condition, .. } = constraint else { continue };
            condition.walk(&mut |expr| {
                if let GExprKind::Call(function, args) = &expr.kind
                    && functions.contains(function)
                {
                    asked |= args.iter().any(|arg| arg.kind == GExprKind::Var(var));
                }
            });
        }
        asked
    }

    /// A value that may be anything is a constant now and then.
    fn wants_constant(&mut self, leaf: &Leaf<'p>) -> bool {
        let header = leaf.var.is_some_and(|var| self.sketch.pattern.inputs.contains(&var));
        !header && self.random.once_in(2)
    }

    /// A constant that a pattern wants to be a number.
    pub(super) fn number(
        &mut self,
        node: &'a SketchNode<'p>,
        schema: &'static Schema,
        slot: usize,
    ) -> Result<(), Stuck> {
        let Some(row) = node.inputs[slot] else { return Ok(()) };
        let sketch = self.sketch;
        let Source::Leaf(leaf) = &sketch.values[row.index()] else { return Ok(()) };
        let Some((number, scene)) = &leaf.number else { return Ok(()) };
        let content = match number {
            Number::Literal(literal) => self.need(literal, scene)?,
            Number::Var(var) => {
                let numbers = self.numbers();
                self.need_var(*var, scene, numbers)?
            }
        };
        let dtype = self.dtype_of(node, schema, slot, &[])?;
        self.fixed[row.index()] = true;
        if let Datum::List(items) = &content {
            let numbers: Option<Vec<f64>> =
                items.iter().map(|item| Some(item.as_float()?.number)).collect();
            let numbers = numbers.ok_or(Stuck::Rejected)?;
            let tensor = self.tensor(dtype, &[numbers.len()], &numbers)?;
            self.set(row, tensor, true);
            return Ok(());
        }
        let number = content.as_float().ok_or(Stuck::Rejected)?.number;
        if !dtype.is_float() && number.fract() != 0.0 {
            return Err(Stuck::Rejected);
        }
        let other = self.other(node, slot).unwrap_or_default();
        let per_channel =
            matches!(node.operator.name.as_str(), "InstanceNormalization" | "BatchNormalization");
        let dims = if per_channel && slot > 0 {
            vec![other.get(1).copied().unwrap_or(1)]
        } else if leaf.full && !self.random.once_in(3) {
            other
        } else {
            match self.random.below(6) {
                0 if self.ask.commute
                    && matches!(
                        node.operator.name.as_str(),
                        "Add" | "Mul" | "Div" | "Sub" | "Pow" | "Max" | "Min"
                    ) =>
                {
                    vec![1; other.len().min(self.random.below(5))]
                }
                1 if self.ask.commute
                    && !other.is_empty()
                    && node.operator.name != "Clip"
                    && node.operator.name != "Gather" =>
                {
                    vec![1]
                }
                _ => Vec::new(),
            }
        };
        let count = dims.iter().product();
        let tensor = self.tensor(dtype, &dims, &vec![number; count])?;
        // An integer type may not reach as far, and halves have no number that is as small: the condition
        // that it was drawn for would not hold.
        let held = tensor.to_i64s().is_none_or(|held| held.iter().all(|it| *it as f64 == number));
        if !held || (number != 0.0 && tensor.item() == Some(0.0)) {
            return Err(Stuck::Rejected);
        }
        self.set(row, tensor, true);
        Ok(())
    }

    /// The element type: that of inputs which must have the same, or what the operator admits.
    fn dtype_of(
        &mut self,
        node: &SketchNode<'p>,
        schema: &'static Schema,
        slot: usize,
        types: &[TypePattern],
    ) -> Result<DType, Stuck> {
        for ty in types {
            match &ty.dtype {
                Some(DtypePattern::Named(name)) => {
                    return DType::from_name(name).ok_or(Stuck::Rejected);
                }
                Some(DtypePattern::Var(var)) => {
                    let base = Datum::Dtype(self.base);
                    let scene = self.scene().clone();
                    if let Datum::Dtype(dtype) = self.need_var(*var, &scene, vec![base])? {
                        return Ok(dtype);
                    }
                }
                None => {}
            }
        }
        let Some(formal) = schema.formal_input(slot) else { return Err(Stuck::Rejected) };
        let place = node.inputs[slot].is_some_and(|row| self.places[row.index()]);
        if place && formal.types.admits(DType::Int64) && self.base != DType::Int32 {
            return Ok(DType::Int64);
        }
        if let Some(variable) = formal.variable {
            let slots = node.inputs.iter().enumerate().filter(|(at, _)| *at != slot);
            let same = slots.filter(|(at, _)| {
                schema.formal_input(*at).and_then(|formal| formal.variable) == Some(variable)
            });
            let mut typed = same.filter_map(|(_, row)| self.fact((*row)?));
            if let Some((dtype, _)) = typed.next() {
                return Ok(dtype);
            }
        }
        if slot > 0
            && let Some((dtype, _)) = node.inputs[0].and_then(|row| self.fact(row))
            // A condition says nothing of what is chosen by it.
            && dtype.is_float()
            && formal.types.admits(dtype)
        {
            return Ok(dtype);
        }
        if formal.types.admits(self.base) && formal.types.only().is_none() {
            return Ok(self.base);
        }
        let mut preferred =
            [DType::Float, DType::Int64, DType::Bool, DType::Uint8, DType::Int8, DType::Int32];
        if self.random.once_in(2) {
            preferred.swap(3, 4);
        }
        preferred.into_iter().find(|dtype| formal.types.admits(*dtype)).ok_or(Stuck::Rejected)
    }

    /// The shape of another input that is known.
    pub(super) fn other(&self, node: &SketchNode<'p>, slot: usize) -> Option<Vec<usize>> {
        let others = node.inputs.iter().enumerate().filter(|(at, _)| *at != slot);
        let known = others.filter_map(|(_, row)| Some(self.fact((*row)?)?.1.to_vec()));
        known.max_by_key(Vec::len)
    }

    pub(super) fn fresh_length(&mut self) -> usize {
        match self.style.kind {
            Shapes::Equal => 3,
            Shapes::Ones if self.random.once_in(3) => 1,
            Shapes::Empty if self.random.once_in(4) => 0,
            _ => self.style.lengths.pop().unwrap_or_else(|| 2 + self.random.below(6)),
        }
    }

    pub(super) fn fresh(&mut self, types: &[TypePattern]) -> Result<Vec<usize>, Stuck> {
        let shaped = types.iter().find_map(|ty| ty.shape.as_ref());
        if let Some(pattern) = shaped {
            return self.typed(pattern);
        }
        if let Some(alike) = &self.style.alike {
            return Ok(alike.clone());
        }
        let rank = match self.random.below(12) {
            0 => self.random.below(5),
            _ => self.style.rank,
        };
        let dims: Vec<usize> = (0..rank).map(|_| self.fresh_length()).collect();
        if self.style.kind == Shapes::Alike {
            self.style.alike = Some(dims.clone());
        }
        Ok(dims)
    }

    fn typed(&mut self, pattern: &[DimPattern]) -> Result<Vec<usize>, Stuck> {
        let mut dims = Vec::new();
        for dim in pattern {
            match dim {
                DimPattern::Prefix => {
                    for _ in 0..self.random.below(3) {
                        let length = self.fresh_length();
                        dims.push(length);
                    }
                }
                DimPattern::Any | DimPattern::Named(_) => dims.push(self.fresh_length()),
                DimPattern::Size(size) => {
                    dims.push(usize::try_from(*size).map_err(|_| Stuck::Rejected)?);
                }
                DimPattern::Var(var) => {
                    let at = self.scene()[var.index()];
                    let length = match &self.bound[at] {
                        Some(bound) => {
                            bound.as_int().and_then(|length| usize::try_from(length).ok())
                        }
                        None => Some(self.fresh_length()),
                    };
                    let length = length.ok_or(Stuck::Rejected)?;
                    self.bound[at] = Some(Datum::Int(length as i64));
                    dims.push(length);
                }
            }
        }
        Ok(dims)
    }

    /// Binds the lengths that a type names.
    fn unify(&mut self, ty: &TypePattern, dims: &[usize]) -> Result<(), Stuck> {
        let Some(pattern) = &ty.shape else { return Ok(()) };
        let named = match pattern.split_first() {
            Some((DimPattern::Prefix, rest)) => rest,
            _ if pattern.len() == dims.len() => pattern.as_slice(),
            _ => return Err(Stuck::Rejected),
        };
        let skipped = dims.len().checked_sub(named.len()).ok_or(Stuck::Rejected)?;
        for (dim, &length) in named.iter().zip(&dims[skipped..]) {
            let wanted = match dim {
                DimPattern::Size(size) => Datum::Int(*size),
                DimPattern::Var(var) => {
                    let at = self.scene()[var.index()];
                    self.bound[at].get_or_insert(Datum::Int(length as i64)).clone()
                }
                _ => continue,
            };
            if wanted != Datum::Int(length as i64) {
                return Err(Stuck::Rejected);
            }
        }
        Ok(())
    }

    /// A shape that broadcasts with another one.
    pub(super) fn broadcast(&mut self, other: &[usize]) -> Vec<usize> {
        match self.random.below(10) {
            0 => Vec::new(),
            // One number that may have more axes than all others.
            9 => vec![1; other.len() + self.random.below(3)],
            // One number for each index of an axis.
            8 if !other.is_empty() => {
                let axis = self.random.below(other.len());
                other[axis..=axis].iter().copied().chain(vec![1; other.len() - axis - 1]).collect()
            }
            1 | 2 => other[other.len().saturating_sub(1)..].to_vec(),
            3 => other.iter().map(|&dim| if self.random.once_in(2) { 1 } else { dim }).collect(),
            4 => other[self.random.below(other.len() + 1)..].to_vec(),
            5 if self.style.kind != Shapes::Empty => [&[self.fresh_length()], other].concat(),
            _ => other.to_vec(),
        }
    }

    /// A shape for as many elements: often one that some value has or had before it was reduced.
    pub(super) fn reshape(&mut self, dims: &[usize]) -> Vec<i64> {
        let count: usize = dims.iter().product();
        let mut known: Vec<Vec<i64>> = Vec::new();
        for other in self.shapes() {
            let other: Vec<i64> = other.iter().map(|&dim| dim as i64).collect();
            let reduced = (1..=other.len()).map(|axes| {
                let kept = other.len() - axes;
                [&other[..kept], &vec![1; axes]].concat()
            });
            let single = (0..other.len()).map(|axis| {
                let mut dims = other.clone();
                dims[axis] = 1;
                dims
            });
            known.extend(
                reduced
                    .chain(single)
                    .chain([other.clone()])
                    .filter(|shape| shape.iter().product::<i64>() == count as i64),
            );
        }
        known.dedup();
        let shapes = domain::reshapes(dims, &mut self.random);
        if known.is_empty() || self.random.once_in(2) {
            return self.random.pick(&shapes).clone();
        }
        self.random.pick(&known).clone()
    }

    /// The row of a value that a variable is bound to.
    pub(super) fn row_of(&self, var: marquetry_pattern::core::VarId) -> Option<ValueRow> {
        match &self.bound[self.scene()[var.index()]] {
            Some(Datum::Value(row)) => Some(*row),
            _ => None,
        }
    }
}

/// What a condition on a triangle may ask for: which half is kept, or what is added to leave nothing.
fn triangle(
    random: &mut Random,
    dtype: DType,
    dims: &[usize],
    rows: usize,
    columns: usize,
) -> Vec<f64> {
    let halves: &[[f64; 2]] =
        if dtype.is_float() { &[[0.0, -1e4], [1.0, 0.0]] } else { &[[1.0, 0.0], [0.0, 1.0]] };
    let [below, above] = *random.pick(halves);
    let element = |at: usize| if at % columns <= at / columns % rows { below } else { above };
    (0..dims.iter().product()).map(element).collect()
}

/// Numbers as they usually are.
pub(crate) fn numbers(random: &mut Random, dtype: DType, count: usize, positive: bool) -> Vec<f64> {
    let number = |random: &mut Random| match dtype {
        DType::Bool => f64::from(u8::from(random.once_in(2))),
        dtype if dtype.is_float() && positive => random.uniform(0.1, 2.0),
        dtype if dtype.is_float() => random.normal(),
        DType::Uint8 => random.below(200) as f64,
        _ => random.below(19) as f64 - 9.0,
    };
    (0..count).map(|_| number(random)).collect()
}
