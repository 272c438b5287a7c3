//! Arrays of numpy, `.npy` on their own or in a `.npz`, read run by run.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use flate2::read::DeflateDecoder;
use marquetry_ir::{DType, Tensor};
use zip::{CompressionMethod, ZipArchive};

use super::fit::{Fit, Runs, converted, convertible};
use super::npy_header::NpyHeader;
use super::{Input, SampleError};

/// Bytes that are asked of memory before any of them has arrived.
const AT_ONCE: u64 = 1 << 20;

/// A file with one array for each input.
#[derive(Debug)]
pub(super) struct ArrayFile {
    path: PathBuf,
    columns: Vec<Column>,
    runs: usize,
}

/// The array of an input, and how it falls into runs.
#[derive(Debug)]
struct Column {
    input: Input,
    array: Array,
    runs: Runs,
}

/// An array in a file: what its header says, and where its bytes are.
#[derive(Debug)]
struct Array {
    path: PathBuf,
    name: String,
    dtype: DType,
    dims: Vec<usize>,
    swapped: bool,
    fortran: bool,
    place: Place,
    /// Where a compressed array has been read to.
    stream: Mutex<Option<Stream>>,
    /// The whole array, where its order of elements asks for all of them at once.
    whole: OnceLock<Vec<u8>>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    /// The first byte in the file, and how many there are.
    start: u64,
    length: u64,
    deflated: bool,
    /// Bytes before the elements, once uncompressed.
    header: u64,
}

struct Stream {
    reader: Box<dyn Read + Send>,
    position: u64,
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").field("position", &self.position).finish_non_exhaustive()
    }
}

impl ArrayFile {
    /// Reads the headers of a file and finds the arrays of all inputs.
    pub(super) fn open(
        path: &Path,
        fit: &Fit<'_>,
        notes: &mut Vec<String>,
    ) -> Result<Self, SampleError> {
        let mut arrays = open(path)?;
        let single = is_npy(path);
        if single && fit.inputs.len() != 1 {
            let inputs = fit.inputs.iter().map(|input| input.name.clone()).collect();
            return Err(SampleError::SeveralInputs { path: path.to_owned(), inputs });
        }
        let mut columns: Vec<Column> = Vec::with_capacity(fit.inputs.len());
        for input in fit.inputs {
            let Some(at) = arrays.iter().position(|(name, _)| single || name == input.array())
            else {
                return Err(SampleError::MissingInput {
                    path: path.to_owned(),
                    input: input.array().to_owned(),
                    found: arrays.into_iter().map(|(name, _)| name).collect(),
                });
            };
            let (_, array) = arrays.remove(at);
            columns.push(Column::new(input, array?, fit, notes)?);
        }
        if !arrays.is_empty() {
            let unused: Vec<String> = arrays.iter().map(|(name, _)| format!("`{name}`")).collect();
            let (path, unused) = (path.display(), unused.join(", "));
            notes.push(format!("`{path}`: {unused} not used: no input is called so"));
        }
        let runs = columns.first().map_or(0, |column| column.runs.count);
        if let (Some(first), Some(other)) =
            (columns.first(), columns.iter().find(|column| column.runs.count != runs))
        {
            return Err(SampleError::Counts {
                path: path.to_owned(),
                array: first.input.name.clone(),
                count: runs,
                other: other.input.name.clone(),
                other_count: other.runs.count,
            });
        }
        Ok(Self { path: path.to_owned(), columns, runs })
    }

    pub(super) fn len(&self) -> usize {
        self.runs
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The tensors of one run, in the order of the inputs.
    pub(super) fn read(&self, run: usize) -> Result<Vec<Tensor>, SampleError> {
        self.columns.iter().map(|column| column.read(run)).collect()
    }
}

impl Column {
    fn new(
        input: &Input,
        array: Array,
        fit: &Fit<'_>,
        notes: &mut Vec<String>,
    ) -> Result<Self, SampleError> {
        let runs = fit.runs(input, &array.dims).ok_or_else(|| SampleError::Shape {
            path: array.path.clone(),
            array: array.shown().to_owned(),
            found: array.dims.iter().map(|&dim| dim as u64).collect(),
            expected: shape(input),
        })?;
        if let Some(dtype) = input.dtype.filter(|&dtype| dtype != array.dtype) {
            if !convertible(array.dtype, dtype) {
                return Err(SampleError::Type {
                    path: array.path.clone(),
                    array: array.shown().to_owned(),
                    found: array.dtype.to_string(),
                    expected: dtype.to_string(),
                });
            }
            notes
                .push(format!("`{}` is converted from `{}` to `{dtype}`", input.name, array.dtype));
        }
        if runs.rest > 0 {
            notes.push(format!(
                "`{}`: {} samples of `{}` are left over, runs take {}",
                array.path.display(),
                runs.rest,
                input.name,
                runs.items
            ));
        }
        Ok(Self { input: input.clone(), array, runs })
    }

