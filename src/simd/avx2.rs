//! AVX2 with FMA: 8 lanes of float32, 4 of float64.

use super::{Arithmetic, Kernel, MOST_TURNED, Mask, Rows, Simd, Vector};
use std::arch::x86_64::*;
use std::ops::{Add, BitAnd, BitOr, Div, Mul, Neg, Not, Sub};

/// Proof that the machine has AVX2 and FMA.
#[derive(Clone, Copy)]
pub struct Avx2(());

impl Avx2 {
    pub fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(Self(()))
    }

    /// # Safety
    /// `detect` has returned `Some` on this machine.
    #[inline(always)]
    pub unsafe fn assume() -> Self {
        Self(())
    }
}

impl Simd for Avx2 {
    type F32 = F32x8;
    type F64 = F64x4;
    const TILE_ROWS: usize = 6;
    const TILE_VECTORS: usize = 2;
    const ADAM_TILES: bool = true;

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx2,fma")]
        fn compiled<K: Kernel>(simd: Avx2, kernel: K) -> K::Output {
            kernel.run(simd)
        }
        // SAFETY: `self` proves AVX2 and FMA.
        unsafe { compiled(self, kernel) }
    }

    // The compiler drops `inline(never)` from functions with target features; this one has none, and what has them
    // cannot be inlined into it.
    #[inline(never)]
    fn call<K: Kernel>(self, kernel: K) -> K::Output {
        self.run(kernel)
    }
}

#[derive(Clone, Copy)]
pub struct F32x8(__m256);
#[derive(Clone, Copy)]
pub struct F64x4(__m256d);
#[derive(Clone, Copy)]
pub struct Mask32x8(__m256);
#[derive(Clone, Copy)]
pub struct Mask64x4(__m256d);

/// Lanes below `count` are all ones, for masked loads and stores.
static LANE_MASKS: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

#[inline(always)]
fn lane_mask_32(count: usize) -> __m256i {
    let first = 8 - count.min(8);
    // SAFETY: 8 integers from `first` ≤ 8 lie within the 16 of the table; the caller holds a vector, hence AVX2.
    unsafe { _mm256_loadu_si256(LANE_MASKS.as_ptr().add(first).cast()) }
}

#[inline(always)]
fn lane_mask_64(count: usize) -> __m256i {
    lane_mask_32(2 * count)
}

macro_rules! operator {
    ($vector:ident, $trait:ident, $method:ident, $intrinsic:ident) => {
        impl $trait for $vector {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                // SAFETY: a vector exists only where its instruction set does.
                Self(unsafe { $intrinsic(self.0, other.0) })
            }
        }
    };
}

macro_rules! mask {
    ($mask:ident, $and:ident, $or:ident, $xor:ident, $from:ident, $movemask:ident) => {
        operator!($mask, BitAnd, bitand, $and);
        operator!($mask, BitOr, bitor, $or);
        impl Not for $mask {
            type Output = Self;
            #[inline(always)]
            fn not(self) -> Self {
                // SAFETY: a mask exists only where its instruction set does.
                Self(unsafe { $xor(self.0, $from(_mm256_set1_epi32(-1))) })
            }
        }
        impl Mask for $mask {
            #[inline(always)]
            fn to_bits(self) -> u32 {
                // SAFETY: a mask exists only where its instruction set does.
                unsafe { $movemask(self.0) as u32 }
            }
        }
    };
}
mask!(
    Mask32x8,
    _mm256_and_ps,
    _mm256_or_ps,
    _mm256_xor_ps,
    _mm256_castsi256_ps,
    _mm256_movemask_ps
);
mask!(
    Mask64x4,
    _mm256_and_pd,
    _mm256_or_pd,
    _mm256_xor_pd,
    _mm256_castsi256_pd,
    _mm256_movemask_pd
);

