//! What can be wrong with pipelines and policies.

use crate::{Policy, suggest};

/// Why a pipeline or a policy cannot be used as it is written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecipeError {
    /// The text is not what it should be.
    #[error("{line}:{column}: {message}")]
    Syntax {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// What is wrong.
        message: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// A name that stands for nothing.
    #[error("there is no {kind} `{name}`")]
    UnknownName {
        /// What it should name.
        kind: &'static str,
        /// The name.
        name: String,
        /// What to do about it.
        hint: String,
    },
    /// A rule of a policy that has no meaning.
    #[error("{place}: {what}")]
    BadRule {
        /// Where it stands: the keys on the way to it.
        place: String,
        /// What is wrong.
        what: String,
        /// What to do about it.
        hint: String,
    },
    /// A policy that cannot be read.
    #[error("`{path}` cannot be read: {reason}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// Something wrong in a file of its own.
    #[error("{path}:{}{error}", if error.is_placed() { "" } else { " " })]
    InFile {
        /// The file.
        path: String,
        /// What is wrong.
        error: Box<RecipeError>,
    },
    /// A pass before what it works on.
    #[error("{}`{pass}` needs a `{step}` before it", prefix(places, *index))]
    MissingStep {
        /// The pass.
        pass: String,
        /// Its number among the passes, from 0.
        index: usize,
        /// The step that is missing.
        step: &'static str,
        /// The number of a pass behind it that could be that step.
        later: Option<usize>,
        /// Where the passes stand in the text: lines and columns from 1; none where there is no text.
        places: Vec<(usize, usize)>,
    },
    /// A pass behind one that it has to come before.
    #[error("{}`{pass}` comes too late behind `{step}`", prefix(places, *index))]
    LateStep {
        /// The pass.
        pass: String,
        /// Its number among the passes, from 0.
        index: usize,
        /// The pass that it has to come before.
        step: String,
        /// The number of that.
        earlier: usize,
        /// Where the passes stand in the text: lines and columns from 1; none where there is no text.
        places: Vec<(usize, usize)>,
    },
}

/// `3:5: `, where that is known.
fn prefix(places: &[(usize, usize)], index: usize) -> String {
    places.get(index).map_or_else(String::new, |(line, column)| format!("{line}:{column}: "))
}

impl RecipeError {
    /// Whether it begins with a line and a column.
    fn is_placed(&self) -> bool {
        match self {
            RecipeError::Syntax { .. } => true,
            RecipeError::MissingStep { index, places, .. }
            | RecipeError::LateStep { index, places, .. } => places.len() > *index,
            _ => false,
        }
    }

    /// The stable name of the error.
    pub fn code(&self) -> &'static str {
        match self {
            RecipeError::Syntax { .. } => "recipe_syntax",
            RecipeError::UnknownName { .. } => "unknown_name",
            RecipeError::BadRule { .. } => "bad_rule",
            RecipeError::Unreadable { .. } => "policy_unreadable",
            RecipeError::InFile { error, .. } => error.code(),
            RecipeError::MissingStep { .. } => "missing_step",
            RecipeError::LateStep { .. } => "too_late",
        }
    }

    /// One sentence that can be acted upon.
    pub fn hint(&self) -> Option<String> {
        match self {
            RecipeError::Syntax { hint, .. } => hint.clone(),
            RecipeError::UnknownName { hint, .. } => Some(hint.clone()),
            RecipeError::BadRule { hint, .. } => Some(hint.clone()),
            RecipeError::Unreadable { .. } => Some(format!(
                "give a file, or one of `{}`",
                Policy::presets().collect::<Vec<_>>().join("`, `")
            )),
            RecipeError::InFile { error, .. } => error.hint(),
            RecipeError::LateStep { pass, step, earlier, places, .. } => {
                let line = places.get(*earlier).map(|(line, _)| format!(" of line {line}"));
                Some(format!("move `{pass}` before the `{step}`{}", line.unwrap_or_default()))
            }
            RecipeError::MissingStep { step, index, later, places, .. } => {
                let here = match places.get(*index) {
                    Some((line, column)) => format!("at line {line}, column {column}"),
                    None => format!("before pass {}", index + 1),
                };
                let line = |at: &usize| places.get(*at).map(|(line, _)| format!(" of line {line}"));
                Some(match later {
                    Some(at) => format!(
                        "move the `{step}`{} to the passes before it, {here}",
                        line(at).unwrap_or_default()
                    ),
                    None => format!("insert `{step}(…),` {here}"),
                })
            }
        }
    }

    pub(crate) fn unknown_name(kind: &'static str, name: &str, known: &[&str]) -> RecipeError {
        let hint = suggest::hint(name, known);
        RecipeError::UnknownName { kind, name: name.to_owned(), hint }
    }

    /// The same with the places of the passes in the text.
    pub(crate) fn placed(mut self, at: Vec<(usize, usize)>) -> RecipeError {
        if let RecipeError::MissingStep { places, .. } | RecipeError::LateStep { places, .. } =
            &mut self
        {
            *places = at;
        }
        self
    }

    /// Says where a text is that an error is about.
    pub fn in_file(self, path: &str) -> RecipeError {
        RecipeError::InFile { path: path.to_owned(), error: Box::new(self) }
    }

    /// What the reader of RON found.
    pub(crate) fn from_ron(error: ron::error::SpannedError) -> RecipeError {
        let (message, hint) = told(&error.code);
        let at = error.span.start;
        RecipeError::Syntax { line: at.line, column: at.col, message, hint }
    }
}

