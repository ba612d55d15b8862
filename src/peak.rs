//! What this machine can do at most, measured: the floors that benchmarks are held against.

use crate::buffer::Aligned;
use crate::simd::{Arithmetic, Element, Isa, Kernel, Simd, Vector};
use std::hint::black_box;
use std::marker::PhantomData;
use std::time::Instant;

/// Chains side by side: enough to hide a multiply-add's latency, few enough for 16 registers.
const CHAINS: usize = 10;

/// Calls `round` until `seconds` have passed; the median of its work per second.
fn median_rate(seconds: f64, mut round: impl FnMut() -> f64) -> f64 {
    let mut rates = Vec::new();
    let start = Instant::now();
    while rates.len() < 5 || start.elapsed().as_secs_f64() < seconds {
        let before = Instant::now();
        let work = round();
        rates.push(work / before.elapsed().as_secs_f64());
    }
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

struct MultiplyAdds<T>(usize, PhantomData<T>);

impl<T: Element> Kernel for MultiplyAdds<T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let splat = |value: f64| T::Vector::<S>::splat(simd, T::from_f64(black_box(value)));
        let (factor, addend) = (splat(0.999), splat(0.001));
        let mut sums = [splat(1.0); CHAINS];
        for _ in 0..self.0 {
            for sum in &mut sums {
                *sum = sum.mul_add(factor, addend);
            }
        }
        let mut out = [T::ZERO; 16];
        for sum in sums {
            sum.store_slice(&mut out);
            black_box(&out);
        }
    }
}

struct Lanes<T>(PhantomData<T>);

impl<T: Element> Kernel for Lanes<T> {
    type Output = usize;
    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> usize {
        T::Vector::<S>::LANES
    }
}

/// Floating-point operations a second of one core: independent fused multiply-adds in registers.
pub fn fma_peak<T: Element>(isa: Isa, seconds: f64) -> f64 {
    const ROUNDS: usize = 100_000;
    let lanes = isa.run(Lanes::<T>(PhantomData));
    median_rate(seconds, || {
        isa.run(MultiplyAdds::<T>(ROUNDS, PhantomData));
        (2 * ROUNDS * CHAINS * lanes) as f64
    })
}

struct Read<'a>(&'a [f32]);

impl Kernel for Read<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let lanes = S::F32::LANES;
        let mut sums = [S::F32::zero(simd); 8];
        for block in self.0.chunks_exact(8 * lanes) {
            for (sum, part) in sums.iter_mut().zip(block.chunks_exact(lanes)) {
                *sum = *sum + S::F32::load_slice(simd, part);
            }
        }
        let mut out = [0.0; 16];
        for sum in sums {
            sum.store_slice(&mut out);
            black_box(&out);
        }
    }
}

/// Bytes a second that one core reads, again and again, from a buffer of so many bytes.
pub fn read_bandwidth(isa: Isa, bytes: usize, seconds: f64) -> f64 {
    // Whole blocks of eight of the widest vectors.
    let buffer = Aligned::<f32>::zeros((bytes / size_of::<f32>()).next_multiple_of(128).max(128));
    let rounds = ((1 << 20) / size_of_val(&*buffer)).max(1);
    isa.run(Read(&buffer));
    median_rate(seconds, || {
        for _ in 0..rounds {
            isa.run(Read(black_box(&buffer)));
        }
        (rounds * size_of_val(&*buffer)) as f64
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_those_of_a_machine() {
        for isa in Isa::available() {
            for peak in [fma_peak::<f32>(isa, 0.0), fma_peak::<f64>(isa, 0.0)] {
                assert!(peak > 1e7 && peak < 1e13, "{isa:?} {peak}");
            }
            let bandwidth = read_bandwidth(isa, 1 << 16, 0.0);
            assert!(bandwidth > 1e7 && bandwidth < 1e13, "{isa:?} {bandwidth}");
        }
    }
}
