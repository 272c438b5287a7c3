//! Text to model and back, and what is refused.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use marquetry_ir::text::{self, ParseError, PrintOptions};
use marquetry_ir::{Graph, Model, Opsets, compare};

use crate::case::sections;

/// What a case parses to: a `model`, or a `graph` for the operators of opset 21.
enum Parsed {
    Model(Box<Model>),
    Graph(Box<Graph>),
}

impl Parsed {
    fn parse(section: &str, src: &str) -> Result<Self, ParseError> {
        match section {
            "model" => text::parse(src).map(|model| Self::Model(Box::new(model))),
            "graph" => {
                let graph = text::parse_graph(src, &Opsets::onnx(21));
                graph.map(|graph| Self::Graph(Box::new(graph)))
            }
            other => panic!("a case has a section `model` or `graph`, not `{other}`"),
        }
    }

    fn print(&self, options: &PrintOptions) -> String {
        match self {
            Self::Model(model) => text::print(model, options),
            Self::Graph(graph) => text::print_graph(graph, options),
        }
    }

    fn difference(&self, other: &Self) -> Option<compare::Difference> {
        match (self, other) {
            (Self::Model(one), Self::Model(other)) => compare::difference(one, other),
            (Self::Graph(one), Self::Graph(other)) => compare::graph_difference(one, other),
            _ => panic!("one section is parsed in one way"),
        }
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/text")
}

/// The section and text of every case, by file name.
fn corpus() -> Vec<(String, String, String)> {
    let files = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        files.filter(|path| path.extension() == Some("case".as_ref())).collect();
    files.sort();
    let case = |path: PathBuf| {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let case = fs::read_to_string(&path).unwrap();
        let &(section, src) = sections(&case).first().expect("a case has a section");
        (name, section.to_owned(), src.to_owned())
    };
    files.into_iter().map(case).collect()
}

/// What the syntax says about a text: its layout and the official one, or the error.
fn render(section: &str, src: &str) -> String {
    let parsed = match Parsed::parse(section, src) {
        Ok(parsed) => parsed,
        Err(error) => {
            let mut out = format!("{}\n{error}\n", error.code());
            if let Some(hint) = error.hint() {
                writeln!(out, "hint: {hint}").unwrap();
            }
            return out;
        }
    };
    let ours = parsed.print(&PrintOptions::default());
    let official = parsed.print(&PrintOptions::official());
    format!("{ours}--- official\n{official}\n")
}

#[test]
fn cases() {
    insta::glob!("../cases/text", "*.case", |path| {
        let case = fs::read_to_string(path).unwrap();
        let &(section, src) = sections(&case).first().unwrap();
        insta::with_settings!({
            snapshot_path => "../snapshots",
            prepend_module_to_snapshot => true,
            omit_expression => true,
        }, {
            insta::assert_snapshot!(render(section, src));
        });
    });
}

#[test]
fn refusals_are_the_cases_that_say_so() {
    for (name, section, src) in corpus() {
        match Parsed::parse(&section, &src) {
            Ok(_) => assert!(!name.starts_with("err-"), "{name} is not refused"),
            Err(error) => {
                let code = error.code().replace('_', "-");
                let of_code = name.strip_prefix("err-").is_some_and(|rest| rest.starts_with(&code));
                assert!(of_code, "{name}: {}: {error}", error.code());
            }
        }
    }
}

#[test]
fn every_code_has_a_case() {
    let source = include_str!("../../crates/ir/src/text/error.rs");
    let codes =
        source.lines().filter_map(|line| line.trim().split_once("=> \"")?.1.strip_suffix("\","));
    let names: Vec<_> = corpus().into_iter().map(|(name, ..)| name).collect();
    let missing: Vec<_> = codes
        .filter(|code| {
            let case = format!("err-{}", code.replace('_', "-"));
            !names.iter().any(|name| name.starts_with(&case))
        })
        .collect();
    assert!(missing.is_empty(), "codes without a case: {missing:?}");
}

#[test]
fn printing_is_the_inverse_of_parsing() {
    for (name, section, src) in corpus() {
        let Ok(parsed) = Parsed::parse(&section, &src) else { continue };
        check_inverse(&section, &parsed, &name);
    }
}

/// Printing and parsing gives an equal model, which is printed the same.
fn check_inverse(section: &str, parsed: &Parsed, name: &str) {
    let printed = parsed.print(&PrintOptions::default());
    match Parsed::parse(section, &printed) {
        Err(error) => panic!("{name}: {error}\n{printed}"),
        Ok(again) => {
            assert_eq!(parsed.difference(&again), None, "{name}\n{printed}");
            assert_eq!(again.print(&PrintOptions::default()), printed, "{name}");
        }
    }
}

#[test]
fn a_file_with_every_field_survives_as_text() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/onnx/every-field.onnx");
    let model = marquetry_ir::onnx::read(path).unwrap();
    check_inverse("model", &Parsed::Model(Box::new(model)), "every-field.onnx");
}

