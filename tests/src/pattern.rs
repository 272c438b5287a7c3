//! `.pat` text to Core, or to drawn errors; and nothing that is typed can make the reader panic.

use std::fmt::Write;
use std::path::Path;
use std::time::Instant;

use marquetry_matcher::Schemas;
use marquetry_pattern::{Code, Diagnostic, Files, Library, SearchPath};

/// The patterns of `tests/cases/pattern`, with the schemas of all opsets.
///
/// A case has one `--- pattern` section, which is the root, and any number of `--- file name`
/// sections that it can `use`.
#[test]
fn cases() {
    let mut settings = insta::Settings::clone_current();
    settings.set_omit_expression(true);
    settings.set_prepend_module_to_snapshot(false);
    settings.set_snapshot_path("../snapshots/pattern");
    settings.bind(|| {
        insta::glob!("../cases/pattern", "*.case", |path| {
            let case = std::fs::read_to_string(path).unwrap();
            let rendered = render(&case);
            let name = path.file_stem().unwrap().to_str().unwrap();
            let refused = rendered.starts_with("P0");
            assert_eq!(name.starts_with("err-"), refused, "{name}: {rendered}");
            insta::assert_snapshot!(rendered);
        });
    });
}

fn render(case: &str) -> String {
    let mut files = Vec::new();
    for (head, body) in crate::case::sections(case) {
        let name = match head.split_once(' ') {
            Some(("file", name)) => name,
            _ => "case.pat",
        };
        files.push((name, body));
    }
    match Library::load(&Files(&files), &["case.pat"], &Schemas) {
        Ok(library) => {
            let mut text: String = library.warnings().iter().map(drawn).collect();
            for pattern in library.patterns().iter().chain(library.rules()) {
                writeln!(text, "{pattern}").unwrap();
            }
            text
        }
        Err(errors) => errors.iter().map(drawn).collect(),
    }
}

pub(crate) fn drawn(error: &Diagnostic) -> String {
    let handler =
        miette::GraphicalReportHandler::new_themed(miette::GraphicalTheme::unicode_nocolor());
    let mut text = String::new();
    handler.with_width(100).render_report(&mut text, error).unwrap();
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n") + "\n"
}

/// Every code that the checker reports has a case that shows it.
#[test]
fn every_code_has_a_case() {
    for code in Code::ALL {
        let cases = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/cases/pattern"));
        let case = std::fs::read_to_string(cases.join(format!("err-{code}.case")));
        let rendered = render(&case.unwrap_or_else(|error| panic!("err-{code}.case: {error}")));
        assert!(rendered.contains(&code.to_string()), "{code}: {rendered}");
    }
}

