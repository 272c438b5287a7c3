use std::path::PathBuf;

/// Why samples cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SampleError {
    /// There is no such file or folder.
    #[error("there are no samples at `{}`", path.display())]
    NotFound {
        /// The path.
        path: PathBuf,
    },
    /// The file system says no.
    #[error("`{}` cannot be read: {reason}", path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// What it says.
        reason: String,
    },
    /// The file is of no kind that holds samples.
    #[error("`{}` is neither a `.npz` nor a `.npy` nor a folder", path.display())]
    UnknownFile {
        /// The file.
        path: PathBuf,
    },
    /// There are no samples in it.
    #[error("`{}` holds no samples", path.display())]
    Empty {
        /// The file or folder.
        path: PathBuf,
    },
    /// The content is not what the name of the file says.
    #[error("`{}` is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// An input has no array or tensor.
    #[error("`{}` holds nothing for the input `{input}`", path.display())]
    MissingInput {
        /// The file or folder.
        path: PathBuf,
        /// The input.
        input: String,
        /// What is there instead, in file order.
        found: Vec<String>,
    },
    /// A single array is given to a model with several inputs.
    #[error("`{}` is one array, the model has {} inputs", path.display(), inputs.len())]
    SeveralInputs {
        /// The file.
        path: PathBuf,
        /// The names of the inputs.
        inputs: Vec<String>,
    },
    /// An array holds Python objects, which only Python can read.
    #[error("`{array}` in `{}` holds pickled Python objects", path.display())]
    Pickled {
        /// The file.
        path: PathBuf,
        /// The array.
        array: String,
    },
    /// The elements are of a type that the input does not take.
    #[error("`{array}` in `{}` is `{found}`, the input takes `{expected}`", path.display())]
    Type {
        /// The file.
        path: PathBuf,
        /// The array.
        array: String,
        /// Its element type.
        found: String,
        /// The input's.
        expected: String,
    },
    /// The shape does not fit the input.
    #[error("`{array}` in `{}` has shape {found:?}, the input takes {expected}", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// The array.
        array: String,
        /// Its shape, samples included.
        found: Vec<u64>,
        /// The input's shape, open axes as `?`.
        expected: String,
    },
    /// Inputs have different numbers of samples.
    #[error(
        "`{}` holds {count} runs of `{array}` but {other_count} of `{other}`",
        path.display()
    )]
    Counts {
        /// The file.
        path: PathBuf,
        /// An array.
        array: String,
        /// Its runs.
        count: usize,
        /// Another array.
        other: String,
        /// Its runs.
        other_count: usize,
    },
    /// The header promises more data than there is.
    #[error("`{array}` in `{}` takes {expected} bytes, {found} are there", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// The array.
        array: String,
        /// Bytes that the header promises.
        expected: u64,
        /// Bytes that are there.
        found: u64,
    },
    /// A sample holds NaN or an infinity.
    #[error("sample {sample} in `{}` holds {what} in the input `{input}`", path.display())]
    NonFinite {
        /// The file or folder.
        path: PathBuf,
        /// The input.
        input: String,
        /// The number of the run, from 0, over all files.
        sample: usize,
        /// What it holds.
        what: &'static str,
    },
}

impl SampleError {
    /// A stable name for the kind of error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "samples_not_found",
            Self::Unreadable { .. } => "samples_unreadable",
            Self::UnknownFile { .. } => "samples_unknown_file",
            Self::Empty { .. } => "samples_empty",
            Self::Damaged { .. } => "samples_damaged",
            Self::MissingInput { .. } => "samples_missing_input",
            Self::SeveralInputs { .. } => "samples_several_inputs",
            Self::Pickled { .. } => "samples_pickled",
            Self::Type { .. } => "samples_type",
            Self::Shape { .. } => "samples_shape",
            Self::Counts { .. } => "samples_counts",
            Self::Truncated { .. } => "samples_truncated",
            Self::NonFinite { .. } => "samples_non_finite",
        }
    }

    /// What to do next.
    pub fn hint(&self) -> String {
        let forms = "give a `.npz` with an array for each input, samples along the first axis, \
                     or a folder of `.npz`, of `.npy`, or of `test_data_set_*`";
        match self {
            Self::NotFound { .. } => "check the path".to_owned(),
            Self::Unreadable { .. } => "check the permissions".to_owned(),
            Self::UnknownFile { .. } | Self::Empty { .. } => forms.to_owned(),
            Self::Damaged { .. } | Self::Truncated { .. } => {
                "write the file again, with `numpy.savez` or `numpy.save`".to_owned()
            }
            Self::MissingInput { input, found, .. } => match nearest(input, found) {
                Some(near) => format!("did you mean `{near}`? Arrays are named like the inputs"),
                None if found.is_empty() => forms.to_owned(),
                None => format!("it holds {}; arrays are named like the inputs", list(found)),
            },
            Self::SeveralInputs { inputs, .. } => {
                format!("give a `.npz` with the arrays {}", list(inputs))
            }
            Self::Pickled { .. } => {
                "save numbers: `numpy.savez(path, x=numpy.stack(samples))`".to_owned()
            }
            Self::Type { expected, .. } => {
                format!("convert it with `array.astype` to what `{expected}` is called in numpy")
            }
            Self::Shape { .. } => {
                "put samples along the first axis, and nothing else before the input's own axes"
                    .to_owned()
            }
            Self::Counts { .. } => "give every input the same number of samples".to_owned(),
            Self::NonFinite { .. } => "mend the sample, or leave it out".to_owned(),
        }
    }
}

fn list(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

/// The name that is most like another, if one is alike at all.
fn nearest<'a>(name: &str, candidates: &'a [String]) -> Option<&'a String> {
    let distances =
        candidates.iter().map(|candidate| (strsim::levenshtein(name, candidate), candidate));
    let (distance, nearest) = distances.min_by_key(|(distance, _)| *distance)?;
    let same = nearest.to_lowercase() == name.to_lowercase();
    (distance <= name.chars().count() / 3 || same).then_some(nearest)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn near_names_are_offered_and_far_ones_are_not() {
        let names = ["attention_mask".to_owned(), "input_id".to_owned()];
        assert_eq!(nearest("input_ids", &names), Some(&names[1]));
        assert_eq!(nearest("x", &names), None);
    }
}
