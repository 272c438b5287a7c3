//! Constants that tell what comes before from what comes after.

use marquetry_ir::Tensor;

/// The two numbers of a constant of square matrices that hold one on and below the diagonal and another
/// one above it: of a causal mask what is kept, and what is left out.
pub(crate) fn halves(tensor: &Tensor) -> Option<[f64; 2]> {
    let [.., rows, columns] = *tensor.dims() else { return None };
    if rows != columns || rows < 2 || tensor.is_empty() {
        return None;
    }
    let elements = tensor.to_f64s()?;
    let (below, above) = (elements[0], elements[1]);
    let fits = |(at, element): (usize, &f64)| {
        let (row, column) = (at / columns % rows, at % columns);
        *element == if column <= row { below } else { above }
    };
    let all = elements.iter().enumerate().all(fits);
    (all && below != above).then_some([below, above])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(dims: &[usize], elements: &[f32]) -> Option<[f64; 2]> {
        halves(&Tensor::from_f32s(dims, elements).unwrap())
    }

    #[test]
    fn only_square_triangles_are_found() {
        assert_eq!(found(&[2, 2], &[0.0, -9.0, 0.0, 0.0]), Some([0.0, -9.0]));
        let infinite = f32::NEG_INFINITY;
        assert_eq!(found(&[1, 2, 2], &[0.0, infinite, 0.0, 0.0]), Some([0.0, f64::NEG_INFINITY]));
        assert_eq!(found(&[2, 2], &[0.0, 0.0, -9.0, 0.0]), None, "the other half");
        assert_eq!(found(&[2, 2], &[1.0, 1.0, 1.0, 1.0]), None, "no half at all");
        assert_eq!(found(&[2, 3], &[0.0, 1.0, 1.0, 0.0, 0.0, 1.0]), None, "not square");
        assert_eq!(found(&[2], &[0.0, 1.0]), None, "no matrix");
        let second = [0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0];
        assert_eq!(found(&[2, 2, 2], &second), None, "the second one differs");
    }
}
