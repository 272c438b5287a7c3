//! The two threads that work: one answers requests, in their order; one checks texts, the newest only.
//! Neither waits for the other, so that a large text that is checked delays no answer about another.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use lsp_server::{ErrorCode, Message, Notification, RequestId, Response};
use serde_json::{Value, json};

use super::documents::Documents;
use super::files::{Folders, World};
use super::{answers, diagnose};

/// The most requests that are remembered as cancelled.
const MAX_CANCELLED: usize = 1000;

/// A request, about the texts as they were when it came.
pub(super) struct Request {
    pub(super) id: RequestId,
    pub(super) method: String,
    pub(super) params: Value,
    pub(super) documents: Arc<Documents>,
}

/// What the thread that answers hears.
enum Ask {
    Folders(Folders),
    /// Something changed: what is known of the disk may be wrong.
    Forget,
    Request(Request),
}

/// What the thread that checks hears.
enum Check {
    Folders(Folders),
    Texts(Arc<Documents>),
}

/// Sends a message to the client.
type Out = Box<dyn Fn(Message) + Send>;

/// Numbers of the requests that are no longer wanted.
type Cancelled = Arc<Mutex<BTreeSet<RequestId>>>;

/// The threads, and the ways to them. Waits for the threads when it is dropped.
pub(super) struct Worker {
    /// `None` when no more is to be done.
    ways: Option<(Sender<Ask>, Sender<Check>)>,
    cancelled: Cancelled,
    out: Out,
    threads: Vec<JoinHandle<()>>,
}

impl Worker {
    /// Starts the threads, which answer with `send`.
    pub(super) fn start<S: Fn(Message) + Clone + Send + 'static>(send: S) -> Self {
        let (ask, asked) = mpsc::channel();
        let (check, checks) = mpsc::channel();
        let cancelled = Cancelled::default();
        let (out, known): (Out, _) = (Box::new(send.clone()), Arc::clone(&cancelled));
        let answering = thread::spawn(move || answer_all(&asked, &known, &out));
        let out: Out = Box::new(send.clone());
        let checking = thread::spawn(move || check_all(&checks, &out));
        Self {
            ways: Some((ask, check)),
            cancelled,
            out: Box::new(send),
            threads: vec![answering, checking],
        }
    }

    /// The client said where it works.
    pub(super) fn work_in(&self, folders: Folders) {
        self.tell(Some(Ask::Folders(folders.clone())), Some(Check::Folders(folders)));
    }

    pub(super) fn answer(&self, request: Request) {
        self.tell(Some(Ask::Request(request)), None);
    }

    /// Texts or files changed.
    pub(super) fn check(&self, documents: Arc<Documents>) {
        self.tell(Some(Ask::Forget), Some(Check::Texts(documents)));
    }

    fn tell(&self, ask: Option<Ask>, check: Option<Check>) {
        let Some((asks, checks)) = &self.ways else { return };
        // A thread that is gone has said why on standard error.
        if let Some(ask) = ask {
            let _ = asks.send(ask);
        }
        if let Some(check) = check {
            let _ = checks.send(check);
        }
    }

    pub(super) fn cancel(&self, id: RequestId) {
        let mut cancelled = self.cancelled.lock().unwrap_or_else(PoisonError::into_inner);
        // What was answered before it was cancelled is never taken out.
        if cancelled.len() >= MAX_CANCELLED {
            cancelled.pop_first();
        }
        cancelled.insert(id);
    }

    /// Sends a message past the threads.
    pub(super) fn say(&self, message: Message) {
        (self.out)(message);
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.ways = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn answer_all(asked: &Receiver<Ask>, cancelled: &Cancelled, out: &Out) {
    let mut world = World::default();
    for ask in asked {
        match ask {
            Ask::Folders(folders) => world.folders = folders,
            Ask::Forget => world.forget(),
            Ask::Request(request) => {
                let unwanted = {
                    let mut cancelled = cancelled.lock().unwrap_or_else(PoisonError::into_inner);
                    cancelled.remove(&request.id)
                };
                out(answer(&mut world, unwanted, request).into());
            }
        }
    }
}

fn answer(world: &mut World, unwanted: bool, request: Request) -> Response {
    let Request { id, method, params, documents } = request;
    if unwanted {
        let code = ErrorCode::RequestCanceled as i32;
        return Response::new_err(id, code, "the request was cancelled".to_owned());
    }
    let answer = || answers::answer(world, &documents, &method, &params);
    // A mistake of ours costs one answer, not the session.
    match catch_unwind(AssertUnwindSafe(answer)) {
        Ok(Ok(result)) => Response::new_ok(id, result),
        Ok(Err(refusal)) => Response::new_err(id, refusal.code as i32, refusal.message),
        Err(_) => {
            let code = ErrorCode::InternalError as i32;
            let message = "an internal error, reported on standard error";
            Response::new_err(id, code, message.to_owned())
        }
    }
}

fn check_all(checks: &Receiver<Check>, out: &Out) {
    let mut world = World::default();
    let mut newest: Option<Arc<Documents>> = None;
    loop {
        let first = match &newest {
            Some(_) => None,
            None => match checks.recv() {
                Ok(check) => Some(check),
                Err(_) => return,
            },
        };
        for check in first.into_iter().chain(checks.try_iter()) {
            take(check, &mut world, &mut newest);
        }
        let Some(documents) = newest.take() else { continue };
        world.forget();
        for (uri, document) in documents.iter() {
            checks.try_iter().for_each(|check| take(check, &mut world, &mut newest));
            if newest.is_some() {
                break;
            }
            let found = || diagnose::diagnostics(&mut world, &documents, uri);
            let Ok(found) = catch_unwind(AssertUnwindSafe(found)) else { continue };
            let mut params = json!({ "uri": uri, "diagnostics": found });
            if let Some(version) = document.version {
                params["version"] = json!(version);
            }
            let method = "textDocument/publishDiagnostics".to_owned();
            out(Notification::new(method, params).into());
        }
    }
}

fn take(check: Check, world: &mut World, newest: &mut Option<Arc<Documents>>) {
    match check {
        Check::Folders(folders) => world.folders = folders,
        Check::Texts(documents) => *newest = Some(documents),
    }
}