macro_rules! vector {
    (
        $vector:ident, $mask:ident, $t:ty, $lanes:literal, $turned:literal, $sign:expr, $lane_mask:ident,
        $set1:ident, $loadu:ident, $storeu:ident, $maskload:ident, $maskstore:ident, $fmadd:ident, $sqrt:ident,
        $min:ident, $max:ident,
        $cmp:ident, $blendv:ident, $and:ident, $andnot:ident, $or:ident, $xor:ident, $to_int:ident, $from_int:ident,
        $int_add:ident, $int_sub:ident, $int_set1:ident, $int_cmpeq:ident, $sll:ident, $srl:ident, $bit_positions:expr
    ) => {
        impl Neg for $vector {
            type Output = Self;
            #[inline(always)]
            fn neg(self) -> Self {
                // SAFETY: a vector exists only where its instruction set does.
                Self(unsafe { $xor(self.0, $set1($sign)) })
            }
        }

        impl Arithmetic for $vector {
            type Element = $t;
            type Simd = Avx2;
            type Mask = $mask;

            #[inline(always)]
            fn splat(_: Avx2, value: $t) -> Self {
                // SAFETY: the token proves the instruction set.
                Self(unsafe { $set1(value) })
            }
            #[inline(always)]
            fn mul_add(self, factor: Self, addend: Self) -> Self {
                // SAFETY: a vector exists only where its instruction set does; so below.
                Self(unsafe { $fmadd(self.0, factor.0, addend.0) })
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                // SAFETY: as above.
                Self(unsafe { $sqrt(self.0) })
            }
            #[inline(always)]
            fn lesser(self, other: Self) -> Self {
                // SAFETY: as above. The instruction returns its second operand where either is NaN or both are zero.
                Self(unsafe { $min(self.0, other.0) })
            }
            #[inline(always)]
            fn greater(self, other: Self) -> Self {
                // SAFETY: as above. The instruction returns its second operand where either is NaN or both are zero.
                Self(unsafe { $max(self.0, other.0) })
            }
            #[inline(always)]
            fn abs(self) -> Self {
                // SAFETY: as above.
                Self(unsafe { $andnot($set1($sign), self.0) })
            }
            #[inline(always)]
            fn lt(self, other: Self) -> $mask {
                // SAFETY: as above.
                $mask(unsafe { $cmp::<_CMP_LT_OQ>(self.0, other.0) })
            }
            #[inline(always)]
            fn le(self, other: Self) -> $mask {
                // SAFETY: as above.
                $mask(unsafe { $cmp::<_CMP_LE_OQ>(self.0, other.0) })
            }
            #[inline(always)]
            fn eq(self, other: Self) -> $mask {
                // SAFETY: as above.
                $mask(unsafe { $cmp::<_CMP_EQ_OQ>(self.0, other.0) })
            }
            #[inline(always)]
            fn select(mask: $mask, if_true: Self, if_false: Self) -> Self {
                // SAFETY: as above.
                Self(unsafe { $blendv(if_false.0, if_true.0, mask.0) })
            }
            #[inline(always)]
            fn bit_and(self, other: Self) -> Self {
                // SAFETY: a vector exists only where its instruction set does; so below.
                Self(unsafe { $and(self.0, other.0) })
            }
            #[inline(always)]
            fn bit_or(self, other: Self) -> Self {
                // SAFETY: as above.
                Self(unsafe { $or(self.0, other.0) })
            }
            #[inline(always)]
            fn bit_xor(self, other: Self) -> Self {
                // SAFETY: as above.
                Self(unsafe { $xor(self.0, other.0) })
            }
            #[inline(always)]
            fn bit_add(self, other: Self) -> Self {
                // SAFETY: as above.
                Self(unsafe { $from_int($int_add($to_int(self.0), $to_int(other.0))) })
            }
            #[inline(always)]
            fn bit_sub(self, other: Self) -> Self {
                // SAFETY: as above.
                Self(unsafe { $from_int($int_sub($to_int(self.0), $to_int(other.0))) })
            }
            #[inline(always)]
            fn bit_mul_low(self, other: Self) -> Self {
                // SAFETY: as above.
                Self(unsafe {
                    $from_int(Self::product_of_lower_halves(
                        $to_int(self.0),
                        $to_int(other.0),
                    ))
                })
            }
            #[inline(always)]
            fn bit_shl<const N: u32>(self) -> Self {
                // SAFETY: as above.
                Self(unsafe { $from_int($sll($to_int(self.0), _mm_cvtsi32_si128(N as i32))) })
            }
            #[inline(always)]
            fn bit_shr<const N: u32>(self) -> Self {
                // SAFETY: as above.
                Self(unsafe { $from_int($srl($to_int(self.0), _mm_cvtsi32_si128(N as i32))) })
            }
        }

        impl Vector for $vector {
            const LANES: usize = $lanes;
            const TURNED: usize = $turned;

            #[inline(always)]
            unsafe fn load(_: Avx2, source: *const $t) -> Self {
                // SAFETY: the caller vouches for the memory, the token for the instruction set.
                Self(unsafe { $loadu(source) })
            }
            #[inline(always)]
            unsafe fn store(self, target: *mut $t) {
                // SAFETY: the caller vouches for the memory, `self` for the instruction set.
                unsafe { $storeu(target, self.0) }
            }
            #[inline(always)]
            unsafe fn load_partial(_: Avx2, source: *const $t, count: usize) -> Self {
                // SAFETY: as `load`; lanes that are masked off are not touched.
                Self(unsafe { $maskload(source, $lane_mask(count)) })
            }
            #[inline(always)]
            unsafe fn store_partial(self, target: *mut $t, count: usize) {
                // SAFETY: as `store`; lanes that are masked off are not touched.
                unsafe { $maskstore(target, $lane_mask(count), self.0) }
            }
            #[inline(always)]
            fn mask_from_bits(_: Avx2, bits: u32) -> $mask {
                // SAFETY: the token proves the instruction set.
                unsafe {
                    let positions = $bit_positions;
                    let lanes = _mm256_and_si256($int_set1(bits as _), positions);
                    $mask($from_int($int_cmpeq(lanes, positions)))
                }
            }
            #[inline(always)]
            unsafe fn columns(_: Avx2, rows: Rows<$t>, part: usize) -> [Self; MOST_TURNED] {
                // SAFETY: the caller vouches for the block, the token for the instruction set.
                unsafe { Self::turn(rows, part) }
            }
        }
    };
}

