//! Configurations of AIMET's quantization simulation, read as policies.
//!
//! AIMET switches quantizers by the strings `"True"` and `"False"`, by operator, and knows no other
//! way to say which values are meant.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::everywhere::{
    Activations, Everywhere, GroupRule, OpRule, Params, Precision, SupportedKernel,
};
use super::{Biases, Placement, Policy};
use crate::recipe::RecipeError;
use crate::{DType, FixedRange, suggest};

/// A pass of AIMET.
struct Known {
    /// Its name.
    pass: &'static str,
    /// The pattern that finds what it finds.
    pattern: &'static str,
    /// The operator that it makes of it.
    operator: &'static str,
    /// Parameters of the operator, and the variables of the pattern.
    params: &'static [(&'static str, &'static str)],
}

const PASSES: &[Known] = &[
    Known {
        pass: "LayerNormalization",
        pattern: "LayerNorm",
        operator: "LayerNormalization",
        params: &[("weight", "scale"), ("bias", "bias")],
    },
    Known {
        pass: "RMSNormalization",
        pattern: "RmsNorm",
        operator: "RMSNormalization",
        params: &[("weight", "scale")],
    },
    Known {
        pass: "MatmulAdd",
        pattern: "Linear",
        operator: "Gemm",
        params: &[("weight", "w"), ("bias", "b")],
    },
    Known { pass: "MaskedSoftmax", pattern: "MaskedSoftmax", operator: "Softmax", params: &[] },
];

/// Reads a configuration.
pub(super) fn parse(name: &str, text: &str) -> Result<Policy, RecipeError> {
    let value: Value = serde_json::from_str(text).map_err(|error| RecipeError::Syntax {
        line: error.line(),
        column: error.column(),
        message: "this is no JSON".to_owned(),
        hint: Some("give a configuration of AIMET, or a policy in a file `.ron`".to_owned()),
    })?;
    let file = Object::of(String::new(), &value)?;
    file.only(&[
        "defaults",
        "params",
        "op_type",
        "supergroups",
        "supergroup_pass_list",
        "model_input",
        "model_output",
    ])?;
    let mut rules = Everywhere::default();
    defaults(&file.object("defaults")?, &mut rules)?;
    rules.param_kinds = param_kinds(&file.object("params")?)?;
    let operators = file.object("op_type")?;
    for (op, _) in operators.map {
        rules.operators.insert(op.clone(), operator(&operators.object(op)?)?);
    }
    rules.chains = chains(&file)?;
    rules.groups = groups(&file)?;
    let inputs = file.object("model_input")?;
    inputs.only(&["is_input_quantized"])?;
    // AIMET keeps the quantizers of constants with those of the inputs of the model.
    rules.inputs = inputs.flag("is_input_quantized")?;
    rules.constants = rules.inputs;
    let outputs = file.object("model_output")?;
    outputs.only(&["is_output_quantized"])?;
    rules.outputs = outputs.flag("is_output_quantized")?;
    let types = |first: DType| {
        let others = DType::ALL.into_iter().filter(move |&dtype| dtype != first);
        [first].into_iter().chain(others).collect()
    };
    Ok(Policy {
        name: name.to_owned(),
        activations: types(DType::UInt8),
        weights: types(DType::Int8),
        biases: Biases::Int32,
        placement: Placement::Everywhere(Box::new(rules)),
    })
}

fn defaults(defaults: &Object<'_>, rules: &mut Everywhere) -> Result<(), RecipeError> {
    defaults.only(&[
        "ops",
        "params",
        "strict_symmetric",
        "unsigned_symmetric",
        "per_channel_quantization",
        "supported_kernels",
        "hw_version",
    ])?;
    let ops = defaults.object("ops")?;
    ops.only(&["is_input_quantized", "is_output_quantized", "is_symmetric"])?;
    // AIMET switches inputs off again, whatever is said here: `model_input` has the word.
    ops.flag("is_input_quantized")?;
    rules.activations = Activations {
        outputs: ops.flag("is_output_quantized")?,
        symmetric: ops.flag("is_symmetric")?,
    };
    rules.params = params(&defaults.object("params")?)?;
    rules.strict = defaults.flag("strict_symmetric")?.unwrap_or(false);
    rules.unsigned = defaults.flag("unsigned_symmetric")?.unwrap_or(false);
    rules.per_channel = defaults.flag("per_channel_quantization")?.unwrap_or(false);
    rules.supported_kernels = supported_kernels(defaults)?;
    if let Some(hardware) = defaults.map.get("hw_version") {
        let text = hardware.as_str();
        let text = text.ok_or_else(|| defaults.bad("hw_version", "it is no string", "\"V73\""))?;
        rules.hardware = Some(text.to_owned());
    }
    Ok(())
}

