//! The words of the language and what they mean, in one line each.

/// Keywords, marks of items and hints: word, meaning.
pub(super) const ITEMS: &[(&str, &str)] = &[
    ("use", "takes names from another file: `use \"std/math.pat\" { square }`"),
    (
        "def",
        "a definition: any way to write something; other items call it, nothing searches for it",
    ),
    ("pattern", "what is searched for in graphs: `pattern Gelu (x) => (y) { … }`"),
    ("rule", "a rewrite: `rule double_neg: Neg(Neg(x)) ~> x`"),
    ("test", "a graph and what patterns find in it, or a model and how many groups it has"),
    ("ops", "a set of operators: `ops Unary = Relu, Sigmoid`"),
    ("opset", "the opset versions that this holds for: `opset \"\" 13..`"),
];

/// Words that begin a statement of a body.
pub(super) const STATEMENTS: &[(&str, &str)] = &[
    ("where", "must be provably true; `where? g` must not be provably false"),
    ("let", "a number computed from the match"),
    ("either", "alternatives of several equations: `either { … } or { … }`"),
    ("dup", "uses of the value may be distinct but structurally equal nodes"),
    ("shared", "the value may be used outside of the match, and is kept"),
    (
        "const",
        "on the left side: a compile-time constant; in a replacement: folded into an initializer",
    ),
];

/// Words of expressions.
pub(super) const EXPRESSIONS: &[(&str, &str)] = &[
    ("const", "must be a compile-time constant"),
    ("none", "must be absent"),
    ("with", "sets a variable in this branch: `x / c with k = 1 / c`"),
    ("if", "this branch holds only where the condition does"),
];

/// Words of conditions.
pub(super) const CONDITIONS: &[(&str, &str)] = &[
    ("and", "both"),
    ("or", "one of them; between bodies: the next alternative"),
    ("not", "not"),
    ("in", "is an element of a list; in a header: the family inside which matches do not overlap"),
    ("is", "the value matches a pattern: `x is Relu(_)`, `x is not P`"),
    ("true", "true"),
    ("false", "false"),
    ("none", "is absent: `mask is none`"),
];

/// What may follow the body of a pattern.
pub(super) const BLOCKS: &[(&str, &str)] = &[
    (
        "equals",
        "the meaning of the pattern: checks it, replaces a match (`fuse`), and is found too",
    ),
    ("quant", "hints for quantization"),
    ("verify", "how the meaning is checked on samples"),
    ("priority", "of patterns that match the same nodes, the higher one wins"),
    ("bounded", "how often a rule may be applied that does not make the graph smaller"),
];

/// Hints of `quant` blocks.
pub(super) const HINTS: &[(&str, &str)] = &[
    ("skip", "these values get no quantizer"),
    ("quantize", "these values get a quantizer, even inside"),
    ("share", "one encoding for all of these"),
    ("symmetric", "the zero point is in the middle"),
    ("per_channel", "one scale per slice: `per_channel w axis 0`"),
    ("bias", "int32 with the product of the scales: `bias b of x, w`"),
    ("range", "a fixed encoding: `range p [0, 1]`"),
    ("tag", "an open hint: `tag v: key = e`"),
];

/// What hints may be about besides names.
pub(super) const TARGETS: &[(&str, &str)] = &[
    ("interior", "all results of matched nodes that are not outputs"),
    ("consts", "all constants that matched nodes read and that are not inputs"),
];

/// Clauses of `verify` blocks.
pub(super) const CLAUSES: &[(&str, &str)] =
    &[("tol", "the tolerance: `tol 1e-5`"), ("samples", "how many samples: `samples 200`")];

/// What a test expects.
pub(super) const EXPECTATIONS: &[(&str, &str)] = &[
    ("matches", "the pattern matches: `matches LayerNorm { eps = 1e-5 }`"),
    ("rejects", "the pattern does not match: `rejects LayerNorm because \"…\"`"),
    ("becomes", "what the rules of the file make of the graph"),
    ("by", "what is applied: `by double_neg, fuse Gelu becomes …`"),
];

/// How a test applies a pattern.
pub(super) const WAYS: &[(&str, &str)] = &[
    ("fuse", "puts what the pattern `equals` in place of its matches"),
    ("outline", "puts a call of a function of the model in place of matches"),
    ("expand", "puts the body of the pattern in place of what it `equals`"),
];

