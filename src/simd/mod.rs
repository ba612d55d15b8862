//! Vectors of one instruction set.
//!
//! A kernel is written once, over [`Vector`], and compiled once for every [`Simd`]; a function of numbers over
//! [`Arithmetic`], so that it takes several vectors at a time as well. A value of a type that
//! implements `Simd` exists only on a machine that has the instruction set, so holding one proves that its
//! instructions may be executed; that is what makes the methods of `Vector` safe.
//!
//! Every operation is an IEEE one with the same result on every instruction set: add, subtract, multiply,
//! divide, square root, fused multiply-add, compare, and operations on bits. There is no estimate among them, and
//! minimum and maximum are a comparison and a choice, because the instruction sets disagree on those.

#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod control;
mod four;
mod isa;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
mod rows;
#[cfg(test)]
mod tests;

use std::fmt::{Debug, Display};
use std::ops::{Add, BitAnd, BitOr, Div, Mul, Neg, Not, Sub};

use crate::buffer::Plain;
pub use control::FloatControl;
pub use four::{FOUR, Four};
pub use isa::Isa;
pub use rows::{Opaque, Rows};

/// An instruction set that this machine has.
pub trait Simd: Copy + Send + Sync + 'static {
    /// The vector of float32.
    type F32: Vector<Element = f32, Simd = Self>;
    /// The vector of float64.
    type F64: Vector<Element = f64, Simd = Self>;
    /// Rows of a micro-kernel's tile: as many as the accumulators' registers allow beside [`Simd::TILE_VECTORS`].
    const TILE_ROWS: usize;
    /// Vectors side by side in a micro-kernel's tile.
    const TILE_VECTORS: usize;
    /// Whether there are tiles with Adam's update beside them, in this instruction set's own instructions.
    const ADAM_TILES: bool = false;

    /// Runs a kernel in a function compiled for this instruction set.
    fn run<K: Kernel>(self, kernel: K) -> K::Output;

    /// As [`Simd::run`], in a function that is never inlined.
    fn call<K: Kernel>(self, kernel: K) -> K::Output;
}

