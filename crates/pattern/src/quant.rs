//! Quantization hints: a checked vocabulary, of which neither this crate nor the matcher knows
//! what it does.

use crate::core::VarId;
use crate::gexpr::GExpr;
use crate::span::Span;

/// One hint of a `quant` block.
#[derive(Clone, Debug)]
pub struct Hint {
    /// What it says.
    pub kind: HintKind,
    /// `when g`: the hint holds only where this is true.
    pub when: Option<GExpr>,
    /// Where it is written.
    pub span: Span,
}

/// What a hint says.
#[derive(Clone, Debug)]
pub enum HintKind {
    /// `skip a, b`: no quantizer.
    Skip(Vec<Target>),
    /// `quantize a, b`: a quantizer, even inside.
    Quantize(Vec<Target>),
    /// `share a, b`: one encoding for all.
    Share(Vec<Target>),
    /// `symmetric w`.
    Symmetric(Vec<Target>),
    /// `per_channel w axis k`.
    PerChannel(Target, GExpr),
    /// `bias b of x, w`: int32 with the product of the scales.
    Bias(Target, Vec<Target>),
    /// `range v [lo, hi]`: a fixed encoding.
    Range(Target, GExpr, GExpr),
    /// `tag v: key = e`: open.
    Tag(Target, String, GExpr),
}

/// What a hint is about. Hints on absent values vanish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The value of a variable.
    Var(VarId),
    /// `interior`: results of matched nodes that are not outputs.
    Interior,
    /// `consts`: constants that matched nodes read and that are not header inputs.
    Consts,
}
