//! Reports: what the shipped schema says of them, and that a page is a function of the JSON.

use marquetry::engine::{Embedded, Options};
use marquetry::ir::{Model, Tensor};
use marquetry::quant::pass::Content;
use marquetry::quant::report::{
    About, File, Measured, NearMiss, NearMisses, Place, Report, ReportError, SCHEMA, diff, html,
    measure,
};
use marquetry::quant::{Context, State};
use serde_json::{Value, json};

use crate::case::sections;
use crate::json_schema::violations;
use crate::quantize::{Shipped, each_case, run, sample};

/// The report of a state, with the outputs of its quantized model measured on the samples of its case.
fn report(state: &State, case: &str) -> Report {
    let samples: Vec<Vec<Tensor>> = sections(case)
        .into_iter()
        .filter(|(name, _)| *name == "sample")
        .map(|(_, src)| sample(src))
        .collect();
    let engine = Embedded::new(&Options::default());
    let cx = Context::new(&engine, &samples, &Shipped, &|_| {});
    let quantized = state.outputs.iter().find_map(|output| match &output.content {
        Content::Model(model) => Some(&**model),
        Content::Text(_) => None,
    });
    let measured = match quantized {
        Some(model) => measure(state, model, &cx, 8).unwrap(),
        None => Measured::default(),
    };
    Report::of(state, &measured, about(quantized)).unwrap()
}

fn about(quantized: Option<&Model>) -> About<'_> {
    let file = |nodes| File {
        path: "a/model.onnx".to_owned(),
        bytes: 1000,
        fingerprint: "fnv1a:0".to_owned(),
        nodes,
    };
    let miss = NearMiss {
        pattern: "Gelu".to_owned(),
        declared: Place { file: "activations.pat".to_owned(), line: 17 },
        at: "n1".to_owned(),
        also: 2,
        reason: "a reason".to_owned(),
        text: "Erf(x)".to_owned(),
        satisfied: 1,
        equations: 2,
        change: Some("Tanh(x)".to_owned()),
    };
    About {
        tool: "marquetry 0".to_owned(),
        command: vec!["marquetry".to_owned(), "quantize".to_owned()],
        pipeline: "Pipeline(passes: [])\n".to_owned(),
        float: file(3),
        quantized: quantized.map(|model| (file(model.graph.nodes().count()), model)),
        declared: [("Linear".to_owned(), Place { file: "linear.pat".to_owned(), line: 8 })].into(),
        near_misses: NearMisses { patterns: 1, partly: 0, misses: vec![miss] },
        notes: vec!["a note".to_owned()],
    }
}

#[test]
fn every_report_is_what_the_schema_says() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let (mut curves, mut complete, mut layers) = (0, 0, 0);
    each_case(|name, case, _| {
        let report = report(&run(case).unwrap(), case);
        let json: Value = serde_json::from_str(&report.to_json()).unwrap();
        assert_eq!(violations(&schema, &json, "report"), Vec::<String>::new(), "{name}");
        assert_eq!(Report::parse(&report.to_json()).unwrap(), report, "{name}");
        assert!(!diff::of(&report, &report).changed, "{name}");
    });
    for case in ["conv-chain", "gptq", "target-qnn-htp-v73", "residual-transformer"] {
        let report = of_case(case);
        curves += report.curves.len();
        complete += report.completeness.iter().count();
        layers += report.layers.len();
        assert!(
            report.outputs.iter().all(|output| output.sqnr_db.is_some_and(|sqnr| sqnr > 10.0)),
            "{case}"
        );
        assert!(report.layers.is_sorted_by(|a, b| a.added >= b.added), "{case}");
    }
    assert!(complete > 0 && layers > 8, "{curves} curves, {complete} complete, {layers} layers");
}

fn of_case(name: &str) -> Report {
    let path = format!("{}/cases/quantize/{name}.case", env!("CARGO_MANIFEST_DIR"));
    let case = std::fs::read_to_string(path).unwrap();
    report(&run(&case).unwrap(), &case)
}

/// The schema is no empty promise: whatever member is taken out or made something else is noticed.
#[test]
fn the_schema_notices_what_is_missing_or_of_another_type() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let report: Value = serde_json::from_str(&of_case("conv-chain").to_json()).unwrap();
    for name in report.as_object().unwrap().keys() {
        let mut without = report.clone();
        without.as_object_mut().unwrap().shift_remove(name);
        assert!(!violations(&schema, &without, "report").is_empty(), "without {name}");
        let mut other = report.clone();
        other[name] = json!(-1.5);
        assert!(!violations(&schema, &other, "report").is_empty(), "{name} is a number");
    }
    let mut inner = report;
    inner["tensors"][0]["histogram"]["counts"][0] = json!("many");
    assert_eq!(violations(&schema, &inner, "report").len(), 1);
}

#[test]
fn a_page_is_a_function_of_the_json() {
    for case in ["conv-chain", "gptq", "target-qnn-htp-v73"] {
        let report = of_case(case);
        let page = html::page(&report);
        assert_eq!(html::page(&Report::parse(&report.to_json()).unwrap()), page, "{case}");
        for id in ["summary", "layers", "tensors", "float", "groups", "near", "passes", "files"] {
            assert!(page.contains(&format!(" id=\"{id}\"")), "{case}: {id}");
        }
        let links = page.split("href=\"#").skip(1).map(|rest| rest.split('"').next().unwrap());
        for link in links {
            assert!(page.contains(&format!(" id=\"{link}\"")), "{case}: nothing is at #{link}");
        }
        assert!(!page.contains("http:") && !page.contains("https:"), "{case} asks for nothing");
    }
}