fn params(object: &Object<'_>) -> Result<Params, RecipeError> {
    object.only(&["is_quantized", "is_symmetric"])?;
    Ok(Params { quantized: object.flag("is_quantized")?, symmetric: object.flag("is_symmetric")? })
}

fn param_kinds(object: &Object<'_>) -> Result<BTreeMap<String, Params>, RecipeError> {
    object.map.keys().map(|kind| Ok((kind.clone(), params(&object.object(kind)?)?))).collect()
}

fn operator(object: &Object<'_>) -> Result<OpRule, RecipeError> {
    object.only(&[
        "is_input_quantized",
        "is_output_quantized",
        "is_symmetric",
        "params",
        "per_channel_quantization",
        "encoding_constraints",
        "supported_kernels",
    ])?;
    let params = match object.map.contains_key("params") {
        true => param_kinds(&object.object("params")?)?,
        false => BTreeMap::new(),
    };
    let range = match object.map.contains_key("encoding_constraints") {
        false => None,
        true => {
            let ends = object.object("encoding_constraints")?;
            ends.only(&["min", "max"])?;
            Some(FixedRange { min: ends.number("min")?, max: ends.number("max")? })
        }
    };
    Ok(OpRule {
        inputs: object.flag("is_input_quantized")?,
        outputs: object.flag("is_output_quantized")?,
        symmetric: object.flag("is_symmetric")?,
        params,
        per_channel: object.flag("per_channel_quantization")?,
        range,
        supported_kernels: supported_kernels(object)?,
    })
}

fn chains(file: &Object<'_>) -> Result<Vec<Vec<String>>, RecipeError> {
    let entries = file.list("supergroups")?;
    let chain = |(place, entry): (String, &Value)| {
        let object = Object::of(place, entry)?;
        object.only(&["op_list"])?;
        let ops = object.list("op_list")?;
        ops.into_iter().map(|(place, op)| text(place, op)).collect()
    };
    entries.into_iter().map(chain).collect()
}

fn groups(file: &Object<'_>) -> Result<Vec<GroupRule>, RecipeError> {
    if !file.map.contains_key("supergroup_pass_list") {
        return Ok(Vec::new());
    }
    let known: Vec<&str> = PASSES.iter().map(|known| known.pass).collect();
    let group = |(place, entry): (String, &Value)| {
        let name = text(place.clone(), entry)?;
        let Some(Known { pattern, operator, params, .. }) =
            PASSES.iter().find(|known| known.pass == name)
        else {
            let what = format!("there is no pass `{name}`");
            return Err(RecipeError::BadRule { place, what, hint: suggest::hint(&name, &known) });
        };
        let params = params.iter().map(|&(kind, variable)| (kind.to_owned(), variable.to_owned()));
        Ok(GroupRule {
            pattern: (*pattern).to_owned(),
            operator: (*operator).to_owned(),
            params: params.collect(),
        })
    };
    file.list("supergroup_pass_list")?.into_iter().map(group).collect()
}

fn supported_kernels(object: &Object<'_>) -> Result<Vec<SupportedKernel>, RecipeError> {
    if !object.map.contains_key("supported_kernels") {
        return Ok(Vec::new());
    }
    let kernel = |(place, entry): (String, &Value)| {
        let kernel = Object::of(place, entry)?;
        kernel.only(&["activation", "param"])?;
        let param = match kernel.map.contains_key("param") {
            true => Some(precision(&kernel.object("param")?)?),
            false => None,
        };
        Ok(SupportedKernel { activation: precision(&kernel.object("activation")?)?, param })
    };
    object.list("supported_kernels")?.into_iter().map(kernel).collect()
}

fn precision(object: &Object<'_>) -> Result<Precision, RecipeError> {
    object.only(&["bitwidth", "dtype"])?;
    let bits = object.map.get("bitwidth").and_then(Value::as_u64);
    let bits = bits.and_then(|bits| u32::try_from(bits).ok()).filter(|&bits| bits > 0);
    let bits =
        bits.ok_or_else(|| object.bad("bitwidth", "it is no width", "a number such as 8"))?;
    let float = match object.map.get("dtype").and_then(Value::as_str) {
        Some("int") => false,
        Some("float") => true,
        _ => return Err(object.bad("dtype", "it is no type", "\"int\" or \"float\"")),
    };
    Ok(Precision { bits, float })
}