operator!(F32x8, Add, add, _mm256_add_ps);
operator!(F32x8, Sub, sub, _mm256_sub_ps);
operator!(F32x8, Mul, mul, _mm256_mul_ps);
operator!(F32x8, Div, div, _mm256_div_ps);
vector!(
    F32x8,
    Mask32x8,
    f32,
    8,
    4,
    -0.0f32,
    lane_mask_32,
    _mm256_set1_ps,
    _mm256_loadu_ps,
    _mm256_storeu_ps,
    _mm256_maskload_ps,
    _mm256_maskstore_ps,
    _mm256_fmadd_ps,
    _mm256_sqrt_ps,
    _mm256_min_ps,
    _mm256_max_ps,
    _mm256_cmp_ps,
    _mm256_blendv_ps,
    _mm256_and_ps,
    _mm256_andnot_ps,
    _mm256_or_ps,
    _mm256_xor_ps,
    _mm256_castps_si256,
    _mm256_castsi256_ps,
    _mm256_add_epi32,
    _mm256_sub_epi32,
    _mm256_set1_epi32,
    _mm256_cmpeq_epi32,
    _mm256_sll_epi32,
    _mm256_srl_epi32,
    _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128)
);

operator!(F64x4, Add, add, _mm256_add_pd);
operator!(F64x4, Sub, sub, _mm256_sub_pd);
operator!(F64x4, Mul, mul, _mm256_mul_pd);
operator!(F64x4, Div, div, _mm256_div_pd);
vector!(
    F64x4,
    Mask64x4,
    f64,
    4,
    2,
    -0.0f64,
    lane_mask_64,
    _mm256_set1_pd,
    _mm256_loadu_pd,
    _mm256_storeu_pd,
    _mm256_maskload_pd,
    _mm256_maskstore_pd,
    _mm256_fmadd_pd,
    _mm256_sqrt_pd,
    _mm256_min_pd,
    _mm256_max_pd,
    _mm256_cmp_pd,
    _mm256_blendv_pd,
    _mm256_and_pd,
    _mm256_andnot_pd,
    _mm256_or_pd,
    _mm256_xor_pd,
    _mm256_castpd_si256,
    _mm256_castsi256_pd,
    _mm256_add_epi64,
    _mm256_sub_epi64,
    _mm256_set1_epi64x,
    _mm256_cmpeq_epi64,
    _mm256_sll_epi64,
    _mm256_srl_epi64,
    _mm256_setr_epi64x(1, 2, 4, 8)
);

