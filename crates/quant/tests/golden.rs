//! Encodings and simulated values against data recorded from AIMET-ONNX.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its data fails")]

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;

use marquetry_quant::observer::{AimetHistogram, MinMax, Observer, View};
use marquetry_quant::qdq::{Limits, Rounding, fake_quantize};
use marquetry_quant::{DType, Encoding, Granularity, Scheme, Spec};
use npyz::NpyFile;
use serde_json::Value;
use zip::ZipArchive;

/// The folder of recorded data, or nothing where this clone has none.
fn golden() -> Option<PathBuf> {
    let folder = std::env::var_os("MARQUETRY_GOLDEN").unwrap_or("../shared/golden".into());
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(folder);
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: there is no golden data at {}", folder.display());
    None
}

struct Arrays(ZipArchive<BufReader<File>>);

impl Arrays {
    fn open(path: PathBuf) -> Arrays {
        Arrays(ZipArchive::new(BufReader::new(File::open(path).unwrap())).unwrap())
    }

    fn get(&mut self, name: &str) -> Option<(Vec<usize>, Vec<f32>)> {
        let array = NpyFile::new(self.0.by_name(&format!("{name}.npy")).ok()?).unwrap();
        let dims = array.shape().iter().map(|&dim| usize::try_from(dim).unwrap()).collect();
        Some((dims, array.into_vec::<f32>().unwrap()))
    }
}

fn dtype(bits: &str) -> DType {
    DType::parse(&format!("int{bits}")).unwrap()
}

fn spec(mode: &str, bits: &str, granularity: Granularity) -> Spec {
    Spec {
        symmetric: mode != "asym",
        strict: mode == "sym_strict",
        unsigned: mode == "sym_unsigned",
        granularity,
        ..Spec::activation(dtype(bits))
    }
}

fn granularity(name: &str) -> Granularity {
    match name {
        "pc0" => Granularity::PerChannel(0),
        "pc1" => Granularity::PerChannel(1),
        blocks => {
            let size = blocks.trim_start_matches("blk").trim_start_matches("_ic").parse().unwrap();
            Granularity::PerBlock { axis: 1, size, channel: 0 }
        }
    }
}

/// Numbers of one encoding: a list of four, or four lists.
fn numbers(value: &Value) -> Vec<f64> {
    let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("{value} is no number"));
    value.as_array().unwrap().iter().map(number).collect()
}

fn assert_same(what: &str, encoding: &Encoding, expected: [&[f64]; 4]) {
    for (cell, found) in encoding.cells.iter().enumerate() {
        let found = [encoding.min(cell), encoding.max(cell), found.scale, found.offset];
        let expected = expected.map(|field| field[cell]);
        let bits = |numbers: [f64; 4]| numbers.map(f64::to_bits);
        assert_eq!(bits(found), bits(expected), "{what}, cell {cell}: {found:?} {expected:?}");
    }
    assert!(expected.iter().all(|field| field.len() == encoding.cells.len()), "{what}");
}

#[test]
fn golden_min_max_per_tensor() {
    let Some(folder) = golden() else { return };
    let table: Value =
        serde_json::from_reader(File::open(folder.join("encodings.json")).unwrap()).unwrap();
    let mut arrays = Arrays::open(folder.join("encodings_tensors.npz"));
    let mut compared = 0;
    for (name, schemes) in table["per_tensor"].as_object().unwrap() {
        let mut observer = MinMax::new(Granularity::PerTensor);
        for batch in 0.. {
            let Some((dims, data)) = arrays.get(&format!("{name}/{batch}")) else { break };
            observer.update(View { dims: &dims, data: &data }).unwrap();
        }
        for (mode, widths) in schemes["min_max"].as_object().unwrap() {
            for (bits, expected) in widths.as_object().unwrap() {
                let encoding = observer.finish(&spec(mode, bits, Granularity::PerTensor)).unwrap();
                let [min, max, scale, offset] = numbers(expected).try_into().unwrap();
                assert_same(
                    &format!("{name} {mode} {bits}"),
                    &encoding,
                    [&[min], &[max], &[scale], &[offset]],
                );
                compared += 1;
            }
        }
    }
    assert!(compared > 0, "the table holds encodings");
    eprintln!("{compared} encodings are equal bit for bit");
}

#[test]
fn golden_min_max_per_channel_and_blockwise() {
    let Some(folder) = golden() else { return };
    let table: Value =
        serde_json::from_reader(File::open(folder.join("encodings.json")).unwrap()).unwrap();
    let mut arrays = Arrays::open(folder.join("encodings_shaped.npz"));
    let mut compared = 0;
    for (name, grids) in table["shaped"].as_object().unwrap() {
        let (dims, data) = arrays.get(name).unwrap();
        for (grid, schemes) in grids.as_object().unwrap() {
            let granularity = granularity(grid);
            let mut observer = MinMax::new(granularity);
            observer.update(View { dims: &dims, data: &data }).unwrap();
            for (mode, widths) in schemes["min_max"].as_object().unwrap() {
                for (bits, expected) in widths.as_object().unwrap() {
                    let what = format!("{name} {grid} {mode} {bits}");
                    let encoding = observer.finish(&spec(mode, bits, granularity)).unwrap();
                    let shape: Vec<u64> = encoding.shape.iter().map(|&dim| dim as u64).collect();
                    assert_eq!(Value::from(shape), schemes["scale_shape"], "{what}");
                    let fields = ["min", "max", "scale", "offset"].map(|f| numbers(&expected[f]));
                    assert_same(&what, &encoding, fields.each_ref().map(Vec::as_slice));

                    let key = format!("qdq/{name}/{grid}/{mode}/{bits}");
                    let (_, expected) = arrays.get(&key).unwrap();
                    let found =
                        fake_quantize(&data, &dims, &encoding, Rounding::HalfUpShifted).unwrap();
                    assert_eq!(found, expected, "{key}");
                    compared += 1;
                }
            }
        }
    }
    assert!(compared > 0, "the table holds encodings");
    eprintln!("{compared} encodings and their simulations are equal bit for bit");
}

