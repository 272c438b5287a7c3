//! External data: which files are read, which are refused, and how they are written.

use std::fs;
use std::path::Path;

use marquetry_ir::onnx::{self, ReadOptions};
use marquetry_ir::{Model, Storage, Tensor};
use onnx_protobuf::{ModelProto, StringStringEntryProto};
use protobuf::Message as _;
use tempfile::TempDir;

use super::fixture;

type Entries<'a> = &'a [(&'a str, &'a str)];

/// A model in `folder` with one tensor of two floats and these entries about where it is.
fn save(folder: &Path, entries: Entries<'_>) {
    let mut model = ModelProto::parse_from_bytes(&fs::read(fixture("tied.onnx")).unwrap()).unwrap();
    let graph = model.graph.as_mut().unwrap();
    graph.initializer.truncate(1);
    let tensor = &mut graph.initializer[0];
    tensor.dims = vec![2];
    tensor.external_data = entries
        .iter()
        .map(|(key, value)| StringStringEntryProto {
            key: (*key).to_owned(),
            value: (*value).to_owned(),
            ..StringStringEntryProto::default()
        })
        .collect();
    fs::write(folder.join("model.onnx"), model.write_to_bytes().unwrap()).unwrap();
}

/// A folder with a model folder in it, and beside that a secret that no model may read.
fn place() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("model/sub")).unwrap();
    fs::write(root.path().join("secret.bin"), [7; 64]).unwrap();
    fs::write(root.path().join("model/good.bin"), [1; 64]).unwrap();
    fs::write(root.path().join("model/a..b.bin"), [1; 64]).unwrap();
    fs::write(root.path().join("model/empty.bin"), []).unwrap();
    root
}

fn verdict(folder: &Path, entries: Entries<'_>) -> Result<Vec<u8>, &'static str> {
    save(folder, entries);
    let model = onnx::read(folder.join("model.onnx")).map_err(|error| {
        assert!(error.to_string().contains("initializer `a`"), "{error}");
        error.code()
    })?;
    Ok(constant(&model, "a").bytes().to_vec())
}

fn constant<'m>(model: &'m Model, name: &str) -> &'m Tensor {
    model.graph.value(model.graph.find(name).unwrap()).constant.as_ref().unwrap()
}

#[test]
fn locations_stay_in_the_folder_of_the_model() {
    let root = place();
    let folder = root.path().join("model");
    let absolute = folder.join("good.bin");
    let cases: &[(&str, &str)] = &[
        ("../secret.bin", "external_outside"),
        ("sub/../../secret.bin", "external_outside"),
        (absolute.to_str().unwrap(), "external_outside"),
        ("/dev/zero", "external_outside"),
        ("..\\secret.bin", "external_outside"),
        ("C:\\secret.bin", "external_outside"),
        ("*/_ORT_MEM_ADDR_/*", "external_outside"),
        ("", "external_without_location"),
        ("sub", "external_not_a_file"),
        ("missing.bin", "external_cannot_read"),
        ("empty.bin", "external_beyond_end"),
        ("model.onnx", "external_is_model"),
        ("good.bin/x", "external_cannot_read"),
    ];
    for (location, code) in cases {
        assert_eq!(verdict(&folder, &[("location", location)]), Err(*code), "{location}");
    }
    for location in ["good.bin", "a..b.bin", "./good.bin"] {
        assert_eq!(verdict(&folder, &[("location", location)]), Ok(vec![1; 8]), "{location}");
    }
}

#[test]
fn ranges_stay_in_the_file() {
    let root = place();
    let folder = root.path().join("model");
    let at = |offset: &'static str, length: &'static str| {
        verdict(&folder, &[("location", "good.bin"), ("offset", offset), ("length", length)])
    };
    assert_eq!(at("56", "8"), Ok(vec![1; 8]));
    assert_eq!(at("3", "8"), Ok(vec![1; 8]));
    for (offset, length, code) in [
        ("-8", "8", "external_bad_number"),
        ("0x10", "8", "external_bad_number"),
        ("one", "8", "external_bad_number"),
        ("", "8", "external_bad_number"),
        ("18446744073709551616", "8", "external_bad_number"),
        ("18446744073709551615", "8", "external_beyond_end"),
        ("57", "8", "external_beyond_end"),
        ("65", "8", "external_beyond_end"),
        ("0", "7", "external_wrong_length"),
        ("0", "12", "external_wrong_length"),
        ("0", "1099511627776", "external_wrong_length"),
    ] {
        assert_eq!(at(offset, length), Err(code), "{offset} {length}");
    }
}

