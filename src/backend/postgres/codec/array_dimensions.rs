//! The dimensions of arrays, whatever the format of their elements.

use crate::value::{ArrayValue, Kind, Value};

/// The most dimensions that an array of PostgreSQL has.
pub(crate) const MAX_RANK: usize = 6;

/// One dimension of an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dimension {
    pub(crate) length: i32,
    pub(crate) lower_bound: i32,
}

/// Returns the number of elements of an array; `None` for dimensions that no array can have.
pub(crate) fn element_count(dimensions: &[Dimension]) -> Option<usize> {
    if dimensions.is_empty() {
        return Some(0);
    }
    dimensions.iter().try_fold(1_usize, |count, dimension| {
        count.checked_mul(usize::try_from(dimension.length).ok()?)
    })
}

/// Returns the value of an array, without the lengths of a single dimension and without lower bounds
/// that are all 1.
pub(crate) fn array_value(elements: Vec<Value>, dimensions: &[Dimension]) -> Value {
    let mut array = ArrayValue { elements, ..ArrayValue::default() };
    if dimensions.len() > 1 {
        array.dimensions = dimensions.iter().map(|dimension| dimension.length).collect();
    }
    if dimensions.iter().any(|dimension| dimension.lower_bound != 1) {
        array.lower_bounds = dimensions.iter().map(|dimension| dimension.lower_bound).collect();
    }
    Kind::ArrayValue(array).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_leaves_out_default_dimensions() {
        let of = |dimensions: &[(i32, i32)]| {
            let dimensions: Vec<Dimension> = dimensions
                .iter()
                .map(|&(lower_bound, length)| Dimension { length, lower_bound })
                .collect();
            match array_value(Vec::new(), &dimensions).kind {
                Some(Kind::ArrayValue(array)) => (array.dimensions, array.lower_bounds),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(of(&[]), (vec![], vec![]));
        assert_eq!(of(&[(1, 3)]), (vec![], vec![]));
        assert_eq!(of(&[(2, 3)]), (vec![], vec![2]));
        assert_eq!(of(&[(1, 3), (1, 2)]), (vec![3, 2], vec![]));
        assert_eq!(of(&[(1, 3), (0, 2)]), (vec![3, 2], vec![1, 0]));
    }
}
