//! The header of a `.npy`: magic, version, and a Python dictionary that says type, order and shape.

use std::io::{self, Read};

/// What a header says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NpyHeader {
    /// The type as numpy writes it, such as `<f4`, or a description of a structure.
    pub(super) descr: String,
    /// Whether the first axis is the fastest.
    pub(super) fortran: bool,
    pub(super) shape: Vec<u64>,
    /// Bytes of the header, magic included.
    pub(super) length: u64,
}

/// numpy itself refuses headers of more than ten thousand bytes.
const LONGEST: u32 = 1 << 16;

impl NpyHeader {
    /// Reads a header, and no byte more.
    pub(super) fn read(reader: &mut dyn Read) -> io::Result<Self> {
        let invalid = |reason: &str| io::Error::new(io::ErrorKind::InvalidData, reason.to_owned());
        let mut start = [0; 8];
        reader.read_exact(&mut start)?;
        if start[..6] != *b"\x93NUMPY" {
            return Err(invalid("it does not begin like a numpy array"));
        }
        let mut length = [0; 4];
        let field = if start[6] == 1 { 2 } else { 4 };
        reader.read_exact(&mut length[..field])?;
        let length = u32::from_le_bytes(length);
        if length > LONGEST {
            return Err(invalid("its header is too long"));
        }
        let mut text = Vec::new();
        reader.take(length.into()).read_to_end(&mut text)?;
        if text.len() as u64 != u64::from(length) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let text = String::from_utf8(text).map_err(|_| invalid("its header is no text"))?;
        let header = Self::parse(&text, 8 + field as u64 + u64::from(length));
        header.ok_or_else(|| invalid("its header says neither type nor order nor shape"))
    }

    fn parse(text: &str, length: u64) -> Option<Self> {
        let inner = text.trim().strip_prefix('{')?.strip_suffix('}')?;
        let (mut descr, mut fortran, mut shape) = (None, None, None);
        for entry in split(inner, ',') {
            let [key, value] = <[&str; 2]>::try_from(split(entry, ':')).ok()?;
            match unquoted(key)? {
                "descr" => descr = Some(unquoted(value).unwrap_or(value).to_owned()),
                "fortran_order" => fortran = Some(value == "True"),
                "shape" => {
                    let dims = value.strip_prefix('(')?.strip_suffix(')')?;
                    let dims = split(dims, ',');
                    // Python 2 wrote long integers with a letter.
                    let dims = dims.iter().map(|dim| dim.trim_end_matches('L').parse().ok());
                    shape = Some(dims.collect::<Option<Vec<u64>>>()?);
                }
                _ => {}
            }
        }
        Some(Self { descr: descr?, fortran: fortran?, shape: shape?, length })
    }
}

/// The parts of a text between separators that are neither quoted nor in brackets; empty ones left out.
fn split(text: &str, separator: char) -> Vec<&str> {
    let (mut parts, mut start, mut depth, mut quote) = (Vec::new(), 0, 0_usize, None);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '(' | '[' | '{') => depth += 1,
            (None, ')' | ']' | '}') => depth = depth.saturating_sub(1),
            (None, c) if c == separator && depth == 0 => {
                parts.push(text[start..at].trim());
                start = at + c.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(text[start..].trim());
    parts.retain(|part| !part.is_empty());
    parts
}

fn unquoted(text: &str) -> Option<&str> {
    let quoted = |quote| text.strip_prefix(quote)?.strip_suffix(quote);
    quoted('\'').or_else(|| quoted('"'))
}

#[cfg(test)]
mod tests {
    use super::NpyHeader;

    #[test]
    fn headers_of_any_order_of_keys_are_read() {
        let parse = |text: &str| {
            NpyHeader::parse(text, 0).map(|header| (header.descr, header.fortran, header.shape))
        };
        let scalar = parse("{'shape': (), 'descr': '<f4', 'fortran_order': False, } \n");
        assert_eq!(scalar, Some(("<f4".to_owned(), false, vec![])));
        let vector = parse("{'descr': [('a, b', '<i4')], 'fortran_order': True, 'shape': (3L,)}");
        assert_eq!(vector, Some(("[('a, b', '<i4')]".to_owned(), true, vec![3])));
        assert_eq!(parse("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}"), None);
        assert_eq!(parse("{'descr': '<f4'}"), None);
    }
}
