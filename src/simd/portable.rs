//! The portable form: arrays, plain loops, and a fused multiply-add that needs no such instruction.

use super::{Arithmetic, Element, Kernel, Mask, Simd, Vector};
use std::ops::{Add, BitAnd, BitOr, Div, Mul, Neg, Not, Sub};

/// An array from its index, by a loop: closures might not be inlined.
macro_rules! each {
    ($i:ident => $value:expr) => {{
        let mut lanes = [Default::default(); _];
        let mut $i = 0;
        while $i < lanes.len() {
            lanes[$i] = $value;
            $i += 1;
        }
        lanes
    }};
}

/// The portable instruction set with `N` lanes of float32 and `M` = N/2 of float64.
#[derive(Clone, Copy)]
pub struct Portable<const N: usize, const M: usize>;

/// The portable instruction set that programs use.
pub type AnyPortable = Portable<4, 2>;

impl<const N: usize, const M: usize> Simd for Portable<N, M> {
    type F32 = Lanes<f32, N, N, M>;
    type F64 = Lanes<f64, M, N, M>;
    const TILE_ROWS: usize = 4;
    const TILE_VECTORS: usize = 2;

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) -> K::Output {
        kernel.run(self)
    }

    #[inline(never)]
    fn call<K: Kernel>(self, kernel: K) -> K::Output {
        kernel.run(self)
    }
}

/// `L` lanes of `T` on `Portable<N, M>`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lanes<T, const L: usize, const N: usize, const M: usize>([T; L]);

#[derive(Clone, Copy)]
pub struct LaneMask<const L: usize>([bool; L]);

impl<const L: usize> BitAnd for LaneMask<L> {
    type Output = Self;
    #[inline(always)]
    fn bitand(self, other: Self) -> Self {
        Self(each!(i => self.0[i] & other.0[i]))
    }
}
impl<const L: usize> BitOr for LaneMask<L> {
    type Output = Self;
    #[inline(always)]
    fn bitor(self, other: Self) -> Self {
        Self(each!(i => self.0[i] | other.0[i]))
    }
}
impl<const L: usize> Not for LaneMask<L> {
    type Output = Self;
    #[inline(always)]
    fn not(self) -> Self {
        Self(each!(i => !self.0[i]))
    }
}
impl<const L: usize> Mask for LaneMask<L> {
    #[inline(always)]
    fn to_bits(self) -> u32 {
        (0..L).fold(0, |bits, i| bits | u32::from(self.0[i]) << i)
    }
}

/// What the lanes' element must offer beside [`Element`].
trait Scalar: Element {
    fn fused(self, factor: Self, addend: Self) -> Self;
    fn root(self) -> Self;
    fn magnitude(self) -> Self;
    fn bits(self, other: Self, op: impl Fn(u64, u64) -> u64) -> Self;
}

impl Scalar for f32 {
    /// The product of two float32 is exact in float64. The sum is rounded there to odd (to the neighbour whose last
    /// bit is set, when it is not exact), so that rounding it to float32 rounds the exact sum: Boldo and Melquiond,
    /// "Emulation of FMA and correctly rounded sums", IEEE Transactions on Computers 57(4), 2008.
    #[inline(always)]
    fn fused(self, factor: Self, addend: Self) -> Self {
        let product = f64::from(self) * f64::from(factor);
        let addend = f64::from(addend);
        let sum = product + addend;
        let part = sum - product;
        let error = (product - (sum - part)) + (addend - part);
        let bits = sum.to_bits();
        // Not `error != 0.0`: a NaN stays as it is.
        #[allow(clippy::double_comparisons)]
        let inexact = u64::from(error > 0.0 || error < 0.0);
        let away = (error > 0.0) == (sum > 0.0);
        let even = inexact & !bits & 1;
        let odd = if away {
            bits.wrapping_add(even)
        } else {
            bits.wrapping_sub(even)
        };
        f64::from_bits(odd) as f32
    }
    #[inline(always)]
    fn root(self) -> Self {
        self.sqrt()
    }
    #[inline(always)]
    fn magnitude(self) -> Self {
        self.abs()
    }
    #[inline(always)]
    fn bits(self, other: Self, op: impl Fn(u64, u64) -> u64) -> Self {
        f32::from_bits(op(u64::from(self.to_bits()), u64::from(other.to_bits())) as u32)
    }
}

impl Scalar for f64 {
    #[inline(always)]
    fn fused(self, factor: Self, addend: Self) -> Self {
        self.mul_add(factor, addend)
    }
    #[inline(always)]
    fn root(self) -> Self {
        self.sqrt()
    }
    #[inline(always)]
    fn magnitude(self) -> Self {
        self.abs()
    }
    #[inline(always)]
    fn bits(self, other: Self, op: impl Fn(u64, u64) -> u64) -> Self {
        f64::from_bits(op(self.to_bits(), other.to_bits()))
    }
}

/// A function of its own: some fifty instructions that every kernel would else repeat wherever it multiplies and adds.
#[inline(never)]
fn fused<T: Scalar, const L: usize>(a: &[T; L], b: &[T; L], c: &[T; L]) -> [T; L] {
    each!(i => a[i].fused(b[i], c[i]))
}

