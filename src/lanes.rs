//! Sums along a row, in an order that no register's width decides.
//!
//! A row is summed in [`Element::ROW_LANES`] virtual lanes: lane l takes the elements j ≡ l (mod lanes) in increasing
//! j, starting from +0; then lanes are joined by halving: l with l + 8, with l + 4, with l + 2, with l + 1. Rows lie
//! in panels, 16 of them side by side in vectors ([`PanelSum`]), or one along the vectors ([`RowSum`]); both give the
//! same bits.

use crate::gemm::PANEL;
use crate::simd::{Element, Vector};

/// The most virtual lanes of any element.
const MOST_LANES: usize = 16;

/// One feature of a panel: its 16 rows.
pub type Feature<T> = [T; PANEL];

/// The first `count` features of a panel.
///
/// # Panics
/// If the panel has fewer.
#[inline(always)]
pub fn features<T>(panel: &[T], count: usize) -> &[Feature<T>] {
    &panel.as_chunks::<PANEL>().0[..count]
}

/// As [`features`].
#[inline(always)]
pub fn features_mut<T>(panel: &mut [T], count: usize) -> &mut [Feature<T>] {
    &mut panel.as_chunks_mut::<PANEL>().0[..count]
}

/// The vector that begins at row `at` of a feature; `at` is a multiple of the vector's lanes.
#[inline(always)]
pub fn load<V: Vector>(simd: V::Simd, feature: &Feature<V::Element>, at: usize) -> V {
    // The mask changes no such `at`; it shows the compiler that the slice is long enough.
    V::load_slice(simd, &feature[at & (PANEL - V::LANES)..])
}

/// As [`load`].
#[inline(always)]
pub fn store<V: Vector>(vector: V, feature: &mut Feature<V::Element>, at: usize) {
    vector.store_slice(&mut feature[at & (PANEL - V::LANES)..]);
}

/// Sums over the features of rows that lie side by side in a vector.
#[derive(Clone, Copy)]
pub struct PanelSum<V>([V; MOST_LANES]);

impl<V: Vector> PanelSum<V> {
    #[inline(always)]
    pub fn new(simd: V::Simd) -> Self {
        Self([V::zero(simd); MOST_LANES])
    }

    /// Adds the term of feature `j`.
    #[inline(always)]
    pub fn add(&mut self, j: usize, term: V) {
        let lane = &mut self.0[j % V::Element::ROW_LANES];
        *lane = *lane + term;
    }

    /// Adds the product of two factors of feature `j`, rounded once.
    #[inline(always)]
    pub fn mul_add(&mut self, j: usize, a: V, b: V) {
        let lane = &mut self.0[j % V::Element::ROW_LANES];
        *lane = a.mul_add(b, *lane);
    }

    /// The sum of `count` features.
    #[inline(always)]
    pub fn total(self, count: usize) -> V {
        let mut lanes = self.0;
        if count == 1 {
            return lanes[0];
        }
        let mut half = V::Element::ROW_LANES / 2;
        while half > 0 {
            for l in 0..half {
                lanes[l] = lanes[l] + lanes[l + half];
            }
            half /= 2;
        }
        lanes[0]
    }
}

/// Sums along one row that lies along the vectors.
#[derive(Clone, Copy)]
pub struct RowSum<V>([V; MOST_VECTORS]);

/// Vectors that make the virtual lanes, at four float32 or two float64 a vector.
const MOST_VECTORS: usize = 4;

impl<V: Vector> RowSum<V> {
    /// Vectors that make the virtual lanes.
    const VECTORS: usize = V::Element::ROW_LANES / V::LANES;

    #[inline(always)]
    pub fn new(simd: V::Simd) -> Self {
        const { assert!(Self::VECTORS >= 1 && Self::VECTORS <= MOST_VECTORS) };
        Self([V::zero(simd); MOST_VECTORS])
    }

    /// Adds vector number `i` of the row; lanes beyond its end must be +0.
    #[inline(always)]
    pub fn add(&mut self, i: usize, terms: V) {
        let lane = &mut self.0[i % Self::VECTORS];
        *lane = *lane + terms;
    }

