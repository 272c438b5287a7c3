//! Explanations of what real models hold: they name the true cause.

use std::path::{Path, PathBuf};

use marquetry::ir::{Model, infer, onnx};
use marquetry::matcher::why::{NearMiss, Nearest, Stop, Verdict, Why};

fn model(name: &str) -> Option<Model> {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/zoo/open");
    let zoo = std::env::var_os("MARQUETRY_ZOO").map_or(default, PathBuf::from);
    let path = zoo.join("graphs").join(name);
    if !path.is_file() {
        eprintln!("skipped: no file {}", path.display());
        return None;
    }
    Some(onnx::read(path).unwrap())
}

fn nearest(model: &Model, pattern: &str) -> Nearest {
    let library = marquetry::library::standard();
    let types = infer::run(model);
    let pattern = library.patterns().iter().find(|known| known.name == pattern).unwrap();
    Why::new(model, &types, library.sources()).nearest(pattern, 10)
}

fn stop(verdict: &Verdict) -> &Stop {
    match verdict {
        Verdict::Miss(stop) => stop,
        Verdict::Match(_) => panic!("it is a miss"),
    }
}

/// Two of the sixteen norms add ε to the root instead of rooting it.
#[test]
fn a_norm_with_eps_outside_the_root_is_told() {
    for name in ["zoo_ln.ts14.onnx", "zoo_ln.ts17.onnx", "zoo_ln.dyn18no.onnx"] {
        let Some(model) = model(name) else { return };
        let nearest = nearest(&model, "LayerNorm");
        // The nearest; what ranks behind it is much farther.
        let first = nearest.misses.first().unwrap();
        assert_eq!((nearest.matches, 1 + first.also.len()), (14, 2), "{name}");
        let stop = stop(&first.explanation.verdict);
        assert_eq!(stop.code, "operator", "{name}");
        assert!(stop.message.contains("comes from Add"), "{name}: {}", stop.message);
        assert!(stop.message.contains("not from Sqrt"), "{name}: {}", stop.message);
    }
}

/// A place where a pattern matches is told to match, at each of its nodes.
#[test]
fn what_is_found_is_told_to_match() {
    let Some(model) = model("zoo_ln.ts14.onnx") else { return };
    let library = marquetry::library::standard();
    let types = infer::run(&model);
    let why = Why::new(&model, &types, library.sources());
    let groups = marquetry::groups(&model, &library);
    for group in groups.groups.iter().filter(|group| group.pattern == "LayerNorm").take(4) {
        let pattern = library.patterns().iter().find(|known| known.name == group.pattern).unwrap();
        for &node in &group.nodes {
            let at = marquetry::matcher::why::At::Node(group.place, node);
            assert!(why.explain(pattern, at).is_match(), "{node}");
        }
    }
}

/// Several patterns at once are told what each is told alone, on any number of threads.
#[test]
fn near_misses_of_several_are_those_of_each() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/digits/vit.onnx");
    let model = onnx::read(&path).unwrap();
    let library = marquetry::library::standard();
    let types = infer::run(&model);
    let why = Why::new(&model, &types, library.sources());
    let patterns = library.patterns();
    let told = |pattern: usize, miss: &NearMiss| {
        let change = miss.suggestion.as_ref().map(|change| change.change.clone());
        let explanation = &miss.explanation;
        let message = stop(&explanation.verdict).message.clone();
        (pattern, explanation.anchor, explanation.satisfied(), message, miss.also.len(), change)
    };
    let mut each = Vec::new();
    for (at, pattern) in patterns.iter().enumerate() {
        let misses = why.nearest(pattern, 2).misses;
        let misses = misses.iter().filter(|miss| miss.explanation.satisfied().0 > 0);
        each.extend(misses.map(|miss| told(at, miss)));
    }
    assert!(each.len() >= 5, "{each:?}");
    for threads in [1, 2, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let all = pool.install(|| why.nearest_of(patterns, 2, usize::MAX));
        assert_eq!(all.partly, 0);
        let all: Vec<_> = all.misses.iter().map(|(at, miss)| told(*at, miss)).collect();
        let falls = all.windows(2).all(|pair| {
            let ((a, of_a), (b, of_b)) = (pair[0].2, pair[1].2);
            a * of_b >= b * of_a
        });
        assert!(falls, "{threads}: {all:?}");
        let mut sorted = all;
        sorted.sort();
        let mut each = each.clone();
        each.sort();
        assert_eq!(sorted, each, "{threads}");
    }
}
