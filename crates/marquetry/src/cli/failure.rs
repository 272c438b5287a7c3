//! How the command says that something went wrong: one message, a next step, an exit code.

use std::fmt;
use std::io;
use std::path::Path;

use super::answer::harmless;

/// What a person or a script does differently, so what the exit code tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The check found something.
    Found = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The model, pattern or pipeline is not valid.
    Invalid = 3,
    /// It is valid, and not supported.
    Unsupported = 4,
    /// The calibration data do not fit.
    Samples = 5,
    /// Reading or writing failed.
    Io = 6,
    /// A limit was exceeded.
    Limit = 7,
    /// It was interrupted, and can go on where it was.
    Resumable = 8,
    /// It was interrupted, and nothing is left of it.
    Interrupted = 130,
}

/// An error on its way to the user.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What ends the process.
    pub(crate) exit: Exit,
    /// A stable name for the kind of error.
    pub(crate) code: String,
    /// The file, node or tensor concerned; empty if it is the command as a whole.
    pub(crate) place: String,
    /// The fact.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) hint: Option<String>,
    /// Set where the errors are in a text.
    pub(crate) texts: Option<Box<Texts>>,
}

/// Errors in a text.
#[derive(Debug)]
pub(crate) struct Texts {
    /// For `--json`.
    pub(crate) details: Vec<serde_json::Value>,
    /// For people: pictures, shown instead of the message.
    pub(crate) drawn: String,
}

impl Failure {
    pub(crate) fn new(exit: Exit, code: impl Into<String>, message: impl fmt::Display) -> Self {
        Self {
            exit,
            code: code.into(),
            place: String::new(),
            message: message.to_string(),
            hint: None,
            texts: None,
        }
    }

    /// A command line that makes no sense, as the reader of command lines says it.
    pub(crate) fn usage(said: &str) -> Self {
        let mut parts = said.split("\n\n");
        let first = parts.next().unwrap_or_default().trim_start_matches("error: ");
        let message = first.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut rest = parts.map(str::trim);
        let mut tips = rest.clone().filter_map(|part| part.strip_prefix("tip: "));
        let hint = tips.next().or_else(|| rest.find(|part| part.starts_with("Usage: ")));
        let failure = Self::new(Exit::Usage, "usage", message);
        match hint {
            Some(hint) => failure.hint(hint.split_whitespace().collect::<Vec<_>>().join(" ")),
            None => failure,
        }
    }

    /// A value that an option does not take, in words of ours; nothing for other mistakes.
    pub(crate) fn of_value(error: &clap::Error) -> Option<Self> {
        use clap::error::{ContextKind, ContextValue, ErrorKind};
        let told = |kind| match error.get(kind) {
            Some(ContextValue::String(text)) => Some(text.clone()),
            _ => None,
        };
        let option = told(ContextKind::InvalidArg)?;
        let value = told(ContextKind::InvalidValue).filter(|value| !value.is_empty())?;
        let hint = match error.kind() {
            ErrorKind::ValueValidation => {
                let reason = std::error::Error::source(error)?.to_string();
                format!("give {}", wanted(&reason))
            }
            ErrorKind::InvalidValue => match (told(ContextKind::SuggestedValue), error) {
                (Some(near), _) => format!("did you mean `{near}`?"),
                (None, error) => match error.get(ContextKind::ValidValue) {
                    Some(ContextValue::Strings(known)) if !known.is_empty() => {
                        format!("give one of `{}`", known.join("`, `"))
                    }
                    _ => return None,
                },
            },
            _ => return None,
        };
        let option = option.split_whitespace().next().unwrap_or_default().to_owned();
        let option = option.split(['=', '[']).next().unwrap_or_default();
        let message = format!("`{}` is no value for `{option}`", short(&value));
        Some(Self::new(Exit::Usage, "usage", message).hint(hint))
    }

    pub(crate) fn at(mut self, place: impl fmt::Display) -> Self {
        self.place = place.to_string();
        self
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn reading(path: &Path, error: &io::Error) -> Self {
        Self::new(Exit::Io, "read_failed", plain(error)).at(path.display())
    }

    pub(crate) fn writing(path: &Path, error: &io::Error) -> Self {
        Self::new(Exit::Io, "write_failed", plain(error))
            .at(path.display())
            .hint("check that the folder may be written to and has room")
    }

    /// Whether somebody stopped what was done.
    pub(crate) fn is_interruption(&self) -> bool {
        self.code == super::interrupt::INTERRUPTED
    }

    /// Names the place unless one is named already.
    pub(crate) fn at_default(self, path: &Path) -> Self {
        if self.place.is_empty() { self.at(path.display()) } else { self }
    }

    /// What is printed, with the kind of error and the next step in colour where that is wanted.
    pub(crate) fn printed(&self, colours: bool) -> String {
        let text = self.to_string();
        if self.texts.is_some() {
            return harmless(&text, colours).into_owned();
        }
        let text = harmless(&text, false).into_owned();
        if !colours {
            return text;
        }
        let head = format!("error[{}]", self.code);
        let text = text.replacen(&head, &format!("\u{1b}[1;31m{head}\u{1b}[0m"), 1);
        text.replace("\n  help:", "\n  \u{1b}[36mhelp\u{1b}[0m:")
    }

    /// The error as one JSON object, for `--json`.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "schema_version": 1,
            "error": {
                "code": self.code,
                "place": self.place,
                "message": self.message,
                "hint": self.hint,
                "details": self.texts.as_ref().map_or(&[][..], |texts| &texts.details),
                "exit_code": self.exit as i32,
            }
        })
    }
}

/// What a reader of numbers wants, by what it says against a value.
fn wanted(reason: &str) -> String {
    if let Some((_, range)) = reason.split_once(" is not in ") {
        let (from, to) = range.split_once("..").unwrap_or((range, ""));
        let to = to.trim_start_matches('=');
        // What a type cannot hold is no limit that anybody has to know.
        return match to.parse::<i128>() {
            Ok(to) if to < i128::from(u32::MAX) => format!("a whole number from {from} to {to}"),
            _ => format!("a whole number from {from}"),
        };
    }
    match reason {
        "invalid digit found in string" => "a whole number".to_owned(),
        _ if reason.starts_with("cannot parse integer") => "a whole number".to_owned(),
        _ if reason.starts_with("number too ") => "a whole number that is not so large".to_owned(),
        _ => reason.to_owned(),
    }
}

/// The most characters of a text of others that a message repeats.
const SHOWN: usize = 80;

/// A text of others as a message repeats it: on one line, and not much of it.
pub(crate) fn short(text: &str) -> String {
    let mut chars = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut shown: String = chars.by_ref().take(SHOWN).collect();
    if chars.next().is_some() {
        shown.push('…');
    }
    shown
}

/// What went wrong, without the number that the system gives it.
pub(crate) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    text.to_lowercase()
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(texts) = &self.texts {
            return f.write_str(texts.drawn.trim_end());
        }
        write!(f, "error[{}]: ", self.code)?;
        if !self.place.is_empty() {
            write!(f, "{}: ", self.place)?;
        }
        f.write_str(&self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, "\n  help: {hint}")?;
        }
        Ok(())
    }
}
