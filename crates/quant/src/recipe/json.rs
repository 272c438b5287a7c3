//! Recipes in JSON, for programs that write them: the same names and values as in RON.
//!
//! `FoldConstants` is a string, `Place(activations: UInt8)` is `{"Place": {"activations": "UInt8"}}`.

use std::fmt;

use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};

use super::read::MOST_STEPS;
use super::{EngineName, Part, Recipe, RecipeError, Registry, Step, default_target};
use crate::suggest;

impl Recipe {
    /// Reads the JSON form of a recipe.
    ///
    /// # Errors
    ///
    /// `Syntax` with line and column, for what is no JSON and for what makes no sense.
    pub fn from_json(text: &str, registry: &Registry) -> Result<Recipe, RecipeError> {
        let value = serde_json::from_str(text).map_err(|error| {
            let told = error.to_string();
            let message = told.split(" at line ").next().unwrap_or(&told).to_owned();
            let (line, column) = (error.line(), error.column());
            RecipeError::Syntax { line, column, message, hint: None }
        });
        let Once(value) = value?;
        Recipe::of_json(value, registry).map_err(|error| placed(error, text))
    }

    fn of_json(value: Value, registry: &Registry) -> Result<Recipe, RecipeError> {
        let Value::Object(mut fields) = value else {
            return Err(bad("the recipe", "it is no object".to_owned(), HINT));
        };
        let mut take = |key: &str| fields.remove(key);
        let target = match take("target") {
            None => default_target(),
            Some(target) => read::<String>("target", target)?,
        };
        let engine = match take("engine") {
            None | Some(Value::Null) => None,
            Some(engine) => Some(read::<EngineName>("engine", engine)?),
        };
        let patterns = match take("patterns") {
            None => Vec::new(),
            Some(patterns) => read::<Vec<String>>("patterns", patterns)?,
        };
        let passes = match take("passes") {
            Some(passes) => read::<Vec<Value>>("passes", passes)?,
            None => return Err(bad("the recipe", "it has no `passes`".to_owned(), HINT)),
        };
        if passes.len() > MOST_STEPS {
            let what = format!("it has {MOST_STEPS} steps at most, and these are {}", passes.len());
            return Err(bad("passes", what, "leave out what is there twice"));
        }
        fields.remove("$schema");
        if let Some(key) = fields.keys().next() {
            let key = suggest::shown(key);
            let hint = suggest::hint(&key, &["engine", "passes", "patterns", "target"]);
            return Err(bad("the recipe", format!("there is no field `{key}`"), &hint));
        }
        let passes = passes.into_iter().enumerate();
        let passes = passes.map(|(at, value)| step(&format!("passes[{at}]"), value, registry));
        Ok(Recipe { target, engine, patterns, passes: passes.collect::<Result<_, _>>()? })
    }

    /// The JSON form, which reads as this recipe.
    pub fn to_json(&self) -> Value {
        let mut fields = Map::new();
        fields.insert("target".to_owned(), json!(self.target));
        if let Some(engine) = self.engine {
            fields.insert("engine".to_owned(), json!(engine));
        }
        if !self.patterns.is_empty() {
            fields.insert("patterns".to_owned(), json!(self.patterns));
        }
        let passes = self.passes.iter().map(|step| match step {
            Step::Custom(custom) if custom.json().is_null() => json!(custom.name()),
            Step::Custom(custom) => json!({ custom.name(): custom.json() }),
            step => lean(step),
        });
        fields.insert("passes".to_owned(), passes.collect());
        Value::Object(fields)
    }
}

/// The JSON form of a built-in step. What says nothing is left out, where that means the same.
fn lean(step: &Step) -> Value {
    let value = serde_json::to_value(step).expect("a step is plain data");
    let lean = without_nulls(value.clone());
    match Step::deserialize(&lean) {
        Ok(read) if read.to_ron() == step.to_ron() => lean,
        _ => value,
    }
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let said = fields.into_iter().filter(|(_, value)| !value.is_null());
            said.map(|(name, value)| (name, without_nulls(value))).collect()
        }
        Value::Array(items) => items.into_iter().map(without_nulls).collect(),
        other => other,
    }
}