/// The bad examples of the long forms have their code and no other, the good ones none.
#[test]
fn explanations_are_right() {
    let mut wrong = String::new();
    for code in Code::ALL {
        let (bad, good): (Vec<_>, Vec<_>) =
            code.examples().into_iter().partition(|example| example.bad);
        for (examples, expected) in [(bad, vec![code]), (good, Vec::new())] {
            let files: Vec<(&str, &str)> =
                examples.iter().map(|example| (example.file, example.text)).collect();
            let found = match Library::load(&Files(&files), &["case.pat"], &Schemas) {
                Ok(library) => library.warnings().to_vec(),
                Err(errors) => errors,
            };
            let mut codes: Vec<Code> = found.iter().map(|error| error.code).collect();
            codes.dedup();
            if codes != expected {
                let found: String = found.iter().map(drawn).collect();
                writeln!(wrong, "{code}: {codes:?} is not {expected:?}\n{found}").unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/patterns");
const EXAMPLES: &[&str] = &["std/math.pat", "groups.pat", "rules.pat"];

fn fixture(path: &str) -> String {
    std::fs::read_to_string(Path::new(FIXTURES).join(path)).unwrap()
}

/// Loads a text as `path`, with the example files beside it.
fn load(path: &str, text: &str) -> Result<Library, Vec<Diagnostic>> {
    let files: Vec<(&str, String)> = EXAMPLES
        .iter()
        .map(|name| (*name, if *name == path { text.to_owned() } else { fixture(name) }))
        .collect();
    let files: Vec<(&str, &str)> =
        files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    Library::load(&Files(&files), &[path], &Schemas)
}

#[test]
fn the_examples_of_the_language_are_right() {
    let none = Files(&[]);
    let folder = SearchPath::new(vec![FIXTURES.into()], &none);
    let library = Library::load(&folder, EXAMPLES, &Schemas)
        .unwrap_or_else(|errors| panic!("{}", errors.iter().map(drawn).collect::<String>()));
    let names: Vec<&str> = library.patterns().iter().map(|p| p.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "LayerNorm",
            "RmsNorm",
            "Gelu",
            "GeluTanh",
            "Silu",
            "HardSwish",
            "ConvBnRelu",
            "Linear",
            "Attention",
            "Rope",
            "SwiGlu",
            "MaskedSoftmax",
            "SkipLayerNorm"
        ]
    );
    assert_eq!((library.rules().len(), library.tests().len()), (14, 4));
}

/// Paragraphs of the example files: an item or a few.
fn paragraphs() -> Vec<String> {
    let texts = EXAMPLES.iter().map(|path| fixture(path));
    texts.flat_map(|text| text.split("\n\n").map(str::to_owned).collect::<Vec<_>>()).collect()
}

#[test]
fn prefixes_are_parsed_or_refused_with_a_place() {
    for text in paragraphs() {
        for (_, end) in tokens(&text) {
            check_damaged(&text[..end]);
        }
    }
}

#[test]
fn texts_with_one_token_less_are_parsed_or_refused_with_a_place() {
    for text in paragraphs() {
        for (start, end) in tokens(&text) {
            check_damaged(&format!("{}{}", &text[..start], &text[end..]));
        }
    }
}

fn check_damaged(text: &str) {
    for error in Library::parse("piece.pat", text, &Schemas).err().into_iter().flatten() {
        let range = error.span().range();
        assert!(!error.fact().is_empty());
        assert!(text.get(range.clone()).is_some(), "{range:?} of {} bytes", text.len());
    }
}

/// Words, and everything else one character at a time.
fn tokens(text: &str) -> Vec<(usize, usize)> {
    let mut tokens: Vec<(usize, usize)> = Vec::new();
    let mut in_word = false;
    for (at, c) in text.char_indices() {
        let word = c.is_alphanumeric() || c == '_';
        match tokens.last_mut() {
            Some(last) if word && in_word => last.1 = at + c.len_utf8(),
            _ if !c.is_whitespace() => tokens.push((at, at + c.len_utf8())),
            _ => {}
        }
        in_word = word;
    }
    tokens
}

#[test]
fn line_endings_and_marks_do_not_matter() {
    for path in EXAMPLES {
        let text = format!("\u{feff}{}", fixture(path).replace('\n', "\r\n"));
        load(path, &text).unwrap_or_else(|errors| panic!("{}", drawn(&errors[0])));
    }
}

#[test]
fn bytes_that_are_no_text_are_refused() {
    let loader = |_: &str| Ok(b"def f(x) = x\n\xff".to_vec());
    let errors = Library::load(&loader, &["a.pat"], &Schemas).unwrap_err();
    assert_eq!((errors[0].code, errors[0].fact()), (Code::Load, "byte 13 is not UTF-8"));
}

/// Definitions that double at each level grow without end; they are refused, quickly.
#[test]
fn explosions_are_refused() {
    let mut text = "def f0(x) = Relu(x) | Abs(x)\n".to_owned();
    for at in 1..40 {
        let last = at - 1;
        writeln!(text, "def f{at}(x) = f{last}(Neg(f{last}(x)))").unwrap();
    }
    text.push_str("pattern P (x) => (y) { y = f39(x) }\n");
    let before = Instant::now();
    let errors = Library::parse("bomb.pat", &text, &Schemas).unwrap_err();
    assert!(errors.iter().all(|error| error.code == Code::TooLarge), "{}", drawn(&errors[0]));
    assert!(before.elapsed().as_secs() < 30, "{:?}", before.elapsed());
}
