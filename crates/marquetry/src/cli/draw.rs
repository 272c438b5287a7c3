//! `marquetry draw`: a picture of a model, as one file that needs nothing else.

mod layout;
mod picture;
mod scene;

use std::path::Path;

use marquetry_ir::{NodeId, infer};
use marquetry_matcher::why::{At, Why};
use marquetry_matcher::{Groups, PlaceId};
use marquetry_pattern::Sources;
use marquetry_quant::pass::{Content, Output};
use serde_json::json;

use self::picture::Format;
use self::scene::{Piece, Scene};
use super::answer::{Answer, plural};
use super::args::{Cli, Draw};
use super::failure::{Exit, Failure};
use super::{load, outputs, why};

pub(crate) fn run(args: &Draw, cli: &Cli) -> Result<Answer, Failure> {
    let format = format(&args.output)?;
    outputs::writable(&args.output)?;
    outputs::apart(&[&args.output], std::slice::from_ref(&args.model))?;
    let model = load::model(&args.model, cli)?;
    outputs::apart(&[&args.output], &outputs::sidecars(&args.model, &model))?;
    let types = infer::run(&model);
    let groups = if args.groups {
        let library = load::library(&args.patterns.files, cli)?;
        let found = marquetry_matcher::find(
            &model,
            &types,
            library.patterns(),
            &marquetry_matcher::Options::default(),
        );
        marquetry_matcher::group(&found, library.patterns())
    } else {
        Groups::default()
    };
    let piece = match &args.at {
        None => Piece::All,
        Some(name) => {
            let sources = Sources::default();
            let at = Why::new(&model, &types, &sources).locate(name);
            let at = at.map_err(|error| why::unlocated(&error, &args.model))?;
            Piece::Around(node(at, &model.graph, name, args)?, args.depth)
        }
    };
    let scene = Scene::of(&model.graph, &types, &groups, piece).map_err(|_| {
        let message = "nodes need each other's results, so none of them comes first";
        Failure::new(Exit::Invalid, "cyclic", message)
            .at(args.model.display())
            .hint("`marquetry check` names them")
    })?;
    if scene.boxes.len() > args.limit {
        let message = format!(
            "the picture would have {} boxes, and {} are allowed",
            scene.boxes.len(),
            args.limit
        );
        let less = if args.groups { "" } else { "`--groups` makes one box of each group, " };
        return Err(Failure::new(Exit::Limit, "drawing_too_large", message)
            .at(args.model.display())
            .hint(format!("{less}`--at NODE --depth 4` draws a piece, `--limit` allows more")));
    }
    let title =
        args.model.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let picture = picture::draw(&scene, &layout::place(&scene), &title, format);
    let boxes = scene.boxes.len();
    let grouped = scene.boxes.iter().filter(|one| one.kind == scene::Kind::Group).count();
    let text = format!(
        "{}: {}{}, {}\n",
        args.output.display(),
        plural(boxes, "box").replace("boxs", "boxes"),
        if args.groups { format!(", {} of them groups", grouped) } else { String::new() },
        plural(scene.flows.len(), "value"),
    );
    let json = json!({
        "schema_version": 1,
        "written": args.output.display().to_string(),
        "boxes": boxes,
        "groups": grouped,
        "values": scene.flows.len(),
    });
    let content = Content::Text(picture);
    let file = outputs::write(&[Output { path: args.output.clone(), content }])?;
    Ok(Answer { file, ..Answer::new(text, json) })
}

/// By the end of the name; a picture on standard output is SVG.
fn format(path: &Path) -> Result<Format, Failure> {
    if outputs::is_standard(path) {
        return Ok(Format::Svg);
    }
    match path.extension().and_then(|end| end.to_str()).map(str::to_ascii_lowercase).as_deref() {
        Some("svg") => Ok(Format::Svg),
        Some("html" | "htm") => Ok(Format::Html),
        _ => {
            let message = "the end of the name does not say what kind of picture this is";
            Err(Failure::new(Exit::Usage, "unknown_picture", message)
                .at(path.display())
                .hint("end it with `.svg`, or with `.html` for a page that can be searched"))
        }
    }
}

/// The node at a place of the main graph.
fn node(at: At, graph: &marquetry_ir::Graph, name: &str, args: &Draw) -> Result<NodeId, Failure> {
    let found = match at {
        At::Node(PlaceId::MAIN, node) => Some(node),
        At::Value(PlaceId::MAIN, value) => {
            let reader = || graph.uses(value).first().map(|reader| reader.node);
            graph.producer(value).map(|(node, _)| node).or_else(reader)
        }
        _ => None,
    };
    found.ok_or_else(|| {
        let message = format!("`{name}` is no node of the main graph");
        Failure::new(Exit::Unsupported, "not_in_main_graph", message)
            .at(args.model.display())
            .hint("only the main graph is drawn")
    })
}