fn text(place: String, value: &Value) -> Result<String, RecipeError> {
    let text = value.as_str().map(str::to_owned);
    text.ok_or_else(|| RecipeError::BadRule {
        place,
        what: "it is no string".to_owned(),
        hint: "write a name in quotation marks".to_owned(),
    })
}

/// An object in the file, and the keys on the way to it.
struct Object<'a> {
    place: String,
    map: &'a Map<String, Value>,
}

impl<'a> Object<'a> {
    fn of(place: String, value: &'a Value) -> Result<Object<'a>, RecipeError> {
        match value.as_object() {
            Some(map) => Ok(Object { place, map }),
            None => Err(RecipeError::BadRule {
                place: if place.is_empty() { "the file".to_owned() } else { place },
                what: "it is no object".to_owned(),
                hint: "write `{ .. }`".to_owned(),
            }),
        }
    }

    fn at(&self, key: &str) -> String {
        match self.place.is_empty() {
            true => key.to_owned(),
            false => format!("{}.{key}", self.place),
        }
    }

    fn bad(&self, key: &str, what: &str, expected: &str) -> RecipeError {
        let (place, what) = (self.at(key), what.to_owned());
        RecipeError::BadRule { place, what, hint: format!("write {expected}") }
    }

    fn only(&self, known: &[&str]) -> Result<(), RecipeError> {
        match self.map.keys().find(|key| !known.contains(&key.as_str())) {
            None => Ok(()),
            Some(key) => Err(RecipeError::BadRule {
                place: self.at(key),
                what: "there is no such key here".to_owned(),
                hint: suggest::hint(key, known),
            }),
        }
    }

    fn get(&self, key: &str) -> Result<&'a Value, RecipeError> {
        self.map.get(key).ok_or_else(|| RecipeError::BadRule {
            place: self.at(key),
            what: "it is missing".to_owned(),
            hint: "add it, empty if there is nothing to say".to_owned(),
        })
    }

