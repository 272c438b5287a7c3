//! The thread that answers: newest texts first, stale work dropped.

use std::collections::{BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use lsp_server::{ErrorCode, Message, Notification, RequestId, Response};
use serde_json::{Value, json};

use super::documents::Documents;
use super::files::{Folders, World};
use super::{answers, diagnose};

/// The most requests that are remembered as cancelled.
const MAX_CANCELLED: usize = 1000;

/// What is to be done.
pub(super) enum Job {
    /// The client said where it works.
    Start(Folders),
    /// A request, about the texts as they were when it came.
    Request { id: RequestId, method: String, params: Value, documents: Arc<Documents> },
    /// The texts changed.
    Diagnose { documents: Arc<Documents> },
}

/// Sends a message to the client.
type Out = Box<dyn Fn(Message) + Send>;

/// Numbers of the requests that are no longer wanted.
type Cancelled = Arc<Mutex<BTreeSet<RequestId>>>;

/// The thread, and the way to it. Waits for the thread when it is dropped.
pub(super) struct Worker {
    jobs: Option<mpsc::Sender<Job>>,
    cancelled: Cancelled,
    out: Out,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts the thread, which answers with `send`.
    pub(super) fn start<S: Fn(Message) + Clone + Send + 'static>(send: S) -> Self {
        let (jobs, waiting) = mpsc::channel();
        let cancelled = Cancelled::default();
        let queue = Queue {
            waiting,
            requests: VecDeque::new(),
            texts: None,
            cancelled: Arc::clone(&cancelled),
        };
        let out: Out = Box::new(send.clone());
        let thread = thread::spawn(move || queue.run(&out));
        Self { jobs: Some(jobs), cancelled, out: Box::new(send), thread: Some(thread) }
    }

    pub(super) fn send(&self, job: Job) {
        if let Some(jobs) = &self.jobs {
            // A thread that is gone has said why already.
            let _ = jobs.send(job);
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

    /// Sends a message past the thread.
    pub(super) fn say(&self, message: Message) {
        (self.out)(message);
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // It catches panics of its jobs; one elsewhere is on standard error.
            let _ = thread.join();
        }
    }
}

struct Queue {
    waiting: Receiver<Job>,
    requests: VecDeque<(RequestId, String, Value, Arc<Documents>)>,
    /// The newest texts that are not checked yet.
    texts: Option<Arc<Documents>>,
    cancelled: Cancelled,
}

impl Queue {
    fn run(mut self, out: &Out) {
        let mut world = World::default();
        loop {
            let idle = self.requests.is_empty() && self.texts.is_none();
            if idle {
                match self.waiting.recv() {
                    Ok(job) => self.take(job, &mut world),
                    Err(_) => return,
                }
            }
            while let Ok(job) = self.waiting.try_recv() {
                self.take(job, &mut world);
            }
            if let Some((id, method, params, documents)) = self.requests.pop_front() {
                out(self.answer(&mut world, id, &method, &params, &documents).into());
            } else if let Some(documents) = self.texts.take() {
                self.diagnose(&mut world, documents, out);
            }
        }
    }

    fn take(&mut self, job: Job, world: &mut World) {
        match job {
            Job::Start(folders) => world.folders = folders,
            Job::Request { id, method, params, documents } => {
                self.requests.push_back((id, method, params, documents));
            }
            Job::Diagnose { documents } => self.texts = Some(documents),
        }
    }

    fn answer(
        &self,
        world: &mut World,
        id: RequestId,
        method: &str,
        params: &Value,
        documents: &Documents,
    ) -> Response {
        if self.cancelled.lock().unwrap_or_else(PoisonError::into_inner).remove(&id) {
            let code = ErrorCode::RequestCanceled as i32;
            return Response::new_err(id, code, "the request was cancelled".to_owned());
        }
        let answer = || answers::answer(world, documents, method, params);
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

    /// Checks all open texts, unless something newer comes in between.
    fn diagnose(&mut self, world: &mut World, documents: Arc<Documents>, out: &Out) {
        world.forget();
        for (uri, document) in documents.iter() {
            while let Ok(job) = self.waiting.try_recv() {
                self.take(job, world);
            }
            if self.texts.is_some() {
                return;
            }
            if !self.requests.is_empty() {
                // Somebody waits for those.
                self.texts = Some(Arc::clone(&documents));
                return;
            }
            let check = || diagnose::diagnostics(world, &documents, uri);
            let Ok(found) = catch_unwind(AssertUnwindSafe(check)) else { continue };
            let mut params = json!({ "uri": uri, "diagnostics": found });
            if let Some(version) = document.version {
                params["version"] = json!(version);
            }
            let method = "textDocument/publishDiagnostics".to_owned();
            out(Notification::new(method, params).into());
        }
    }
}
