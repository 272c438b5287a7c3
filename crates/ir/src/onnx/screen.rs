//! A walk over the bytes of a message before `prost` decodes them.
//!
//! `prost` is safe but blunt: it drops fields that it does not know, names no offset, and lets two
//! bytes of input become three hundred bytes of memory. The screen reads tags only, without
//! recursion and without allocating, and refuses what would be lost, what is malformed and what
//! would not fit; whatever passes decodes.

use super::fields::{Field, Kind, Label, Message};

/// How deep messages may nest below the outermost, as in the official readers.
pub const MAX_DEPTH: usize = 100;

/// How many dimensions a tensor may have.
pub const MAX_RANK: usize = 64;

/// What is wrong with the bytes of a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireFault {
    /// A field is longer than what is left of its message.
    #[error("{needed} bytes are announced but {left} are left")]
    CutOff {
        /// Length that the field announces.
        needed: u64,
        /// Bytes left in the message around it.
        left: u64,
    },
    /// A variable-length number is cut off or longer than ten bytes.
    #[error("a number is cut off or longer than 64 bits")]
    Number,
    /// A field has the number 0, or one above 2²⁹ − 1.
    #[error("a field has the number {0}, which protobuf does not allow")]
    FieldNumber(u64),
    /// A protobuf group; ONNX has none.
    #[error("a protobuf group begins, which ONNX never uses")]
    Group,
    /// A way of writing that protobuf does not have.
    #[error("a field is written in way {0}, which protobuf does not have")]
    WireKind(u8),
    /// A field is written in a way its type does not allow.
    #[error("field {number} of `{message}` is written as {found}, which its type does not allow")]
    WireType {
        /// Message as the format calls it.
        message: &'static str,
        /// Number of the field.
        number: u32,
        /// What was found instead.
        found: &'static str,
    },
    /// A list of fixed-size numbers is not a whole number of them.
    #[error("{length} bytes do not hold a whole number of elements")]
    Ragged {
        /// Length of the list in bytes.
        length: u64,
    },
    /// A string is not UTF-8.
    #[error("the text is not UTF-8")]
    Utf8,
    /// A field that this version does not know.
    #[error("field {number} of `{message}` is unknown to this version")]
    UnknownField {
        /// Message as the format calls it.
        message: &'static str,
        /// Number of the field.
        number: u32,
    },
    /// Messages nest too deeply.
    #[error("messages nest deeper than {MAX_DEPTH}")]
    Depth,
    /// A tensor has too many dimensions.
    #[error("a tensor has more than {MAX_RANK} dimensions")]
    Rank,
    /// The decoded form would take too much memory.
    #[error("the decoded model would take more than {budget} bytes of memory")]
    Budget {
        /// The limit, in bytes.
        budget: u64,
    },
}

impl WireFault {
    /// Returns the stable code of the fault.
    pub fn code(&self) -> &'static str {
        match self {
            Self::CutOff { .. } => "cut_off",
            Self::Number => "bad_number",
            Self::FieldNumber(_) => "bad_field_number",
            Self::Group => "wire_group",
            Self::WireKind(_) | Self::WireType { .. } => "bad_wire_type",
            Self::Ragged { .. } => "ragged_list",
            Self::Utf8 => "not_utf8",
            Self::UnknownField { .. } => "unknown_field",
            Self::Depth => "too_deep",
            Self::Rank => "too_many_dims",
            Self::Budget { .. } => "memory_budget",
        }
    }
}

/// A fault and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) fault: WireFault,
    /// Byte at which the offending field, number or text begins.
    pub(super) offset: usize,
}

/// What the screen is asked to hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Bytes that the decoded form may take, see [`crate::onnx::ReadOptions`].
    pub(super) heap: u64,
    /// Whether fields that the table does not know pass.
    pub(super) strip_unknown: bool,
}

