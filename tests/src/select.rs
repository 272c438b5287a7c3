//! What selectors select: `tests/cases/select/*.case` has a section `model` and a line for each selector
//! in `selectors`; sites are those of a target that quantizes everything. Groups are those of the shipped
//! library, or of the section `patterns`.

use std::fmt::Write as _;
use std::fs;

use marquetry::engine::{Embedded, Options};
use marquetry::ir::{Model, Tensor, text};
use marquetry::matcher::{Groups, Schemas};
use marquetry::pattern::Library;
use marquetry::quant::pass::FindGroups;
use marquetry::quant::select::Selector;
use marquetry::quant::{Context, Pipeline, State};

use crate::case::sections;
use crate::quantize::Shipped;

/// Finds the groups of the patterns of a case.
struct Own(Library);

impl FindGroups for Own {
    fn find_groups(&self, model: &Model, _: &[String]) -> Result<Groups, String> {
        Ok(marquetry::groups(model, &self.0))
    }

    fn knows(&self, pattern: &str) -> bool {
        self.names().contains(&pattern)
    }

    fn names(&self) -> Vec<&str> {
        self.0.patterns().iter().map(|pattern| pattern.name.as_str()).collect()
    }
}

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
        let section = |wanted: &str| {
            let found = sections(&case).into_iter().find(|(name, _)| *name == wanted);
            found.map(|(_, text)| text)
        };
        let model = text::parse(section("model").unwrap()).unwrap();
        let own = section("patterns")
            .map(|text| Own(Library::parse("case.pat", text, &Schemas).unwrap()));
        let groups: &dyn FindGroups = own.as_ref().map_or(&Shipped, |own| own);
        let pipeline = "Pipeline(target: \"qnn-htp\", passes: [Group, Place(activations: UInt8)])";
        let engine = Embedded::new(&Options::default());
        let none: Vec<Vec<Tensor>> = Vec::new();
        let cx = Context::new(&engine, &none, groups, &|_| {});
        let state = Pipeline::parse(pipeline).unwrap().run(model, &cx).unwrap();
        let mut rendered = String::new();
        for line in section("selectors").unwrap().lines() {
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