/// A computation to be compiled for every instruction set.
///
/// `run` and all that it calls down to the intrinsics must be `#[inline(always)]`: only then does the code land in
/// the function that has the instruction set's features.
pub trait Kernel {
    type Output;
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// float32 or float64.
pub trait Element:
    Plain
    + Send
    + Sync
    + Debug
    + Display
    + Default
    + PartialEq
    + PartialOrd
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + 'static
{
    /// The vector of this element on an instruction set.
    type Vector<S: Simd>: Vector<Element = Self, Simd = S>;
    /// The bit pattern, as an unsigned integer.
    type Bits: Copy + Debug + Eq;

    const ZERO: Self;
    const ONE: Self;
    /// The smallest number that is not subnormal.
    const MIN_POSITIVE: Self;
    /// NumPy's name of the type.
    const NAME: &'static str;
    /// Virtual lanes of a sum along a row: the order of the sum, whatever the registers' width.
    const ROW_LANES: usize;

    fn from_f64(value: f64) -> Self;
    fn to_f64(self) -> f64;
    fn to_bits(self) -> Self::Bits;
    fn from_bits(bits: Self::Bits) -> Self;
    fn is_finite(self) -> bool;
}

macro_rules! element {
    ($t:ident, $bits:ident, $vector:ident, $name:literal, $row_lanes:literal) => {
        impl Element for $t {
            type Vector<S: Simd> = S::$vector;
            type Bits = $bits;
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const MIN_POSITIVE: Self = <$t>::MIN_POSITIVE;
            const NAME: &'static str = $name;
            const ROW_LANES: usize = $row_lanes;
            #[inline(always)]
            fn from_f64(value: f64) -> Self {
                value as $t
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                self as f64
            }
            #[inline(always)]
            fn to_bits(self) -> $bits {
                self.to_bits()
            }
            #[inline(always)]
            fn from_bits(bits: $bits) -> Self {
                <$t>::from_bits(bits)
            }
            #[inline(always)]
            fn is_finite(self) -> bool {
                self.is_finite()
            }
        }
    };
}
element!(f32, u32, F32, "float32", 16);
element!(f64, u64, F64, "float64", 8);

/// The outcome of a comparison, lane by lane.
pub trait Outcome:
    Copy + BitAnd<Output = Self> + BitOr<Output = Self> + Not<Output = Self>
{
}
impl<M: Copy + BitAnd<Output = Self> + BitOr<Output = Self> + Not<Output = Self>> Outcome for M {}

/// The outcome of a comparison of vectors.
pub trait Mask: Outcome {
    /// Lane i as bit i.
    fn to_bits(self) -> u32;
    #[inline(always)]
    fn any(self) -> bool {
        self.to_bits() != 0
    }
}

/// The most lanes of any vector.
pub const MOST_LANES: usize = 16;

/// The most columns that any vector turns at a time.
pub const MOST_TURNED: usize = 8;

/// How far ahead [`Vector::prefetch_ahead`] asks, in bytes. The hardware's own asking ends with a page, and the
/// arithmetic of a loop's next turns fills what the machine looks ahead.
const AHEAD: usize = 2048;

/// Asks for the cache line of an address that need not be valid, as far as the second level: for what is used later.
#[inline(always)]
pub fn prefetch_far(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch of any address is harmless.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T1 }>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// Numbers side by side, with which the same is done: a vector, or [`Four`].
pub trait Arithmetic:
    Copy
    + Send
    + Sync
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + 'static
{
    type Element: Element;
    type Simd: Simd;
    type Mask: Outcome;

    fn splat(simd: Self::Simd, value: Self::Element) -> Self;
    fn splat_bits(simd: Self::Simd, bits: <Self::Element as Element>::Bits) -> Self {
        Self::splat(simd, Self::Element::from_bits(bits))
    }
    fn zero(simd: Self::Simd) -> Self {
        Self::splat(simd, Self::Element::ZERO)
    }

    /// Itself. The compiler leaves these in the order of the source, where that can be had: of chains that take their steps in
    /// turn, the processor finds several at a time.
    #[inline(always)]
    fn in_order(self) -> Self {
        self
    }

    /// self · factor + addend, rounded once.
    fn mul_add(self, factor: Self, addend: Self) -> Self;
    fn sqrt(self) -> Self;
    fn abs(self) -> Self;

    /// self < other; false where either is NaN.
    fn lt(self, other: Self) -> Self::Mask;
    /// self ≤ other; false where either is NaN.
    fn le(self, other: Self) -> Self::Mask;
    /// self = other; false where either is NaN.
    fn eq(self, other: Self) -> Self::Mask;
    #[inline(always)]
    fn gt(self, other: Self) -> Self::Mask {
        other.lt(self)
    }
    #[inline(always)]
    fn ge(self, other: Self) -> Self::Mask {
        other.le(self)
    }
    #[inline(always)]
    fn is_nan(self) -> Self::Mask {
        !self.eq(self)
    }
    fn select(mask: Self::Mask, if_true: Self, if_false: Self) -> Self;
    /// Zero in the lanes where `size` is below `floor`; NaN is not below.
    #[inline(always)]
    fn zero_where_below(self, size: Self, floor: Self) -> Self {
        Self::select(size.lt(floor), self.bit_xor(self), self)
    }
    /// self < other ? self : other; hence `other` where either is NaN or both are zero.
    #[inline(always)]
    fn lesser(self, other: Self) -> Self {
        Self::select(self.lt(other), self, other)
    }
    /// self > other ? self : other; hence `other` where either is NaN or both are zero.
    #[inline(always)]
    fn greater(self, other: Self) -> Self {
        Self::select(self.gt(other), self, other)
    }

    fn bit_and(self, other: Self) -> Self;
    fn bit_or(self, other: Self) -> Self;
    fn bit_xor(self, other: Self) -> Self;
    /// The bit patterns added as integers, wrapping.
    fn bit_add(self, other: Self) -> Self;
    /// The bit patterns subtracted as integers, wrapping.
    fn bit_sub(self, other: Self) -> Self;
    /// The lower halves of the bit patterns multiplied as integers: the whole product.
    fn bit_mul_low(self, other: Self) -> Self;
    fn bit_shl<const N: u32>(self) -> Self;
    /// Shifts zeros in.
    fn bit_shr<const N: u32>(self) -> Self;
}

/// `LANES` elements in a register (or, in the portable form, an array).
pub trait Vector: Arithmetic<Mask: Mask> {
    const LANES: usize;

    /// [`Arithmetic::in_order`] of [`Four`].
    #[inline(always)]
    fn four_in_order(four: [Self; FOUR]) -> [Self; FOUR] {
        four
    }

