//! What may be held in memory, and files for what may not.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes that may be held in memory, by all who have a copy of it together.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    left: Arc<AtomicU64>,
}

/// Bytes that are held. They are free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Taken {
    room: Room,
    bytes: u64,
}

impl Room {
    /// So many bytes.
    pub(crate) fn new(bytes: u64) -> Room {
        Room { left: Arc::new(AtomicU64::new(bytes)) }
    }

    /// Some of them, if there are as many left.
    pub(crate) fn take(&self, bytes: u64) -> Option<Taken> {
        let less = |left: u64| left.checked_sub(bytes);
        let taken = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok();
        taken.then(|| Taken { room: self.clone(), bytes })
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.room.left.fetch_add(self.bytes, Ordering::Relaxed);
    }
}

/// A temporary file, made when something is first written to it.
///
/// It has no name in its folder, so that nothing is left of it whatever happens.
#[derive(Debug, Default)]
pub(crate) struct Spill {
    /// Whoever reads moves its position.
    file: Mutex<Option<File>>,
    end: u64,
}

impl Spill {
    /// Appends bytes, and says where they are.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<u64> {
        let file = self.file.get_mut().unwrap_or_else(PoisonError::into_inner);
        let file = match file {
            Some(file) => file,
            none => none.insert(tempfile::tempfile()?),
        };
        let at = self.end;
        file.seek(SeekFrom::Start(at))?;
        file.write_all(bytes)?;
        self.end += bytes.len() as u64;
        Ok(at)
    }

    /// Fills `bytes` with what is there.
    pub(crate) fn read(&self, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(file) = file.as_mut() else { return Err(io::ErrorKind::UnexpectedEof.into()) };
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(bytes)
    }

    /// Bytes that were written.
    #[cfg(test)]
    pub(crate) fn len(&self) -> u64 {
        self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_is_free_again() {
        let room = Room::new(10);
        let six = room.take(6).unwrap();
        assert!(room.clone().take(5).is_none());
        let four = room.take(4).unwrap();
        drop(six);
        assert!(room.take(6).is_some() && room.take(7).is_none());
        drop(four);
        assert!(room.take(10).is_some());
    }

    #[test]
    fn nothing_is_read_behind_the_end() {
        let mut spill = Spill::default();
        let mut bytes = [0; 2];
        assert!(spill.read(0, &mut bytes).is_err());
        assert_eq!((spill.write(b"abc").unwrap(), spill.write(b"de").unwrap()), (0, 3));
        spill.read(2, &mut bytes).unwrap();
        assert_eq!(&bytes, b"cd");
        assert!(spill.read(4, &mut bytes).is_err());
        assert_eq!(spill.len(), 5);
    }
}
