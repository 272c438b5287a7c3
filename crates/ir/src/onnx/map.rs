//! Files as bytes: small ones are copied, large ones are mapped.

use std::fs::File;
use std::io::{self, Read as _};

use bytes::Bytes;

/// Files below this size are copied: cheaper than a mapping, and safe from whoever changes them.
const COPIED_BELOW: u64 = 4 << 20;

/// All of a regular file of `size` bytes.
pub(super) fn load(file: &File, size: u64) -> io::Result<Bytes> {
    if size >= COPIED_BELOW {
        return map(file);
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
    // One byte more than announced, so that a file that grows is noticed and not cut.
    file.take(size + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 != size {
        return Err(io::Error::other("the file changes while it is read"));
    }
    Ok(bytes.into())
}

#[allow(unsafe_code, reason = "a mapping is the only way to slice a model larger than memory")]
fn map(file: &File) -> io::Result<Bytes> {
    // SAFETY: `Mmap::map` asks that nobody changes the file while it is mapped. The mapping is
    // private and read-only, nothing here hands out a `&mut` to it, and our own writer never
    // changes a file in place: it renames a new one over it, which leaves the mapped inode alone.
    // Another program that overwrites the file shows as changed bytes, which are only ever read as
    // plain integers of which every bit pattern is valid; one that truncates it ends this process
    // with SIGBUS, which is no memory error. `Bytes` keeps the mapping alive as long as any slice.
    let mapping = unsafe { memmap2::MmapOptions::new().map_copy_read_only(file)? };
    Ok(Bytes::from_owner(mapping))
}
