//! Rows that layers read, for as long as something runs on them: in memory as far as there is room, the
//! rest in a file.

use std::borrow::Cow;
use std::io;

use super::room::{Room, Spill, Taken};

/// Rows of samples, in pieces.
///
/// A piece holds what the groups of a layer read one behind the other, because a group is what is read
/// at once.
#[derive(Debug)]
pub(crate) struct Kept {
    groups: usize,
    depth: usize,
    room: Room,
    samples: Vec<Vec<Piece>>,
    file: Spill,
}

#[derive(Debug)]
struct Piece {
    rows: usize,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Held(Vec<f32>, #[expect(dead_code, reason = "gives its bytes back when dropped")] Taken),
    Written(u64),
}

impl Kept {
    /// No rows yet, for `groups` groups of `depth` columns.
    pub(crate) fn new(groups: usize, depth: usize, room: &Room) -> Kept {
        let (room, file) = (room.clone(), Spill::default());
        Kept { groups, depth, room, samples: Vec::new(), file }
    }

    /// Begins another sample.
    pub(crate) fn begin(&mut self) {
        self.samples.push(Vec::new());
    }

    /// Adds rows, the groups of each side by side, to the last sample.
    pub(crate) fn add(&mut self, rows: &[f32]) -> io::Result<()> {
        let (depth, width) = (self.depth, self.groups * self.depth);
        let count = rows.len() / width.max(1);
        let numbers = match self.groups {
            1 => rows.to_vec(),
            _ => {
                let of = |group: usize| {
                    let from = group * depth;
                    rows.chunks_exact(width.max(1)).flat_map(move |row| &row[from..][..depth])
                };
                (0..self.groups).flat_map(of).copied().collect()
            }
        };
        let place = match self.room.take(size_of_val(&numbers[..]) as u64) {
            Some(taken) => Place::Held(numbers, taken),
            None => Place::Written(self.file.write(bytemuck::cast_slice(&numbers))?),
        };
        let sample = self.samples.last_mut().expect("rows are those of a sample that has begun");
        sample.push(Piece { rows: count, place });
        Ok(())
    }

    /// The number of samples.
    pub(crate) fn samples(&self) -> usize {
        self.samples.len()
    }

    /// The number of rows of a sample.
    pub(crate) fn count(&self, sample: usize) -> usize {
        self.samples[sample].iter().map(|piece| piece.rows).sum()
    }

    /// What a group reads of a sample, piece by piece: so many rows, and their numbers.
    pub(crate) fn pieces(
        &self,
        sample: usize,
        group: usize,
    ) -> impl Iterator<Item = io::Result<(usize, Cow<'_, [f32]>)>> {
        self.samples[sample].iter().map(move |piece| Ok((piece.rows, self.read(piece, group)?)))
    }

    fn read<'p>(&self, piece: &'p Piece, group: usize) -> io::Result<Cow<'p, [f32]>> {
        let len = piece.rows * self.depth;
        match &piece.place {
            Place::Held(numbers, _) => Ok(Cow::Borrowed(&numbers[group * len..][..len])),
            Place::Written(at) => {
                let mut numbers = vec![0.0_f32; len];
                let from = at + (group * size_of_val(&numbers[..])) as u64;
                self.file.read(from, bytemuck::cast_slice_mut(&mut numbers))?;
                Ok(Cow::Owned(numbers))
            }
        }
    }

    /// Hands all rows over as they were added.
    pub(crate) fn each(&self, visit: &mut dyn FnMut(&[f32])) -> io::Result<()> {
        for piece in self.samples.iter().flatten() {
            let groups = (0..self.groups).map(|group| self.read(piece, group));
            let groups: Vec<Cow<'_, [f32]>> = groups.collect::<io::Result<_>>()?;
            if let [one] = &groups[..] {
                visit(one);
                continue;
            }
            let of = |row: usize| {
                groups.iter().flat_map(move |group| &group[row * self.depth..][..self.depth])
            };
            let rows: Vec<f32> = (0..piece.rows).flat_map(of).copied().collect();
            visit(&rows);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows come back the same from memory and from a file, whole and by groups.
    #[test]
    fn rows_come_back_as_they_were() {
        let (groups, depth) = (2, 3);
        let rows = |from: usize, count: usize| -> Vec<f32> {
            (0..count * groups * depth).map(|at| (from * 100 + at) as f32).collect()
        };
        let added = [vec![rows(1, 4), rows(2, 1)], vec![], vec![rows(3, 2)]];
        for (room, spilled) in [(0, 7), (4 * 24, 3), (1000, 0)] {
            let mut kept = Kept::new(groups, depth, &Room::new(room));
            for sample in &added {
                kept.begin();
                sample.iter().for_each(|piece| kept.add(piece).unwrap());
            }
            assert_eq!(kept.file.len(), spilled * 24, "room for {room}");
            assert_eq!([0, 1, 2].map(|sample| kept.count(sample)), [5, 0, 2]);
            let mut all = Vec::new();
            kept.each(&mut |rows| all.extend_from_slice(rows)).unwrap();
            assert_eq!(all, added.concat().concat());
            for (sample, pieces) in added.iter().enumerate() {
                for group in 0..groups {
                    let part = |row: &[f32]| row[group * depth..][..depth].to_vec();
                    let of = |piece: &Vec<f32>| -> Vec<f32> {
                        piece.chunks(groups * depth).flat_map(part).collect()
                    };
                    let found: Vec<Vec<f32>> = kept
                        .pieces(sample, group)
                        .map(|piece| piece.unwrap().1.into_owned())
                        .collect();
                    assert_eq!(found, pieces.iter().map(of).collect::<Vec<_>>());
                }
            }
        }
    }
}