/// What the reader of RON found, in the words of who writes recipes, and what to do about it.
fn told(error: &ron::Error) -> (String, Option<String>) {
    use ron::Error;
    let plain = |message: &str| (message.to_owned(), None);
    let with = |message: String, hint: &str| (message, Some(hint.to_owned()));
    match error {
        Error::NoSuchStructField { expected, found, outer } => {
            let place = outer.as_ref().map(|outer| format!(" of `{outer}`"));
            let found = suggest::shown(found);
            (
                format!("there is no field `{found}`{}", place.unwrap_or_default()),
                Some(suggest::hint(&found, expected)),
            )
        }
        Error::NoSuchEnumVariant { expected, found, .. } => {
            let found = suggest::shown(found);
            (format!("there is no `{found}` here"), Some(suggest::hint(&found, expected)))
        }
        Error::ExpectedDifferentStructName { found, .. } if found == "Policy" => with(
            "this is a policy, and no pipeline".to_owned(),
            "a pipeline names the file of a policy as its `target`",
        ),
        Error::ExpectedDifferentStructName { expected, found } => with(
            format!("`{expected}(…)` belongs here, and not `{}`", suggest::shown(found)),
            &format!("write `{expected}(…)`"),
        ),
        Error::ExpectedNamedStructLike(name) if !name.is_empty() => {
            with(format!("`{name}(…)` belongs here"), &format!("write `{name}(…)`"))
        }
        Error::ExpectedNamedStructLike(_) | Error::ExpectedStructLike | Error::ExpectedUnit => {
            plain("something in brackets, `(…)`, belongs here")
        }
        Error::Eof => with("the text ends too early".to_owned(), CLOSE),
        Error::ExpectedArray => plain("a list in brackets, `[…]`, belongs here"),
        Error::ExpectedArrayEnd => {
            with("a comma or the end of a list, `]`, is missing".to_owned(), CLOSE)
        }
        Error::ExpectedOptionEnd | Error::ExpectedStructLikeEnd => {
            with("a comma or a closing bracket, `)`, is missing".to_owned(), CLOSE)
        }
        Error::ExpectedMapEnd => {
            with("a comma or a closing bracket, `}`, is missing".to_owned(), CLOSE)
        }
        Error::ExpectedStringEnd => with("a quotation mark is not closed".to_owned(), CLOSE),
        Error::UnclosedBlockComment => plain("a comment is not closed"),
        Error::ExpectedComma => plain("a comma or a closing bracket is missing"),
        Error::ExpectedMapColon => plain("a colon is missing behind the name of a field"),
        Error::ExpectedMap => plain("fields in brackets, `{…}`, belong here"),
        Error::ExpectedBoolean => plain("`true` or `false` belongs here"),
        Error::ExpectedInteger => plain("a whole number belongs here"),
        Error::ExpectedFloat | Error::FloatUnderscore | Error::UnderscoreAtBeginning => {
            plain("a number belongs here")
        }
        Error::InvalidIntegerDigit { digit, .. } => {
            (format!("a number has no `{digit}` in it"), None)
        }
        Error::IntegerOutOfBounds => plain("this number is negative or too large"),
        Error::ExpectedString | Error::ExpectedByteString | Error::ExpectedChar => {
            with("a text belongs here".to_owned(), "put it in quotation marks")
        }
        Error::ExpectedOption => plain("a value belongs here"),
        Error::ExpectedIdentifier => plain("a name belongs here"),
        Error::InvalidIdentifier(found) | Error::SuggestRawIdentifier(found) => {
            (format!("`{}` is no name", suggest::shown(found)), None)
        }
        Error::UnexpectedChar(found) => (format!("`{found}` does not belong here"), None),
        Error::TrailingCharacters => with(
            "something follows where all is said".to_owned(),
            "a comma is missing before it, or a bracket is closed too early",
        ),
        Error::MissingStructField { field, .. } => {
            with(format!("the field `{field}` is missing"), &format!("write `{field}: …`"))
        }
        Error::DuplicateStructField { field, .. } => {
            with(format!("the field `{field}` is there twice"), "leave one of them out")
        }
        Error::InvalidValueForType { expected, found } => {
            (format!("{} belongs here, and not {}", expected, suggest::shown(found)), None)
        }
        Error::ExpectedDifferentLength { expected, found } => {
            (format!("{expected} belongs here, and there are {found}"), None)
        }
        Error::ExceededRecursionLimit => plain("this lies too deep in brackets"),
        Error::NoSuchExtension(name) => {
            (format!("there is no extension `{}`", suggest::shown(name)), None)
        }
        // A message of ours.
        Error::Message(text) => plain(text),
        other => {
            let text = other.to_string();
            plain(text.trim_end_matches('.'))
        }
    }
}

/// What to do where something is left open.
const CLOSE: &str = "each bracket and each quotation mark needs the one that closes it";