/// JSON in which no object has a key twice: readers do not agree on which of them counts.
struct Once(Value);

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OnceVisitor).map(Once)
    }
}

struct OnceVisitor;

impl<'de> Visitor<'de> for OnceVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Once(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if fields.contains_key(&key) {
                let key = suggest::shown(&key);
                return Err(A::Error::custom(format!("the field `{key}` is there twice")));
            }
            let Once(value) = entries.next_value()?;
            fields.insert(key, value);
        }
        Ok(fields.into())
    }
}

/// An error with line and column instead of the keys on the way, where the text has what they name.
fn placed(error: RecipeError, text: &str) -> RecipeError {
    let RecipeError::BadRule { place, what, hint } = error else { return error };
    let way = way(&place);
    // What is not there has its place in what should have it.
    let found = (0..=way.len()).rev().find_map(|length| Recipe::place(text, &way[..length]));
    match found {
        Some((line, column)) => {
            RecipeError::Syntax { line, column, message: what, hint: Some(hint) }
        }
        None => RecipeError::BadRule { place, what, hint },
    }
}

/// `passes[1].Place` as a way into a recipe, in which names of passes are no fields.
fn way(place: &str) -> Vec<Part<'_>> {
    let Some((field, rest)) = place.split_once('[') else {
        return if place.contains(' ') { Vec::new() } else { vec![Part::Field(place)] };
    };
    let at = rest.split(']').next().and_then(|at| at.parse().ok());
    [Some(Part::Field(field)), at.map(Part::At)].into_iter().flatten().collect()
}

const HINT: &str = "write `{\"target\": \"ort-cpu\", \"passes\": [..]}`";

fn bad(place: &str, what: String, hint: &str) -> RecipeError {
    RecipeError::BadRule { place: place.to_owned(), what, hint: hint.to_owned() }
}

fn read<T: for<'de> Deserialize<'de>>(place: &str, value: Value) -> Result<T, RecipeError> {
    T::deserialize(value).map_err(|error| wrong(place, &error))
}

/// What the reader of JSON says, in the words of who writes recipes, with a suggestion where it lists what
/// there is.
fn wrong(place: &str, error: &serde_json::Error) -> RecipeError {
    let said = error.to_string();
    let (found, expected) = said.split_once(", expected ").unwrap_or((&said, ""));
    let mut names = quoted(&said);
    let hint = match (found.starts_with("unknown "), names.next()) {
        (true, Some(found)) => suggest::hint(&suggest::shown(found), &names.collect::<Vec<_>>()),
        _ => "`marquetry config schema` says what there is".to_owned(),
    };
    let starts = |start: &str| found.strip_prefix(start).map(suggest::shown);
    let what = if let Some(name) = starts("unknown field ") {
        format!("there is no field {name}")
    } else if let Some(name) = starts("unknown variant ") {
        format!("there is no {name} here")
    } else if let Some(name) = starts("missing field ") {
        format!("the field {name} is missing")
    } else if let Some(name) = starts("duplicate field ") {
        format!("the field {name} is there twice")
    } else if let Some(found) = starts("invalid type: ").or_else(|| starts("invalid value: ")) {
        let expected = match expected {
            "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number from 0",
            "i8" | "i16" | "i32" | "i64" => "a whole number",
            "f32" | "f64" => "a number",
            "a string" | "path string" => "a text",
            "a boolean" => "`true` or `false`",
            "a sequence" => "a list",
            "a map" => "an object",
            other => other,
        };
        format!("{expected} belongs here, and not {found}")
    } else {
        found.to_owned()
    };
    bad(place, what, &hint)
}

