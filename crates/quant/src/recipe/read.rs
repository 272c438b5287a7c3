//! Reads recipes: RON, in which every step is read on its own so that a registry may add some.

use std::ops::Range;

use ron::error::SpannedError;
use serde::Deserialize;

use super::places::StepPlaces;
use super::{EngineName, Recipe, RecipeError, Registry, Step, default_target, options};
use crate::suggest;

/// More steps than anybody writes: reading each takes time for the whole text.
pub(super) const MOST_STEPS: usize = 256;

/// A recipe without its steps.
#[derive(Deserialize)]
#[serde(rename = "Pipeline", deny_unknown_fields)]
struct Frame {
    #[serde(default = "default_target")]
    target: String,
    #[serde(default)]
    engine: Option<EngineName>,
    #[serde(default)]
    patterns: Vec<String>,
    passes: Vec<Step>,
}

/// Line and column, from 1.
pub(crate) type Place = (usize, usize);

impl Recipe {
    /// Reads a recipe, and where its steps stand; nothing where that is not known.
    pub(crate) fn read(
        text: &str,
        registry: &Registry,
    ) -> Result<(Recipe, Vec<StepPlaces>), RecipeError> {
        let frame = |text: &str| options().from_str::<Frame>(text).map_err(RecipeError::from_ron);
        let Some((list, steps)) = steps(text) else {
            // Where the list of steps cannot even be found, the reader of RON says what is wrong.
            let Frame { target, engine, patterns, passes } = frame(text)?;
            return Ok((Recipe { target, engine, patterns, passes }, Vec::new()));
        };
        if let Some(span) = steps.get(MOST_STEPS) {
            let (line, column) = place(text, span.start);
            return Err(RecipeError::Syntax {
                line,
                column,
                message: format!(
                    "a pipeline has {MOST_STEPS} steps at most, and this one {}",
                    steps.len()
                ),
                hint: Some("leave out what is there twice".to_owned()),
            });
        }
        // Everything else is blanked out in turn, so that lines and columns stay what they are.
        let Frame { target, engine, patterns, .. } =
            frame(&blanked(text, |at| !list.contains(&at)))?;
        let mut passes = Vec::with_capacity(steps.len());
        for span in &steps {
            passes.push(step(text, span, registry)?);
        }
        let places = steps.iter().map(|span| StepPlaces::of(text, span)).collect();
        Ok((Recipe { target, engine, patterns, passes }, places))
    }
}

/// Reads one step. A name stands for itself with `()`, and the other way round.
fn step(text: &str, span: &Range<usize>, registry: &Registry) -> Result<Step, RecipeError> {
    let own = &text[span.clone()];
    let name_end = own.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(own.len());
    let (name, rest) = own.split_at(name_end);
    let rest_start = span.start + name_end;
    let rest_blank = rest.chars().all(char::is_whitespace);
    let empty = rest.chars().filter(|c| !c.is_whitespace()).eq("()".chars());
    let whole = blanked(&text[..span.end], |at| at >= span.start);
    let read = |text: &str| options().from_str::<Step>(text);
    let error = match read(&whole) {
        Ok(step) => return Ok(step),
        Err(error) => error,
    };
    if let Some(known) = other_steps(&error, name) {
        let mut fields = blanked(&text[..span.end], |at| at >= rest_start);
        if rest_blank {
            fields.push_str("()");
        }
        if let Some(custom) = registry.ron(name, &fields) {
            return custom.map(Step::Custom).map_err(RecipeError::from_ron);
        }
        let (line, column) = place(text, span.start);
        let known: Vec<&str> = known.iter().copied().chain(registry.names()).collect();
        let (message, hint) =
            (format!("there is no pass `{name}`"), Some(suggest::hint(name, &known)));
        return Err(RecipeError::Syntax { line, column, message, hint });
    }
    let other = if rest_blank {
        Some(whole + "()")
    } else if empty {
        Some(blanked(&text[..rest_start], |at| at >= span.start))
    } else {
        None
    };
    match other.and_then(|other| read(&other).ok()) {
        Some(step) => Ok(step),
        None => Err(RecipeError::from_ron(error)),
    }
}

/// The names of all built-in passes, where an error says that this name is none of them.
fn other_steps(error: &SpannedError, name: &str) -> Option<&'static [&'static str]> {
    match &error.code {
        ron::Error::NoSuchEnumVariant { expected, found, outer }
            if found == name && outer.as_deref().is_none_or(|outer| outer == "Step") =>
        {
            Some(expected)
        }
        _ => None,
    }
}

/// The text with blanks in place of what is not kept; lines stay lines.
fn blanked(text: &str, kept: impl Fn(usize) -> bool) -> String {
    let blank = |(at, c): (usize, char)| if c == '\n' || kept(at) { c } else { ' ' };
    text.char_indices().map(blank).collect()
}