#[test]
fn entries_are_known_and_single() {
    let root = place();
    let folder = root.path().join("model");
    let twice = [("location", "good.bin"), ("location", "../secret.bin")];
    assert_eq!(verdict(&folder, &twice), Err("external_duplicate_key"));
    let unknown = [("location", "good.bin"), ("__class__", "x")];
    assert_eq!(verdict(&folder, &unknown), Err("external_unknown_key"));
    let mut options = ReadOptions::default();
    options.strip_unknown = true;
    onnx::read_with(folder.join("model.onnx"), &options).unwrap();
    assert_eq!(verdict(&folder, &[("offset", "0")]), Err("external_without_location"));
}

#[test]
fn content_in_two_places_is_refused() {
    let root = place();
    let folder = root.path().join("model");
    save(&folder, &[("location", "good.bin")]);
    let path = folder.join("model.onnx");
    let mut model = ModelProto::parse_from_bytes(&fs::read(&path).unwrap()).unwrap();
    model.graph.as_mut().unwrap().initializer[0].raw_data = vec![0; 8];
    fs::write(&path, model.write_to_bytes().unwrap()).unwrap();
    assert_eq!(onnx::read(&path).unwrap_err().code(), "two_contents");
}

#[test]
fn bytes_have_no_folder_to_look_in() {
    let bytes = fs::read(fixture("tied.onnx")).unwrap();
    assert_eq!(onnx::decode(bytes).unwrap_err().code(), "external_without_folder");
}

#[cfg(unix)]
mod links {
    use std::os::unix::fs::symlink;
    use std::process::Command;

    use super::*;

    #[test]
    fn links_are_followed_inside_the_folder_only() {
        let root = place();
        let folder = root.path().join("model");
        symlink("good.bin", folder.join("inside.bin")).unwrap();
        symlink("../secret.bin", folder.join("outside.bin")).unwrap();
        symlink("..", folder.join("up")).unwrap();
        symlink("loop.bin", folder.join("loop.bin")).unwrap();
        fs::hard_link(folder.join("good.bin"), folder.join("hard.bin")).unwrap();
        let at = |location| verdict(&folder, &[("location", location)]);
        assert_eq!(at("inside.bin"), Ok(vec![1; 8]));
        assert_eq!(at("hard.bin"), Ok(vec![1; 8]));
        assert_eq!(at("outside.bin"), Err("external_outside"));
        assert_eq!(at("up/secret.bin"), Err("external_outside"));
        assert_eq!(at("loop.bin"), Err("external_cannot_read"));
    }

    /// A cache keeps contents in one folder and links to them, model and data alike, in another.
    #[test]
    fn a_cache_of_links_is_read() {
        let root = tempfile::tempdir().unwrap();
        let (blobs, snapshot) = (root.path().join("blobs"), root.path().join("snapshots/1"));
        fs::create_dir_all(&blobs).unwrap();
        fs::create_dir_all(&snapshot).unwrap();
        save(&blobs, &[("location", "good.bin")]);
        fs::rename(blobs.join("model.onnx"), blobs.join("cafe")).unwrap();
        fs::write(blobs.join("f00d"), [3; 8]).unwrap();
        symlink("../../blobs/cafe", snapshot.join("model.onnx")).unwrap();
        symlink("../../blobs/f00d", snapshot.join("good.bin")).unwrap();
        let model = onnx::read(snapshot.join("model.onnx")).unwrap();
        assert_eq!(constant(&model, "a").bytes().as_ref(), [3; 8]);
    }

    #[test]
    fn pipes_are_refused_without_waiting() {
        let root = place();
        let folder = root.path().join("model");
        let made = Command::new("mkfifo").arg(folder.join("pipe")).status();
        if !made.is_ok_and(|status| status.success()) {
            eprintln!("skipped: there is no `mkfifo`");
            return;
        }
        assert_eq!(verdict(&folder, &[("location", "pipe")]), Err("external_not_a_file"));
        assert_eq!(onnx::read(folder.join("pipe")).unwrap_err().code(), "not_a_file");
    }

    #[test]
    fn a_link_in_the_way_of_a_sidecar_is_not_followed() {
        let root = place();
        let model = onnx::read(fixture("tied.onnx")).unwrap();
        let folder = root.path().join("model");
        symlink("../secret.bin", folder.join("tied.onnx.data")).unwrap();
        let error = onnx::write(&model, folder.join("out.onnx")).unwrap_err();
        assert_eq!(error.code(), "output_is_link");
        assert_eq!(fs::read(root.path().join("secret.bin")).unwrap(), [7; 64]);
        assert!(!folder.join("out.onnx").exists());
    }
}

