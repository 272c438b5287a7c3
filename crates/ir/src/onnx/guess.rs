//! What a file that is no ONNX model looks like.

/// A kind of file that is often given in the place of a model.
struct Look {
    what: &'static str,
    hint: &'static str,
    fits: fn(&[u8]) -> bool,
}

const LOOKS: &[Look] = &[
    Look {
        what: "a Git LFS pointer",
        hint: "run `git lfs pull` to fetch the model itself",
        fits: |bytes| bytes.starts_with(b"version https://git-lfs"),
    },
    Look {
        what: "a web page",
        hint: "the download gave a page instead of the file: open the address in a browser and look for a login or a `raw` link",
        fits: |bytes| {
            let text = bytes.trim_ascii_start();
            let begins = |word: &[u8]| {
                text.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word))
            };
            begins(b"<!doctype") || begins(b"<html") || begins(b"<head")
        },
    },
    Look {
        what: "a gzip file",
        hint: "unpack it with `gunzip` first",
        fits: |bytes| bytes.starts_with(&[0x1f, 0x8b]),
    },
    Look {
        what: "a zip archive, such as a PyTorch checkpoint or an `.npz` file",
        hint: "export the model to ONNX, or unpack the archive if it holds an `.onnx` file",
        fits: |bytes| bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06"),
    },
    Look {
        what: "a Zstandard file",
        hint: "unpack it with `zstd -d` first",
        fits: |bytes| bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]),
    },
    Look {
        what: "a PNG image",
        hint: "give the path of the model",
        fits: |bytes| bytes.starts_with(b"\x89PNG"),
    },
    Look {
        what: "a safetensors file",
        hint: "it holds weights without a graph: export the model to ONNX",
        fits: is_safetensors,
    },
    Look {
        what: "a NumPy array",
        hint: "give the path of the model",
        fits: |bytes| bytes.starts_with(b"\x93NUMPY"),
    },
    Look {
        what: "an ONNX Runtime `.ort` file",
        hint: "give the `.onnx` file that it was made from",
        fits: |bytes| bytes.get(4..8) == Some(b"ORTM"),
    },
    Look {
        what: "a TensorFlow Lite file",
        hint: "convert it to ONNX first, for example with `tf2onnx`",
        fits: |bytes| bytes.get(4..8) == Some(b"TFL3"),
    },
    Look {
        what: "an HDF5 file",
        hint: "convert it to ONNX first, for example with `tf2onnx`",
        fits: |bytes| bytes.starts_with(b"\x89HDF"),
    },
    Look {
        what: "text",
        hint: "if it is ONNX's textual syntax, it has to be parsed as text",
        fits: |bytes| {
            let head = &bytes[..bytes.len().min(256)];
            let is_text = |byte: &u8| matches!(byte, b'\t' | b'\n' | b'\r' | b' '..=b'~');
            bytes.len() >= 16 && head.iter().all(is_text)
        },
    },
];

/// Returns what the bytes look like and what to do about it.
pub(super) fn look(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    LOOKS.iter().find(|look| (look.fits)(bytes)).map(|look| (look.what, look.hint))
}

/// A length of eight bytes, then a JSON object of that length.
fn is_safetensors(bytes: &[u8]) -> bool {
    let Some((length, rest)) = bytes.split_first_chunk::<8>() else { return false };
    let length = u64::from_le_bytes(*length);
    rest.first() == Some(&b'{') && length >= 2 && length <= rest.len() as u64
}

#[cfg(test)]
mod tests {
    use super::look;

    fn what(bytes: &[u8]) -> Option<&'static str> {
        look(bytes).map(|(what, _)| what)
    }

    #[test]
    fn common_mistakes_are_named() {
        assert_eq!(
            what(b"version https://git-lfs.github.com/spec/v1\n"),
            Some("a Git LFS pointer")
        );
        assert_eq!(what(b"\n <!DOCTYPE html><html>"), Some("a web page"));
        assert_eq!(what(b"\x1f\x8b\x08\x00"), Some("a gzip file"));
        assert_eq!(what(b"\x02\0\0\0\0\0\0\0{}"), Some("a safetensors file"));
        assert_eq!(what(b"<\n   ir_version: 8\n>\nagraph"), Some("text"));
        assert_eq!(what(b"\x08\x08\x3a\x00"), None);
        assert_eq!(what(b""), None);
    }
}
