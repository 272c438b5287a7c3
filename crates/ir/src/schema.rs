//! What the operators are: inputs, outputs, attributes and types by opset, as data.
//!
//! The standard operators of all opsets come from a table that
//! `scripts/gen-schemas.py` writes; operators of other vendors that patterns
//! and quantized models contain, and facts that no schema states (commutative,
//! data movement, …), are small tables by hand. All three are parsed once, at
//! the first question, in about a millisecond.
//!
//! ```
//! use marquetry_ir::schema;
//!
//! let conv = schema::lookup("", "Conv", 17).expect("the standard has Conv");
//! assert_eq!((conv.since, conv.input("W")), (11, Some(1)));
//! assert!(schema::lookup("ai.onnx", "Add", 13).is_some_and(|add| add.facts.commutative()));
//! ```

use std::sync::LazyLock;

mod facts;
mod formal;
mod table;
mod view;

pub use facts::{Facts, Fallback, Parameter, ParameterKind};
pub use formal::{Arity, AttributeKind, AttributeSchema, Formal, TypeSet};
use table::Table;
pub use view::View;

static TABLE: LazyLock<Table> = LazyLock::new(Table::load);

/// An operator as one range of opsets defines it.
#[derive(Debug)]
pub struct Schema {
    /// Domain, `""` for the standard one.
    pub domain: &'static str,
    /// Name of the operator, the `op_type` of nodes.
    pub name: &'static str,
    /// First opset version of the domain with this definition.
    pub since: i64,
    /// Whether the opsets from `since` on have the operator no more.
    pub deprecated: bool,
    /// Whether the table is known to be complete: attributes and inputs it does not
    /// name are errors in a model. False for vendors' operators.
    pub closed: bool,
    /// Inputs in order.
    pub inputs: Vec<Formal>,
    /// Outputs in order.
    pub outputs: Vec<Formal>,
    /// Attributes, sorted by name.
    pub attributes: Vec<AttributeSchema>,
    /// Facts by hand; they hold for every version.
    pub facts: Facts,
    /// Attributes that are inputs in some versions, with one spelling for all.
    pub parameters: &'static [Parameter],
}

impl Schema {
    /// Position of the input of this name.
    pub fn input(&self, name: &str) -> Option<usize> {
        self.inputs.iter().position(|formal| formal.name == name)
    }

    /// Position of the output of this name.
    pub fn output(&self, name: &str) -> Option<usize> {
        self.outputs.iter().position(|formal| formal.name == name)
    }

    /// The attribute of this name, where it is an attribute in this version.
    pub fn attribute(&self, name: &str) -> Option<&AttributeSchema> {
        let found = self.attributes.binary_search_by(|attribute| attribute.name.cmp(name));
        found.ok().map(|at| &self.attributes[at])
    }

    /// The parameter that patterns spell as attribute `name`, whatever this version makes of it.
    pub fn parameter(&self, name: &str) -> Option<&'static Parameter> {
        self.parameters.iter().find(|parameter| parameter.attribute == name)
    }

    /// The formal input that actual input `slot` stands for: variadic ones take all the rest.
    pub fn formal_input(&self, slot: usize) -> Option<&Formal> {
        formal(&self.inputs, slot)
    }

    /// The formal output that actual output `slot` stands for.
    pub fn formal_output(&self, slot: usize) -> Option<&Formal> {
        formal(&self.outputs, slot)
    }

    /// Names a pattern may write between `<` and `>`: attributes and parameters, sorted.
    pub fn attribute_names(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = self.attributes.iter().map(|attribute| attribute.name).collect();
        names.extend(self.parameters.iter().map(|parameter| parameter.attribute));
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Fewest and most inputs, trailing optional ones counted as absent in the first.
    pub fn input_arity(&self) -> (usize, usize) {
        arity(&self.inputs)
    }

    /// Fewest and most outputs.
    pub fn output_arity(&self) -> (usize, usize) {
        arity(&self.outputs)
    }
}

fn formal(formals: &[Formal], slot: usize) -> Option<&Formal> {
    let last = formals.last()?;
    formals.get(slot).or(matches!(last.arity, Arity::Variadic { .. }).then_some(last))
}

fn arity(formals: &[Formal]) -> (usize, usize) {
    let (mut least, mut most) = (0, formals.len());
    for (slot, formal) in formals.iter().enumerate() {
        match formal.arity {
            Arity::Single => least = slot + 1,
            Arity::Optional => {}
            Arity::Variadic { least: n, .. } => {
                least = slot + usize::from(n);
                most = usize::MAX;
            }
        }
    }
    (least, most)
}

