//! Shapes and content of what nothing computes, as its first reader needs them.

use marquetry_ir::schema::Schema;
use marquetry_ir::{DType, Tensor};
use marquetry_pattern::core::{DimPattern, DtypePattern, TypePattern};

use super::Stuck;
use super::domain;
use super::fill::{Fill, Shapes, Style};
use super::random::Random;
use super::sketch::{Leaf, Number, SketchNode, Source};
use crate::datum::Datum;
use crate::index::ValueRow;

/// What a leaf has to be.
enum Need {
    /// Any content of this shape.
    Shape(Vec<usize>),
    /// This shape, above zero.
    Positive(Vec<usize>),
    /// Exactly this.
    Content(Tensor),
}

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
        let need = self.wanted(node, slot, attributes, types)?;
        let (dims, positive) = match need {
            Need::Shape(dims) => (dims, false),
            Need::Positive(dims) => (dims, true),
            Need::Content(tensor) => {
                self.fixed[row.index()] = true;
                self.set(row, tensor, true);
                return Ok(());
            }
        };
        let dtype = self.dtype_of(node, schema, slot, types)?;
        for ty in types {
            self.unify(ty, &dims)?;
        }
        let numbers = numbers(&mut self.random, dtype, dims.iter().product(), positive);
        let tensor = self.tensor(dtype, &dims, &numbers)?;
        self.positive[row.index()] = positive;
        let constant = leaf.constant || self.wants_constant(leaf);
        self.set(row, tensor, constant);
        Ok(())
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
        let dims = if leaf.full && !self.random.once_in(3) {
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
    fn other(&self, node: &SketchNode<'p>, slot: usize) -> Option<Vec<usize>> {
        let others = node.inputs.iter().enumerate().filter(|(at, _)| *at != slot);
        let known = others.filter_map(|(_, row)| Some(self.fact((*row)?)?.1.to_vec()));
        known.max_by_key(Vec::len)
    }

    fn fresh_length(&mut self) -> usize {
        match self.style.kind {
            Shapes::Equal => 3,
            Shapes::Ones if self.random.once_in(3) => 1,
            Shapes::Empty if self.random.once_in(4) => 0,
            _ => self.style.lengths.pop().unwrap_or_else(|| 2 + self.random.below(6)),
        }
    }

    fn fresh(&mut self, types: &[TypePattern]) -> Result<Vec<usize>, Stuck> {
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
    fn broadcast(&mut self, other: &[usize]) -> Vec<usize> {
        match self.random.below(8) {
            0 => Vec::new(),
            1 | 2 => other[other.len().saturating_sub(1)..].to_vec(),
            3 => other.iter().map(|&dim| if self.random.once_in(2) { 1 } else { dim }).collect(),
            4 => other[self.random.below(other.len() + 1)..].to_vec(),
            5 if self.style.kind != Shapes::Empty => [&[self.fresh_length()], other].concat(),
            _ => other.to_vec(),
        }
    }

    fn wanted(
        &mut self,
        node: &SketchNode<'p>,
        slot: usize,
        attributes: &[(&'static str, Datum)],
        types: &[TypePattern],
    ) -> Result<Need, Stuck> {
        let first: Vec<usize> = match node.inputs.first().copied().flatten() {
            Some(row) if slot > 0 => self.fact(row).map(|(_, dims)| dims.to_vec()),
            _ => None,
        }
        .unwrap_or_default();
        let int = |name: &str, default: i64| {
            let found = attributes.iter().find(|(known, _)| *known == name);
            found.and_then(|(_, content)| content.as_int()).unwrap_or(default)
        };
        let channels = first.get(1).copied().unwrap_or(1);
        let name = node.operator.name.as_str();
        let other = self.other(node, slot);
        Ok(Need::Shape(match (name, slot) {
            ("MatMul", 0) => match other {
                None => self.fresh(types)?,
                Some(other) => {
                    let inner = other[other.len().saturating_sub(2)..].first().copied();
                    let rows = self.fresh_length();
                    vec![rows, inner.ok_or(Stuck::Rejected)?]
                }
            },
            ("MatMul", _) => {
                let inner = first.last().copied().ok_or(Stuck::Rejected)?;
                let columns = self.fresh_length();
                let batch = if self.random.once_in(3) { first.len().saturating_sub(2) } else { 0 };
                [&first[..batch], &[inner, columns]].concat()
            }
            ("Gemm", 0) => vec![self.fresh_length(), self.fresh_length()],
            ("Gemm", 1) => {
                let inner = first.get(usize::from(int("transA", 0) == 0)).copied();
                let (inner, columns) = (inner.ok_or(Stuck::Rejected)?, self.fresh_length());
                if int("transB", 0) == 0 { vec![inner, columns] } else { vec![columns, inner] }
            }
            ("Gemm", _) => {
                let second = node.inputs[1].and_then(|row| self.fact(row));
                let dims = second.map(|(_, dims)| dims.to_vec()).ok_or(Stuck::Rejected)?;
                let columns = dims.get(usize::from(int("transB", 0) == 0)).copied().unwrap_or(1);
                match self.random.below(3) {
                    0 => vec![1],
                    1 => vec![
                        first.get(usize::from(int("transA", 0) != 0)).copied().unwrap_or(1),
                        columns,
                    ],
                    _ => vec![columns],
                }
            }
            ("Conv", 0) => {
                if types.iter().any(|ty| ty.shape.is_some()) {
                    return Ok(Need::Shape(self.fresh(types)?));
                }
                let mut dims = vec![1 + self.random.below(2), 2 + self.random.below(2), 5];
                if self.random.once_in(2) {
                    dims.push(4);
                }
                dims
            }
            ("Conv", 1) => {
                let mut dims = vec![3, channels];
                dims.extend(first.iter().skip(2).map(|&length| length.min(2)));
                dims
            }
            ("Conv", _) => {
                let weights = node.inputs[1].and_then(|row| self.fact(row));
                vec![weights.and_then(|(_, dims)| dims.first().copied()).unwrap_or(1)]
            }
            ("BatchNormalization", 4) => return Ok(Need::Positive(vec![channels])),
            (
                "BatchNormalization" | "InstanceNormalization" | "GroupNormalization" | "GroupNorm",
                1..,
            ) => {
                vec![channels]
            }
            ("LayerNormalization" | "RMSNormalization" | "SimplifiedLayerNormalization", 1..) => {
                let rank = first.len() as i64;
                let axis = int("axis", -1);
                let axis = if axis < 0 { axis + rank } else { axis };
                let axis = usize::try_from(axis).map_err(|_| Stuck::Rejected)?;
                first.get(axis..).ok_or(Stuck::Rejected)?.to_vec()
            }
            ("Reshape" | "Expand", 1) => {
                let shape = self.reshape(&first);
                return Ok(Need::Content(
                    Tensor::from_i64s([shape.len()], &shape).map_err(|_| Stuck::Rejected)?,
                ));
            }
            ("Gather", 1) => {
                let axis = int("axis", 0);
                let axis = if axis < 0 { axis + first.len() as i64 } else { axis };
                let length = usize::try_from(axis).ok().and_then(|axis| first.get(axis));
                let length = length.copied().filter(|length| *length > 0).ok_or(Stuck::Rejected)?;
                let indices = [self.random.below(length) as i64, self.random.below(length) as i64];
                return Ok(Need::Content(
                    Tensor::from_i64s([2], &indices).map_err(|_| Stuck::Rejected)?,
                ));
            }
            ("QuantizeLinear" | "DequantizeLinear", 1) => {
                // One scale in all, or one for each index of an axis.
                let axis = int("axis", 1);
                let axis = if axis < 0 { axis + first.len() as i64 } else { axis };
                let length = usize::try_from(axis).ok().and_then(|axis| first.get(axis));
                let dims = length.filter(|_| self.random.once_in(3)).map(|&length| vec![length]);
                return Ok(Need::Positive(dims.unwrap_or_default()));
            }
            ("QuantizeLinear" | "DequantizeLinear", 2) => {
                let scale = node.inputs[1].and_then(|row| self.fact(row));
                scale.map(|(_, dims)| dims.to_vec()).unwrap_or_default()
            }
            ("CastLike", 1) => vec![1],
            ("Concat", 1..) => {
                let axis = int("axis", 0);
                let axis = if axis < 0 { axis + first.len() as i64 } else { axis };
                let mut dims = first;
                let at = usize::try_from(axis).ok().filter(|axis| *axis < dims.len());
                dims[at.ok_or(Stuck::Rejected)?] = self.fresh_length();
                dims
            }
            (_, slot) => {
                let version = marquetry_ir::schema::versions(&node.operator.domain, name);
                let facts = version.last().map(|schema| schema.facts);
                let elementwise = facts.is_some_and(|facts| facts.elementwise());
                match other {
                    None if elementwise || slot == 0 => self.fresh(types)?,
                    Some(other) if elementwise => self.broadcast(&other),
                    _ => {
                        return Err(Stuck::Unsupported(format!(
                            "nothing is known of input {slot} of `{name}`"
                        )));
                    }
                }
            }
        }))
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
