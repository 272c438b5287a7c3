//! A JSON schema of recipes, found by asking their reader.
//!
//! The reader of a type says what it would have taken when it is given something else: which fields there
//! are, which names, or what kind of value. So the schema is what is read, whatever is added to passes.
//! What a field is for stands in its documentation in Rust, of which `descriptions.json` is a copy.

#[cfg(test)]
mod descriptions;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::json::quoted;
use super::{EngineName, Step};

/// What no name and no field is called.
const NOTHING: &str = "?";
/// Fields within fields.
const DEEPEST: usize = 6;

/// By type and field or variant: what it is for.
type Descriptions = BTreeMap<String, BTreeMap<String, String>>;

static DESCRIPTIONS: LazyLock<Descriptions> = LazyLock::new(|| {
    serde_json::from_str(include_str!("schema/descriptions.json")).expect("the copy is sound")
});

/// A schema with what its field is for.
fn with_words(mut schema: Value, kind: &str, field: &str) -> Value {
    let words = DESCRIPTIONS.get(kind).and_then(|fields| fields.get(field));
    if let (Some(words), Some(schema)) = (words, schema.as_object_mut()) {
        schema.insert("description".to_owned(), json!(words));
    }
    schema
}

/// The enum of which some names are: aliases of a variant are among them.
fn enum_of(names: &[&str]) -> &'static str {
    let known = DESCRIPTIONS.iter().find(|(_, variants)| {
        !variants.is_empty() && variants.keys().all(|variant| names.contains(&variant.as_str()))
    });
    known.map_or("", |(name, _)| name.as_str())
}

/// The JSON schema of the JSON form of recipes of built-in passes.
///
/// # Panics
///
/// Never: the reader of steps is asked what it knows.
pub fn schema() -> Value {
    let told = told(&|value| Step::deserialize(value).map(drop), json!(NOTHING));
    let steps: Vec<Value> = quoted(&told).skip(1).flat_map(step).collect();
    let of_recipe = |schema, field| with_words(schema, "Recipe", field);
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Marquetry pipeline",
        "type": "object",
        "additionalProperties": false,
        "required": ["passes"],
        "properties": {
            "$schema": { "type": "string", "description": "The schema of the file, for editors." },
            "target": of_recipe(
                json!({ "type": "string", "default": super::default_target() }),
                "target",
            ),
            "engine": of_recipe(
                described(&|value| Option::<EngineName>::deserialize(value).map(drop), 0),
                "engine",
            ),
            "patterns": of_recipe(
                json!({ "type": "array", "items": { "type": "string" } }),
                "patterns",
            ),
            "passes": of_recipe(
                json!({ "type": "array", "minItems": 1, "items": { "oneOf": steps } }),
                "passes",
            ),
        },
    })
}

/// The forms of a step: its name, where it needs no fields, and an object with its fields.
fn step(name: &str) -> Vec<Value> {
    let read = |value: Value| Step::deserialize(value).map(drop);
    let mut forms = Vec::new();
    let plain = read(json!(name)).is_ok();
    let without = read(json!({ name: {} })).is_ok();
    if plain || without {
        forms.push(with_words(json!({ "const": name }), "Step", name));
    }
    let fields = match plain {
        true => json!({ "type": "object", "additionalProperties": false }),
        false => described(&|value| read(json!({ name: value })), 0),
    };
    forms.push(json!({
        "type": "object",
        "additionalProperties": false,
        "required": [name],
        "properties": { name: with_words(fields, "Step", name) },
    }));
    forms
}

type Reader<'a> = &'a dyn Fn(Value) -> Result<(), serde_json::Error>;

/// What a reader says of a value; nothing where it takes it. A field that is missing elsewhere is none of
/// this value's business.
fn told(read: Reader<'_>, value: Value) -> String {
    match read(value) {
        Err(error) if !error.to_string().starts_with("missing field") => error.to_string(),
        _ => String::new(),
    }
}

/// The schema of what a reader takes.
fn described(read: Reader<'_>, depth: usize) -> Value {
    let told_text = told(read, json!(NOTHING));
    if depth > DEEPEST {
        return json!({});
    }
    let wanted = told_text.split("expected ").nth(1).unwrap_or_default();
    let schema = if told_text.starts_with("unknown variant") {
        let names = quoted(&told_text).skip(1).collect::<Vec<_>>();
        named(read, &names, depth)
    } else if told_text.is_empty() || !told_text.starts_with("invalid type") {
        // Text that is read on, such as that of a selector, complains in its own words.
        json!({ "type": "string" })
    } else if wanted.contains("a boolean") {
        json!({ "type": "boolean" })
    } else if wanted.contains("f64") || wanted.contains("f32") {
        json!({ "type": "number" })
    } else if wanted.starts_with(['u', 'i']) && wanted[1..].starts_with(|c: char| c.is_numeric())
        || wanted.contains("usize")
        || wanted.contains("isize")
    {
        let least = wanted.starts_with('u').then_some(0);
        least.map_or(
            json!({ "type": "integer" }),
            |least| json!({ "type": "integer", "minimum": least }),
        )
    } else if wanted.contains("sequence") {
        let items = described(&|value| read(json!([value])), depth + 1);
        json!({ "type": "array", "items": items })
    } else if let Some((_, kind)) = wanted.split_once("struct ") {
        object(read, kind.split_whitespace().next().unwrap_or_default(), depth)
    } else {
        json!({})
    };
    // What may be left out may also be said to be nothing.
    match read(Value::Null) {
        Ok(()) => json!({ "anyOf": [schema, { "type": "null" }] }),
        Err(error) if error.to_string().starts_with("missing field") => {
            json!({ "anyOf": [schema, { "type": "null" }] })
        }
        Err(_) => schema,
    }
}

