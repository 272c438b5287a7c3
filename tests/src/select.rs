//! What selectors select: `tests/cases/select/*.case` has a section `model` and a line for each selector
//! in `selectors`; sites are those of a target that quantizes everything.

use std::fmt::Write as _;
use std::fs;

use marquetry::engine::{Embedded, Options};
use marquetry::ir::{Tensor, text};
use marquetry::quant::select::Selector;
use marquetry::quant::{Context, Pipeline, State};

use crate::case::sections;
use crate::quantize::Shipped;

/// The line that says what a selector selects.
fn shown(state: &State, line: &str) -> String {
    let selector = match Selector::parse(line) {
        Ok(selector) => selector,
        Err(error) => return format!("{error}\n    help: {}", error.hint),
    };
    let selected = selector.of(state).and_then(|selection| selection.sites());
    match selected {
        Ok(sites) => {
            let graph = &state.model.graph;
            let names: Vec<&str> = sites.iter().map(|&site| graph.value(site).name()).collect();
            if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
        }
        Err(error) => format!("{}: {error}\n    help: {}", error.code(), error.hint()),
    }
}

#[test]
fn cases() {
    insta::glob!("../cases/select", "*.case", |path| {
        let case = fs::read_to_string(path).unwrap();
        let section =
            |wanted: &str| sections(&case).into_iter().find(|(name, _)| *name == wanted).unwrap().1;
        let model = text::parse(section("model")).unwrap();
        let pipeline = "Pipeline(target: \"qnn-htp\", passes: [Group, Place(activations: UInt8)])";
        let engine = Embedded::new(&Options::default());
        let none: Vec<Vec<Tensor>> = Vec::new();
        let cx = Context::new(&engine, &none, &Shipped, &|_| {});
        let state = Pipeline::parse(pipeline).unwrap().run(model, &cx).unwrap();
        let mut rendered = String::new();
        for line in section("selectors").lines() {
            writeln!(rendered, "{line}\n    {}", shown(&state, line)).unwrap();
        }
        insta::with_settings!({
            snapshot_path => "../snapshots",
            prepend_module_to_snapshot => true,
            omit_expression => true,
        }, {
            insta::assert_snapshot!(rendered);
        });
    });
}
