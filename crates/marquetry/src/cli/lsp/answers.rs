//! Requests and their answers, in the shape of the protocol.

use std::collections::BTreeMap;
use std::ops::Range;

use lsp_server::ErrorCode;
use marquetry_matcher::Schemas;
use marquetry_pattern::ide::{Analysis, CompletionKind, Place, RenameErrorKind, SymbolKind};
use serde_json::{Map, Value, json};

use super::documents::Documents;
use super::files::{View, World};
use super::text::Lines;

/// The requests that are served.
pub(super) const METHODS: &[&str] = &[
    "textDocument/hover",
    "textDocument/completion",
    "textDocument/definition",
    "textDocument/references",
    "textDocument/documentHighlight",
    "textDocument/documentSymbol",
    "textDocument/inlayHint",
    "textDocument/codeLens",
    "textDocument/prepareRename",
    "textDocument/rename",
    "textDocument/formatting",
];

/// Why there is no answer.
pub(super) struct Refusal {
    pub(super) code: ErrorCode,
    pub(super) message: String,
}

impl Refusal {
    fn params(message: &str) -> Self {
        Self { code: ErrorCode::InvalidParams, message: message.to_owned() }
    }
}

/// The answer to one of [`METHODS`].
pub(super) fn answer(
    world: &mut World,
    documents: &Documents,
    method: &str,
    params: &Value,
) -> Result<Value, Refusal> {
    let uri = params["textDocument"]["uri"].as_str();
    let uri = uri.ok_or_else(|| Refusal::params("the request names no text"))?;
    let document = documents.get(uri).ok_or_else(|| Refusal::params("this text is not open"))?;
    let view = world.view(documents, uri);
    let lines = Lines::new(&document.text);
    let offset = || {
        let offset = lines.offset(&params["position"]);
        offset.ok_or_else(|| Refusal::params("the request names no position"))
    };
    let mut request = Asked { world, view, lines: &lines };
    match method {
        "textDocument/hover" => Ok(request.hover(offset()?)),
        "textDocument/completion" => Ok(request.complete(offset()?)),
        "textDocument/definition" => Ok(request.definition(offset()?)),
        "textDocument/references" => {
            let declarations = params["context"]["includeDeclaration"].as_bool().unwrap_or(true);
            Ok(request.references(offset()?, declarations))
        }
        "textDocument/documentHighlight" => Ok(request.highlight(offset()?)),
        "textDocument/documentSymbol" => Ok(request.symbols()),
        "textDocument/inlayHint" => Ok(request.hints(&params["range"])),
        "textDocument/codeLens" => Ok(request.lenses(uri)),
        "textDocument/prepareRename" => request.renamable(offset()?),
        "textDocument/rename" => {
            let new = params["newName"].as_str();
            let new = new.ok_or_else(|| Refusal::params("the request names no new name"))?;
            request.rename(offset()?, new)
        }
        "textDocument/formatting" => Ok(request.format(&document.text)),
        other => unreachable!("`{other}` is not in the list of what is served"),
    }
}

/// A request about one text.
struct Asked<'r, 'd> {
    world: &'r mut World,
    view: View<'d>,
    lines: &'r Lines<'d>,
}

