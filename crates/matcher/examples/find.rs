//! Finds the patterns of a folder in models: counts, and times.
//!
//! `cargo run --release -p marquetry-matcher --example find -- patterns MODEL.onnx …`
//!
//! `--plain` searches as the language is defined, without short cuts; `--times N` takes the best of
//! several; `--misses` says why there is no match. `RAYON_NUM_THREADS=1` measures one thread.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is a program")]

use std::path::{Path, PathBuf};
use std::time::Instant;

use marquetry_ir::{infer, onnx};
use marquetry_matcher::{Matches, Options, Schemas, find, group};
use marquetry_pattern::{Files, Library, SearchPath};

fn main() {
    let mut args = std::env::args().skip(1).peekable();
    let (mut explain, mut plain, mut times) = (false, false, 1);
    while let Some(flag) = args.next_if(|arg| arg.starts_with("--")) {
        match flag.as_str() {
            "--misses" => explain = true,
            "--plain" => plain = true,
            _ => {
                times = args.next().and_then(|n| n.parse().ok()).expect("`--times` takes a number");
            }
        }
    }
    let folder = PathBuf::from(args.next().expect("the first argument is a folder of patterns"));
    let library = match load(&folder) {
        Ok(library) => library,
        Err(errors) => {
            for error in errors {
                let hint = error.hint().unwrap_or_default();
                let file = error.file().unwrap_or_default();
                eprintln!("{file}:{}: {error}: {} ({hint})", error.span().start, error.fact());
            }
            std::process::exit(1);
        }
    };
    for path in args {
        let model = match onnx::read(Path::new(&path)) {
            Ok(model) => model,
            Err(error) => {
                println!("{path}: {error}");
                continue;
            }
        };
        let start = Instant::now();
        let types = infer::run(&model);
        let inferred = start.elapsed();
        let options = Options { misses: explain, plain, ..Options::default() };
        let mut found = std::time::Duration::MAX;
        let mut matches = Matches::default();
        for _ in 0..times.max(1) {
            let start = Instant::now();
            matches = find(&model, &types, library.patterns(), &options);
            found = found.min(start.elapsed());
        }
        let groups = group(&matches, library.patterns());
        let nodes = model.graph.nodes().count();
        let each = found.as_secs_f64() * 1e9 / nodes.max(1) as f64;
        println!(
            "{path}: {nodes} nodes, infer {:.1} ms, find {:.1} ms: {each:.0} ns/node, {:.1} ns/node·pattern; \
             {} matches, {} exhausted, {:?}",
            inferred.as_secs_f64() * 1e3,
            found.as_secs_f64() * 1e3,
            each / library.patterns().len().max(1) as f64,
            matches.matches.len(),
            matches.exhausted.len(),
            groups.counts()
        );
        for miss in &matches.misses {
            let place = matches.graph(&model, miss.place);
            let anchor = place.outputs(miss.anchor)[0].map(|v| place.value(v).name());
            let value = miss.value.map(|value| place.value(value).name());
            let pattern = &library.patterns()[miss.pattern].name;
            let (line, _) = library.sources().position(miss.span);
            println!(
                "  {} {pattern} at {anchor:?}: {} at {value:?}: line {line} `{}`",
                miss.nodes,
                miss.reason,
                library.sources().text(miss.span)
            );
        }
    }
}

fn load(folder: &Path) -> Result<Library, Vec<marquetry_pattern::Diagnostic>> {
    let mut roots: Vec<String> = std::fs::read_dir(folder)
        .expect("the folder can be read")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(".pat"))
        .collect();
    roots.sort();
    let roots: Vec<&str> = roots.iter().map(String::as_str).collect();
    let nothing = Files(&[]);
    let loader = SearchPath::new(vec![folder.to_owned()], &nothing);
    Library::load(&loader, &roots, &Schemas)
}