    fn read(&self, run: usize) -> Result<Tensor, SampleError> {
        let total = self.runs.dims.iter().product::<usize>();
        let bytes = self.array.read(run * total, total)?;
        let tensor = self.array.tensor(self.runs.dims.clone(), bytes)?;
        converted(&self.array.path, self.array.shown(), &self.input, tensor)
    }
}

pub(super) fn shape(input: &Input) -> String {
    let dims = input.dims.iter().flatten();
    let dims: Vec<String> =
        dims.map(|dim| dim.map_or_else(|| "?".to_owned(), |dim| dim.to_string())).collect();
    format!("[{}]", dims.join(", "))
}

impl Array {
    /// The name for messages; a `.npy` has none.
    fn shown(&self) -> &str {
        if self.name.is_empty() { "array" } else { &self.name }
    }

    fn width(&self) -> u64 {
        u64::from(self.dtype.bits().map_or(1, |bits| bits / 8))
    }

    /// Elements from `first` on, in C order and little endian.
    fn read(&self, first: usize, count: usize) -> Result<Vec<u8>, SampleError> {
        let width = self.width();
        let (start, length) = (first as u64 * width, count as u64 * width);
        let mut bytes = if self.fortran {
            let whole = match self.whole.get() {
                Some(whole) => whole,
                None => {
                    let whole = self.in_c_order()?;
                    self.whole.get_or_init(|| whole)
                }
            };
            whole[start as usize..(start + length) as usize].to_vec()
        } else {
            self.raw(start, length)?
        };
        if self.swapped {
            bytes.chunks_exact_mut(width as usize).for_each(<[u8]>::reverse);
        }
        Ok(bytes)
    }

    /// The whole array with its last axis fastest.
    fn in_c_order(&self) -> Result<Vec<u8>, SampleError> {
        let width = self.width() as usize;
        let count: usize = self.dims.iter().product();
        let raw = self.raw(0, (count * width) as u64)?;
        let mut ordered = vec![0; raw.len()];
        let mut index = vec![0_usize; self.dims.len()];
        for at in 0..count {
            // The place of this index when the first axis is fastest.
            let from =
                index.iter().zip(&self.dims).rev().fold(0, |place, (&i, &dim)| place * dim + i);
            ordered[at * width..][..width].copy_from_slice(&raw[from * width..][..width]);
            for axis in (0..index.len()).rev() {
                index[axis] += 1;
                if index[axis] < self.dims[axis] {
                    break;
                }
                index[axis] = 0;
            }
        }
        Ok(ordered)
    }

    /// Bytes of the elements as the file holds them. Memory is taken as data arrives, not as a header
    /// promises it.
    fn raw(&self, start: u64, length: u64) -> Result<Vec<u8>, SampleError> {
        let mut held = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        let at = self.place.header + start;
        let reusable = held.take().filter(|stream| stream.position <= at);
        let mut stream = match reusable {
            Some(stream) => stream,
            None => self.stream(at).map_err(|error| self.unreadable(&error))?,
        };
        let skip = at - stream.position;
        let skipped = io::copy(&mut stream.reader.by_ref().take(skip), &mut io::sink());
        let mut bytes = Vec::with_capacity(length.min(AT_ONCE) as usize);
        let read =
            skipped.and_then(|_| stream.reader.by_ref().take(length).read_to_end(&mut bytes));
        read.map_err(|error| SampleError::Damaged {
            path: self.path.clone(),
            reason: format!("`{}` cannot be unpacked: {error}", self.shown()),
        })?;
        if bytes.len() as u64 != length {
            return Err(SampleError::Truncated {
                path: self.path.clone(),
                array: self.shown().to_owned(),
                expected: start + length,
                found: start + bytes.len() as u64,
            });
        }
        stream.position = at + length;
        *held = Some(stream);
        Ok(bytes)
    }

    /// A reader at a byte of the uncompressed array, or before it where it is compressed.
    fn stream(&self, at: u64) -> io::Result<Stream> {
        let mut file = File::open(&self.path)?;
        if self.place.deflated {
            file.seek(SeekFrom::Start(self.place.start))?;
            let compressed = BufReader::new(file.take(self.place.length));
            return Ok(Stream { reader: Box::new(DeflateDecoder::new(compressed)), position: 0 });
        }
        file.seek(SeekFrom::Start(self.place.start.saturating_add(at)))?;
        let rest = file.take(self.place.length.saturating_sub(at));
        Ok(Stream { reader: Box::new(rest), position: at })
    }

    fn unreadable(&self, error: &io::Error) -> SampleError {
        SampleError::Unreadable { path: self.path.clone(), reason: error.to_string() }
    }

    fn tensor(&self, dims: Vec<usize>, bytes: Vec<u8>) -> Result<Tensor, SampleError> {
        Tensor::new(self.dtype, dims, bytes).map_err(|error| SampleError::Damaged {
            path: self.path.clone(),
            reason: format!("`{}`: {error}", self.shown()),
        })
    }
}

/// All arrays of a file, read whole.
pub(super) fn all(path: &Path) -> Result<Vec<(String, Tensor)>, SampleError> {
    let arrays = open(path)?.into_iter().map(|array| {
        let array = array.1?;
        let count = array.dims.iter().product();
        let bytes = array.read(0, count)?;
        let tensor = array.tensor(array.dims.clone(), bytes)?;
        Ok((array.name, tensor))
    });
    arrays.collect()
}

fn is_npy(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("npy"))
}

