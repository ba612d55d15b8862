//! Random orthogonal matrices.
//!
//! Saxe, McClelland and Ganguli, "Exact solutions to the nonlinear dynamics of learning in deep linear neural
//! networks", 2013: the orthogonal factor of a matrix of normal numbers, with the signs that make the triangular
//! factor's diagonal positive (as torch's `orthogonal_`), so that the result is uniform over the orthogonal matrices.

use super::{Stream, fill};
use crate::error::Result;
use crate::simd::{Arithmetic, Element, Isa, Kernel, Simd, Vector};

/// Vectors whose projections are taken off together: as many chains as hide one's latency.
const GROUP: usize = 4;
/// Virtual lanes of a dot product in float64.
const LANES: usize = <f64 as Element>::ROW_LANES;

/// Fills a (rows, columns) matrix whose rows are orthonormal, or whose columns are if there are more rows.
///
/// Normal numbers (element (i, j) of vector i from row i of the stream) made orthonormal by Gram-Schmidt, every vector
/// twice, in float64.
///
/// # Panics
/// If `out` has not rows · columns elements.
pub fn orthogonal<T: Element>(
    isa: Isa,
    stream: Stream,
    rows: usize,
    columns: usize,
    out: &mut [T],
) -> Result<()> {
    assert_eq!(out.len(), rows * columns);
    if out.is_empty() {
        return Ok(());
    }
    let (count, length) = (rows.min(columns), rows.max(columns));
    // Whole lanes: what is beyond the length stays zero.
    let stride = length.next_multiple_of(LANES);
    let mut vectors = vec![0f64; count * stride];
    let mut normals = vec![0f64; count * length];
    fill::normal(isa, stream, length, 0.0, 1.0, &mut normals)?;
    for (vector, normals) in vectors
        .chunks_exact_mut(stride)
        .zip(normals.chunks_exact(length))
    {
        vector[..length].copy_from_slice(normals);
    }
    isa.run(Orthonormalize {
        stride,
        vectors: &mut vectors,
    });
    for row in 0..rows {
        for column in 0..columns {
            let (vector, element) = if rows <= columns {
                (row, column)
            } else {
                (column, row)
            };
            out[row * columns + column] = T::from_f64(vectors[vector * stride + element]);
        }
    }
    Ok(())
}

struct Orthonormalize<'a> {
    stride: usize,
    vectors: &'a mut [f64],
}

impl Kernel for Orthonormalize<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let stride = self.stride;
        for index in 0..self.vectors.len() / stride {
            let (done, rest) = self.vectors.split_at_mut(index * stride);
            let vector = &mut rest[..stride];
            for _ in 0..2 {
                let mut groups = done.chunks_exact(GROUP * stride);
                for group in &mut groups {
                    take_off::<S, GROUP>(simd, group, vector);
                }
                for single in groups.remainder().chunks_exact(stride) {
                    take_off::<S, 1>(simd, single, vector);
                }
            }
            let [square] = dots::<S, 1>(simd, vector, vector);
            let length = square.sqrt();
            vector.iter_mut().for_each(|element| *element /= length);
        }
    }
}

/// The dot products of `N` vectors, one after the other in `units`, with `vector`.
#[inline(always)]
fn dots<S: Simd, const N: usize>(simd: S, units: &[f64], vector: &[f64]) -> [f64; N] {
    let parts = LANES / S::F64::LANES;
    let mut sums = [[S::F64::zero(simd); 4]; N];
    for at in (0..vector.len()).step_by(LANES) {
        #[allow(clippy::needless_range_loop)] // `part` counts vectors as well as sums
        for part in 0..parts {
            let at = at + part * S::F64::LANES;
            let x = S::F64::load_slice(simd, &vector[at..]);
            for n in 0..N {
                let unit = S::F64::load_slice(simd, &units[n * vector.len() + at..]);
                sums[n][part] = unit.mul_add(x, sums[n][part]);
            }
        }
    }
    let mut dots = [0.0; N];
    for (dot, sums) in dots.iter_mut().zip(sums) {
        let mut lanes = [0f64; LANES];
        for (sum, lanes) in sums.iter().zip(lanes.chunks_exact_mut(S::F64::LANES)) {
            sum.store_slice(lanes);
        }
        for half in [4, 2, 1] {
            for lane in 0..half {
                lanes[lane] += lanes[lane + half];
            }
        }
        *dot = lanes[0];
    }
    dots
}

/// Takes off `vector` its projections on `N` unit vectors.
#[inline(always)]
fn take_off<S: Simd, const N: usize>(simd: S, units: &[f64], vector: &mut [f64]) {
    let mut factors = [S::F64::zero(simd); N];
    for (factor, dot) in factors.iter_mut().zip(dots::<S, N>(simd, units, vector)) {
        *factor = S::F64::splat(simd, -dot);
    }
    let length = vector.len();
    for at in (0..length).step_by(S::F64::LANES) {
        let mut x = S::F64::load_slice(simd, &vector[at..]);
        for n in 0..N {
            x = factors[n].mul_add(S::F64::load_slice(simd, &units[n * length + at..]), x);
        }
        x.store_slice(&mut vector[at..]);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Purpose;
    use super::*;

    fn drawn<T: Element>(isa: Isa, rows: usize, columns: usize) -> Vec<T> {
        let mut out = vec![T::ZERO; rows * columns];
        orthogonal(
            isa,
            Stream::new(1, Purpose::Init, 0, 2),
            rows,
            columns,
            &mut out,
        )
        .unwrap();
        out
    }

    #[test]
    fn the_shorter_side_is_orthonormal() {
        for (rows, columns) in [
            (1, 1),
            (1, 9),
            (7, 7),
            (5, 33),
            (33, 5),
            (64, 64),
            (17, 100),
            (100, 17),
            (130, 129),
        ] {
            let matrix: Vec<f64> = drawn(Isa::best(), rows, columns);
            let (count, length) = (rows.min(columns), rows.max(columns));
            let at = |v: usize, e: usize| {
                if rows <= columns {
                    matrix[v * columns + e]
                } else {
                    matrix[e * columns + v]
                }
            };
            for a in 0..count {
                for b in 0..=a {
                    let dot: f64 = (0..length).map(|e| at(a, e) * at(b, e)).sum();
                    assert!(
                        (dot - f64::from(u8::from(a == b))).abs() < 1e-14,
                        "{rows} {columns}: {a}·{b} = {dot}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_triangular_factor_has_a_positive_diagonal() {
        let (stream, n) = (Stream::new(1, Purpose::Init, 0, 2), 40);
        let mut normals = vec![0f64; n * n];
        fill::normal(Isa::best(), stream, n, 0.0, 1.0, &mut normals).unwrap();
        let matrix: Vec<f64> = drawn(Isa::best(), n, n);
        for row in 0..n {
            let dot = |unit: usize| -> f64 {
                (0..n)
                    .map(|e| normals[row * n + e] * matrix[unit * n + e])
                    .sum()
            };
            assert!(dot(row) > 0.0);
            assert!((row + 1..n).all(|later| dot(later).abs() < 1e-13));
        }
    }

    #[test]
    fn the_same_bits_everywhere() {
        let want: Vec<f32> = drawn(Isa::best(), 31, 70);
        for isa in Isa::tested() {
            assert_eq!(drawn::<f32>(isa, 31, 70), want, "{isa:?}");
        }
        assert!(drawn::<f32>(Isa::best(), 0, 4).is_empty());
    }
}