impl Asked<'_, '_> {
    /// The text with what it imports.
    fn analysis(&self) -> Analysis<'static> {
        Analysis::new(&self.view, &[&self.view.root], &Schemas)
    }

    /// The text with all files around it.
    fn whole(&self) -> Analysis<'static> {
        let all = self.view.all();
        let roots: Vec<&str> = all.iter().map(String::as_str).collect();
        Analysis::new(&self.view, &roots, &Schemas)
    }

    fn location(&mut self, analysis: &Analysis<'_>, place: &Place) -> Option<Value> {
        let text = analysis.text(&place.path)?;
        let uri = self.world.uri(&self.view, &place.path)?;
        Some(json!({ "uri": uri, "range": Lines::new(&text).range(&place.range) }))
    }

    fn locations(&mut self, analysis: &Analysis<'_>, places: &[Place]) -> Value {
        places.iter().filter_map(|place| self.location(analysis, place)).collect()
    }

    fn hover(&self, offset: usize) -> Value {
        let Some(hover) = self.analysis().hover(&self.view.root, offset) else {
            return Value::Null;
        };
        json!({
            "contents": { "kind": "markdown", "value": hover.markdown },
            "range": self.lines.range(&hover.range),
        })
    }

    fn complete(&self, offset: usize) -> Value {
        let files = self.view.importable();
        let found = self.analysis().complete(&self.view.root, offset, &files, &self.view);
        let shown = |(at, one): (usize, &marquetry_pattern::ide::Completion)| {
            json!({
                "label": one.label,
                "kind": completion_kind(one.kind),
                "detail": one.detail,
                // What is nearest comes first; without it editors sort by name.
                "sortText": format!("{at:05}"),
                "textEdit": { "range": self.lines.range(&one.replaces), "newText": one.label },
            })
        };
        found.iter().enumerate().map(shown).collect()
    }

    fn definition(&mut self, offset: usize) -> Value {
        let analysis = self.analysis();
        let places = analysis.definition(&self.view.root, offset);
        self.locations(&analysis, &places)
    }

    fn references(&mut self, offset: usize, declarations: bool) -> Value {
        let analysis = self.whole();
        let places = analysis.references(&self.view.root, offset, declarations);
        self.locations(&analysis, &places)
    }

    fn highlight(&self, offset: usize) -> Value {
        let places = self.analysis().references(&self.view.root, offset, true);
        let here = places.iter().filter(|place| place.path == self.view.root);
        here.map(|place| json!({ "range": self.lines.range(&place.range) })).collect()
    }

    fn symbols(&self) -> Value {
        let shown = |symbol: marquetry_pattern::ide::Symbol| {
            json!({
                "name": symbol.name,
                "kind": symbol_kind(symbol.kind),
                "detail": symbol.detail,
                "range": self.lines.range(&symbol.range),
                "selectionRange": self.lines.range(&symbol.name_range),
            })
        };
        // The protocol wants names that are not empty.
        let symbols = self.analysis().symbols(&self.view.root).into_iter();
        symbols.filter(|symbol| !symbol.name.is_empty()).map(shown).collect()
    }

    fn hints(&self, range: &Value) -> Value {
        let range = self.lines.bytes(range).unwrap_or(0..usize::MAX);
        let shown = |(place, kind): (Range<usize>, &str)| {
            json!({
                "position": self.lines.position(place.end),
                "label": format!(": {kind}"),
                "kind": 1,
            })
        };
        self.analysis().kinds(&self.view.root, &range).into_iter().map(shown).collect()
    }

    /// Above each test, and above the first item all of them: what runs them. The command is the
    /// editor's, which knows where to show what they print.
    fn lenses(&self, uri: &str) -> Value {
        let symbols = self.analysis().symbols(&self.view.root);
        let tests: Vec<_> =
            symbols.iter().filter(|symbol| symbol.kind == SymbolKind::Test).collect();
        let (Some(first), false) = (symbols.first(), tests.is_empty()) else { return json!([]) };
        let lens = |range: &Range<usize>, title: String, arguments: Value| {
            let command =
                json!({ "title": title, "command": "marquetry.test", "arguments": arguments });
            json!({ "range": self.lines.range(range), "command": command })
        };
        let count = super::super::answer::plural(tests.len(), "test");
        let all = lens(&first.name_range, format!("run {count}"), json!([uri]));
        let each = tests
            .iter()
            .map(|test| lens(&test.name_range, "run test".to_owned(), json!([uri, test.name])));
        [all].into_iter().chain(each).collect()
    }

    fn renamable(&self, offset: usize) -> Result<Value, Refusal> {
        let place = self.analysis().renamable(&self.view.root, offset).map_err(refused)?;
        Ok(self.lines.range(&place.range))
    }

    fn rename(&mut self, offset: usize, new: &str) -> Result<Value, Refusal> {
        let analysis = self.whole();
        let edits = analysis.rename(&self.view.root, offset, new).map_err(refused)?;
        let mut changes: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for (place, text) in &edits {
            if !self.view.is_own(&place.path) {
                let message = format!("`{}` is a file of the shipped library", place.path);
                return Err(Refusal { code: ErrorCode::RequestFailed, message });
            }
            if let Some(mut edit) = self.location(&analysis, place) {
                let uri = edit["uri"].as_str().unwrap_or_default().to_owned();
                let range = edit["range"].take();
                let edit = json!({ "range": range, "newText": text });
                changes.entry(uri).or_default().push(edit);
            }
        }
        let changes: Map<String, Value> =
            changes.into_iter().map(|(uri, edits)| (uri, Value::Array(edits))).collect();
        Ok(json!({ "changes": changes }))
    }

    /// The layout that `marquetry pattern fmt` makes, whatever the editor thinks of tabs. A text with
    /// errors of syntax has none; its diagnostics say why.
    fn format(&self, text: &str) -> Value {
        let Ok(new) = marquetry_pattern::fmt::format(text) else { return Value::Null };
        let Some((range, new)) = difference(text, &new) else { return json!([]) };
        json!([{ "range": self.lines.range(&range), "newText": new }])
    }
}

/// The lines that differ, and what stands there in the new text: what is around them is left alone, so
/// that the cursor and the marks of the editor stay where they are.
fn difference<'t>(old: &'t str, new: &'t str) -> Option<(Range<usize>, &'t str)> {
    if old == new {
        return None;
    }
    let before = same(old.split_inclusive('\n').zip(new.split_inclusive('\n')));
    let (old_rest, new_rest) = (&old[before..], &new[before..]);
    let from_the_end = old_rest.split_inclusive('\n').rev();
    let after = same(from_the_end.zip(new_rest.split_inclusive('\n').rev()));
    Some((before..old.len() - after, &new_rest[..new_rest.len() - after]))
}

/// How long the lines are that are the same, up to the first that is not.
fn same<'t>(lines: impl Iterator<Item = (&'t str, &'t str)>) -> usize {
    lines.take_while(|(one, other)| one == other).map(|(line, _)| line.len()).sum()
}

fn refused(error: marquetry_pattern::ide::RenameError) -> Refusal {
    let code = match error.kind {
        RenameErrorKind::NotAName => ErrorCode::InvalidParams,
        _ => ErrorCode::RequestFailed,
    };
    Refusal { code, message: error.message }
}

/// The numbers of the protocol.
fn completion_kind(kind: CompletionKind) -> u32 {
    match kind {
        CompletionKind::Variable => 6,
        CompletionKind::Attribute => 10,
        CompletionKind::Definition | CompletionKind::Function => 3,
        CompletionKind::Pattern => 7,
        CompletionKind::OperatorSet => 13,
        CompletionKind::Operator => 2,
        CompletionKind::Keyword => 14,
        CompletionKind::Dtype => 25,
        CompletionKind::File => 17,
    }
}

/// The numbers of the protocol.
fn symbol_kind(kind: SymbolKind) -> u32 {
    match kind {
        SymbolKind::Definition => 12,
        SymbolKind::Pattern => 5,
        SymbolKind::Rule => 24,
        SymbolKind::OperatorSet => 10,
        SymbolKind::Test => 15,
    }
}