/// The name of an array, and the array or why it is none.
type Opened = (String, Result<Array, SampleError>);

/// The arrays of a file in file order. One that cannot be used is an error only if it is needed.
fn open(path: &Path) -> Result<Vec<Opened>, SampleError> {
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => SampleError::NotFound { path: path.to_owned() },
        _ => SampleError::Unreadable { path: path.to_owned(), reason: error.to_string() },
    };
    let damaged = |reason: String| SampleError::Damaged { path: path.to_owned(), reason };
    let file = File::open(path).map_err(unreadable)?;
    let size = file.metadata().map_err(unreadable)?.len();
    if is_npy(path) {
        let place = Place { start: 0, length: size, deflated: false, header: 0 };
        return Ok(vec![header(path, "", place, size)]);
    }
    let mut archive =
        ZipArchive::new(BufReader::new(file)).map_err(|error| damaged(error.to_string()))?;
    let mut arrays = Vec::new();
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index).map_err(|error| damaged(error.to_string()))?;
        let name = entry.name().map_err(|error| damaged(error.to_string()))?.into_owned();
        let Some(name) = name.strip_suffix(".npy").map(str::to_owned) else { continue };
        let deflated = match entry.compression() {
            CompressionMethod::Stored => false,
            CompressionMethod::Deflated => true,
            other => return Err(damaged(format!("`{name}` is compressed by {other}"))),
        };
        if entry.encrypted() {
            return Err(damaged(format!("`{name}` is encrypted")));
        }
        let start = entry.data_start().ok_or_else(|| damaged(format!("`{name}` has no data")))?;
        let place = Place { start, length: entry.compressed_size(), deflated, header: 0 };
        arrays.push(header(path, &name, place, entry.size()));
    }
    Ok(arrays)
}

/// Reads the header of an array. `size` is that of header and elements, uncompressed.
fn header(path: &Path, name: &str, place: Place, size: u64) -> Opened {
    let mut array = Array {
        path: path.to_owned(),
        name: name.to_owned(),
        dtype: DType::Uint8,
        dims: Vec::new(),
        swapped: false,
        fortran: false,
        place,
        stream: Mutex::default(),
        whole: OnceLock::new(),
    };
    let read = array.read_header(size);
    (name.to_owned(), read.map(|()| array))
}

impl Array {
    fn read_header(&mut self, size: u64) -> Result<(), SampleError> {
        let mut stream = self.stream(0).map_err(|error| self.unreadable(&error))?;
        let header = NpyHeader::read(&mut stream.reader).map_err(|error| SampleError::Damaged {
            path: self.path.clone(),
            reason: format!("{} has no numpy header: {error}", self.shown()),
        })?;
        self.place.header = header.length;
        let (path, array) = (self.path.clone(), self.shown().to_owned());
        let (order, kind) = header.descr.split_at_checked(1).unwrap_or(("", &header.descr));
        if kind == "O" {
            return Err(SampleError::Pickled { path, array });
        }
        let Some(dtype) = element_type(kind).filter(|_| "<>|=".contains(order)) else {
            return Err(SampleError::Type {
                path,
                array,
                found: header.descr,
                expected: "numbers".to_owned(),
            });
        };
        let dims: Option<Vec<usize>> =
            header.shape.iter().map(|&dim| usize::try_from(dim).ok()).collect();
        let elements = dims.as_ref().and_then(|dims| {
            dims.iter().try_fold(1_u64, |product, &dim| product.checked_mul(dim as u64))
        });
        let bytes = elements.and_then(|elements| dtype.size_of(elements));
        let there = size.saturating_sub(self.place.header);
        let (Some(dims), true) = (dims, bytes.is_some_and(|bytes| bytes <= there)) else {
            return Err(SampleError::Truncated {
                path: self.path.clone(),
                array: self.shown().to_owned(),
                expected: bytes.unwrap_or(u64::MAX),
                found: there,
            });
        };
        self.dtype = dtype;
        self.fortran = header.fortran && dims.len() > 1;
        self.dims = dims;
        self.swapped = order == ">";
        Ok(())
    }
}

/// The element type of a kind and width, as numpy writes them.
fn element_type(kind: &str) -> Option<DType> {
    Some(match kind {
        "f2" => DType::Float16,
        "f4" => DType::Float,
        "f8" => DType::Double,
        "i1" => DType::Int8,
        "i2" => DType::Int16,
        "i4" => DType::Int32,
        "i8" => DType::Int64,
        "u1" => DType::Uint8,
        "u2" => DType::Uint16,
        "u4" => DType::Uint32,
        "u8" => DType::Uint64,
        "b1" => DType::Bool,
        _ => return None,
    })
}
