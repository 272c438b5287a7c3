//! As much of JSON Schema as the schemas use that we ship.
//!
//! Stricter in one way: an object may have no member that its schema does not name.

use serde_json::Value;

/// What a schema has against a value, with the places.
pub(crate) fn violations(schema: &Value, value: &Value, place: &str) -> Vec<String> {
    against(schema, schema, value, place)
}

fn against(root: &Value, schema: &Value, value: &Value, place: &str) -> Vec<String> {
    if let Some(name) = schema.get("$ref") {
        let name = name.as_str().unwrap().strip_prefix("#/$defs/").unwrap();
        return against(root, &root["$defs"][name], value, place);
    }
    let mut found = Vec::new();
    let mut refuse = |what: String| found.push(format!("{place}: {what}"));
    if let Some(choices) = schema.get("anyOf").and_then(Value::as_array) {
        let tried: Vec<_> =
            choices.iter().map(|choice| against(root, choice, value, place)).collect();
        if tried.iter().all(|one| !one.is_empty()) {
            let longest = tried.into_iter().max_by_key(|one| one.join("").len());
            return longest.unwrap_or_default();
        }
        return Vec::new();
    }
    if let Some(choices) = schema.get("oneOf").and_then(Value::as_array) {
        let tried: Vec<_> =
            choices.iter().map(|choice| against(root, choice, value, place)).collect();
        return match tried.iter().filter(|one| one.is_empty()).count() {
            1 => Vec::new(),
            // The form that goes furthest is the one that was meant.
            0 => tried.into_iter().max_by_key(|one| one.join("").len()).unwrap_or_default(),
            several => vec![format!("{place}: {several} forms fit {value}")],
        };
    }
    if let Some(only) = schema.get("const")
        && only != value
    {
        refuse(format!("{value} is not {only}"));
    }
    if let Some(choices) = schema.get("enum").and_then(Value::as_array)
        && !choices.contains(value)
    {
        refuse(format!("{value} is none of {choices:?}"));
    }
    let is = |name: &Value| match name.as_str().unwrap() {
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        other => panic!("the schema uses the type `{other}`"),
    };
    let typed = match schema.get("type") {
        Some(Value::Array(names)) => names.iter().any(is),
        Some(name) => is(name),
        None => true,
    };
    if !typed {
        refuse(format!("{value} is no {}", schema["type"]));
        return found;
    }
    if let (Some(least), Some(number)) =
        (schema.get("minimum").and_then(Value::as_f64), value.as_f64())
        && number < least
    {
        refuse(format!("{number} is below {least}"));
    }
    if let Some(items) = value.as_array() {
        for (end, bad) in [("minItems", true), ("maxItems", false)] {
            if let Some(limit) = schema.get(end).and_then(Value::as_u64)
                && (items.len() as u64 != limit)
                && ((items.len() as u64) < limit) == bad
            {
                refuse(format!("{} items", items.len()));
            }
        }
        for (index, item) in items.iter().enumerate() {
            if let Some(schema) = schema.get("items") {
                found.extend(against(root, schema, item, &format!("{place}[{index}]")));
            }
        }
    }
    if let (Some(members), "object") = (value.as_object(), schema["type"].as_str().unwrap_or("")) {
        let none = serde_json::Map::new();
        let known = schema.get("properties").and_then(Value::as_object).unwrap_or(&none);
        for name in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
            if !members.contains_key(name.as_str().unwrap()) {
                found.push(format!("{place}: {name} is missing"));
            }
        }
        for (name, member) in members {
            match known.get(name) {
                Some(schema) => {
                    found.extend(against(root, schema, member, &format!("{place}.{name}")));
                }
                // Readers must bear members that they do not know; this version must not have any.
                None => found.push(format!("{place}: {name} is not documented")),
            }
        }
    }
    found
}
