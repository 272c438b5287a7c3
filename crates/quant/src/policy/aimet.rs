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
        symmetric_activations: false,
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
