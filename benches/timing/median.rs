//! The middle one of some times.

/// The upper one of two.
///
/// # Panics
/// Of none.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