/// What stands in backquotes.
pub(super) fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn step(place: &str, value: Value, registry: &Registry) -> Result<Step, RecipeError> {
    let (name, fields) = match &value {
        Value::String(name) => (name.clone(), None),
        Value::Object(object) if object.len() == 1 => {
            let (name, fields) = object.iter().next().expect("it has one");
            (name.clone(), Some(fields.clone()))
        }
        _ => {
            let hint = "write `\"Check\"` or `{\"Place\": {\"activations\": \"UInt8\"}}`";
            return Err(bad(place, "it is no step".to_owned(), hint));
        }
    };
    let error = match Step::deserialize(&value) {
        Ok(step) => return Ok(step),
        Err(error) => error,
    };
    let told = error.to_string();
    if told.starts_with(&format!("unknown variant `{name}`")) {
        let empty = Value::Object(Map::new());
        let custom = registry.json(&name, fields.as_ref().unwrap_or(&empty));
        if let Some(custom) = custom {
            return custom
                .map(Step::Custom)
                .map_err(|error| wrong(&format!("{place}.{name}"), &error));
        }
        let known: Vec<&str> = quoted(&told).skip(1).chain(registry.names()).collect();
        let name = suggest::shown(&name);
        let hint = suggest::hint(&name, &known);
        return Err(bad(place, format!("there is no pass `{name}`"), &hint));
    }
    // As in RON, a name stands for itself with nothing in brackets, and the other way round.
    let other = match &fields {
        None => Some(json!({ name.as_str(): {} })),
        Some(Value::Object(fields)) if fields.is_empty() => Some(json!(name)),
        Some(_) => None,
    };
    match other.and_then(|other| Step::deserialize(other).ok()) {
        Some(step) => Ok(step),
        None => Err(wrong(&format!("{place}.{name}"), &error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> (String, String) {
        let error = Recipe::from_json(text, &Registry::builtin()).unwrap_err();
        (error.to_string(), error.hint().unwrap_or_default())
    }

    #[test]
    fn both_forms_say_the_same() {
        let ron = r#"Pipeline(target: "tensorrt", engine: Ort, patterns: ["std", "mine.pat"], passes: [
            FoldConstants, Rewrite(rules: ["cleanup"]), Group(patterns: ["Gelu"]),
            Place(weights: (dtype: Int4, granularity: PerBlock(32))),
            Override(select: "op:Conv", with: Spec(dtype: UInt16, range: (min: 0))),
            SeqMse(select: "maybe group:Linear"), Calibrate(scheme: Percentile(99.9)), Gptq,
            Export(qdq: "out.onnx", encodings: (path: "e", version: "0.6.1"))])"#;
        let recipe = Recipe::parse(ron).unwrap();
        let json = serde_json::to_string(&recipe.to_json()).unwrap();
        let back = Recipe::from_json(&json, &Registry::builtin()).unwrap();
        assert_eq!(back.to_ron(), recipe.to_ron());
        assert_eq!(serde_json::to_string(&back.to_json()).unwrap(), json);
        assert_eq!(Recipe::parse(&back.to_ron()).unwrap().to_ron(), back.to_ron());
    }

    #[test]
    fn what_makes_no_sense_is_told_with_its_place() {
        let (message, hint) = error(r#"{"passes": ["Check", "Grup"]}"#);
        assert_eq!(message, "1:22: there is no pass `Grup`");
        assert_eq!(hint, "did you mean `Group`?");
        let (message, hint) = error(r#"{"passes": [{"Place": {"activation": "UInt8"}}]}"#);
        assert_eq!(message, "1:13: there is no field `activation`");
        assert_eq!(hint, "did you mean `activations`?");
        let (message, _) = error(r#"{"passes": [{"Calibrate": {"samples": "8"}}]}"#);
        let wanted = "a whole number from 0 belongs here, and not string \"8\"";
        assert_eq!(message, format!("1:13: {wanted}"));
        let (message, hint) = error(r#"{"pases": [], "passes": []}"#);
        assert_eq!(
            (&*message, &*hint),
            ("1:1: there is no field `pases`", "did you mean `passes`?")
        );
        let twice = r#"{"passes": [{"Place": {"strict": true, "strict": false}}]}"#;
        assert_eq!(error(twice).0, "1:47: the field `strict` is there twice");
        assert_eq!(error("{\n\"passes\" 1}").0, "2:10: expected `:`");
        assert_eq!(error("[]").0, "1:1: it is no object");
    }
}
