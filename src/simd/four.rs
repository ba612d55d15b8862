//! Four vectors that act as one.
//!
//! A long function of one vector is a chain: each instruction waits for the one before it. What is done with four side by
//! side has four chains, and their instructions stand one beside the other from the start, where a processor that looks only so
//! far ahead finds them.

use super::{Arithmetic, Vector};
use std::ops::{Add, BitAnd, BitOr, Div, Mul, Neg, Not, Sub};

/// How many they are.
pub const FOUR: usize = 4;

/// Vectors, or outcomes of their comparisons.
#[derive(Clone, Copy)]
pub struct Four<T>([T; FOUR]);

/// The same of each, written out: a loop may stay one, and keep the vectors in memory.
macro_rules! each {
    ($i:ident => $value:expr) => {
        Four([
            {
                const $i: usize = 0;
                $value
            },
            {
                const $i: usize = 1;
                $value
            },
            {
                const $i: usize = 2;
                $value
            },
            {
                const $i: usize = 3;
                $value
            },
        ])
    };
}

macro_rules! operator {
    ($trait:ident, $method:ident) => {
        impl<T: $trait<Output = T> + Copy> $trait for Four<T> {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                each!(I => self.0[I].$method(other.0[I]))
            }
        }
    };
    (unary $trait:ident, $method:ident) => {
        impl<T: $trait<Output = T> + Copy> $trait for Four<T> {
            type Output = Self;
            #[inline(always)]
            fn $method(self) -> Self {
                each!(I => self.0[I].$method())
            }
        }
    };
}
operator!(Add, add);
operator!(Sub, sub);
operator!(Mul, mul);
operator!(Div, div);
operator!(BitAnd, bitand);
operator!(BitOr, bitor);
operator!(unary Neg, neg);
operator!(unary Not, not);

/// Methods of the vectors alone.
macro_rules! methods {
    ($($method:ident($($other:ident),*) -> $output:ty;)*) => {$(
        #[inline(always)]
        fn $method(self $(, $other: Self)*) -> $output {
            each!(I => self.0[I].$method($($other.0[I]),*))
        }
    )*};
}

impl<V: Vector> Arithmetic for Four<V> {
    type Element = V::Element;
    type Simd = V::Simd;
    type Mask = Four<V::Mask>;

    #[inline(always)]
    fn splat(simd: Self::Simd, value: Self::Element) -> Self {
        Four([V::splat(simd, value); FOUR])
    }
    #[inline(always)]
    fn in_order(self) -> Self {
        Four(V::four_in_order(self.0))
    }
    methods! {
        mul_add(factor, addend) -> Self;
        sqrt() -> Self;
        abs() -> Self;
        lt(other) -> Self::Mask;
        le(other) -> Self::Mask;
        eq(other) -> Self::Mask;
        zero_where_below(size, floor) -> Self;
        lesser(other) -> Self;
        greater(other) -> Self;
        bit_and(other) -> Self;
        bit_or(other) -> Self;
        bit_xor(other) -> Self;
        bit_add(other) -> Self;
        bit_sub(other) -> Self;
        bit_mul_low(other) -> Self;
    }
    #[inline(always)]
    fn select(mask: Self::Mask, if_true: Self, if_false: Self) -> Self {
        each!(I => V::select(mask.0[I], if_true.0[I], if_false.0[I]))
    }
    #[inline(always)]
    fn bit_shl<const N: u32>(self) -> Self {
        each!(I => self.0[I].bit_shl::<N>())
    }
    #[inline(always)]
    fn bit_shr<const N: u32>(self) -> Self {
        each!(I => self.0[I].bit_shr::<N>())
    }
}

impl<V: Vector> Four<V> {
    /// # Safety
    /// Four times `V::LANES` elements may be read at `source`; no alignment is needed.
    #[inline(always)]
    pub unsafe fn load(simd: V::Simd, source: *const V::Element) -> Self {
        // SAFETY: the caller's.
        each!(I => unsafe { V::load(simd, source.add(I * V::LANES)) })
    }
    /// # Safety
    /// Four times `V::LANES` elements may be written at `target`; no alignment is needed.
    #[inline(always)]
    pub unsafe fn store(self, target: *mut V::Element) {
        for (i, vector) in self.0.into_iter().enumerate() {
            // SAFETY: the caller's.
            unsafe { vector.store(target.add(i * V::LANES)) };
        }
    }
}
