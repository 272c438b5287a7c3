//! Talks to the language server as an editor would: `tests/cases/lsp/*.case`, one snapshot each.
//!
//! A case has `--- file NAME` sections, which are written to a folder and, if they hold the mark `‸`,
//! opened; the mark is where the cursor stands. The other sections are steps, in order: `open NAME`,
//! `change NAME` with a new text (with a new mark, if it has one), `diagnostics NAME`, and the requests
//! `hover`, `complete`, `definition`, `references`, `highlight`, `symbols`, `hints`, `lenses`, `format`, `can-rename` and
//! `rename NAME` at the mark.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use lsp_server::{Message, Notification, Request, RequestId};
use serde_json::{Value, json};

const MARK: &str = "‸";

#[test]
fn cases() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    insta::with_settings!({
        snapshot_path => root.join("tests/snapshots/lsp"),
        prepend_module_to_snapshot => false,
        omit_expression => true,
    }, {
        insta::glob!("../../../tests/cases/lsp", "*.case", |case| {
            let text = fs::read_to_string(case).unwrap();
            insta::assert_snapshot!(run(&text));
        });
    });
}

/// A server with a folder to work in.
struct Session {
    folder: tempfile::TempDir,
    server: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    next: i32,
    /// Diagnostics by URI, the newest.
    diagnostics: BTreeMap<String, Value>,
    texts: BTreeMap<String, String>,
    /// Where the cursor stands: file, line and UTF-16 column.
    cursor: (String, usize, usize),
}

