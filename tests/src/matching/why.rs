//! Explanations of what real models hold: they name the true cause.

use std::path::{Path, PathBuf};

use marquetry::ir::{Model, infer, onnx};
use marquetry::matcher::why::{Nearest, Stop, Verdict, Why};

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