/// Line and column of a position, from 1.
pub(super) fn place(text: &str, at: usize) -> Place {
    let before = &text[..at];
    let start = before.rfind('\n').map_or(0, |end| end + 1);
    (before.matches('\n').count() + 1, before[start..].chars().count() + 1)
}

/// Line and column of a key of the outermost struct, from 1.
pub(super) fn key_place(text: &str, key: &str) -> Option<Place> {
    let mut tokens = Tokens { text, at: 0 };
    let (mut depth, mut expected) = (0_usize, false);
    loop {
        let (span, token) = tokens.next()?;
        match token {
            "(" | "[" | "{" => {
                depth += 1;
                expected = depth == 1;
            }
            ")" | "]" | "}" => depth = depth.checked_sub(1)?,
            "," => expected = depth == 1,
            _ if expected && token == key => return Some(place(text, span.start)),
            _ => expected = false,
        }
    }
}

/// Where the list `passes` of the outermost struct stands, without its brackets, and its elements. None
/// where the text is not made like that.
fn steps(text: &str) -> Option<(Range<usize>, Vec<Range<usize>>)> {
    let mut tokens = Tokens { text, at: 0 };
    let mut depth = 0_usize;
    let mut key = "";
    loop {
        let (span, token) = tokens.next()?;
        match token {
            "(" | "{" => depth += 1,
            "[" if depth == 1 && key == "passes" => {
                let elements = elements(&mut tokens)?;
                return Some((span.end..tokens.at - 1, elements));
            }
            "[" => depth += 1,
            ")" | "}" | "]" => depth = depth.checked_sub(1)?,
            ":" => {}
            "," => key = "",
            _ if depth == 1 && key.is_empty() => key = &text[span],
            _ => {}
        }
    }
}

/// The elements of a list whose bracket has been read, up to the one that closes it.
fn elements(tokens: &mut Tokens<'_>) -> Option<Vec<Range<usize>>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut current: Option<Range<usize>> = None;
    let mut depth = 0_usize;
    loop {
        let (span, token) = tokens.next()?;
        match token {
            "]" if depth == 0 => {
                found.extend(current);
                return Some(found);
            }
            // A comma without an element is an error, which the reader of RON knows to tell.
            "," if depth == 0 => {
                found.push(current.take()?);
                continue;
            }
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.checked_sub(1)?,
            _ => {}
        }
        let start = current.map_or(span.start, |current| current.start);
        current = Some(start..span.end);
    }
}

/// The tokens of RON, as far as brackets are concerned: what is in strings and comments is none.
pub(super) struct Tokens<'t> {
    pub(super) text: &'t str,
    pub(super) at: usize,
}

impl<'t> Tokens<'t> {
    /// The next token; none at the end, or in a string or comment that does not end.
    pub(super) fn next(&mut self) -> Option<(Range<usize>, &'t str)> {
        loop {
            let rest = &self.text[self.at..];
            let skipped = rest.len() - rest.trim_start().len();
            if skipped > 0 {
                self.at += skipped;
            } else if rest.starts_with("//") {
                self.at += rest.find('\n').unwrap_or(rest.len());
            } else if rest.starts_with("/*") {
                self.at += comment(rest)?;
            } else {
                break;
            }
        }
        let rest = &self.text[self.at..];
        let first = rest.chars().next()?;
        let raw = rest.strip_prefix('r').map(|rest| rest.trim_start_matches('#'));
        let length = if first == '"' {
            string(rest)?
        } else if raw.is_some_and(|raw| raw.starts_with('"')) {
            let hashes = rest[1..].find('"')?;
            let end = format!("\"{}", "#".repeat(hashes));
            2 + hashes + rest[2 + hashes..].find(&end)? + end.len()
        } else if first == '\'' {
            let body = &rest[1..];
            let skip = if body.starts_with('\\') { 2 } else { body.chars().next()?.len_utf8() };
            1 + skip + body.get(skip..)?.find('\'')? + 1
        } else if "()[]{},:".contains(first) {
            1
        } else {
            let ends = |c: char| c.is_whitespace() || "()[]{},:\"'/".contains(c);
            match rest.find(ends) {
                None => rest.len(),
                Some(0) => first.len_utf8(),
                Some(end) => end,
            }
        };
        let span = self.at..self.at + length;
        self.at = span.end;
        Some((span.clone(), &self.text[span]))
    }
}

/// How long a comment is that may hold others.
fn comment(text: &str) -> Option<usize> {
    let (mut depth, mut at) = (0_usize, 0);
    loop {
        let rest = text.get(at..)?;
        let step = rest.chars().next()?.len_utf8();
        at += match rest {
            _ if rest.starts_with("/*") => {
                depth += 1;
                2
            }
            _ if rest.starts_with("*/") => {
                depth -= 1;
                2
            }
            _ => step,
        };
        if depth == 0 {
            return Some(at);
        }
    }
}

