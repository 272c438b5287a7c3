use std::io::Write;
use std::path::{Path, PathBuf};

use super::*;

/// A folder that is removed when it goes out of scope.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("marquetry-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A `.npy` by hand, so that headers may lie.
fn npy(descr: &str, order: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let mut header = format!("{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}");
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

fn floats(shape: &str, data: &[f32]) -> Vec<u8> {
    let data: Vec<u8> = data.iter().flat_map(|x| x.to_le_bytes()).collect();
    npy("'<f4'", "False", shape, &data)
}

fn npz(deflate: bool, arrays: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let method =
        if deflate { zip::CompressionMethod::Deflated } else { zip::CompressionMethod::Stored };
    let options = zip::write::SimpleFileOptions::default().compression_method(method);
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in arrays {
        archive.start_file(format!("{name}.npy"), options).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

fn input(name: &str, dtype: DType, dims: &[Option<usize>]) -> Input {
    Input { name: name.to_owned(), array: None, dtype: Some(dtype), dims: Some(dims.to_vec()) }
}

fn x() -> Vec<Input> {
    vec![input("x", DType::Float, &[None, Some(2)])]
}

fn open(path: &Path, inputs: &[Input]) -> Result<Samples, SampleError> {
    Samples::open(path, inputs, &SampleOptions::default())
}

fn values(samples: &Samples) -> Vec<Vec<f32>> {
    samples.iter().map(|sample| sample.unwrap().tensors[0].f32s().unwrap().to_vec()).collect()
}

#[test]
fn archives_are_read_run_by_run() {
    let folder = Folder::new("archives");
    for deflate in [false, true] {
        let bytes = npz(
            deflate,
            &[("x", floats("(3, 2)", &[0., 1., 2., 3., 4., 5.])), ("y", floats("(3,)", &[0.; 3]))],
        );
        let path = folder.write("calib.npz", &bytes);
        let samples = open(&path, &x()).unwrap();
        assert_eq!(values(&samples), [[0., 1.], [2., 3.], [4., 5.]]);
        // Going back works too, and nothing depends on the order.
        assert_eq!(samples.get(1).unwrap().tensors[0].dims(), [1, 2]);
        assert_eq!(samples.get(0).unwrap().tensors[0].f32s().unwrap()[..], [0., 1.]);
        assert!(samples.notes()[0].contains("`y` not used"), "{:?}", samples.notes());
        let batched = SampleOptions { batch: Some(2), ..SampleOptions::default() };
        let samples = Samples::open(&path, &x(), &batched).unwrap();
        assert_eq!(values(&samples), [[0., 1., 2., 3.]]);
        assert!(
            samples.notes().iter().any(|note| note.contains("1 samples")),
            "{:?}",
            samples.notes()
        );
    }
}

#[test]
fn orders_and_widths_become_those_of_tensors() {
    let folder = Folder::new("orders");
    // [[0, 1], [2, 3]] with the first axis fastest, big endian, in double precision.
    let data: Vec<u8> = [0.0_f64, 2.0, 1.0, 3.0].iter().flat_map(|x| x.to_be_bytes()).collect();
    let path = folder.write("x.npy", &npy("'>f8'", "True", "(2, 2)", &data));
    let samples = open(&path, &x()).unwrap();
    assert_eq!(values(&samples), [[0., 1.], [2., 3.]]);
    assert_eq!(samples.notes(), ["`x` is converted from `double` to `float`"]);
}

#[test]
fn axes_of_arrays_fit_those_of_inputs() {
    let folder = Folder::new("axes");
    let fixed = [input("x", DType::Float, &[Some(2), Some(2)])];
    let path = folder.write("a.npy", &floats("(4, 2)", &[0., 1., 2., 3., 4., 5., 6., 7.]));
    assert_eq!(open(&path, &fixed).unwrap().len(), 2);
    let path = folder.write("b.npy", &floats("(3, 2, 2)", &[0.; 12]));
    assert_eq!(open(&path, &fixed).unwrap().len(), 3);
    let path = folder.write("c.npy", &floats("(2,)", &[1., 2.]));
    assert_eq!(open(&path, &x()).unwrap().get(0).unwrap().tensors[0].dims(), [1, 2]);
    let path = folder.write("d.npy", &floats("(4, 3)", &[0.; 12]));
    let error = open(&path, &x()).unwrap_err();
    assert_eq!(error.code(), "samples_shape");
    assert!(error.to_string().ends_with("has shape [4, 3], the input takes [?, 2]"), "{error}");
}

#[test]
fn folders_are_read_in_natural_order() {
    let folder = Folder::new("folders");
    for (name, x) in [("s10", 10.), ("s9", 9.), ("s1", 1.)] {
        folder.write(&format!("{name}.npy"), &floats("(1, 2)", &[x, x]));
    }
    assert_eq!(values(&open(&folder.0, &x()).unwrap()), [[1., 1.], [9., 9.], [10., 10.]]);
}

#[test]
fn tensors_of_test_data_sets_are_read() {
    let folder = Folder::new("sets");
    for set in 0..2_u8 {
        // TensorProto: dims 1 and 2 (field 1), data_type FLOAT (2), raw_data (9).
        let mut bytes = vec![0x08, 1, 0x08, 2, 0x10, 1, 0x4A, 8];
        bytes.extend([f32::from(set), 7.0].iter().flat_map(|x| x.to_le_bytes()));
        folder.write(&format!("test_data_set_{set}/input_0.pb"), &bytes);
    }
    assert_eq!(values(&open(&folder.0, &x()).unwrap()), [[0., 7.], [1., 7.]]);
    let two = [x(), vec![input("mask", DType::Int64, &[None])]].concat();
    assert_eq!(open(&folder.0, &two).unwrap_err().code(), "samples_missing_input");
}

#[test]
fn misspelt_inputs_are_recognized() {
    let folder = Folder::new("misspelt");
    let path = folder.write("c.npz", &npz(false, &[("input_id", floats("(1, 2)", &[0.; 2]))]));
    let error = open(&path, &[input("input_ids", DType::Float, &[None, None])]).unwrap_err();
    assert_eq!(error.code(), "samples_missing_input");
    assert_eq!(error.hint(), "did you mean `input_id`? Arrays are named like the inputs");
}

#[test]
fn headers_that_promise_too_much_allocate_nothing() {
    let folder = Folder::new("hostile");
    for shape in
        ["(1000000000000, 2)", "(18446744073709551615, 2)", "(4611686018427387904, 4)", "(2, 2)"]
    {
        let path = folder.write("x.npy", &floats(shape, &[0., 1.]));
        let error = open(&path, &x()).unwrap_err();
        assert!(matches!(error.code(), "samples_truncated" | "samples_damaged"), "{error}");
    }
    for bytes in
        [&b""[..], b"\x93NUMPY", b"\x93NUMPY\x01\x00\xff\xff{", b"PK\x03\x04 not an archive"]
    {
        for name in ["x.npy", "x.npz"] {
            let error = open(&folder.write(name, bytes), &x()).unwrap_err();
            assert!(matches!(error.code(), "samples_damaged" | "samples_unreadable"), "{error}");
        }
    }
}

#[test]
fn what_is_no_number_is_refused() {
    let folder = Folder::new("numbers");
    let code = |bytes: &[u8], inputs: &[Input]| {
        open(&folder.write("x.npy", bytes), inputs).unwrap_err().code()
    };
    assert_eq!(code(&npy("'|O'", "False", "(1, 2)", b"\x80\x04."), &x()), "samples_pickled");
    assert_eq!(code(&npy("'<U3'", "False", "(1, 2)", &[0; 24]), &x()), "samples_type");
    assert_eq!(code(&npy("'<i8'", "False", "(1, 2)", &[0; 16]), &x()), "samples_type");
    let path = folder.write("x.npy", &floats("(2, 2)", &[0., 1., f32::NAN, 3.]));
    let samples = open(&path, &x()).unwrap();
    assert!(samples.get(0).is_ok());
    let error = samples.get(1).unwrap_err().to_string();
    assert!(
        error.starts_with("sample 1 in") && error.ends_with("holds NaN in the input `x`"),
        "{error}"
    );
    let lenient = SampleOptions { non_finite: true, ..SampleOptions::default() };
    assert!(Samples::open(&path, &x(), &lenient).unwrap().get(1).is_ok());
    // Integers become wider ones always, narrower ones where they fit.
    let narrow = [input("x", DType::Int32, &[None, Some(2)])];
    let wide: Vec<u8> = [1_i64, 1 << 40].iter().flat_map(|x| x.to_le_bytes()).collect();
    let path = folder.write("x.npy", &npy("'<i8'", "False", "(1, 2)", &wide));
    assert_eq!(open(&path, &narrow).unwrap().get(0).unwrap_err().code(), "samples_type");
}

#[test]
fn what_is_not_there_is_said() {
    let folder = Folder::new("nothing");
    assert_eq!(open(&folder.0, &x()).unwrap_err().code(), "samples_empty");
    assert_eq!(open(&folder.0.join("x.npz"), &x()).unwrap_err().code(), "samples_not_found");
    let text = folder.write("x.txt", b"1 2 3");
    assert_eq!(open(&text, &x()).unwrap_err().code(), "samples_unknown_file");
    let path = folder.write("x.npy", &floats("(0, 2)", &[]));
    assert_eq!(open(&path, &x()).unwrap_err().code(), "samples_empty");
    let two = [x(), vec![input("y", DType::Float, &[None])]].concat();
    assert_eq!(open(&path, &two).unwrap_err().code(), "samples_several_inputs");
    let bytes = npz(false, &[("x", floats("(3, 2)", &[0.; 6])), ("y", floats("(2,)", &[0.; 2]))]);
    assert_eq!(open(&folder.write("c.npz", &bytes), &two).unwrap_err().code(), "samples_counts");
}