    /// # Safety
    /// `LANES` elements may be read at `source`; no alignment is needed.
    unsafe fn load(simd: Self::Simd, source: *const Self::Element) -> Self;
    /// # Safety
    /// `LANES` elements may be written at `target`; no alignment is needed.
    unsafe fn store(self, target: *mut Self::Element);
    /// The first `count` ≤ `LANES` elements; the others are zero.
    ///
    /// # Safety
    /// `count` elements may be read at `source`.
    unsafe fn load_partial(simd: Self::Simd, source: *const Self::Element, count: usize) -> Self;
    /// Stores the first `count` ≤ `LANES` elements.
    ///
    /// # Safety
    /// `count` elements may be written at `target`.
    unsafe fn store_partial(self, target: *mut Self::Element, count: usize);

    /// The first `LANES` elements of a slice.
    ///
    /// # Panics
    /// If the slice is shorter.
    #[inline(always)]
    fn load_slice(simd: Self::Simd, source: &[Self::Element]) -> Self {
        assert!(source.len() >= Self::LANES);
        // SAFETY: the slice holds LANES elements.
        unsafe { Self::load(simd, source.as_ptr()) }
    }
    /// # Panics
    /// If the slice is shorter than `LANES`.
    #[inline(always)]
    fn store_slice(self, target: &mut [Self::Element]) {
        assert!(target.len() >= Self::LANES);
        // SAFETY: the slice holds LANES elements.
        unsafe { self.store(target.as_mut_ptr()) }
    }
    /// All of a slice of at most `LANES` elements; the other lanes are zero.
    ///
    /// # Panics
    /// If the slice is longer.
    #[inline(always)]
    fn load_tail(simd: Self::Simd, source: &[Self::Element]) -> Self {
        assert!(source.len() <= Self::LANES);
        // SAFETY: the slice holds that many elements.
        unsafe { Self::load_partial(simd, source.as_ptr(), source.len()) }
    }
    /// # Panics
    /// If the slice is longer than `LANES`.
    #[inline(always)]
    fn store_tail(self, target: &mut [Self::Element]) {
        assert!(target.len() <= Self::LANES);
        // SAFETY: the slice holds that many elements.
        unsafe { self.store_partial(target.as_mut_ptr(), target.len()) }
    }
    /// Lane i is bit i.
    fn mask_from_bits(simd: Self::Simd, bits: u32) -> Self::Mask;

    /// Columns that [`Vector::columns`] turns at a time; divides `LANES`.
    const TURNED: usize = 2;

    /// Columns `TURNED * part` and on of a `LANES` × `LANES` block; as many as [`Vector::TURNED`] of those returned.
    ///
    /// # Safety
    /// `LANES` rows of `LANES` elements may be read.
    #[inline(always)]
    unsafe fn columns(
        simd: Self::Simd,
        rows: Rows<Self::Element>,
        part: usize,
    ) -> [Self; MOST_TURNED] {
        let mut columns = [Self::zero(simd); MOST_TURNED];
        for (c, column) in columns[..Self::TURNED].iter_mut().enumerate() {
            let mut lanes = [Self::Element::ZERO; MOST_LANES];
            for (r, lane) in lanes[..Self::LANES].iter_mut().enumerate() {
                // SAFETY: the caller's.
                *lane = unsafe { *rows.row(r).add(Self::TURNED * part + c) };
            }
            *column = Self::load_slice(simd, &lanes);
        }
        columns
    }

    /// Writes the transpose of a `LANES` × `LANES` block.
    ///
    /// # Safety
    /// `LANES` rows of `LANES` elements, `source_stride` and `target_stride` elements apart, may be read and written.
    #[inline(always)]
    unsafe fn transpose(
        simd: Self::Simd,
        source: *const Self::Element,
        source_stride: usize,
        target: *mut Self::Element,
        target_stride: usize,
    ) {
        let rows = Rows::new(source, source_stride);
        for part in 0..Self::LANES / Self::TURNED {
            // SAFETY: the caller's.
            unsafe {
                let columns = Self::columns(simd, rows, part);
                for (c, column) in columns.into_iter().take(Self::TURNED).enumerate() {
                    let column_start = target.add((part * Self::TURNED + c) * target_stride);
                    column.store(column_start);
                }
            }
        }
    }

    /// Asks for the cache line [`AHEAD`] bytes behind an address, in a loop that passes over much memory.
    #[inline(always)]
    fn prefetch_ahead(address: *const Self::Element) {
        Self::prefetch(address.wrapping_byte_add(AHEAD));
    }

    /// Asks for the cache line of an address that need not be valid.
    #[inline(always)]
    fn prefetch(address: *const Self::Element) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a prefetch of any address is harmless.
        unsafe {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address.cast());
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = address;
    }
}