/// Checks that `bytes` are a message of the type `root` which `prost` decodes without loss.
pub(super) fn screen(bytes: &[u8], root: &'static Message, limits: Limits) -> Result<(), Found> {
    let mut walk = Walk { bytes, at: 0 };
    let mut heap = root.size as u64;
    let mut open = vec![Frame { message: root, end: bytes.len(), dims: 0 }];
    while let Some(frame) = open.last_mut() {
        if walk.at == frame.end {
            open.pop();
            continue;
        }
        let start = walk.at;
        let found = |fault| Found { fault, offset: start };
        let Tag { number, wire } = walk.tag(frame.end)?;
        let Some(field) = frame.message.field(number) else {
            if !limits.strip_unknown {
                let message = frame.message.name;
                return Err(found(WireFault::UnknownField { message, number }));
            }
            walk.skip(wire, frame.end)?;
            continue;
        };
        let body = walk.body(wire, frame.end)?;
        let cost = cost(frame.message, field, wire, &bytes[body.start..body.end]).map_err(found)?;
        heap = heap.saturating_add(cost.heap);
        if heap > limits.heap {
            return Err(found(WireFault::Budget { budget: limits.heap }));
        }
        if field.name == "dims" {
            frame.dims += cost.elements;
            if frame.dims > MAX_RANK as u64 {
                return Err(found(WireFault::Rank));
            }
        }
        if let Kind::Message(message) = field.kind {
            if open.len() > MAX_DEPTH {
                return Err(found(WireFault::Depth));
            }
            walk.at = body.start;
            open.push(Frame { message, end: body.end, dims: 0 });
        }
    }
    Ok(())
}

/// Names the field that byte `offset` belongs to, such as `graph.node[3].name`.
///
/// `bytes` are good up to `offset`; the root itself is the empty string.
pub(super) fn trail(bytes: &[u8], root: &'static Message, offset: usize) -> String {
    let mut trail = String::new();
    let mut walk = Walk { bytes, at: 0 };
    let mut message = root;
    let mut end = bytes.len();
    let mut seen = Vec::new();
    while walk.at <= offset && walk.at < end {
        let start = walk.at;
        let Ok(Tag { number, wire }) = walk.tag(end) else { break };
        let field = message.field(number);
        let body = match walk.body(wire, end) {
            Ok(body) => body,
            // The field itself is the broken one, so whatever is left belongs to it.
            Err(_) => Body { start: walk.at, end },
        };
        if start <= offset && offset < body.end.max(start + 1) {
            let Some(field) = field else { break };
            let index = seen.iter().filter(|&&earlier| earlier == number).count();
            if !trail.is_empty() {
                trail.push('.');
            }
            trail.push_str(field.name);
            if matches!(field.label, Label::Many) {
                trail.push_str(&format!("[{index}]"));
            }
            match field.kind {
                Kind::Message(inner) if offset >= body.start => {
                    message = inner;
                    end = body.end;
                    walk.at = body.start;
                    seen.clear();
                    continue;
                }
                _ => break,
            }
        }
        seen.push(number);
        walk.at = body.end;
    }
    trail
}

/// A message that is being walked.
struct Frame {
    message: &'static Message,
    end: usize,
    dims: u64,
}

#[derive(Clone, Copy)]
struct Tag {
    number: u32,
    wire: Wire,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wire {
    Number,
    Eight,
    Run,
    Four,
}

impl Wire {
    fn describe(self) -> &'static str {
        match self {
            Self::Number => "a number",
            Self::Eight => "eight bytes",
            Self::Run => "a run of bytes",
            Self::Four => "four bytes",
        }
    }
}

/// Where the value of a field lies.
struct Body {
    start: usize,
    end: usize,
}

/// What a field adds to the decoded model.
struct Cost {
    heap: u64,
    elements: u64,
}

impl Cost {
    const fn one(heap: u64) -> Self {
        Self { heap, elements: 1 }
    }
}