impl F32x8 {
    #[inline(always)]
    fn product_of_lower_halves(a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: a vector exists only where its instruction set does.
        unsafe {
            let low = _mm256_set1_epi32(0xffff);
            _mm256_mullo_epi32(_mm256_and_si256(a, low), _mm256_and_si256(b, low))
        }
    }

    /// Halves of two rows are joined on loading; then pairs and quads are interleaved within halves.
    ///
    /// # Safety
    /// As [`Vector::columns`], on a machine with AVX2.
    #[inline(always)]
    unsafe fn turn(rows: Rows<f32>, half: usize) -> [Self; MOST_TURNED] {
        let fours = [rows.four(0), rows.four(1)];
        // SAFETY: all accesses are to the 8 rows of 8 elements that the caller vouches for.
        unsafe {
            let mut columns = [Self(_mm256_setzero_ps()); MOST_TURNED];
            let mut joined = [_mm256_setzero_ps(); 4];
            for (r, joined) in joined.iter_mut().enumerate() {
                let low = _mm_loadu_ps(fours[0][r].add(4 * half));
                let high = _mm_loadu_ps(fours[1][r].add(4 * half));
                *joined = _mm256_insertf128_ps::<1>(_mm256_castps128_ps256(low), high);
            }
            let [a, b, c, d] = joined;
            let ab_low = _mm256_unpacklo_ps(a, b);
            let ab_high = _mm256_unpackhi_ps(a, b);
            let cd_low = _mm256_unpacklo_ps(c, d);
            let cd_high = _mm256_unpackhi_ps(c, d);
            columns[0] = Self(_mm256_shuffle_ps::<0x44>(ab_low, cd_low));
            columns[1] = Self(_mm256_shuffle_ps::<0xee>(ab_low, cd_low));
            columns[2] = Self(_mm256_shuffle_ps::<0x44>(ab_high, cd_high));
            columns[3] = Self(_mm256_shuffle_ps::<0xee>(ab_high, cd_high));
            columns
        }
    }
}

impl F64x4 {
    #[inline(always)]
    fn product_of_lower_halves(a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: a vector exists only where its instruction set does.
        unsafe { _mm256_mul_epu32(a, b) }
    }

    /// # Safety
    /// As [`Vector::columns`], on a machine with AVX2.
    #[inline(always)]
    unsafe fn turn(rows: Rows<f64>, half: usize) -> [Self; MOST_TURNED] {
        let four = rows.four(0);
        // SAFETY: all accesses are to the 4 rows of 4 elements that the caller vouches for.
        unsafe {
            let mut columns = [Self(_mm256_setzero_pd()); MOST_TURNED];
            let mut joined = [_mm256_setzero_pd(); 2];
            for (r, joined) in joined.iter_mut().enumerate() {
                let low = _mm_loadu_pd(four[r].add(2 * half));
                let high = _mm_loadu_pd(four[r + 2].add(2 * half));
                *joined = _mm256_insertf128_pd::<1>(_mm256_castpd128_pd256(low), high);
            }
            let [a, b] = joined;
            columns[0] = Self(_mm256_unpacklo_pd(a, b));
            columns[1] = Self(_mm256_unpackhi_pd(a, b));
            columns
        }
    }
}