    /// Adds the products of vectors number `i`, rounded once; those beyond the row's end must be +0.
    #[inline(always)]
    pub fn mul_add(&mut self, i: usize, a: V, b: V) {
        let lane = &mut self.0[i % Self::VECTORS];
        *lane = a.mul_add(b, *lane);
    }

    #[inline(always)]
    pub fn total(self) -> V::Element {
        let mut lanes = [V::Element::ZERO; MOST_LANES];
        for i in 0..Self::VECTORS {
            self.0[i].store_slice(&mut lanes[i * V::LANES..]);
        }
        halve(&mut lanes[..V::Element::ROW_LANES])
    }
}

/// The sum of lanes, a power of two of them, joined by halving.
#[inline(always)]
pub fn halve<T: Element>(lanes: &mut [T]) -> T {
    let mut half = lanes.len() / 2;
    while half > 0 {
        for l in 0..half {
            lanes[l] = lanes[l] + lanes[l + half];
        }
        half /= 2;
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{Arithmetic, Isa, Kernel, Simd};

    /// Sums and sums of squares of one row by both ways.
    struct Both<'a, T>(&'a [T]);

    impl<T: Element> Kernel for Both<'_, T> {
        type Output = [T; 4];
        #[inline(always)]
        fn run<S: Simd>(self, simd: S) -> [T; 4] {
            let lanes = T::Vector::<S>::LANES;
            let mut along = [RowSum::<T::Vector<S>>::new(simd); 2];
            for (i, part) in self.0.chunks(lanes).enumerate() {
                let x = T::Vector::<S>::load_tail(simd, part);
                along[0].add(i, x);
                along[1].mul_add(i, x, x);
            }
            let mut across = [PanelSum::<T::Vector<S>>::new(simd); 2];
            for (j, &x) in self.0.iter().enumerate() {
                let x = T::Vector::<S>::splat(simd, x);
                across[0].add(j, x);
                across[1].mul_add(j, x, x);
            }
            [
                along[0].total(),
                along[1].total(),
                first(across[0].total(self.0.len())),
                first(across[1].total(self.0.len())),
            ]
        }
    }

    #[inline(always)]
    fn first<V: Vector>(sum: V) -> V::Element {
        let mut out = [V::Element::ZERO; PANEL];
        store(sum, &mut out, 0);
        out[0]
    }

    /// The order of the sum, element by element.
    fn reference<T: Element>(row: &[T], term: impl Fn(T, T) -> T) -> T {
        let mut lanes = vec![T::ZERO; T::ROW_LANES];
        for (j, &x) in row.iter().enumerate() {
            lanes[j % T::ROW_LANES] = term(x, lanes[j % T::ROW_LANES]);
        }
        while lanes.len() > 1 {
            let upper = lanes.split_off(lanes.len() / 2);
            for (lane, upper) in lanes.iter_mut().zip(upper) {
                *lane = *lane + upper;
            }
        }
        lanes[0]
    }

    fn check<T: Element>(square: impl Fn(T, T) -> T + Copy) {
        for n in [0, 1, 2, 3, 7, 8, 9, 10, 15, 16, 17, 31, 33, 64, 100, 257] {
            let row: Vec<T> = (0..n)
                .map(|j| T::from_f64((f64::from(j) * 0.7).sin() * 10f64.powi(j % 5)))
                .collect();
            let (sum, squares) = (reference(&row, |x, sum| sum + x), reference(&row, square));
            for isa in Isa::tested() {
                let got = isa.run(Both(&row)).map(T::to_bits);
                let want = [sum, squares, sum, squares].map(T::to_bits);
                assert!(got == want, "{n} on {isa:?}");
            }
        }
    }

    #[test]
    fn both_sums_keep_the_order_of_the_lanes() {
        check::<f32>(|x, sum| x.mul_add(x, sum));
        check::<f64>(|x, sum| x.mul_add(x, sum));
    }

    #[test]
    fn the_sum_of_minus_zero_is_plus_zero() {
        for isa in Isa::tested() {
            for n in [1, 3, 17] {
                let got = isa.run(Both(&vec![-0.0f32; n]));
                assert_eq!(got.map(f32::to_bits), [0; 4]);
            }
        }
    }
}
