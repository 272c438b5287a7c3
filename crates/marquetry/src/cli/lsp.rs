//! The language server: reads messages, keeps the texts, and leaves all work to other threads.
//!
//! What is to be answered is asked of [`marquetry_pattern::ide`]; here is only the protocol. The shapes
//! of messages are written as JSON, because the crate that has them as types compiles longer than
//! the rest of the command.

mod answers;
mod diagnose;
mod documents;
mod files;
mod text;
mod uri;
mod worker;

use std::sync::Arc;

use lsp_server::{Connection, ErrorCode, Message, Notification, Request, RequestId, Response};
use serde_json::{Value, json};

use self::documents::Documents;
use self::files::Folders;
use self::worker::Worker;
use super::answer::Answer;
use super::failure::Exit;

/// Serves the client on standard input and output until it says goodbye.
pub(crate) fn run() -> Answer {
    let (connection, threads) = Connection::stdio();
    let orderly = serve(connection);
    let written = threads.join().is_ok();
    let mut answer = Answer::new(String::new(), Value::Null);
    // The protocol's rule: 1 if the client went away without a `shutdown`.
    answer.found = (!orderly || !written).then_some(Exit::Found);
    answer
}

/// Where the session is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Starting,
    Running,
    ShutDown,
}

/// Serves one client; whether it said goodbye in order.
fn serve(connection: Connection) -> bool {
    let Connection { sender, receiver } = connection;
    let mut session = Session {
        state: State::Starting,
        documents: Arc::new(Documents::default()),
        worker: Worker::start(move |message| {
            // A client that went away wants no answer.
            let _ = sender.send(message);
        }),
    };
    for message in receiver {
        match message {
            Message::Request(request) => session.request(request),
            Message::Notification(note) if note.method == "exit" => break,
            Message::Notification(note) => session.notification(note),
            // The server asks nothing, so that an answer belongs to nothing.
            Message::Response(_) => {}
        }
    }
    session.state == State::ShutDown
}

struct Session {
    state: State,
    documents: Arc<Documents>,
    worker: Worker,
}

impl Session {
    fn request(&mut self, request: Request) {
        let Request { id, method, params } = request;
        match (self.state, method.as_str()) {
            (State::Starting, "initialize") => {
                self.state = State::Running;
                self.worker.work_in(Folders::of(&params));
                self.answer(Response::new_ok(id, capabilities()));
            }
            (State::Starting, _) => {
                let error = ErrorCode::ServerNotInitialized as i32;
                self.refuse(id, error, "the first request is `initialize`");
            }
            (State::ShutDown, _) | (State::Running, "initialize") => {
                let error = ErrorCode::InvalidRequest as i32;
                self.refuse(id, error, "this request comes too late");
            }
            (State::Running, "shutdown") => {
                self.state = State::ShutDown;
                self.answer(Response::new_ok(id, Value::Null));
            }
            (State::Running, method) if answers::METHODS.contains(&method) => {
                let documents = Arc::clone(&self.documents);
                let method = method.to_owned();
                self.worker.answer(worker::Request { id, method, params, documents });
            }
            (State::Running, other) => {
                let message = format!("`{other}` is not served");
                self.refuse(id, ErrorCode::MethodNotFound as i32, &message);
            }
        }
    }

    fn notification(&mut self, note: Notification) {
        if self.state != State::Running {
            return;
        }
        let params = &note.params;
        let changed = match note.method.as_str() {
            "$/cancelRequest" => {
                if let Ok(id) = serde_json::from_value::<RequestId>(params["id"].clone()) {
                    self.worker.cancel(id);
                }
                false
            }
            "textDocument/didOpen" => Arc::make_mut(&mut self.documents).open(params),
            "textDocument/didChange" => Arc::make_mut(&mut self.documents).change(params),
            "textDocument/didClose" => {
                let closed = Arc::make_mut(&mut self.documents).close(params);
                if let Some(uri) = &closed {
                    self.publish(uri, &[]);
                }
                closed.is_some()
            }
            // The files on disk may differ now, and so what they import.
            "textDocument/didSave" | "workspace/didChangeWatchedFiles" => true,
            _ => false,
        };
        if changed {
            self.worker.check(Arc::clone(&self.documents));
        }
    }

    fn publish(&self, uri: &str, diagnostics: &[Value]) {
        let params = json!({ "uri": uri, "diagnostics": diagnostics });
        let note = Notification::new("textDocument/publishDiagnostics".to_owned(), params);
        self.worker.say(note.into());
    }

    fn refuse(&self, id: RequestId, code: i32, message: &str) {
        self.answer(Response::new_err(id, code, message.to_owned()));
    }

    fn answer(&self, response: Response) {
        self.worker.say(response.into());
    }
}

fn capabilities() -> Value {
    json!({
        "capabilities": {
            "positionEncoding": "utf-16",
            "textDocumentSync": { "openClose": true, "change": 2, "save": {} },
            "hoverProvider": true,
            "completionProvider": { "triggerCharacters": ["<", "\"", "."] },
            "definitionProvider": true,
            "referencesProvider": true,
            "documentHighlightProvider": true,
            "documentSymbolProvider": true,
            "inlayHintProvider": true,
            "codeLensProvider": {},
            "documentFormattingProvider": true,
            "renameProvider": { "prepareProvider": true },
        },
        "serverInfo": { "name": "marquetry", "version": env!("CARGO_PKG_VERSION") },
    })
}
