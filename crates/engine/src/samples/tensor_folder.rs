//! A folder with the tensors of one run, `input_0.pb`, `input_1.pb`, …, as ONNX's own models have them.

use std::path::{Path, PathBuf};

use marquetry_ir::{Tensor, onnx};

use super::fit::converted;
use super::{Input, SampleError};

#[derive(Debug)]
pub(super) struct TensorFolder {
    path: PathBuf,
    /// The files in the order of the inputs.
    files: Vec<PathBuf>,
}

impl TensorFolder {
    /// Finds a file for each input, by its place among the inputs.
    pub(super) fn open(path: &Path, inputs: &[Input]) -> Result<Self, SampleError> {
        let files: Vec<PathBuf> =
            (0..inputs.len()).map(|at| path.join(format!("input_{at}.pb"))).collect();
        if let Some((input, _)) = inputs.iter().zip(&files).find(|(_, file)| !file.is_file()) {
            return Err(SampleError::MissingInput {
                path: path.to_owned(),
                input: input.name.clone(),
                found: Vec::new(),
            });
        }
        Ok(Self { path: path.to_owned(), files })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The tensors in the order of the inputs: by name where all are named like inputs, by place
    /// otherwise.
    pub(super) fn read(&self, inputs: &[Input]) -> Result<Vec<Tensor>, SampleError> {
        let tensors = self.files.iter().map(|file| read(file)).collect::<Result<Vec<_>, _>>()?;
        let name = |tensor: &Tensor| tensor.notes.as_ref().map(|notes| notes.name.clone());
        let places: Option<Vec<usize>> = inputs
            .iter()
            .map(|input| {
                tensors.iter().position(|tensor| name(tensor).as_deref() == Some(&input.name))
            })
            .collect();
        let places = places.unwrap_or_else(|| (0..inputs.len()).collect());
        let chosen = inputs.iter().zip(places).map(|(input, at)| {
            let (file, tensor) = (&self.files[at], tensors[at].clone());
            let dims = tensor.dims().to_vec();
            let fits = input.dims.as_ref().is_none_or(|declared| {
                declared.len() == dims.len()
                    && declared
                        .iter()
                        .zip(&dims)
                        .all(|(declared, &dim)| declared.is_none_or(|length| length == dim))
            });
            if !fits {
                return Err(SampleError::Shape {
                    path: file.clone(),
                    array: input.name.clone(),
                    found: dims.iter().map(|&dim| dim as u64).collect(),
                    expected: super::array_file::shape(input),
                });
            }
            converted(file, &input.name, input, tensor)
        });
        chosen.collect()
    }
}

fn read(file: &Path) -> Result<Tensor, SampleError> {
    let bytes = std::fs::read(file).map_err(|error| SampleError::Unreadable {
        path: file.to_owned(),
        reason: error.to_string(),
    })?;
    onnx::decode_tensor(bytes)
        .map_err(|error| SampleError::Damaged { path: file.to_owned(), reason: error.to_string() })
}
