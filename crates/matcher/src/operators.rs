use crate::describe::describe;
use marquetry_ir::schema::{self, Arity, Schema};
use marquetry_pattern::core::{Operator, OpsetRange};
use marquetry_pattern::description::Description;
use marquetry_pattern::{AttributeFacts, AttributeKind, Facts, Operators, Signature};

/// What the schemas of operators say, for the checks of patterns.
///
/// ```
/// use marquetry_matcher::Schemas;
/// use marquetry_pattern::Library;
///
/// let errors = Library::parse("typo.pat", "pattern P (x) => (y) { y = Reul(x) }", &Schemas);
/// assert!(errors.unwrap_err()[0].fact().contains("Reul"));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Schemas;

/// What operators weigh where their class does not say it: a rule that keeps the number of nodes
/// may replace an operator by a lighter one. So `x / c` becomes `x * (1/c)`, `Pow(x, 2)` becomes
/// `x * x`, a general contraction becomes a plain one, and never the other way round.
const WEIGHTS: &[(u32, &[&str])] = &[
    (0, &["Constant", "Identity"]),
    (1, &["Reshape", "Squeeze", "Unsqueeze", "Flatten"]),
    (3, &["Cast", "Neg", "Abs", "Relu", "Not"]),
    (4, &["Sub", "Where", "Clip", "LeakyRelu"]),
    (5, &["Div", "Reciprocal", "Sqrt"]),
    (7, &["Pow"]),
    (20, &["MatMul"]),
    (21, &["Gemm", "MatMulInteger"]),
    (22, &["Conv", "Einsum"]),
];

impl Operators for Schemas {
    fn facts(&self, operator: &Operator, opsets: &[OpsetRange]) -> Facts {
        let versions = schema::versions(&operator.domain, &operator.name);
        if versions.is_empty() {
            // Vendors have more operators than any table.
            let standard = matches!(operator.domain.as_str(), "" | "ai.onnx" | "ai.onnx.ml");
            return if standard { Facts::Unknown } else { Facts::Unchecked };
        }
        let admitted = admitted(versions, opsets, &operator.domain);
        if admitted.is_empty() {
            let since = versions[0].since;
            return Facts::OutOfRange { since: u32::try_from(since).unwrap_or(u32::MAX) };
        }
        Facts::Known(signature(&admitted))
    }

    fn weight(&self, operator: &Operator) -> u32 {
        let standard = schema::canonical_domain(&operator.domain).is_empty();
        let named = WEIGHTS.iter().find(|(_, names)| names.contains(&operator.name.as_str()));
        if !standard {
            // The operators of a target are what a rewrite aims at.
            return 1;
        }
        if let Some((weight, _)) = named {
            return *weight;
        }
        let facts = schema::lookup(&operator.domain, &operator.name, i64::MAX)
            .map(|schema| schema.facts)
            .unwrap_or_default();
        match () {
            () if facts.movement() => 2,
            () if facts.elementwise() && facts.commutative() => 3,
            () if facts.elementwise() => 6,
            () if facts.reduction() => 8,
            () => 10,
        }
    }

    fn names(&self) -> Vec<String> {
        let newest = i64::MAX;
        schema::operators("", newest).map(str::to_owned).collect()
    }

    fn admitted(&self, opsets: &[OpsetRange]) -> Vec<Operator> {
        let of_domain = |domain: &'static str| {
            schema::operators(domain, i64::MAX).filter_map(move |name| {
                let versions = admitted(schema::versions(domain, name), opsets, domain);
                let operator = || Operator { domain: domain.to_owned(), name: name.to_owned() };
                (!versions.is_empty()).then(operator)
            })
        };
        schema::domains().flat_map(of_domain).collect()
    }

    fn describe(&self, operator: &Operator, opsets: &[OpsetRange]) -> Option<Description> {
        let versions = schema::versions(&operator.domain, &operator.name);
        let versions = admitted(versions, opsets, &operator.domain);
        (!versions.is_empty()).then(|| describe(&versions))
    }
}

