//! NEON: 4 lanes of float32, 2 of float64. Written, not yet run: no machine has shown it so far.

// Whether calling an intrinsic of the baseline is unsafe depends on the compiler's version.
#![allow(unused_unsafe)]

use super::{Arithmetic, Kernel, Mask, Simd, Vector};
use std::arch::aarch64::*;
use std::ops::{Add, BitAnd, BitOr, Div, Mul, Neg, Not, Sub};

/// Proof of NEON, which every AArch64 processor has.
#[derive(Clone, Copy)]
pub struct Neon(());

impl Neon {
    #[inline(always)]
    pub fn new() -> Self {
        Self(())
    }
}

impl Simd for Neon {
    type F32 = F32x4;
    type F64 = F64x2;
    const TILE_ROWS: usize = 12;
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

macro_rules! operator {
    ($type:ident, $trait:ident, $method:ident, $intrinsic:ident) => {
        impl $trait for $type {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                // SAFETY: every AArch64 processor has NEON.
                Self(unsafe { $intrinsic(self.0, other.0) })
            }
        }
    };
}

macro_rules! vector {
    (
        $vector:ident, $raw:ty, $mask:ident, $mask_raw:ty, $t:ty, $bits:ty, $lanes:literal,
        $dup:ident, $load:ident, $store:ident, $fma:ident, $sqrt:ident, $abs:ident, $neg:ident,
        $add:ident, $sub:ident, $mul:ident, $div:ident, $lt:ident, $le:ident, $eq:ident, $select:ident,
        $to_bits:ident, $from_bits:ident, $and:ident, $or:ident, $xor:ident, $int_add:ident, $int_sub:ident,
        $int_dup:ident, $int_load:ident, $int_store:ident, $int_eq:ident, $shift:ident, $shift_dup:ident, $not:expr,
        $mul_low:expr
    ) => {
        #[derive(Clone, Copy)]
        pub struct $vector($raw);
        #[derive(Clone, Copy)]
        pub struct $mask($mask_raw);

        operator!($vector, Add, add, $add);
        operator!($vector, Sub, sub, $sub);
        operator!($vector, Mul, mul, $mul);
        operator!($vector, Div, div, $div);
        operator!($mask, BitAnd, bitand, $and);
        operator!($mask, BitOr, bitor, $or);

        impl Neg for $vector {
            type Output = Self;
            #[inline(always)]
            fn neg(self) -> Self {
                // SAFETY: every AArch64 processor has NEON; so below.
                Self(unsafe { $neg(self.0) })
            }
        }
        impl Not for $mask {
            type Output = Self;
            #[inline(always)]
            fn not(self) -> Self {
                // SAFETY: as above.
                Self(unsafe { $not(self.0) })
            }
        }
        impl Mask for $mask {
            #[inline(always)]
            fn to_bits(self) -> u32 {
                let mut lanes: [$bits; $lanes] = [0; $lanes];
                // SAFETY: as above; the array holds the vector.
                unsafe { $int_store(lanes.as_mut_ptr(), self.0) };
                lanes
                    .iter()
                    .enumerate()
                    .fold(0, |bits, (i, lane)| bits | ((*lane & 1) as u32) << i)
            }
        }

        impl Arithmetic for $vector {
            type Element = $t;
            type Simd = Neon;
            type Mask = $mask;

            #[inline(always)]
            fn splat(_: Neon, value: $t) -> Self {
                // SAFETY: as above.
                Self(unsafe { $dup(value) })
            }
            #[inline(always)]
            fn mul_add(self, factor: Self, addend: Self) -> Self {
                // SAFETY: as above.
                Self(unsafe { $fma(addend.0, self.0, factor.0) })
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                // SAFETY: as above.
                Self(unsafe { $sqrt(self.0) })
            }
            #[inline(always)]
            fn abs(self) -> Self {
                // SAFETY: as above.
                Self(unsafe { $abs(self.0) })
            }
            #[inline(always)]
            fn lt(self, other: Self) -> $mask {
                // SAFETY: as above.
                $mask(unsafe { $lt(self.0, other.0) })
            }
            #[inline(always)]
            fn le(self, other: Self) -> $mask {
                // SAFETY: as above.
                $mask(unsafe { $le(self.0, other.0) })
            }
            #[inline(always)]
            fn eq(self, other: Self) -> $mask {
                // SAFETY: as above.
                $mask(unsafe { $eq(self.0, other.0) })
            }
            #[inline(always)]
            fn select(mask: $mask, if_true: Self, if_false: Self) -> Self {
                // SAFETY: as above.
                Self(unsafe { $select(mask.0, if_true.0, if_false.0) })
            }
            #[inline(always)]
            fn bit_and(self, other: Self) -> Self {
                // SAFETY: as above.
                Self(unsafe { $from_bits($and($to_bits(self.0), $to_bits(other.0))) })
            }
            #[inline(always)]
            fn bit_or(self, other: Self) -> Self {
                // SAFETY: as above.
                Self(unsafe { $from_bits($or($to_bits(self.0), $to_bits(other.0))) })
            }
            #[inline(always)]
            fn bit_xor(self, other: Self) -> Self {
                // SAFETY: as above.
                Self(unsafe { $from_bits($xor($to_bits(self.0), $to_bits(other.0))) })
            }
            #[inline(always)]
            fn bit_add(self, other: Self) -> Self {
                // SAFETY: as above.
                Self(unsafe { $from_bits($int_add($to_bits(self.0), $to_bits(other.0))) })
            }
            #[inline(always)]
            fn bit_sub(self, other: Self) -> Self {
                // SAFETY: as above.
                Self(unsafe { $from_bits($int_sub($to_bits(self.0), $to_bits(other.0))) })
            }
            #[inline(always)]
            fn bit_mul_low(self, other: Self) -> Self {
                // SAFETY: as above.
                Self(unsafe { $from_bits($mul_low($to_bits(self.0), $to_bits(other.0))) })
            }
            #[inline(always)]
            fn bit_shl<const N: u32>(self) -> Self {
                // SAFETY: as above.
                Self(unsafe { $from_bits($shift($to_bits(self.0), $shift_dup(N.into()))) })
            }
            #[inline(always)]
            fn bit_shr<const N: u32>(self) -> Self {
                // SAFETY: as above; a negative count shifts to the right.
                Self(unsafe { $from_bits($shift($to_bits(self.0), $shift_dup(-(N as i32) as _))) })
            }
        }

        impl Vector for $vector {
            const LANES: usize = $lanes;

            #[inline(always)]
            unsafe fn load(_: Neon, source: *const $t) -> Self {
                // SAFETY: the caller vouches for the memory.
                Self(unsafe { $load(source) })
            }
            #[inline(always)]
            unsafe fn store(self, target: *mut $t) {
                // SAFETY: the caller vouches for the memory.
                unsafe { $store(target, self.0) }
            }
            #[inline(always)]
            unsafe fn load_partial(simd: Neon, source: *const $t, count: usize) -> Self {
                let mut lanes: [$t; $lanes] = [0.0; $lanes];
                for (i, lane) in lanes.iter_mut().enumerate().take(count) {
                    // SAFETY: the caller vouches for `count` elements.
                    *lane = unsafe { *source.add(i) };
                }
                Self::load_slice(simd, &lanes)
            }
            #[inline(always)]
            unsafe fn store_partial(self, target: *mut $t, count: usize) {
                let mut lanes: [$t; $lanes] = [0.0; $lanes];
                self.store_slice(&mut lanes);
                for (i, lane) in lanes.iter().enumerate().take(count) {
                    // SAFETY: the caller vouches for `count` elements.
                    unsafe { *target.add(i) = *lane };
                }
            }
            #[inline(always)]
            fn mask_from_bits(_: Neon, bits: u32) -> $mask {
                let mut positions: [$bits; $lanes] = [0; $lanes];
                for (i, position) in positions.iter_mut().enumerate() {
                    *position = 1 << i;
                }
                // SAFETY: as above; the array holds a vector.
                unsafe {
                    let positions = $int_load(positions.as_ptr());
                    $mask($int_eq($and($int_dup(bits.into()), positions), positions))
                }
            }
        }
    };
}