macro_rules! lanes {
    ($t:ident, $lanes:ident, $n:ident, $m:ident) => {
        impl<const N: usize, const M: usize> Add for Lanes<$t, $lanes, N, M> {
            type Output = Self;
            #[inline(always)]
            fn add(self, other: Self) -> Self {
                Self(each!(i => self.0[i] + other.0[i]))
            }
        }
        impl<const N: usize, const M: usize> Sub for Lanes<$t, $lanes, N, M> {
            type Output = Self;
            #[inline(always)]
            fn sub(self, other: Self) -> Self {
                Self(each!(i => self.0[i] - other.0[i]))
            }
        }
        impl<const N: usize, const M: usize> Mul for Lanes<$t, $lanes, N, M> {
            type Output = Self;
            #[inline(always)]
            fn mul(self, other: Self) -> Self {
                Self(each!(i => self.0[i] * other.0[i]))
            }
        }
        impl<const N: usize, const M: usize> Div for Lanes<$t, $lanes, N, M> {
            type Output = Self;
            #[inline(always)]
            fn div(self, other: Self) -> Self {
                Self(each!(i => self.0[i] / other.0[i]))
            }
        }
        impl<const N: usize, const M: usize> Neg for Lanes<$t, $lanes, N, M> {
            type Output = Self;
            #[inline(always)]
            fn neg(self) -> Self {
                Self(each!(i => -self.0[i]))
            }
        }

        impl<const N: usize, const M: usize> Arithmetic for Lanes<$t, $lanes, N, M> {
            type Element = $t;
            type Simd = Portable<N, M>;
            type Mask = LaneMask<$lanes>;

            #[inline(always)]
            fn splat(_: Self::Simd, value: $t) -> Self {
                Self([value; $lanes])
            }
            #[inline(always)]
            fn mul_add(self, factor: Self, addend: Self) -> Self {
                Self(fused(&self.0, &factor.0, &addend.0))
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                Self(each!(i => self.0[i].root()))
            }
            #[inline(always)]
            fn abs(self) -> Self {
                Self(each!(i => self.0[i].magnitude()))
            }
            #[inline(always)]
            fn lt(self, other: Self) -> Self::Mask {
                LaneMask(each!(i => self.0[i] < other.0[i]))
            }
            #[inline(always)]
            fn le(self, other: Self) -> Self::Mask {
                LaneMask(each!(i => self.0[i] <= other.0[i]))
            }
            #[inline(always)]
            fn eq(self, other: Self) -> Self::Mask {
                LaneMask(each!(i => self.0[i] == other.0[i]))
            }
            #[inline(always)]
            fn select(mask: Self::Mask, if_true: Self, if_false: Self) -> Self {
                Self(each!(i => {
                    if mask.0[i] {
                        if_true.0[i]
                    } else {
                        if_false.0[i]
                    }
                }))
            }
            #[inline(always)]
            fn bit_and(self, other: Self) -> Self {
                Self(each!(i => self.0[i].bits(other.0[i], |a, b| a & b)))
            }
            #[inline(always)]
            fn bit_or(self, other: Self) -> Self {
                Self(each!(i => self.0[i].bits(other.0[i], |a, b| a | b)))
            }
            #[inline(always)]
            fn bit_xor(self, other: Self) -> Self {
                Self(each!(i => self.0[i].bits(other.0[i], |a, b| a ^ b)))
            }
            #[inline(always)]
            fn bit_add(self, other: Self) -> Self {
                Self(each!(i => self.0[i].bits(other.0[i], u64::wrapping_add)))
            }
            #[inline(always)]
            fn bit_sub(self, other: Self) -> Self {
                Self(each!(i => self.0[i].bits(other.0[i], u64::wrapping_sub)))
            }
            #[inline(always)]
            fn bit_mul_low(self, other: Self) -> Self {
                const LOW: u64 = (1 << (4 * size_of::<$t>())) - 1;
                Self(each!(i => {
                    self.0[i].bits(other.0[i], |a, b| (a & LOW) * (b & LOW))
                }))
            }
            #[inline(always)]
            fn bit_shl<const K: u32>(self) -> Self {
                Self(each!(i => self.0[i].bits(0.0, |a, _| a << K)))
            }
            #[inline(always)]
            fn bit_shr<const K: u32>(self) -> Self {
                Self(each!(i => self.0[i].bits(0.0, |a, _| a >> K)))
            }
        }

        impl<const N: usize, const M: usize> Vector for Lanes<$t, $lanes, N, M> {
            const LANES: usize = $lanes;

            #[inline(always)]
            unsafe fn load(_: Self::Simd, source: *const $t) -> Self {
                // SAFETY: the caller vouches for LANES elements; an array of them has their alignment.
                Self(unsafe { source.cast::<[$t; $lanes]>().read() })
            }
            #[inline(always)]
            unsafe fn store(self, target: *mut $t) {
                // SAFETY: the caller vouches for LANES elements; an array of them has their alignment.
                unsafe { target.cast::<[$t; $lanes]>().write(self.0) }
            }
            #[inline(always)]
            unsafe fn load_partial(_: Self::Simd, source: *const $t, count: usize) -> Self {
                Self(each!(i => {
                    if i < count {
                        // SAFETY: one of the first `count` elements, for which the caller vouches.
                        unsafe { source.add(i).read() }
                    } else {
                        0.0
                    }
                }))
            }
            #[inline(always)]
            unsafe fn store_partial(self, target: *mut $t, count: usize) {
                for i in 0..count.min($lanes) {
                    // SAFETY: the caller vouches for `count` elements.
                    unsafe { target.add(i).write(self.0[i]) }
                }
            }
            #[inline(always)]
            fn mask_from_bits(_: Self::Simd, bits: u32) -> Self::Mask {
                LaneMask(each!(i => bits >> i & 1 == 1))
            }
        }
    };
}
lanes!(f32, N, N, M);
lanes!(f64, M, N, M);