/// The versions of an operator that the opset ranges admit, oldest first.
fn admitted<'s>(versions: &'s [Schema], opsets: &[OpsetRange], domain: &str) -> Vec<&'s Schema> {
    let in_force = |(at, schema): &(usize, &Schema)| {
        let next = versions.get(at + 1).map(|next| next.since);
        !schema.deprecated && admits(opsets, domain, schema.since, next)
    };
    versions.iter().enumerate().filter(in_force).map(|(_, schema)| schema).collect()
}

/// Whether the ranges of a domain meet the versions from `since` up to `next`.
fn admits(opsets: &[OpsetRange], domain: &str, since: i64, next: Option<i64>) -> bool {
    let domain = schema::canonical_domain(domain);
    let own = opsets.iter().filter(|range| schema::canonical_domain(&range.domain) == domain);
    own.into_iter().all(|range| {
        range.max.is_none_or(|max| i64::from(max) >= since)
            && next.is_none_or(|next| i64::from(range.min) < next)
    })
}

/// What several versions have in common, in the widest reading.
fn signature(versions: &[&Schema]) -> Signature {
    let newest = versions.last().expect("there is a version");
    let fewest = versions.iter().map(|schema| least(schema)).min().unwrap_or_default();
    let most = versions.iter().map(|schema| schema.input_arity().1).max().unwrap_or_default();
    let mut attributes: Vec<AttributeFacts> = Vec::new();
    for schema in versions {
        for attribute in &schema.attributes {
            let required = attribute.required;
            match attributes.iter_mut().find(|known| known.name == attribute.name) {
                Some(known) => {
                    known.required &= required;
                    // `to` of Cast was a string in opset 1: either reading is right somewhere.
                    if known.kind != self::kind(attribute.kind) {
                        known.kind = AttributeKind::Other;
                    }
                }
                None => attributes.push(AttributeFacts {
                    name: attribute.name.to_owned(),
                    kind: kind(attribute.kind),
                    required,
                }),
            }
        }
        for parameter in schema.parameters {
            if attributes.iter().all(|known| known.name != parameter.attribute) {
                attributes.push(AttributeFacts {
                    name: parameter.attribute.to_owned(),
                    kind: AttributeKind::Other,
                    required: false,
                });
            }
        }
    }
    for attribute in &mut attributes {
        // Required in all versions means that all versions have it as an attribute.
        let everywhere = versions.iter().all(|schema| schema.attribute(&attribute.name).is_some());
        // `to` of Cast restates the element type of the output: not to write it assumes nothing.
        attribute.required &= everywhere && attribute.name != "to";
    }
    attributes.sort_by(|a, b| a.name.cmp(&b.name));
    Signature {
        inputs: newest.inputs.iter().map(|input| input.name.to_owned()).collect(),
        min_inputs: fewest,
        max_inputs: (most != usize::MAX).then_some(most),
        attributes,
        commutative: newest.facts.commutative(),
    }
}

/// The fewest inputs that a pattern writes: those that it may spell as attributes need not be there.
fn least(schema: &Schema) -> usize {
    let is_parameter = |slot: usize| {
        let name = schema.inputs[slot].name;
        schema.parameters.iter().any(|parameter| parameter.input == Some(name))
    };
    let written = (0..schema.inputs.len()).filter(|&slot| {
        !matches!(schema.inputs[slot].arity, Arity::Optional) && !is_parameter(slot)
    });
    written.map(|slot| slot + 1).max().unwrap_or(0).min(schema.input_arity().0)
}

fn kind(kind: schema::AttributeKind) -> AttributeKind {
    match kind {
        schema::AttributeKind::Int => AttributeKind::Int,
        schema::AttributeKind::Ints => AttributeKind::Ints,
        schema::AttributeKind::Float => AttributeKind::Float,
        schema::AttributeKind::Floats => AttributeKind::Floats,
        schema::AttributeKind::String => AttributeKind::String,
        schema::AttributeKind::Strings => AttributeKind::Strings,
        _ => AttributeKind::Other,
    }
}