#[test]
fn tied_tensors_stay_tied() {
    let root = tempfile::tempdir().unwrap();
    let model = onnx::read(fixture("tied.onnx")).unwrap();
    assert_eq!(constant(&model, "a").bytes().as_ptr(), constant(&model, "b").bytes().as_ptr());
    let written = onnx::write(&model, root.path().join("copy.onnx")).unwrap();
    assert_eq!(written.sidecars, [root.path().join("tied.onnx.data")]);
    for (copy, original) in [("copy.onnx", "tied.onnx"), ("tied.onnx.data", "tied.onnx.data")] {
        let copy = fs::read(root.path().join(copy)).unwrap();
        assert!(copy == fs::read(fixture(original)).unwrap(), "{original}");
    }
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 2, "nothing else is left");
}

/// Writing over the model that was read: its sidecar is what it should be, so it stays.
#[test]
fn a_model_may_be_written_over_itself() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("tied.onnx");
    for name in ["tied.onnx", "tied.onnx.data"] {
        fs::copy(fixture(name), root.path().join(name)).unwrap();
    }
    let model = onnx::read(&path).unwrap();
    onnx::write(&model, &path).unwrap();
    onnx::write(&model, &path).unwrap();
    assert_eq!(fs::read(&path).unwrap(), fs::read(fixture("tied.onnx")).unwrap());
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 2);
}

/// A sidecar with other content belongs to somebody: the new one gets another name, and whoever is
/// killed in between leaves the old pair as it was.
#[test]
fn a_different_sidecar_is_left_alone() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("tied.onnx");
    for name in ["tied.onnx", "tied.onnx.data"] {
        fs::copy(fixture(name), root.path().join(name)).unwrap();
    }
    let mut model = onnx::read(&path).unwrap();
    let value = model.graph.find("c").unwrap();
    let mut changed = Tensor::from_f32s([2], &[10.0, 20.0]).unwrap();
    changed.storage = constant(&model, "c").storage.clone();
    model.graph.value_mut(value).constant = Some(changed);
    let written = onnx::write(&model, &path).unwrap();
    let name = written.sidecars[0].file_name().unwrap().to_str().unwrap().to_owned();
    assert!(name.starts_with("tied-") && name.ends_with(".onnx.data"), "{name}");
    let old = fs::read(root.path().join("tied.onnx.data")).unwrap();
    assert_eq!(old, fs::read(fixture("tied.onnx.data")).unwrap());

    let again = onnx::read(&path).unwrap();
    assert_eq!(constant(&again, "c").f32s().unwrap().as_ref(), [10.0, 20.0]);
    assert_eq!(constant(&again, "a").bytes(), constant(&model, "a").bytes());
    let Storage::External(place) = &constant(&again, "c").storage else { panic!("it is inside") };
    assert_eq!((place.location.as_str(), place.offset), (name.as_str(), Some(16)));
    // The same content finds the same name.
    assert_eq!(onnx::write(&model, &path).unwrap(), written);
}

#[test]
fn overlapping_ranges_are_written_apart() {
    let root = place();
    let folder = root.path().join("model");
    let mut model = ModelProto::parse_from_bytes(&fs::read(fixture("tied.onnx")).unwrap()).unwrap();
    let graph = model.graph.as_mut().unwrap();
    for (tensor, offset) in graph.initializer.iter_mut().zip(["0", "8", "12"]) {
        tensor.external_data[0].value = "good.bin".to_owned();
        tensor.external_data[1].value = offset.to_owned();
    }
    fs::write(folder.join("model.onnx"), model.write_to_bytes().unwrap()).unwrap();
    let content: Vec<u8> = (0..64).collect();
    fs::write(folder.join("good.bin"), &content).unwrap();
    let model = onnx::read(folder.join("model.onnx")).unwrap();
    onnx::write(&model, root.path().join("copy.onnx")).unwrap();
    let copy = onnx::read(root.path().join("copy.onnx")).unwrap();
    for name in ["a", "b", "c"] {
        assert_eq!(constant(&copy, name), constant(&model, name), "{name}");
    }
    assert_eq!(fs::metadata(root.path().join("good.bin")).unwrap().len(), 40);
}

#[test]
fn a_save_that_fails_leaves_nothing() {
    let root = tempfile::tempdir().unwrap();
    let model = onnx::read(fixture("tied.onnx")).unwrap();
    fs::create_dir(root.path().join("taken.onnx")).unwrap();
    let error = onnx::write(&model, root.path().join("taken.onnx")).unwrap_err();
    assert_eq!(error.code(), "output_not_a_file");
    let error = onnx::write(&model, root.path().join("missing/out.onnx")).unwrap_err();
    assert_eq!((error.code(), error.hint()), ("cannot_write", Some("create the folder first")));
    // The sidecar would have the name of the model.
    let error = onnx::write(&model, root.path().join("tied.onnx.data")).unwrap_err();
    assert_eq!(error.code(), "location_outside");
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
}
