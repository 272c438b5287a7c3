//! What is wrong with a text, in the shape of the protocol.

use std::collections::BTreeMap;

use marquetry_matcher::Schemas;
use marquetry_pattern::{Diagnostic, Library, Loader, Severity};
use serde_json::{Value, json};

use super::documents::Documents;
use super::files::{View, World};
use super::text::Lines;

/// The numbers of the protocol.
fn severity(diagnostic: &Diagnostic) -> u32 {
    match diagnostic.severity() {
        Severity::Error => 1,
        Severity::Warning => 2,
    }
}

/// All that is wrong with an open text, or hardly meant. What is wrong with a file that it uses stands at
/// the import; what is hardly meant there is said where that file is open.
pub(super) fn diagnostics(world: &mut World, documents: &Documents, uri: &str) -> Vec<Value> {
    let Some(document) = documents.get(uri) else { return Vec::new() };
    let view = world.view(documents, uri);
    let found = match Library::load(&view, &[&view.root], &Schemas) {
        Ok(library) => library.warnings().to_vec(),
        Err(errors) => errors,
    };
    let mut shown = Vec::new();
    let mut elsewhere: BTreeMap<String, Vec<&Diagnostic>> = BTreeMap::new();
    let lines = Lines::new(&document.text);
    for diagnostic in &found {
        match diagnostic.file() {
            Some(file) if file != view.root => {
                if diagnostic.severity() == Severity::Warning {
                    continue;
                }
                elsewhere.entry(file.to_owned()).or_default().push(diagnostic);
            }
            _ => shown.push(here(world, &view, uri, &lines, diagnostic)),
        }
    }
    for (file, found) in elsewhere {
        let written = format!("\"{file}\"");
        // What is used by what is used has no place here but the top.
        let place = document.text.find(&written).map_or(0..0, |at| at..at + written.len());
        let count = super::super::answer::plural(found.len(), "error");
        let first = found[0];
        let mut value = json!({
            "range": lines.range(&place),
            "severity": severity(first),
            "source": "marquetry",
            "code": first.code.to_string(),
            "message": format!("`{file}` has {count}: {}", first.fact()),
        });
        if let Some(there) = related(world, &view, first) {
            value["relatedInformation"] = json!([there]);
        }
        shown.push(value);
    }
    shown
}

fn here(
    world: &mut World,
    view: &View<'_>,
    uri: &str,
    lines: &Lines<'_>,
    diagnostic: &Diagnostic,
) -> Value {
    let mut message = format!("{}: {}", diagnostic.code.title(), diagnostic.fact());
    if let Some(hint) = diagnostic.hint() {
        message.push_str("\nhelp: ");
        message.push_str(hint);
    }
    let mut others: Vec<Value> = diagnostic
        .labels
        .iter()
        .skip(1)
        .map(|label| {
            let location = json!({ "uri": uri, "range": lines.range(&label.span.range()) });
            json!({ "location": location, "message": label.text })
        })
        .collect();
    others.extend(diagnostic.elsewhere().iter().filter_map(|other| related(world, view, other)));
    json!({
        "range": lines.range(&diagnostic.span().range()),
        "severity": severity(diagnostic),
        "source": "marquetry",
        "code": diagnostic.code.to_string(),
        "message": message,
        "relatedInformation": others,
    })
}

/// A diagnostic of another file as a remark.
fn related(world: &mut World, view: &View<'_>, other: &Diagnostic) -> Option<Value> {
    let file = other.file()?;
    let text = String::from_utf8(view.load(file).ok()?).ok()?;
    let range = Lines::new(&text).range(&other.span().range());
    let uri = world.uri(view, file)?;
    Some(json!({ "location": { "uri": uri, "range": range }, "message": other.fact() }))
}
