//! Damaged and hostile bytes: an error with a place, or a model; never a panic, never much memory.

use std::fs;

use bytes::Bytes;
use marquetry_ir::onnx::{self, ReadError, ReadOptions};

use super::fixture;

/// A field with a run of bytes.
fn run(number: u32, content: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    varint(u64::from(number << 3 | 2), &mut wire);
    varint(content.len() as u64, &mut wire);
    wire.extend(content);
    wire
}

fn varint(mut value: u64, wire: &mut Vec<u8>) {
    while value >= 0x80 {
        wire.push(value as u8 | 0x80);
        value >>= 7;
    }
    wire.push(value as u8);
}

/// A message of `ModelProto` with IR version 8 around the content of its graph.
fn model(graph: &[u8]) -> Vec<u8> {
    [vec![8, 8], run(7, graph), run(8, &[16, 17])].concat()
}

fn refusal(bytes: impl Into<Bytes>) -> ReadError {
    onnx::decode(bytes).map(|_| "a model").unwrap_err()
}

/// Whatever can be read can be written, and is then the same to the byte when read again.
fn read_or_refuse(bytes: Vec<u8>) -> bool {
    match onnx::decode(bytes) {
        Err(error) => {
            assert!(!error.code().is_empty() && !error.to_string().is_empty());
            false
        }
        Ok(model) => {
            if let Ok(written) = onnx::encode(&model) {
                let again = onnx::decode(written.clone()).expect("what we write, we read");
                assert_eq!(onnx::encode(&again).unwrap(), written);
            }
            true
        }
    }
}

#[test]
fn every_prefix_is_refused_or_a_model() {
    let whole = fs::read(fixture("every-field.onnx")).unwrap();
    let models = (0..whole.len()).filter(|&end| read_or_refuse(whole[..end].to_vec())).count();
    // Cut between the outermost fields, what is left is a message; the graph comes seventh.
    assert!(models < 10, "{models}");
}

#[test]
fn flipped_bits_are_refused_or_a_model() {
    let whole = fs::read(fixture("every-field.onnx")).unwrap();
    // The linear congruential generator of Knuth's MMIX.
    let mut state = 1_u64;
    let mut next = |below: usize| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let mut models = 0;
    for _ in 0..4_000 {
        let mut bytes = whole.clone();
        for _ in 0..=next(3) {
            let at = next(bytes.len());
            bytes[at] ^= 1 << next(8);
        }
        models += usize::from(read_or_refuse(bytes));
    }
    assert!((200..3_800).contains(&models), "{models}");
}

#[test]
fn bytes_of_other_files_are_named() {
    let cases: [(&[u8], &str); 4] = [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "Git LFS pointer"),
        (b"\n<!doctype html><html><body>Sign in</body></html>", "a web page"),
        (b"\x89PNG\r\n\x1a\n", "a PNG image"),
        (b"PK\x03\x04\x14\x00", "a zip archive"),
    ];
    for (bytes, what) in cases {
        let error = refusal(bytes);
        assert_eq!(error.code(), "not_onnx");
        assert!(error.to_string().contains(what), "{error}");
        assert!(error.hint().is_some());
    }
    assert_eq!(refusal(b"".as_slice()).code(), "empty_file");
}

#[test]
fn what_is_wrong_on_the_wire_is_named_with_its_place() {
    let bad_name = model(&run(1, &run(3, b"a\xff")));
    assert_eq!(
        refusal(bad_name).to_string(),
        "at byte 6, in `graph.node[0].name`: the text is not UTF-8"
    );
    let long =
        [vec![8, 8], vec![0x3a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]].concat();
    assert_eq!(refusal(long).code(), "cut_off");
    let overlong = [vec![8], vec![0x80; 11]].concat();
    assert_eq!(refusal(overlong).code(), "bad_number");
    assert_eq!(refusal(vec![0x0b; 200_000]).code(), "wire_group");
    assert_eq!(refusal([vec![8, 8, 0, 0]].concat()).code(), "bad_field_number");
    assert_eq!(refusal(vec![0x08, 0x08, 0x3a, 0x02, 0x08, 0x01]).code(), "bad_wire_type");
}

#[test]
fn unknown_fields_are_refused_or_stripped_but_not_lost() {
    let bytes = model(&[run(2, b"g"), vec![0xf8, 0x01, 1]].concat());
    let error = refusal(bytes.clone());
    assert_eq!(
        error.to_string(),
        "at byte 7, in `graph`: field 31 of `GraphProto` is unknown to this version"
    );
    let mut options = ReadOptions::default();
    options.strip_unknown = true;
    onnx::decode_with(bytes, &options).unwrap();
}