/// Checks the value of a field against its type and says what it takes when decoded.
///
/// A growing `Vec` may have room for twice its elements, hence the factor for repeated fields.
fn cost(
    message: &'static Message,
    field: &'static Field,
    wire: Wire,
    body: &[u8],
) -> Result<Cost, WireFault> {
    let repeated = matches!(field.label, Label::Many | Label::Packed);
    let growth = if repeated { 2 } else { 0 };
    let mismatch = || WireFault::WireType {
        message: message.name,
        number: field.number,
        found: wire.describe(),
    };
    let numbers = |width: u64, single: Wire| {
        if wire == single {
            Ok(Cost::one(growth * width))
        } else if wire == Wire::Run && repeated {
            let elements = match single {
                Wire::Four if body.len().is_multiple_of(4) => body.len() / 4,
                Wire::Eight if body.len().is_multiple_of(8) => body.len() / 8,
                Wire::Number => count_numbers(body).ok_or(WireFault::Number)?,
                _ => return Err(WireFault::Ragged { length: body.len() as u64 }),
            } as u64;
            Ok(Cost { heap: growth * width * elements, elements })
        } else {
            Err(mismatch())
        }
    };
    match field.kind {
        Kind::Int32 | Kind::Enum(_) => numbers(4, Wire::Number),
        Kind::Int64 | Kind::Uint64 => numbers(8, Wire::Number),
        Kind::Float => numbers(4, Wire::Four),
        Kind::Double => numbers(8, Wire::Eight),
        Kind::String | Kind::Bytes | Kind::Message(_) if wire != Wire::Run => Err(mismatch()),
        Kind::String => match str::from_utf8(body) {
            Ok(_) => Ok(Cost::one(body.len() as u64 + growth * size_of::<String>() as u64)),
            Err(_) => Err(WireFault::Utf8),
        },
        // The contents stay where they are: only the handle is new.
        Kind::Bytes => Ok(Cost::one(growth * size_of::<bytes::Bytes>() as u64)),
        Kind::Message(inner) => Ok(Cost::one(growth.max(1) * inner.size as u64)),
    }
}

/// Counts the variable-length numbers in a run; nothing where the last is cut off or one is too
/// long.
fn count_numbers(run: &[u8]) -> Option<usize> {
    let mut walk = Walk { bytes: run, at: 0 };
    let mut count = 0;
    while walk.at < run.len() {
        walk.number(run.len()).ok()?;
        count += 1;
    }
    Some(count)
}

/// A position in bytes; every step stays below an end that the caller gives.
struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Walk<'_> {
    /// Reads a number of seven bits a byte, lowest first.
    fn number(&mut self, end: usize) -> Result<u64, Found> {
        let start = self.at;
        let mut value = 0_u64;
        for (index, &byte) in self.bytes[start..end].iter().take(10).enumerate() {
            // The tenth byte holds the 64th bit and nothing else.
            if index == 9 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                self.at = start + index + 1;
                return Ok(value);
            }
        }
        Err(Found { fault: WireFault::Number, offset: start })
    }

    fn tag(&mut self, end: usize) -> Result<Tag, Found> {
        let start = self.at;
        let found = |fault| Found { fault, offset: start };
        let key = self.number(end)?;
        let number = key >> 3;
        if number == 0 || number > 0x1fff_ffff {
            return Err(found(WireFault::FieldNumber(number)));
        }
        let wire = match key & 7 {
            0 => Wire::Number,
            1 => Wire::Eight,
            2 => Wire::Run,
            5 => Wire::Four,
            3 | 4 => return Err(found(WireFault::Group)),
            other => return Err(found(WireFault::WireKind(other as u8))),
        };
        Ok(Tag { number: u32::try_from(number).expect("the number has 29 bits"), wire })
    }

    /// Steps over the value of a field and returns where it lies.
    fn body(&mut self, wire: Wire, end: usize) -> Result<Body, Found> {
        let begin = self.at;
        let needed = match wire {
            Wire::Number => {
                self.number(end)?;
                return Ok(Body { start: begin, end: self.at });
            }
            Wire::Eight => 8,
            Wire::Four => 4,
            Wire::Run => self.number(end)?,
        };
        let left = (end - self.at) as u64;
        if needed > left {
            return Err(Found { fault: WireFault::CutOff { needed, left }, offset: begin });
        }
        let start = self.at;
        self.at += usize::try_from(needed).expect("what is left fits in memory");
        Ok(Body { start, end: self.at })
    }

    fn skip(&mut self, wire: Wire, end: usize) -> Result<(), Found> {
        self.body(wire, end).map(|_| ())
    }
}
