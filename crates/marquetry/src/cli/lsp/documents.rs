//! The texts that are open in the editor.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::text::Lines;

/// The largest text that is kept; what is larger is no pattern file.
const MAX_BYTES: usize = 16 << 20;

/// An open text.
#[derive(Clone)]
pub(super) struct Document {
    pub(super) version: Option<i64>,
    pub(super) text: Arc<str>,
}

/// All open texts by URI.
#[derive(Clone, Default)]
pub(super) struct Documents {
    open: BTreeMap<String, Document>,
}

impl Documents {
    pub(super) fn get(&self, uri: &str) -> Option<&Document> {
        self.open.get(uri)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Document)> {
        self.open.iter().map(|(uri, document)| (uri.as_str(), document))
    }

    /// Takes a text; whether there is one.
    pub(super) fn open(&mut self, params: &Value) -> bool {
        let document = &params["textDocument"];
        let (Some(uri), Some(text)) = (document["uri"].as_str(), document["text"].as_str()) else {
            return false;
        };
        let version = document["version"].as_i64();
        self.open.insert(uri.to_owned(), Document { version, text: kept(text) });
        true
    }

    /// Applies changes in their order; whether the text is open. A change that makes no sense ends the
    /// list: those after it count on it.
    pub(super) fn change(&mut self, params: &Value) -> bool {
        let document = &params["textDocument"];
        let Some(known) = document["uri"].as_str().and_then(|uri| self.open.get_mut(uri)) else {
            return false;
        };
        known.version = document["version"].as_i64();
        let mut text = known.text.to_string();
        for change in params["contentChanges"].as_array().into_iter().flatten() {
            let Some(new) = change["text"].as_str() else { break };
            if change["range"].is_null() {
                text = new.to_owned();
                continue;
            }
            let Some(range) = Lines::new(&text).bytes(&change["range"]) else { break };
            text.replace_range(range, new);
        }
        known.text = kept(&text);
        true
    }

    /// Forgets a text; its URI, if it was open.
    pub(super) fn close(&mut self, params: &Value) -> Option<String> {
        let uri = params["textDocument"]["uri"].as_str()?;
        self.open.remove(uri).map(|_| uri.to_owned())
    }
}

fn kept(text: &str) -> Arc<str> {
    if text.len() <= MAX_BYTES { Arc::from(text) } else { Arc::from("") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn changes_are_applied_in_order() {
        let mut documents = Documents::default();
        let of = json!({ "uri": "u", "text": "one\ntwo", "version": 1 });
        assert!(documents.open(&json!({ "textDocument": of })));
        let place = |line: u32, character: u32| json!({ "line": line, "character": character });
        let changes = json!([
            { "range": { "start": place(0, 3), "end": place(1, 0) }, "text": " " },
            { "range": { "start": place(0, 7), "end": place(0, 7) }, "text": "!" },
        ]);
        let document = json!({ "uri": "u", "version": 2 });
        assert!(documents.change(&json!({ "textDocument": document, "contentChanges": changes })));
        assert_eq!(&*documents.get("u").unwrap().text, "one two!");
    }

    #[test]
    fn changes_of_what_is_not_open_do_nothing() {
        let mut documents = Documents::default();
        assert!(!documents.change(&json!({ "textDocument": { "uri": "u" } })));
        assert!(!documents.open(&json!({})) && documents.close(&Value::Null).is_none());
    }
}