impl Session {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut server = Command::new(env!("CARGO_BIN_EXE_marquetry"))
            .args(["pattern", "lsp"])
            .env_clear()
            .env("XDG_CACHE_HOME", folder.path().join("cache"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the command was just built");
        let input = server.stdin.take().unwrap();
        let output = BufReader::new(server.stdout.take().unwrap());
        Self {
            folder,
            server,
            input,
            output,
            next: 0,
            diagnostics: BTreeMap::new(),
            texts: BTreeMap::new(),
            cursor: Default::default(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("work").join(name)
    }

    fn uri(&self, name: &str) -> String {
        format!("file://{}", self.path(name).display())
    }

    fn send(&mut self, message: Message) {
        message.write(&mut self.input).unwrap();
    }

    fn notify(&mut self, method: &str, params: Value) {
        self.send(Notification::new(method.to_owned(), params).into());
    }

    fn ask(&mut self, method: &str, params: Value) -> Result<Value, String> {
        self.next += 1;
        let id = RequestId::from(self.next);
        self.send(Request::new(id.clone(), method.to_owned(), params).into());
        loop {
            match self.receive() {
                Message::Response(response) if response.id == id => {
                    return response.response_result.map_err(|error| error.message);
                }
                Message::Response(other) => panic!("nobody asked: {other:?}"),
                _ => {}
            }
        }
    }

    fn receive(&mut self) -> Message {
        let message = Message::read(&mut self.output).unwrap().expect("the server is there");
        if let Message::Notification(note) = &message
            && note.method == "textDocument/publishDiagnostics"
        {
            let uri = note.params["uri"].as_str().unwrap().to_owned();
            self.diagnostics.insert(uri, note.params.clone());
        }
        message
    }

    /// Writes a text, and moves the cursor to its mark.
    fn take(&mut self, name: &str, text: &str) -> bool {
        let marked = text.find(MARK);
        if let Some(at) = marked {
            let line = text[..at].matches('\n').count();
            let start = text[..at].rfind('\n').map_or(0, |at| at + 1);
            let column = text[start..at].encode_utf16().count();
            self.cursor = (name.to_owned(), line, column);
        }
        let text = text.replace(MARK, "");
        self.texts.insert(name.to_owned(), text);
        marked.is_some()
    }

    fn open(&mut self, name: &str) {
        let document = json!({ "uri": self.uri(name), "languageId": "pat", "version": 1, "text": self.texts[name] });
        self.notify("textDocument/didOpen", json!({ "textDocument": document }));
    }

    fn at_cursor(&self) -> Value {
        let (name, line, column) = &self.cursor;
        let position = json!({ "line": line, "character": column });
        json!({ "textDocument": { "uri": self.uri(name) }, "position": position })
    }

    /// Asks about what is at the cursor.
    fn ask_here(&mut self, method: &str, more: &Value) -> Result<Value, String> {
        let mut params = self.at_cursor();
        for (key, value) in more.as_object().into_iter().flatten() {
            params[key] = value.clone();
        }
        self.ask(&format!("textDocument/{method}"), params)
    }

    /// The name of a file of the case, or of the library.
    fn name(&self, uri: &str) -> String {
        let work = format!("{}/", self.uri(""));
        let work = work.replace("//work", "/work");
        if let Some(name) = uri.strip_prefix(work.trim_end_matches('/')) {
            return name.trim_start_matches('/').to_owned();
        }
        let shipped = uri.split("/marquetry/patterns-").nth(1);
        let shipped = shipped.and_then(|rest| rest.split_once('/')).map(|(_, name)| name);
        format!("shipped {}", shipped.unwrap_or(uri))
    }

    fn text(&self, uri: &str) -> String {
        let path = uri.strip_prefix("file://").unwrap();
        let known = self.texts.iter().find(|(name, _)| self.path(name) == Path::new(path));
        known.map_or_else(|| fs::read_to_string(path).unwrap(), |(_, text)| text.clone())
    }

    /// `name:line:column: the text of the range`.
    fn place(&self, location: &Value) -> String {
        let uri = location["uri"].as_str().unwrap();
        format!("{}:{}", self.name(uri), shown(&self.text(uri), &location["range"]))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Where the test went wrong the server may still wait.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn byte(text: &str, position: &Value) -> usize {
    let line = position["line"].as_u64().unwrap() as usize;
    let units = position["character"].as_u64().unwrap() as usize;
    let start: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
    let rest = text[start..].lines().next().unwrap_or("");
    let before: Vec<u16> = rest.encode_utf16().take(units).collect();
    start + String::from_utf16(&before).expect("a place is between characters").len()
}

/// `line:column`, counted from one.
fn spot(position: &Value) -> String {
    let (line, column) = (&position["line"], &position["character"]);
    format!("{}:{}", line.as_u64().unwrap() + 1, column.as_u64().unwrap() + 1)
}

fn shown(text: &str, range: &Value) -> String {
    let (start, end) = (byte(text, &range["start"]), byte(text, &range["end"]));
    format!("{}: `{}`", spot(&range["start"]), text[start..end].lines().next().unwrap_or(""))
}

fn run(case: &str) -> String {
    let mut session = Session::start();
    let (_, sections) = case.split_once("--- ").expect("a case has a section");
    let sections: Vec<(&str, &str)> = sections
        .split("\n--- ")
        .map(|section| section.split_once('\n').unwrap_or((section, "")))
        .collect();
    let root = session.uri("");
    fs::create_dir_all(session.path("")).unwrap();
    let params = json!({ "capabilities": {}, "rootUri": root.trim_end_matches('/') });
    session.ask("initialize", params).unwrap();
    session.notify("initialized", json!({}));
    // All files are there before the first text is opened.
    let mut marked = Vec::new();
    for (title, body) in &sections {
        if let Some(name) = title.strip_prefix("file ") {
            marked.extend(session.take(name, body).then_some(name));
            fs::create_dir_all(session.path(name).parent().unwrap()).unwrap();
            fs::write(session.path(name), &session.texts[name]).unwrap();
        }
    }
    marked.into_iter().for_each(|name| session.open(name));
    let mut text = String::new();
    for (title, body) in sections.into_iter().filter(|(title, _)| !title.starts_with("file ")) {
        let words: Vec<&str> = title.split_whitespace().collect();
        let answer = step(&mut session, &words, body);
        if !answer.is_empty() {
            writeln!(text, "# {title}\n{}\n", answer.trim_end()).unwrap();
        }
    }
    session.ask("shutdown", Value::Null).unwrap();
    session.notify("exit", Value::Null);
    assert!(session.server.wait().unwrap().success(), "the server ends in order");
    text
}

fn step(session: &mut Session, words: &[&str], body: &str) -> String {
    match words {
        ["open", name] => {
            session.open(name);
            String::new()
        }
        ["change", name] => {
            let old = session.texts[*name].clone();
            session.take(name, body);
            change(session, name, &old);
            String::new()
        }
        ["diagnostics", name] => {
            // An answer comes after the diagnostics of what was sent before it, or before these.
            let uri = session.uri(name);
            while !session.diagnostics.contains_key(&uri) {
                session.receive();
            }
            let found = session.diagnostics.remove(&uri).unwrap();
            diagnostics(session, name, &found["diagnostics"])
        }
        ["hover"] => match session.ask_here("hover", &json!({})).unwrap() {
            Value::Null => "nothing".to_owned(),
            hover => {
                let of = shown(&session.texts[&session.cursor.0], &hover["range"]);
                format!("{of}\n{}", hover["contents"]["value"].as_str().unwrap())
            }
        },
        ["complete"] => {
            let found = session.ask_here("completion", &json!({})).unwrap();
            completions(session, &found)
        }
        ["definition"] => {
            let found = session.ask_here("definition", &json!({})).unwrap();
            places(session, &found)
        }
        ["references"] => {
            let found = session.ask_here("references", &json!({})).unwrap();
            places(session, &found)
        }
        ["highlight"] => {
            let found = session.ask_here("documentHighlight", &json!({})).unwrap();
            let text = &session.texts[&session.cursor.0];
            lines(found.as_array().unwrap().iter().map(|one| shown(text, &one["range"])))
        }
        ["symbols"] => {
            let found = session.ask_here("documentSymbol", &json!({})).unwrap();
            let text = &session.texts[&session.cursor.0];
            lines(found.as_array().unwrap().iter().map(|one| {
                let range = shown(text, &one["selectionRange"]);
                format!("{range} kind {}, {}", one["kind"], one["detail"].as_str().unwrap())
            }))
        }
        ["hints"] => {
            let found = session.ask_here("inlayHint", &json!({})).unwrap();
            let mut text = session.texts[&session.cursor.0].clone();
            for hint in found.as_array().unwrap().iter().rev() {
                let at = byte(&text, &hint["position"]);
                text.insert_str(at, &format!("‹{}›", hint["label"].as_str().unwrap()));
            }
            text
        }
        ["lenses"] => {
            let found = session.ask_here("codeLens", &json!({})).unwrap();
            let text = &session.texts[&session.cursor.0];
            lines(found.as_array().unwrap().iter().map(|one| {
                let command = &one["command"];
                let only = command["arguments"].as_array().unwrap().iter().skip(1);
                let only: Vec<_> = only.map(Value::to_string).collect();
                let (title, name) = (&command["title"], &command["command"]);
                format!("{} {title}: {name} {}", shown(text, &one["range"]), only.join(" "))
            }))
        }
        ["format"] => {
            let options = json!({ "options": { "tabSize": 8, "insertSpaces": false } });
            let found = session.ask_here("formatting", &options).unwrap();
            match found.as_array() {
                None => "refused".to_owned(),
                Some(edits) => lines(edits.iter().map(|edit| {
                    let (start, end) = (&edit["range"]["start"], &edit["range"]["end"]);
                    let new = edit["newText"].as_str().unwrap();
                    format!("{} to {}:\n{new}", spot(start), spot(end))
                })),
            }
        }
        ["can-rename"] => match session.ask_here("prepareRename", &json!({})) {
            Ok(range) => shown(&session.texts[&session.cursor.0], &range),
            Err(message) => format!("refused: {message}"),
        },
        ["rename", new] => match session.ask_here("rename", &json!({ "newName": new })) {
            Ok(edit) => edits(session, &edit["changes"]),
            Err(message) => format!("refused: {message}"),
        },
        other => panic!("unknown step {other:?}"),
    }
}

/// Sends the one range that differs, as editors do.
fn change(session: &mut Session, name: &str, old: &str) {
    let new = session.texts[name].clone();
    let before: usize =
        old.chars().zip(new.chars()).take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum();
    let both = old[before..].chars().rev().zip(new[before..].chars().rev());
    let after: usize = both.take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum();
    let position = |at: usize| {
        let start = old[..at].rfind('\n').map_or(0, |at| at + 1);
        let line = old[..at].matches('\n').count();
        json!({ "line": line, "character": old[start..at].encode_utf16().count() })
    };
    let range = json!({ "start": position(before), "end": position(old.len() - after) });
    let changes = json!([{ "range": range, "text": new[before..new.len() - after] }]);
    let document = json!({ "uri": session.uri(name), "version": 2 });
    session.diagnostics.remove(&session.uri(name));
    session.notify(
        "textDocument/didChange",
        json!({ "textDocument": document, "contentChanges": changes }),
    );
}

fn lines(lines: impl Iterator<Item = String>) -> String {
    let lines: Vec<String> = lines.collect();
    if lines.is_empty() { "nothing".to_owned() } else { lines.join("\n") }
}

fn places(session: &Session, found: &Value) -> String {
    lines(found.as_array().unwrap().iter().map(|place| session.place(place)))
}

fn diagnostics(session: &Session, name: &str, found: &Value) -> String {
    let text = &session.texts[name];
    lines(found.as_array().unwrap().iter().map(|one| {
        let mut line = format!(
            "{} {}: {}",
            shown(text, &one["range"]),
            one["code"].as_str().unwrap(),
            one["message"].as_str().unwrap().replace('\n', "\n  ")
        );
        for other in one["relatedInformation"].as_array().into_iter().flatten() {
            let place = session.place(&other["location"]);
            write!(line, "\n  also {place} {}", other["message"].as_str().unwrap()).unwrap();
        }
        format!("{} {line}", if one["severity"] == 1 { "error" } else { "warning" })
    }))
}

/// What an editor would show: proposals that go on with what is typed, the first dozen.
fn completions(session: &Session, found: &Value) -> String {
    let text = &session.texts[&session.cursor.0];
    let position = json!({ "line": session.cursor.1, "character": session.cursor.2 });
    let cursor = byte(text, &position);
    let mut shown = Vec::new();
    for one in found.as_array().unwrap() {
        let typed = &text[byte(text, &one["textEdit"]["range"]["start"])..cursor];
        let label = one["label"].as_str().unwrap();
        if label.to_lowercase().starts_with(&typed.to_lowercase()) {
            let detail = one["detail"].as_str().unwrap();
            shown.push(format!("{label} | {detail}").trim_end_matches([' ', '|']).to_owned());
        }
    }
    let more = shown.len().saturating_sub(12);
    shown.truncate(12);
    if more > 0 {
        shown.push(format!("… and {more} more"));
    }
    lines(shown.into_iter())
}

/// The texts after the edits.
fn edits(session: &Session, changes: &Value) -> String {
    let mut text = String::new();
    for (uri, edits) in changes.as_object().unwrap() {
        let mut new = session.text(uri);
        let mut edits: Vec<&Value> = edits.as_array().unwrap().iter().collect();
        edits.sort_by_key(|edit| std::cmp::Reverse(byte(&new, &edit["range"]["start"])));
        for edit in edits {
            let range = byte(&new, &edit["range"]["start"])..byte(&new, &edit["range"]["end"]);
            new.replace_range(range, edit["newText"].as_str().unwrap());
        }
        writeln!(text, "## {}\n{}", session.name(uri), new.trim_end()).unwrap();
    }
    text
}

/// A generator of numbers that are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }

    fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

const PIECES: &[&str] = &[
    "pattern P (x) => (y) {",
    "}",
    " y = Relu(x)",
    "<",
    ">",
    "\n",
    "use \"std/math.pat\"",
    " { square",
    "def f(x) = x",
    "square(",
    "com.microsoft.",
    "😀",
    "β",
    "\"",
    "#",
    "where ",
    "eps",
    ", ",
    "test \"t\" ",
    "g (float[2] x) => (float[2] y) {",
    "matches P",
    "quant { skip ",
    "..",
    "((((((((",
    "\r\n",
    "1e",
    "opset",
];

const METHODS: &[&str] = &[
    "textDocument/hover",
    "textDocument/completion",
    "textDocument/definition",
    "textDocument/references",
    "textDocument/documentHighlight",
    "textDocument/documentSymbol",
    "textDocument/inlayHint",
    "textDocument/prepareRename",
    "textDocument/rename",
    "textDocument/formatting",
    "textDocument/codeLens",
    "initialize",
    "no/such",
];

const NOTES: &[&str] = &[
    "initialized",
    "textDocument/didOpen",
    "textDocument/didChange",
    "textDocument/didChange",
    "textDocument/didChange",
    "textDocument/didSave",
    "textDocument/didClose",
    "workspace/didChangeWatchedFiles",
    "$/cancelRequest",
    "$/setTrace",
];

fn params(numbers: &mut Numbers, folder: &Path) -> Value {
    let text: String = (0..numbers.below(12)).map(|_| *numbers.one(PIECES)).collect();
    let mut place = || json!({ "line": numbers.below(5), "character": numbers.below(30) });
    let (start, end, position) = (place(), place(), place());
    let range = json!({ "start": start, "end": end });
    let uris = [
        format!("file://{}/a.pat", folder.display()),
        format!("file://{}/std/b.pat", folder.display()),
        "untitled:Untitled-1".to_owned(),
        "file:///%zz".to_owned(),
    ];
    let change = match numbers.below(4) {
        0 => json!({ "text": text }),
        1 => json!({ "text": text, "range": { "start": 1 } }),
        _ => json!({ "text": text, "range": range }),
    };
    let uri = numbers.one(&uris);
    let mut params = json!({
        "textDocument": { "uri": uri, "version": numbers.below(9), "text": text, "languageId": "pat" },
        "position": position,
        "range": range,
        "contentChanges": [change],
        "newName": numbers.one(&["other", "Other", "x", "", "1", "square"]),
        "id": numbers.below(300),
        "context": { "includeDeclaration": numbers.below(2) == 0 },
        "options": { "tabSize": 2, "insertSpaces": true },
    });
    match numbers.below(20) {
        0 => Value::Null,
        1 => json!([1, 2]),
        2 => {
            let keys = ["textDocument", "position", "contentChanges", "newName"];
            params[*numbers.one(&keys)] = Value::Null;
            params
        }
        _ => params,
    }
}

/// Whatever comes, and in whatever order: each request is answered once, and nothing goes wrong inside.
#[test]
fn any_messages_in_any_order_are_survived() {
    for seed in 0..6 {
        let mut numbers = Numbers(seed);
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("std")).unwrap();
        fs::write(folder.path().join("a.pat"), "use \"std/b.pat\"").unwrap();
        let mut server = Command::new(env!("CARGO_BIN_EXE_marquetry"))
            .args(["pattern", "lsp"])
            .env_clear()
            .env("XDG_CACHE_HOME", folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = server.stdin.take().unwrap();
        let mut output = BufReader::new(server.stdout.take().unwrap());
        let mut send = |message: Message| message.write(&mut input).unwrap();
        // Read beside writing: neither side may wait for the other.
        let reader = std::thread::spawn(move || {
            let mut answers = Vec::new();
            while let Ok(Some(message)) = Message::read(&mut output) {
                if let Message::Response(response) = message {
                    answers.push(response);
                }
            }
            answers
        });
        let mut asked = Vec::new();
        let mut request = |send: &mut dyn FnMut(Message), method: &str, params: Value| {
            let id = RequestId::from(i32::try_from(asked.len()).unwrap());
            send(Request::new(id.clone(), method.to_owned(), params).into());
            asked.push(id);
        };
        for at in 0..300 {
            if at == 20 {
                let root = format!("file://{}", folder.path().display());
                request(&mut send, "initialize", json!({ "capabilities": {}, "rootUri": root }));
            }
            let params = params(&mut numbers, folder.path());
            if numbers.below(3) == 0 {
                let method: &&str = numbers.one(METHODS);
                request(&mut send, method, params);
            } else {
                send(Notification::new((*numbers.one(NOTES)).to_owned(), params).into());
            }
        }
        request(&mut send, "shutdown", Value::Null);
        request(&mut send, "textDocument/hover", Value::Null);
        send(Notification::new("exit".to_owned(), Value::Null).into());
        let ended = server.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(ended.status.success() && said.is_empty(), "seed {seed}: {said}");
        let answers = reader.join().unwrap();
        let mut answered: Vec<RequestId> = answers.iter().map(|answer| answer.id.clone()).collect();
        answered.sort();
        assert_eq!(answered, asked, "seed {seed}: each request has one answer");
        for answer in answers {
            let internal = |error: &lsp_server::ResponseError| error.code == -32603;
            assert!(
                !answer.response_result.as_ref().is_err_and(internal),
                "seed {seed}: {answer:?}"
            );
        }
    }
}

/// A client that goes away without a word ends the server, which says so by its exit code.
#[test]
fn a_client_that_goes_away_ends_the_server() {
    let mut server = Command::new(env!("CARGO_BIN_EXE_marquetry"))
        .args(["pattern", "lsp"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    drop(server.stdin.take());
    assert_eq!(server.wait().unwrap().code(), Some(1));
}