/// A graph in an attribute of a node in a graph …, `depth` times.
fn nested(depth: usize) -> Vec<u8> {
    let mut graph = run(2, b"g");
    for _ in 0..depth {
        let attribute = [run(1, b"body"), vec![0xa0, 0x01, 5], run(6, &graph)].concat();
        graph = [run(2, b"g"), run(1, &[run(4, b"If"), run(5, &attribute)].concat())].concat();
    }
    model(&graph)
}

#[test]
fn bodies_nest_as_deeply_as_official_readers_allow() {
    onnx::decode(nested(33)).unwrap();
    assert_eq!(refusal(nested(34)).code(), "too_deep");
    assert_eq!(refusal(nested(10_000)).code(), "too_deep");
}

#[test]
fn small_files_do_not_become_large_memory() {
    // Two bytes each, some hundred when decoded.
    assert_eq!(refusal(model(&[0x0a, 0x00].repeat(10_000_000))).code(), "memory_budget");
    let tensor = [run(1, &vec![1; 1 << 20]), vec![16, 1], run(8, b"w")].concat();
    assert_eq!(refusal(model(&run(5, &tensor))).code(), "too_many_dims");
}

/// A graph with one initializer.
fn with_tensor(tensor: &[Vec<u8>]) -> Vec<u8> {
    model(&[run(2, b"g"), run(5, &[tensor.concat(), run(8, b"w")].concat())].concat())
}

#[test]
fn tensors_that_do_not_add_up_are_refused() {
    let float = vec![16, 1];
    let dim = |dim: u64| {
        let mut wire = vec![8];
        varint(dim, &mut wire);
        wire
    };
    let raw = |length: usize| run(9, &vec![0; length]);
    let cases = [
        (with_tensor(&[dim(2), float.clone(), raw(7)]), "tensor_wrong_size"),
        (with_tensor(&[dim(2), float.clone(), raw(12)]), "tensor_wrong_size"),
        (with_tensor(&[dim(1 << 40), dim(1 << 40), float.clone()]), "tensor_too_large"),
        (with_tensor(&[dim(1 << 31), dim(4), float.clone(), raw(4)]), "tensor_wrong_size"),
        (with_tensor(&[dim(u64::MAX), float.clone()]), "negative_dim"),
        (with_tensor(&[dim(1), float.clone(), raw(4), run(4, &[0; 4])]), "two_contents"),
        (with_tensor(&[dim(1), float.clone(), run(5, &[0])]), "wrong_field"),
        (with_tensor(&[dim(1), vec![16, 8], raw(4)]), "wrong_field"),
        (with_tensor(&[dim(1), vec![16, 99], raw(4)]), "tensor_no_size"),
        (with_tensor(&[dim(1), vec![16, 2], run(5, &[0xac, 0x02])]), "element_out_of_range"),
        (with_tensor(&[dim(2), vec![16, 27], run(5, &[1, 2, 3])]), "tensor_wrong_size"),
    ];
    for (bytes, code) in cases {
        let error = refusal(bytes);
        assert_eq!(error.code(), code, "{error}");
        assert!(error.to_string().ends_with(", in graph `g`, initializer `w`"), "{error}");
    }
    onnx::decode(with_tensor(&[dim(0), dim(1 << 62), float])).unwrap();
}

#[test]
fn models_without_a_version_or_from_the_future_are_refused() {
    assert_eq!(refusal(run(7, &run(2, b"g"))).code(), "no_ir_version");
    assert_eq!(refusal(vec![8, 8]).code(), "no_graph");
    let future = [vec![8, 99], run(7, &run(2, b"g"))].concat();
    assert_eq!(refusal(future.clone()).code(), "newer_ir_version");
    let mut options = ReadOptions::default();
    options.allow_newer = true;
    assert_eq!(onnx::decode_with(future, &options).unwrap().ir_version, 99);
}

#[test]
fn names_defined_twice_are_refused() {
    let tensor = [vec![8, 0, 16, 1], run(8, b"w")].concat();
    let twice = [run(5, &tensor), run(5, &tensor)].concat();
    assert_eq!(refusal(model(&twice)).code(), "redefined");
    let input = run(11, &run(1, b"x"));
    assert_eq!(refusal(model(&[input.clone(), input.clone()].concat())).code(), "name_taken");
    let node = run(1, &[run(2, b"x"), run(4, b"Relu")].concat());
    let error = refusal(model(&[input, node].concat()));
    assert_eq!(error.to_string(), "`x` is defined twice, in graph ``, node number 0");
}
