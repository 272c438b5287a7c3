//! The pass in a pipeline, on a model that has what it looks for.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use custom_pass_example::registry;
use marquetry::engine::{Embedded, Options};
use marquetry::ir::{Model, Tensor, text};
use marquetry::matcher::Groups;
use marquetry::quant::pass::FindGroups;
use marquetry::quant::{Context, DType, Pipeline, Recipe, RecipeError, State};

const MODEL: &str = r#"
<ir_version: 8, opset_import: ["": 17]>
g (float[2,4] x) => (float[2,3] y) <
  float[4] gamma = {1, 1, 1, 1}, float[4] beta = {0, 0, 0, 0}, float[4,3] w = {...}>
{
  n = LayerNormalization <axis = -1> (x, gamma, beta)
  y = MatMul (n, w)
}"#;

/// Groups by the shipped patterns.
struct Shipped;

impl FindGroups for Shipped {
    fn find_groups(&self, model: &Model, _: &[String]) -> Result<Groups, String> {
        Ok(marquetry::groups(model, &marquetry::library::standard()))
    }

    fn knows(&self, _: &str) -> bool {
        true
    }
}

fn run(step: &str) -> Result<State, RecipeError> {
    let text = format!("Pipeline(target: \"qnn-htp\", passes: [Group, Place, {step}])");
    let pipeline = Pipeline::parse_with(&text, &registry())?;
    let samples: Vec<Vec<Tensor>> = Vec::new();
    let engine = Embedded::new(&Options::default());
    let cx = Context::new(&engine, &samples, &Shipped, &|_| {});
    Ok(pipeline.run(text::parse(MODEL).unwrap(), &cx).unwrap())
}

fn dtype(state: &State, name: &str) -> DType {
    let value = state.model.graph.find(name).unwrap();
    state.plan.get(value).unwrap().spec.dtype
}

#[test]
fn outputs_of_groups_are_wide_and_nothing_else() {
    let state = run("WideOutputs(pattern: \"LayerNorm\")").unwrap();
    assert_eq!(dtype(&state, "n"), DType::UInt16);
    assert_eq!([dtype(&state, "x"), dtype(&state, "y")], [DType::UInt8; 2]);
    assert_eq!(state.summaries.last().unwrap().done, "1 outputs of LayerNorm as uint16");
    let n = state.model.graph.find("n").unwrap();
    let because = state.plan.get(n).unwrap().because.last().unwrap();
    assert_eq!(because.to_string(), "uint16 at its end (WideOutputs)");
}

#[test]
fn its_errors_are_those_of_built_in_passes() {
    let error = run("WideOutputs(patern: \"LayerNorm\")").unwrap_err();
    assert!(error.to_string().starts_with("1:"), "{error}");
    assert_eq!(error.hint().unwrap(), "did you mean `pattern`?");
    let error = run("WideOutput(pattern: \"LayerNorm\")").unwrap_err();
    assert_eq!(error.hint().unwrap(), "did you mean `WideOutputs`?");
    let early = "Pipeline(passes: [WideOutputs(pattern: \"LayerNorm\")])";
    let error = Pipeline::parse_with(early, &registry()).unwrap_err();
    assert_eq!(error.to_string(), "1:19: `WideOutputs` needs a `Group` before it");
}

#[test]
fn it_is_written_in_both_forms() {
    let text = "Pipeline(passes: [Group, Place, WideOutputs(pattern: \"Gelu\", dtype: Int16)])";
    let recipe = Recipe::parse_with(text, &registry()).unwrap();
    let json = recipe.to_json().to_string();
    let back = Recipe::from_json(&json, &registry()).unwrap();
    assert_eq!(back.to_ron(), recipe.to_ron());
    assert_eq!(
        Recipe::parse_with(&back.to_ron(), &registry()).unwrap().to_json().to_string(),
        json
    );
}

#[test]
fn behind_encodings_it_comes_too_late() {
    let error = run("Calibrate, WideOutputs(pattern: \"LayerNorm\")").unwrap_err();
    assert_eq!(error.code(), "too_late");
}