    fn object(&self, key: &str) -> Result<Object<'a>, RecipeError> {
        Object::of(self.at(key), self.get(key)?)
    }

    /// The items of a list, with their places.
    fn list(&self, key: &str) -> Result<Vec<(String, &'a Value)>, RecipeError> {
        let list = self.get(key)?.as_array();
        let list = list.ok_or_else(|| self.bad(key, "it is no list", "`[ .. ]`"))?;
        let place = self.at(key);
        Ok(list.iter().enumerate().map(|(at, item)| (format!("{place}[{at}]"), item)).collect())
    }

    fn flag(&self, key: &str) -> Result<Option<bool>, RecipeError> {
        match self.map.get(key) {
            None => Ok(None),
            Some(Value::String(text)) if text == "True" => Ok(Some(true)),
            Some(Value::String(text)) if text == "False" => Ok(Some(false)),
            Some(_) => Err(self.bad(
                key,
                "it is neither true nor false",
                "\"True\" or \"False\", in quotation marks",
            )),
        }
    }

    fn number(&self, key: &str) -> Result<Option<f64>, RecipeError> {
        match self.map.get(key) {
            None => Ok(None),
            Some(value) => match value.as_f64() {
                Some(number) => Ok(Some(number)),
                None => Err(self.bad(key, "it is no number", "a number without quotation marks")),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every key there is.
    const ALL: &str = r#"{
        "defaults": {
            "ops": {
                "is_input_quantized": "True",
                "is_output_quantized": "True",
                "is_symmetric": "False"
            },
            "params": {"is_quantized": "True", "is_symmetric": "True"},
            "strict_symmetric": "True",
            "unsigned_symmetric": "True",
            "per_channel_quantization": "True",
            "supported_kernels": [
                {
                    "activation": {"bitwidth": 16, "dtype": "int"},
                    "param": {"bitwidth": 8, "dtype": "int"}
                },
                {"activation": {"bitwidth": 16, "dtype": "float"}}
            ],
            "hw_version": "V73"
        },
        "params": {"bias": {"is_quantized": "False", "is_symmetric": "True"}},
        "op_type": {
            "Softmax": {
                "is_input_quantized": "False",
                "is_output_quantized": "True",
                "is_symmetric": "False",
                "params": {"weight": {"is_quantized": "True", "is_symmetric": "False"}},
                "per_channel_quantization": "False",
                "encoding_constraints": {"min": 0, "max": 1.5},
                "supported_kernels": [{"activation": {"bitwidth": 8, "dtype": "int"}}]
            }
        },
        "supergroups": [{"op_list": ["Conv", "Relu"]}],
        "supergroup_pass_list": [
            "LayerNormalization", "RMSNormalization", "MatmulAdd", "MaskedSoftmax"
        ],
        "model_input": {"is_input_quantized": "True"},
        "model_output": {"is_output_quantized": "False"}
    }"#;

    fn error(from: &str, to: &str) -> (String, String, &'static str) {
        assert!(ALL.contains(from), "{from}");
        let error = Policy::from_aimet("test", &ALL.replacen(from, to, 1)).unwrap_err();
        (error.to_string(), error.hint().unwrap(), error.code())
    }

    #[test]
    fn every_key_is_read() {
        let policy = Policy::from_aimet("test", ALL).unwrap();
        let rules = policy.everywhere().unwrap();
        let int = |bits| Precision { bits, float: false };
        assert_eq!(rules.activations, Activations { outputs: Some(true), symmetric: Some(false) });
        assert_eq!(rules.params, Params { quantized: Some(true), symmetric: Some(true) });
        assert!(rules.strict && rules.unsigned && rules.per_channel);
        let bias = Params { quantized: Some(false), symmetric: Some(true) };
        assert_eq!(rules.param_kinds["bias"], bias);
        let weight = Params { quantized: Some(true), symmetric: Some(false) };
        let softmax = OpRule {
            inputs: Some(false),
            outputs: Some(true),
            symmetric: Some(false),
            params: [("weight".to_owned(), weight)].into(),
            per_channel: Some(false),
            range: Some(FixedRange::of(0.0, 1.5)),
            supported_kernels: vec![SupportedKernel { activation: int(8), param: None }],
        };
        assert_eq!(rules.operators["Softmax"], softmax);
        assert_eq!(rules.chains, [["Conv", "Relu"]]);
        let patterns: Vec<&str> = rules.groups.iter().map(|group| &*group.pattern).collect();
        assert_eq!(patterns, ["LayerNorm", "RmsNorm", "Linear", "MaskedSoftmax"]);
        assert_eq!((rules.inputs, rules.constants), (Some(true), Some(true)));
        assert_eq!(rules.outputs, Some(false));
        assert_eq!(rules.hardware.as_deref(), Some("V73"));
        let kernel = SupportedKernel { activation: int(16), param: Some(int(8)) };
        let half = Precision { bits: 16, float: true };
        let cast = SupportedKernel { activation: half, param: None };
        assert_eq!(rules.supported_kernels, [kernel, cast]);
        // A policy in RON can say all of it.
        let text = crate::recipe::options().to_string(&policy).unwrap();
        assert_eq!(Policy::parse(&format!("Policy{text}")).unwrap(), policy);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place_and_a_next_step() {
        let (message, hint, code) = error("op_list", "ops_list");
        assert_eq!(message, "supergroups[0].ops_list: there is no such key here");
        assert_eq!((hint.as_str(), code), ("did you mean `op_list`?", "bad_rule"));
        let (message, hint, _) = error(r#""min": 0"#, r#""min": "0""#);
        assert_eq!(message, "op_type.Softmax.encoding_constraints.min: it is no number");
        assert_eq!(hint, "write a number without quotation marks");
        let (message, ..) = error(r#""max": 1.5"#, r#""max": -1"#);
        assert_eq!(message, "operators.Softmax.range: no value lies between 0 and -1");
        let (message, hint, _) = error(r#""is_quantized": "True""#, r#""is_quantized": "true""#);
        assert_eq!(message, "defaults.params.is_quantized: it is neither true nor false");
        assert_eq!(hint, "write \"True\" or \"False\", in quotation marks");
        let (message, hint, _) = error(r#""bias": {"#, r#""biases": {"#);
        assert_eq!(message, "param_kinds: there is no kind of parameters `biases`");
        assert_eq!(hint, "did you mean `bias`?");
        let (message, ..) = error(r#"["Conv", "Relu"]"#, r#"["Conv"]"#);
        assert_eq!(message, "chains[0]: a chain of fewer than two operators is none");
        let (message, ..) = error(r#""bitwidth": 16"#, r#""bitwidth": 0"#);
        assert_eq!(message, "defaults.supported_kernels[0].activation.bitwidth: it is no width");
        let (message, ..) = error(r#""model_input""#, r#""model_inputs""#);
        assert_eq!(message, "model_inputs: there is no such key here");
        let (message, _, code) = error("{", "[");
        assert_eq!((message.as_str(), code), ("2:19: this is no JSON", "recipe_syntax"));
    }
}
