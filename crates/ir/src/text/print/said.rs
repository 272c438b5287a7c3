//! What notes and properties say, as text.

use bytes::Bytes;

use crate::text::literal;
use crate::{External, Opsets, Type};

/// `key: value` entries, in order.
#[derive(Default)]
pub(super) struct Said(Vec<String>);

impl Said {
    pub(super) fn entries(&self) -> &[String] {
        &self.0
    }

    /// Adds a word that says enough by itself.
    pub(super) fn word(&mut self, word: &str) {
        self.0.push(word.to_owned());
    }

    pub(super) fn add(&mut self, key: &str, value: &str) {
        self.0.push(format!("{key}: {value}"));
    }

    /// Adds a text, unless it is empty.
    pub(super) fn text(&mut self, key: &str, text: &str) {
        if !text.is_empty() {
            self.add(key, &quoted(text));
        }
    }

    /// Adds key-value pairs, unless there are none.
    pub(super) fn pairs(&mut self, key: &str, said: &[(String, String)]) {
        if !said.is_empty() {
            self.add(key, &pairs(said));
        }
    }

    /// Adds encoded messages, unless there are none.
    pub(super) fn messages(&mut self, key: &str, messages: &[Bytes]) {
        let hex = |message: &Bytes| {
            let mut out = String::new();
            literal::hex(&mut out, message);
            out
        };
        if !messages.is_empty() {
            self.add(key, &list(messages.iter().map(hex)));
        }
    }

    /// Adds quantization annotations, unless there are none.
    pub(super) fn annotations(&mut self, annotations: &[(String, Vec<(String, String)>)]) {
        let annotation = |(tensor, keys): &(String, Vec<(String, String)>)| {
            format!("{}: {}", quoted(tensor), pairs(keys))
        };
        if !annotations.is_empty() {
            self.add("quantization", &list(annotations.iter().map(annotation)));
        }
    }

    /// Adds the denotations of a type and its axes.
    pub(super) fn denotations(&mut self, ty: &Type) {
        let (denotation, axes) = match ty {
            Type::Tensor(tensor) | Type::Sparse(tensor) => match &tensor.denotation {
                Some(said) => (said.tensor.as_deref(), said.axes.as_slice()),
                None => (None, [].as_slice()),
            },
            Type::Sequence { denotation, .. }
            | Type::Optional { denotation, .. }
            | Type::Map { denotation, .. }
            | Type::Opaque { denotation, .. }
            | Type::Unspecified { denotation } => (denotation.as_deref(), [].as_slice()),
        };
        if let Some(denotation) = denotation {
            self.add("denotation", &quoted(denotation));
        }
        if !axes.is_empty() {
            let axis = |axis: &Option<Box<str>>| axis.as_deref().map_or("?".to_owned(), quoted);
            self.add("axes", &list(axes.iter().map(axis)));
        }
    }

    /// Adds the place of a tensor in another file.
    pub(super) fn external(&mut self, external: &External) {
        let mut entries = vec![("location".to_owned(), external.location.clone())];
        for (key, number) in [("offset", external.offset), ("length", external.length)] {
            entries.extend(number.map(|number| (key.to_owned(), number.to_string())));
        }
        entries.extend(external.checksum.clone().map(|checksum| ("checksum".to_owned(), checksum)));
        self.pairs("external", &entries);
    }

    pub(super) fn opsets(&mut self, opsets: &Opsets) {
        let opsets = opsets.0.iter();
        let opsets = opsets.map(|opset| format!("{} : {}", quoted(&opset.domain), opset.version));
        self.add("opset_import", &list(opsets));
    }
}

pub(super) fn quoted(text: &str) -> String {
    let mut out = String::new();
    literal::quote(&mut out, text.as_bytes());
    out
}

fn pairs(pairs: &[(String, String)]) -> String {
    list(pairs.iter().map(|(key, value)| format!("{}: {}", quoted(key), quoted(value))))
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}