/// One of these is taken for most fields that must be there.
fn some_values() -> [Value; 6] {
    [json!("op:Conv"), json!({}), json!([]), json!(1), json!(true), json!(null)]
}

/// An object with the fields of a struct.
fn object(read: Reader<'_>, kind: &str, depth: usize) -> Value {
    let unknown = told(read, json!({ NOTHING: null }));
    let names: Vec<&str> = match unknown.starts_with("unknown field") {
        true => quoted(&unknown).skip(1).collect(),
        false => Vec::new(),
    };
    let mut properties = Map::new();
    for name in &names {
        let field = described(&|value| read(json!({ *name: value })), depth + 1);
        properties.insert((*name).to_owned(), with_words(field, kind, name));
    }
    // Fields that are missing are told one at a time: each is given in turn.
    let mut given = Map::new();
    while let Err(error) = read(Value::Object(given.clone())) {
        let text = error.to_string();
        let missing = quoted(&text).next().filter(|_| text.starts_with("missing field"));
        let Some(missing) = missing.and_then(|found| names.iter().find(|name| **name == found))
        else {
            break;
        };
        let field = |value: &Value| told(&|value| read(json!({ *missing: value })), value.clone());
        let Some(value) = some_values().into_iter().find(|value| field(value).is_empty()) else {
            break;
        };
        given.insert((*missing).to_owned(), value);
    }
    let required: Vec<&String> = given.keys().collect();
    let mut schema = json!({
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
    });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

/// The variant of an enum that has a name, or this one as its alias.
fn variant(kind: &str, name: &str) -> String {
    let mut variants = DESCRIPTIONS.get(kind).into_iter().flat_map(BTreeMap::keys);
    let found = variants.find(|variant| variant.eq_ignore_ascii_case(name));
    found.map_or(name, String::as_str).to_owned()
}

/// One of several names, of which some come with content.
fn named(read: Reader<'_>, names: &[&str], depth: usize) -> Value {
    let mut plain = Vec::new();
    let mut forms = Vec::new();
    let kind = enum_of(names);
    for name in names {
        if told(read, json!(name)).is_empty() {
            plain.push(json!(name));
        } else {
            let content = described(&|value| read(json!({ *name: value })), depth + 1);
            forms.push(json!({
                "type": "object",
                "additionalProperties": false,
                "required": [name],
                "properties": { *name: with_words(content, kind, &variant(kind, name)) },
            }));
        }
    }
    if forms.is_empty() {
        return json!({ "enum": plain });
    }
    if !plain.is_empty() {
        forms.insert(0, json!({ "enum": plain }));
    }
    json!({ "oneOf": forms })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fields of a pass in the schema.
    fn fields<'a>(schema: &'a Value, pass: &str) -> &'a Value {
        let forms = schema["properties"]["passes"]["items"]["oneOf"].as_array().unwrap();
        let form = forms.iter().find(|form| form["required"][0] == pass).unwrap();
        &form["properties"][pass]
    }

    #[test]
    fn the_schema_knows_fields_names_and_kinds() {
        let schema = schema();
        let place = &fields(&schema, "Place")["properties"];
        assert!(place["activations"]["enum"].as_array().unwrap().contains(&json!("UInt16")));
        assert_eq!(place["strict"]["type"], "boolean");
        let weights = &place["weights"]["properties"]["granularity"]["oneOf"];
        assert_eq!(weights[0], json!({ "enum": ["PerTensor", "PerChannel"] }));
        let block = &weights[1]["properties"]["PerBlock"];
        assert_eq!((&block["type"], &block["minimum"]), (&json!("integer"), &json!(0)));
        let over = fields(&schema, "Override");
        assert_eq!(over["required"], json!(["select", "with"]));
        assert_eq!(over["properties"]["select"]["type"], "string");
        let samples = &fields(&schema, "Calibrate")["properties"]["samples"];
        assert_eq!(samples["anyOf"][0], json!({ "type": "integer", "minimum": 0 }));
        let patterns = &fields(&schema, "Group")["properties"]["patterns"];
        assert_eq!(
            (&patterns["type"], &patterns["items"]["type"]),
            (&json!("array"), &json!("string"))
        );
        let forms = schema["properties"]["passes"]["items"]["oneOf"].as_array().unwrap();
        let plain = |name: &str| forms.iter().any(|form| form["const"] == name);
        let weights = &fields(&schema, "Calibrate")["properties"]["weights"]["anyOf"];
        assert_eq!(weights[1], json!({ "type": "null" }), "names may be left out too");
        assert!(plain("FoldConstants"));
        assert!(!plain("Override"), "it needs fields");
    }
}