/// Words that go with another one; nothing begins with them, so that they are not proposed.
const COMPANIONS: &[(&str, &str)] = &[
    ("as", "the operator of a set, as a variable: `(Unary as act)(x)`"),
    ("axis", "the axis of the slices"),
    ("because", "the reason that is given for no match"),
    ("else", "the other case of `if g then a else b`"),
    ("of", "the values whose scales are multiplied"),
    ("off", "is not checked, for a reason: `verify off \"random\"`"),
    ("on", "the test is about a model in a file"),
    ("then", "the first case of `if g then a else b`"),
    ("when", "the hint holds only where the condition does"),
];

/// Functions of conditions: name, parameters, meaning.
pub(super) const FUNCTIONS: &[(&str, &str, &str)] = &[
    ("abs", "n", "without its sign"),
    ("bits", "x", "bits of an element of a value or dtype"),
    ("broadcasts", "x, y", "x broadcasts to the shape of y"),
    ("ceil", "n", "rounded up"),
    ("compose", "p, q", "the permutation q after p"),
    ("dim", "x, axis", "one dimension of a value"),
    ("dtype", "x", "the element type of a value"),
    ("exp", "n", "e to the n"),
    ("floor", "n", "rounded down"),
    ("full", "c", "a constant of any shape, all elements of which are c"),
    ("is_const", "x", "the value is known before a run"),
    ("is_identity", "p", "the permutation changes nothing"),
    ("is_reshape", "shape, p", "the permutation moves axes of size 1 only"),
    ("item", "x", "the one element of a constant"),
    ("len", "list", "the number of elements"),
    ("log", "n", "the natural logarithm"),
    ("max", "a, …", "the greatest"),
    ("min", "a, …", "the least"),
    ("numel", "x", "the number of elements of a value"),
    ("prod", "list", "the product of the elements"),
    ("range", "from, to", "the integers from one (or 0) up to, not with, the other"),
    ("rank", "x", "the number of dimensions of a value"),
    ("rep", "a, n", "a list of n times a"),
    ("reverse", "list", "the elements from last to first"),
    ("shape", "x", "the dimensions of a value as a list"),
    ("sorted", "list", "the elements in ascending order"),
    ("sqrt", "n", "the square root"),
    ("sum", "list", "the sum of the elements"),
    ("swap", "n, i, j", "the permutation of n axes that exchanges two"),
    (
        "triangle",
        "m",
        "what square matrices of a constant hold on and below the diagonal, and above it",
    ),
    ("uses", "x", "how often a value is read"),
    ("widens", "from, to", "each value of the first dtype is one of the second"),
];

/// What a word of the language means.
pub(super) fn meaning(word: &str) -> Option<&'static str> {
    let tables = [
        ITEMS,
        STATEMENTS,
        EXPRESSIONS,
        CONDITIONS,
        BLOCKS,
        HINTS,
        TARGETS,
        CLAUSES,
        EXPECTATIONS,
        WAYS,
        COMPANIONS,
    ];
    tables.iter().flat_map(|table| table.iter()).find(|entry| entry.0 == word).map(|entry| entry.1)
}

/// Parameters and meaning of a function.
pub(super) fn function(name: &str) -> Option<(&'static str, &'static str)> {
    FUNCTIONS.iter().find(|entry| entry.0 == name).map(|entry| (entry.1, entry.2))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A function that is added to the language is described here too.
    #[test]
    fn every_function_is_described() {
        let described: Vec<&str> = FUNCTIONS.iter().map(|entry| entry.0).collect();
        let mut all: Vec<&str> = crate::functions::names().chain(["full"]).collect();
        all.sort_unstable();
        assert_eq!(described, all);
    }

    /// And so is a keyword.
    #[test]
    fn every_keyword_is_described() {
        let grammar = include_str!("../pattern.pest");
        let keywords = grammar.lines().filter(|line| line.starts_with("k_"));
        let keywords: Vec<&str> = keywords.filter_map(|line| line.split('"').nth(1)).collect();
        assert!(keywords.len() > 40);
        for keyword in keywords {
            assert!(meaning(keyword).is_some(), "`{keyword}` is not described");
        }
    }
}
