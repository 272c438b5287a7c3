//! The whole path of quantization on graphs in text form: what is placed, why, and what is written.
//!
//! A case has a section `model`, a section `pipeline` with passes in RON (the standard ones where it
//! is missing), and one section `sample` for each calibration sample: the inputs as constants.

use std::fmt::Write as _;
use std::fs;

use marquetry::engine::{Embedded, Options};
use marquetry::ir::text::{self, PrintOptions};
use marquetry::ir::{Model, Opsets, Tensor};
use marquetry::library;
use marquetry::matcher::Groups;
use marquetry::pattern::Library;
use marquetry::quant::pass::{Content, FindGroups};
use marquetry::quant::{Context, Pipeline, Report, Standard, State};

use crate::case::sections;

struct Shipped(Library);

impl FindGroups for Shipped {
    fn find_groups(&self, model: &Model, _: &[String]) -> Result<Groups, String> {
        Ok(marquetry::groups(model, &self.0))
    }
}

fn sample(src: &str) -> Vec<Tensor> {
    let graph = text::parse_graph(&format!("s () => () <{src}> {{}}"), &Opsets::onnx(21)).unwrap();
    let constants = graph.initializers.iter();
    constants.map(|&value| graph.value(value).constant.clone().unwrap()).collect()
}

/// The state after the pipeline of a case, or the error in words.
fn run(case: &str) -> Result<State, String> {
    let sections = sections(case);
    let section = |name: &str| sections.iter().find(|(found, _)| *found == name);
    let model = text::parse(section("model").expect("a case has a model").1).unwrap();
    let pipeline = match section("pipeline") {
        Some((_, text)) => text.to_string(),
        None => Standard::new("out.onnx").recipe().to_ron(),
    };
    let told = |error: &dyn std::fmt::Display, code: &str, hint: Option<String>| {
        format!("{code}\n{error}\nhint: {}\n", hint.unwrap_or_default())
    };
    let pipeline =
        Pipeline::parse(&pipeline).map_err(|error| told(&error, error.code(), error.hint()))?;
    let samples: Vec<Vec<Tensor>> =
        sections.iter().filter(|(name, _)| *name == "sample").map(|(_, src)| sample(src)).collect();
    let patterns = Shipped(library::standard());
    let engine = Embedded::new(&Options::default());
    let cx = Context { engine: &engine, samples: &samples, patterns: &patterns, progress: &|_| {} };
    pipeline.run(model, &cx).map_err(|error| told(&error, error.code(), error.hint()))
}

fn render(state: &State) -> String {
    let mut out = String::new();
    for summary in &state.summaries {
        writeln!(out, "{}: {}", summary.pass, summary.done).unwrap();
        for note in &summary.notes {
            writeln!(out, "  {note}").unwrap();
        }
    }
    let report = Report::of(state);
    out.push_str("--- sites\n");
    for site in &report.sites {
        let zero_point = site.zero_point.map_or(String::new(), |at| format!(", zero point {at}"));
        let tied = match site.tied_to.is_empty() {
            true => String::new(),
            false => format!(", as {}", site.tied_to.join(" and ")),
        };
        writeln!(out, "{}: {} {}{zero_point}{tied}", site.value, site.dtype, site.granularity)
            .unwrap();
        for reason in &site.because {
            writeln!(out, "  {reason}").unwrap();
        }
    }
    out.push_str("--- in float\n");
    for value in &report.left_in_float {
        writeln!(out, "{}", value.value).unwrap();
        for reason in &value.because {
            writeln!(out, "  {reason}").unwrap();
        }
    }
    for output in &state.outputs {
        writeln!(out, "--- {}", output.path.display()).unwrap();
        match &output.content {
            Content::Model(model) => out.push_str(&text::print(model, &PrintOptions::summary())),
            Content::Text(text) => out.push_str(text),
        }
    }
    out
}

#[test]
fn cases() {
    insta::glob!("../cases/quantize", "*.case", |path| {
        let case = fs::read_to_string(path).unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let rendered = match run(&case) {
            Ok(state) => {
                assert!(!name.starts_with("err-"), "{name} is not refused");
                render(&state)
            }
            Err(error) => {
                assert!(name.starts_with("err-"), "{name}: {error}");
                error
            }
        };
        insta::with_settings!({
            snapshot_path => "../snapshots",
            prepend_module_to_snapshot => true,
            omit_expression => true,
        }, {
            insta::assert_snapshot!(rendered);
        });
    });
}