/// How long a string is that begins with a quotation mark.
fn string(text: &str) -> Option<usize> {
    let mut chars = text.char_indices().skip(1);
    loop {
        match chars.next()? {
            (_, '\\') => {
                chars.next()?;
            }
            (at, '"') => return Some(at + 1),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Option<Vec<&str>> {
        Some(steps(text)?.1.into_iter().map(|span| &text[span]).collect())
    }

    #[test]
    fn steps_are_found_in_any_text() {
        let text = r##"// passes: [No]
            Pipeline(target: "passes: [No]", patterns: ["a]", 'x'.pat, r#"b"]"#],
              /* passes: [No /* twice */] */
              passes: [A, B (x: ["],", 'é'], y: {1: 2}) , // C,
                D /* ] */ (),])"##;
        assert_eq!(found(text).unwrap(), ["A", "B (x: [\"],\", 'é'], y: {1: 2})", "D /* ] */ ()"]);
        assert_eq!(found("(passes: [])").unwrap(), Vec::<&str>::new());
        for broken in ["", "Pipeline(", "(passes: [A", "(passes: [,])", "(passes: [\"])", "/* ("] {
            assert_eq!(found(broken), None, "{broken}");
        }
    }

    #[test]
    fn too_many_steps_are_refused_at_the_first_that_is() {
        let text = |steps: usize| format!("(passes: [\n{}])", "Propagate,\n".repeat(steps));
        let error = Recipe::read(&text(MOST_STEPS + 1), &Registry::builtin()).unwrap_err();
        let RecipeError::Syntax { line, column, message, .. } = error else { panic!("{error}") };
        assert_eq!((line, column), (2 + MOST_STEPS, 1));
        assert_eq!(message, "a pipeline has 256 steps at most, and this one 257");
        let (recipe, _) = Recipe::read(&text(MOST_STEPS), &Registry::builtin()).unwrap();
        assert_eq!(recipe.passes.len(), MOST_STEPS);
        let json = format!("{{\"passes\": [{}\"Propagate\"]}}", "\"Propagate\", ".repeat(256));
        let error = Recipe::from_json(&json, &Registry::builtin()).unwrap_err();
        assert!(error.to_string().contains("256 steps at most"), "{error}");
    }

    #[test]
    fn keys_are_found_where_they_are_keys() {
        let text =
            "// engine\nPipeline(target: \"engine\",\n  passes: [A(engine: 1)],\n  engine : Ort)";
        assert_eq!(key_place(text, "engine"), Some((4, 3)));
        assert_eq!(key_place("(target: engine)", "engine"), None);
    }

    #[test]
    fn selectors_are_found_where_they_are_selectors() {
        let text = "(passes: [Group, Only(select: \"op:Conv\"),\n  Override(with: (select: 1),\n    \
                    select : r#\"op:Gemm\"#), Gptq(exclude: [select])])";
        let (_, steps) = steps(text).unwrap();
        let select = |span| StepPlaces::of(text, span).first(&["select"]);
        let places: Vec<_> = steps.iter().map(select).collect();
        assert_eq!(places, [None, Some((1, 31)), Some((3, 14)), None]);
    }

    #[test]
    fn a_name_is_as_good_as_one_with_nothing_in_brackets() {
        let text = "(passes: [FoldConstants(), Group, Place, Calibrate ( ), QuantizeBias])";
        let text = Recipe::parse(text).unwrap().to_ron();
        assert!(text.contains("FoldConstants,\n        Group("), "{text}");
    }

    #[test]
    fn every_error_has_its_place() {
        let place = |text: &str| match Recipe::parse(text).unwrap_err() {
            RecipeError::Syntax { line, column, message, .. } => (line, column, message),
            other => panic!("{other}"),
        };
        let (line, _, message) = place("Pipeline(\n passes: [Group()],\n target: 3,\n)");
        assert_eq!((line, message.contains("string")), (3, true), "{message}");
        let (line, column, _) = place("Pipeline(passes: [\n  Group(),\n  Plaice(),\n])");
        assert_eq!((line, column), (3, 3));
        let (line, _, message) = place("Pipeline(passes: [\n  Group(),\n  Place() Check])");
        assert_eq!((line, message.as_str()), (3, "Non-whitespace trailing characters"));
        let (line, _, message) = place("Pipeline(passes: [\n Place(weights: (dtype: Int9))])");
        assert_eq!((line, message.as_str()), (2, "there is no `Int9` here"));
        let (line, ..) = place("Pipeline(passes: [\n\n Place(");
        assert_eq!(line, 3);
    }
}