/// Names in models are anybody's: none becomes markup, wherever it stands.
#[test]
fn hostile_names_stay_text() {
    const EVIL: &str = "<script>alert(1)</script><img src=x onerror='a'>\"`&";
    fn poison(value: &mut Value) {
        match value {
            Value::String(text) if text != "marquetry report" => *text = EVIL.to_owned(),
            Value::Array(items) => items.iter_mut().for_each(poison),
            Value::Object(members) => members.values_mut().for_each(poison),
            _ => {}
        }
    }
    for case in ["conv-chain", "gptq", "target-qnn-htp-v73"] {
        let clean = of_case(case);
        let mut json: Value = serde_json::from_str(&clean.to_json()).unwrap();
        poison(&mut json);
        let page = html::page(&Report::parse(&json.to_string()).unwrap());
        assert!(page.contains("&lt;script&gt;alert"), "{case}");
        let count = |tag: &str| page.matches(tag).count();
        assert_eq!(
            (count("<script"), count("</script"), count("<img"), count("onerror='")),
            (1, 1, 0, 0),
            "{case}"
        );
    }
}

/// Whatever stands in a file that is a report: no number makes the page panic.
#[test]
fn odd_numbers_are_drawn_somehow() {
    fn replace(value: &mut Value, by: f64) {
        match value {
            Value::Number(number) if number.is_f64() => *value = json!(by),
            Value::Array(items) => items.iter_mut().for_each(|item| replace(item, by)),
            Value::Object(members) => members.values_mut().for_each(|member| replace(member, by)),
            _ => {}
        }
    }
    let report: Value = serde_json::from_str(&of_case("conv-chain").to_json()).unwrap();
    for by in [0.0, -1.0, 1e300, -1e300, 5e-324, 1.0] {
        let mut odd = report.clone();
        replace(&mut odd, by);
        let page = html::page(&Report::parse(&odd.to_string()).unwrap());
        let drawn = page.split("<script>").next().unwrap();
        assert!(page.ends_with("</html>\n") && !drawn.contains("NaN"), "{by}");
    }
    let mut empty = report;
    for list in ["outputs", "layers", "tensors", "groups", "passes", "in_float", "float_kernels"] {
        empty[list] = json!([]);
    }
    empty["quantized"] = Value::Null;
    empty["samples"] = json!(0);
    assert!(html::page(&Report::parse(&empty.to_string()).unwrap()).contains("Not measured"));
}

#[test]
fn what_is_no_report_is_refused() {
    let code = |text: &str| Report::parse(text).map_err(|error: ReportError| error.code());
    let good = of_case("conv-chain").to_json();
    assert!(code(&good).is_ok());
    assert_eq!(code("{").unwrap_err(), "report_syntax");
    assert_eq!(code("{}").unwrap_err(), "report_syntax");
    let newer = good.replacen("\"schema_version\": 1", "\"schema_version\": 2", 1);
    assert_eq!(code(&newer).unwrap_err(), "report_version");
    let without = good.replacen("\"target\"", "\"tarjet\"", 1);
    assert!(Report::parse(&without).unwrap_err().to_string().contains("missing field `target`"));
}

#[test]
fn what_changed_is_told() {
    let before = of_case("conv-chain");
    let mut after = before.clone();
    let mut before = before;
    for (report, bytes, sqnr) in [(&mut before, 1000, 30.0), (&mut after, 900, 24.5)] {
        report.quantized.as_mut().unwrap().bytes = bytes;
        report.outputs[0].sqnr_db = Some(sqnr);
        report.layers.truncate(2);
        // The first gets worse, the second better.
        report.layers[0].output.sqnr_db = Some(sqnr);
        report.layers[1].output.sqnr_db = Some(60.0 - sqnr);
    }
    after.tensors[0].site.dtype = "int16".to_owned();
    after.tensors[0].site.zero_point = Some(0);
    before.tensors[0].site.zero_point = Some(7);
    after.tensors.remove(1);
    after.counts.integer_kernels = 3;
    after.groups[0].count += 2;
    // Neither how it was asked for nor how long it took is a change.
    after.command.push("--quiet".to_owned());
    after.passes.iter_mut().for_each(|pass| pass.seconds += 1.0);
    let changes = diff::of(&before, &after);
    insta::with_settings!({ snapshot_path => "../snapshots", omit_expression => true }, {
        insta::assert_snapshot!(changes);
    });
    let json = serde_json::to_value(&changes).unwrap();
    assert_eq!(json["outputs"][0]["better"], json!(false));
    assert_eq!(json["bytes"], json!({ "before": 1000, "after": 900 }));

    let mut asked_otherwise = before.clone();
    asked_otherwise.command = after.command;
    asked_otherwise.passes = after.passes;
    asked_otherwise.tool = "marquetry 9".to_owned();
    assert!(!diff::of(&before, &asked_otherwise).changed);
}