#[test]
fn a_cut_text_is_refused_without_a_panic() {
    for (_, section, src) in corpus() {
        let step = src.len() / 400 + 1;
        for (end, _) in src.char_indices().step_by(step) {
            // A model cut between its functions is a model still.
            if let Ok(parsed) = Parsed::parse(&section, &src[..end]) {
                check_inverse(&section, &parsed, &src[..end]);
            }
        }
    }
}

#[test]
fn a_damaged_text_is_refused_or_means_something() {
    let mut random = Random(1);
    let mut meant = 0;
    for (_, section, src) in corpus() {
        for _ in 0..150 {
            let mut damaged = src.clone();
            for _ in 0..=random.below(2) {
                damage(&mut damaged, &mut random);
            }
            if let Ok(parsed) = Parsed::parse(&section, &damaged) {
                meant += 1;
                check_inverse(&section, &parsed, &damaged);
            }
        }
    }
    // If nothing parsed, the damage would say nothing about printing.
    assert!(meant > 100, "{meant}");
}

/// Puts in, takes out or replaces a little, or copies a part of the text to another place.
fn damage(text: &mut String, random: &mut Random) {
    const PIECES: [&str; 24] = [
        "<", ">", "(", ")", "[", "]", "{", "}", ",", ":", "=", "=>", "?", ".", "@", "\"", "\\",
        "#@ ", "-", "9", "e", "float", "x", "\n",
    ];
    let at = random.boundary(text);
    let next = text[at..].chars().next().map_or(at, |char| at + char.len_utf8());
    let piece = PIECES[random.below(PIECES.len())];
    match random.below(4) {
        0 => text.insert_str(at, piece),
        1 => text.replace_range(at..next, ""),
        2 => text.replace_range(at..next, piece),
        _ => {
            let end = random.boundary(text).max(at);
            let part = text[at..end].to_owned();
            text.insert_str(random.boundary(text), &part);
        }
    }
}

#[test]
fn endless_nesting_is_refused() {
    let graphs = "g () => (float y) { y = If () <then_branch: graph = ".repeat(10_000);
    let types = format!("g ({} x) => () {{}}", "seq(".repeat(100_000));
    let lists = format!("g () => () {{ = Op <a = {}> () }}", "[".repeat(100_000));
    for (src, code) in [(graphs, "too_deep"), (types, "too_deep"), (lists, "unexpected")] {
        let error = text::parse_graph(&src, &Opsets::onnx(21)).unwrap_err();
        assert_eq!(error.code(), code);
        assert!(error.to_string().len() < 200, "{error}");
    }
}

/// SplitMix64: the same damage on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }

    /// A place between two characters.
    fn boundary(&mut self, text: &str) -> usize {
        let mut at = self.below(text.len() + 1);
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    }
}