#[test]
fn golden_simulation_of_ties() {
    let Some(folder) = golden() else { return };
    let specs: Value =
        serde_json::from_reader(File::open(folder.join("qdq_ties.json")).unwrap()).unwrap();
    let mut arrays = Arrays::open(folder.join("qdq_ties.npz"));
    let (_, x) = arrays.get("x").unwrap();
    for (name, fields) in specs.as_object().unwrap() {
        let field = |key: &str| fields[key].as_f64().unwrap() as f32;
        let limits = Limits {
            min: field("min"),
            max: field("max"),
            scale: field("scale"),
            offset: field("offset"),
        };
        let (_, expected) = arrays.get(&format!("y_{name}")).unwrap();
        for (&x, &expected) in x.iter().zip(&expected) {
            assert_eq!(limits.simulate(x), expected, "{name} of {x:e}");
        }
    }
}

fn scheme(name: &str) -> Scheme {
    match name.strip_prefix("percentile_") {
        Some(percentage) => Scheme::Percentile(percentage.parse().unwrap()),
        None => Scheme::TfEnhanced,
    }
}

/// Whether AIMET's own result depends on its implementation: values near the largest float, or
/// none at all.
fn is_undefined(name: &str, scheme: &str, bits: &str) -> bool {
    let odd = ["huge_1e38", "fltmax", "fltmax_pos", "has_pinf", "has_ninf", "both_inf", "all_nan"];
    odd.contains(&name) || (name, scheme, bits) == ("const_eps", "tf_enhanced", "16")
}

#[test]
fn golden_histogram_per_tensor() {
    let Some(folder) = golden() else { return };
    let table: Value =
        serde_json::from_reader(File::open(folder.join("encodings.json")).unwrap()).unwrap();
    let mut arrays = Arrays::open(folder.join("encodings_tensors.npz"));
    let mut compared = 0;
    let mut wrong = Vec::new();
    for (name, schemes) in table["per_tensor"].as_object().unwrap() {
        let mut observer = AimetHistogram::new(Granularity::PerTensor);
        for batch in 0.. {
            let Some((dims, data)) = arrays.get(&format!("{name}/{batch}")) else { break };
            observer.update(View { dims: &dims, data: &data }).unwrap();
        }
        for (scheme_name, modes) in schemes.as_object().unwrap() {
            if scheme_name == "min_max" {
                continue;
            }
            for (mode, widths) in modes.as_object().unwrap() {
                for (bits, expected) in widths.as_object().unwrap() {
                    let spec = Spec {
                        scheme: scheme(scheme_name),
                        ..spec(mode, bits, Granularity::PerTensor)
                    };
                    let found = observer.finish(&spec).unwrap().cells[0];
                    if is_undefined(name, scheme_name, bits) {
                        continue;
                    }
                    let [_, _, scale, offset] = numbers(expected).try_into().unwrap();
                    if (found.scale, found.offset) != (scale, offset) {
                        wrong.push(format!(
                            "{name} {scheme_name} {mode} {bits}: {found:?}, not {scale} {offset}"
                        ));
                    }
                    compared += 1;
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {compared}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(compared > 0, "the table holds encodings");
    eprintln!("{compared} encodings are equal bit for bit");
}

#[test]
fn golden_histogram_per_channel_and_blockwise() {
    let Some(folder) = golden() else { return };
    let table: Value =
        serde_json::from_reader(File::open(folder.join("encodings.json")).unwrap()).unwrap();
    let mut arrays = Arrays::open(folder.join("encodings_shaped.npz"));
    let mut compared = 0;
    for (name, grids) in table["shaped"].as_object().unwrap() {
        let (dims, data) = arrays.get(name).unwrap();
        for (grid, schemes) in grids.as_object().unwrap() {
            let granularity = granularity(grid);
            let mut observer = AimetHistogram::new(granularity);
            observer.update(View { dims: &dims, data: &data }).unwrap();
            for (scheme_name, modes) in schemes.as_object().unwrap() {
                if ["min_max", "scale_shape"].contains(&scheme_name.as_str()) {
                    continue;
                }
                for (mode, widths) in modes.as_object().unwrap() {
                    for (bits, expected) in widths.as_object().unwrap() {
                        let spec =
                            Spec { scheme: scheme(scheme_name), ..spec(mode, bits, granularity) };
                        let encoding = observer.finish(&spec).unwrap();
                        let scales: Vec<f64> = encoding.cells.iter().map(|c| c.scale).collect();
                        let offsets: Vec<f64> = encoding.cells.iter().map(|c| c.offset).collect();
                        let what = format!("{name} {grid} {scheme_name} {mode} {bits}");
                        assert_eq!(scales, numbers(&expected["scale"]), "{what}");
                        assert_eq!(offsets, numbers(&expected["offset"]), "{what}");
                        compared += 1;
                    }
                }
            }
        }
    }
    assert!(compared > 0, "the table holds encodings");
    eprintln!("{compared} encodings are equal bit for bit");
}