/// Domain with the one spelling this crate compares: `ai.onnx` is `""`.
pub fn canonical_domain(domain: &str) -> &str {
    if domain == "ai.onnx" { "" } else { domain }
}

/// Definition of operator `op` in opset `version` of `domain`, deprecated ones included.
///
/// A version newer than the table knows gets the newest definition.
pub fn lookup(domain: &str, op: &str, version: i64) -> Option<&'static Schema> {
    TABLE.lookup(canonical_domain(domain), op, version)
}

/// All definitions of operator `op`, oldest first; empty where the table has none.
pub fn versions(domain: &str, op: &str) -> &'static [Schema] {
    TABLE.versions(canonical_domain(domain), op)
}

/// Every definition in the table, sorted by domain, name and version.
pub fn all() -> &'static [Schema] {
    TABLE.all()
}

/// Names of the operators of `domain` that opset `version` has, sorted: for "did you mean".
pub fn operators(domain: &str, version: i64) -> impl Iterator<Item = &'static str> {
    let domain = canonical_domain(domain).to_owned();
    let mut last = "";
    all().iter().filter(move |schema| schema.domain == domain).filter_map(move |schema| {
        let fresh = schema.name != std::mem::replace(&mut last, schema.name);
        let current = lookup(schema.domain, schema.name, version)?;
        (fresh && !current.deprecated).then_some(schema.name)
    })
}

/// Domains of the table, sorted.
pub fn domains() -> impl Iterator<Item = &'static str> {
    let mut last = None;
    all().iter().filter_map(move |schema| {
        (last.replace(schema.domain) != Some(schema.domain)).then_some(schema.domain)
    })
}

/// Newest opset version of the standard domain that the table was written from.
pub fn newest_opset() -> i64 {
    TABLE.newest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_in_force_is_found() {
        let since = |op, version| lookup("", op, version).map(|schema| schema.since);
        assert_eq!(since("ReduceMean", 13), Some(13));
        assert_eq!(since("ReduceMean", 17), Some(13));
        assert_eq!(since("ReduceMean", 18), Some(18));
        assert_eq!(since("Gelu", 19), None);
        assert_eq!(since("Gelu", 999), Some(20));
        assert!(lookup("", "Upsample", 10).is_some_and(|schema| schema.deprecated));
        assert!(lookup("elsewhere", "Add", 1).is_none());
        assert_eq!(newest_opset(), 28);
    }

    #[test]
    fn formals_and_arities() {
        let clip = lookup("", "Clip", 13).unwrap();
        assert_eq!((clip.input_arity(), clip.input("max")), ((1, 3), Some(2)));
        let concat = lookup("", "Concat", 13).unwrap();
        assert_eq!(
            (concat.input_arity(), concat.formal_input(7).unwrap().name),
            ((1, usize::MAX), "inputs")
        );
        let body = lookup("", "Loop", 13).unwrap();
        assert_eq!(body.input_arity(), (2, usize::MAX));
        assert!(body.formal_input(0).is_some_and(|m| m.arity == Arity::Optional));
    }

    #[test]
    fn attributes_have_kinds_and_defaults() {
        let gemm = lookup("", "Gemm", 13).unwrap();
        let default =
            |schema: &'static Schema, name| schema.attribute(name).unwrap().default.as_ref();
        assert_eq!(default(gemm, "alpha").unwrap().as_float(), Some(1.0));
        let conv = lookup("", "Conv", 13).unwrap();
        assert_eq!(default(conv, "auto_pad").unwrap().as_str(), Some("NOTSET"));
        let cast = lookup("", "Cast", 13).unwrap();
        assert!(cast.attribute("to").unwrap().required);
        let lstm = lookup("", "LSTM", 14).unwrap();
        assert_eq!(lstm.attribute("activations").unwrap().kind, AttributeKind::Strings);
    }

    #[test]
    fn every_fact_names_an_operator_and_its_inputs() {
        assert_eq!(facts::problems(), Vec::<String>::new());
    }

    #[test]
    fn every_type_variable_is_declared() {
        for schema in all() {
            for formal in schema.inputs.iter().chain(&schema.outputs) {
                assert!(
                    !formal.types.is_empty(),
                    "{} {} {}",
                    schema.name,
                    schema.since,
                    formal.name
                );
            }
        }
    }

    #[test]
    fn did_you_mean_lists_what_the_opset_has() {
        let at_13: Vec<_> = operators("", 13).collect();
        assert!(
            at_13.contains(&"MatMul") && !at_13.contains(&"Gelu") && !at_13.contains(&"Upsample")
        );
        assert!(at_13.is_sorted());
        assert_eq!(domains().collect::<Vec<_>>()[..2], ["", "ai.onnx.ml"]);
    }
}
