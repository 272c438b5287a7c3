//! Reads recipes: RON, in which every step is read on its own so that a registry may add some.

use std::ops::Range;

use ron::error::SpannedError;
use serde::Deserialize;

use super::places::StepPlaces;
use super::text::{place, steps};
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
        let name = suggest::shown(name);
        let (message, hint) =
            (format!("there is no pass `{name}`"), Some(suggest::hint(&name, &known)));
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

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_name_is_as_good_as_one_with_nothing_in_brackets() {
        let text = "(passes: [FoldConstants(), Group, Place, Calibrate ( ), QuantizeBias])";
        let text = Recipe::parse(text).unwrap().to_ron();
        assert!(text.contains("FoldConstants,\n        Group("), "{text}");
    }

    #[test]
    fn errors_are_in_the_words_of_recipes() {
        // What the reader of RON says of its own accord, which nobody who writes a pipeline knows.
        let jargon = ["Expected", "RON", "struct", "variant", "identifier", "trailing", "opening"];
        let texts = [
            "",
            "Pipeline(",
            "Pipline(passes: [])",
            "passes: [Group]",
            "{\"passes\": []}",
            "(passes: Group)",
            "(passes: [Group Place])",
            "(passes: [Group, Place(])",
            "(passes: [Group(patterns: Gelu)])",
            "(passes: [Calibrate(samples: 1.5)])",
            "(passes: [Calibrate(samples: -1)])",
            "(passes: [Calibrate(samples: few)])",
            "(passes: [Calibrate(adjust_weights: yes)])",
            "(passes: [Calibrate(scheme: Percentile(99,9))])",
            "(passes: [Only(select: op:Conv)])",
            "(passes: [Only(select: \"op:Conv)])",
            "(passes: [Only()])",
            "(passes: [Export(qdq: \"a\", qdq: \"b\")])",
            "(passes: [Group], passes: [])",
            "(target: 3, passes: [])",
            "(passes: [] /* )",
            "(passes: []) )",
            "(passes: [Place(weights: Int8)])",
        ];
        for text in texts {
            let said = Recipe::parse(text).unwrap_err().to_string();
            assert!(!jargon.iter().any(|word| said.contains(word)), "{text}: {said}");
        }
    }

    #[test]
    fn what_is_long_is_not_repeated_in_full() {
        let long = "x".repeat(1000);
        for text in [
            format!("(passes: [{long}])"),
            format!("(passes: [Place(activations: {long})])"),
            format!("(passes: [Place({long}: 1)])"),
            format!("(passes: [Only(select: \"name:a {long}\")])"),
            format!("(passes: [Only(select: \"{long}:a\")])"),
            format!("(passes: [Only(select: \"role:{long}\")])"),
            format!("(passes: [Only(select: \"re:({long}\")])"),
        ] {
            let error = Recipe::parse(&text).unwrap_err();
            let said = format!("{error} {}", error.hint().unwrap_or_default());
            assert!(said.len() < 600 && said.contains('…'), "{said}");
        }
    }

    #[test]
    fn every_error_has_its_place() {
        let place = |text: &str| match Recipe::parse(text).unwrap_err() {
            RecipeError::Syntax { line, column, message, .. } => (line, column, message),
            other => panic!("{other}"),
        };
        let (line, _, message) = place("Pipeline(\n passes: [Group()],\n target: 3,\n)");
        assert_eq!((line, &*message), (3, "a text belongs here"));
        let (line, column, _) = place("Pipeline(passes: [\n  Group(),\n  Plaice(),\n])");
        assert_eq!((line, column), (3, 3));
        let (line, _, message) = place("Pipeline(passes: [\n  Group(),\n  Place() Check])");
        assert_eq!((line, message.as_str()), (3, "something follows where all is said"));
        let (line, _, message) = place("Pipeline(passes: [\n Place(weights: (dtype: Int9))])");
        assert_eq!((line, message.as_str()), (2, "there is no `Int9` here"));
        let (line, ..) = place("Pipeline(passes: [\n\n Place(");
        assert_eq!(line, 3);
    }
}