vector!(
    F32x4,
    float32x4_t,
    Mask32x4,
    uint32x4_t,
    f32,
    u32,
    4,
    vdupq_n_f32,
    vld1q_f32,
    vst1q_f32,
    vfmaq_f32,
    vsqrtq_f32,
    vabsq_f32,
    vnegq_f32,
    vaddq_f32,
    vsubq_f32,
    vmulq_f32,
    vdivq_f32,
    vcltq_f32,
    vcleq_f32,
    vceqq_f32,
    vbslq_f32,
    vreinterpretq_u32_f32,
    vreinterpretq_f32_u32,
    vandq_u32,
    vorrq_u32,
    veorq_u32,
    vaddq_u32,
    vsubq_u32,
    vdupq_n_u32,
    vld1q_u32,
    vst1q_u32,
    vceqq_u32,
    vshlq_u32,
    vdupq_n_s32,
    vmvnq_u32,
    |a, b| vmulq_u32(
        vandq_u32(a, vdupq_n_u32(0xffff)),
        vandq_u32(b, vdupq_n_u32(0xffff))
    )
);

vector!(
    F64x2,
    float64x2_t,
    Mask64x2,
    uint64x2_t,
    f64,
    u64,
    2,
    vdupq_n_f64,
    vld1q_f64,
    vst1q_f64,
    vfmaq_f64,
    vsqrtq_f64,
    vabsq_f64,
    vnegq_f64,
    vaddq_f64,
    vsubq_f64,
    vmulq_f64,
    vdivq_f64,
    vcltq_f64,
    vcleq_f64,
    vceqq_f64,
    vbslq_f64,
    vreinterpretq_u64_f64,
    vreinterpretq_f64_u64,
    vandq_u64,
    vorrq_u64,
    veorq_u64,
    vaddq_u64,
    vsubq_u64,
    vdupq_n_u64,
    vld1q_u64,
    vst1q_u64,
    vceqq_u64,
    vshlq_u64,
    vdupq_n_s64,
    |mask| vreinterpretq_u64_u32(vmvnq_u32(vreinterpretq_u32_u64(mask))),
    |a, b| vmull_u32(vmovn_u64(a), vmovn_u64(b))
);
