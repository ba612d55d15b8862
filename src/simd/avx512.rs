//! AVX-512 (F, VL, BW, DQ): 16 lanes of float32, 8 of float64.

use super::{Arithmetic, FOUR, Kernel, MOST_TURNED, Mask, Rows, Simd, Vector};
use std::arch::x86_64::*;
use std::ops::{Add, BitAnd, BitOr, Div, Mul, Neg, Not, Sub};

/// Proof that the machine has AVX-512 F, VL, BW and DQ.
#[derive(Clone, Copy)]
pub struct Avx512(());

impl Avx512 {
    pub fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma"))
        .then_some(Self(()))
    }

    /// # Safety
    /// `detect` has returned `Some` on this machine.
    #[inline(always)]
    pub unsafe fn assume() -> Self {
        Self(())
    }
}

impl Simd for Avx512 {
    type F32 = F32x16;
    type F64 = F64x8;
    const TILE_ROWS: usize = 14;
    const TILE_VECTORS: usize = 2;
    const ADAM_TILES: bool = true;

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
        fn compiled<K: Kernel>(simd: Avx512, kernel: K) -> K::Output {
            kernel.run(simd)
        }
        // SAFETY: `self` proves these features.
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
pub struct F32x16(__m512);
#[derive(Clone, Copy)]
pub struct F64x8(__m512d);
/// One bit a lane; `M` is the mask register's integer.
#[derive(Clone, Copy)]
pub struct LaneBits<M>(M);

macro_rules! mask {
    ($bits:ty) => {
        impl BitAnd for LaneBits<$bits> {
            type Output = Self;
            #[inline(always)]
            fn bitand(self, other: Self) -> Self {
                Self(self.0 & other.0)
            }
        }
        impl BitOr for LaneBits<$bits> {
            type Output = Self;
            #[inline(always)]
            fn bitor(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }
        }
        impl Not for LaneBits<$bits> {
            type Output = Self;
            #[inline(always)]
            fn not(self) -> Self {
                Self(!self.0)
            }
        }
        impl Mask for LaneBits<$bits> {
            #[inline(always)]
            fn to_bits(self) -> u32 {
                u32::from(self.0)
            }
        }
    };
}
mask!(__mmask16);
mask!(__mmask8);

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

macro_rules! vector {
    (
        $vector:ident, $bits:ty, $t:ty, $lanes:literal, $turned:literal, $sign:expr,
        $set1:ident, $loadu:ident, $storeu:ident, $maskload:ident, $maskstore:ident, $fmadd:ident, $sqrt:ident,
        $min:ident, $max:ident,
        $cmp:ident, $blend:ident, $keep:ident, $and:ident, $andnot:ident, $or:ident, $xor:ident, $to_int:ident, $from_int:ident,
        $int_add:ident, $int_sub:ident, $sll:ident, $srl:ident
        $(; $($own:tt)*)?
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
            type Simd = Avx512;
            type Mask = LaneBits<$bits>;

            #[inline(always)]
            fn splat(_: Avx512, value: $t) -> Self {
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
            fn lt(self, other: Self) -> Self::Mask {
                // SAFETY: as above.
                LaneBits(unsafe { $cmp::<_CMP_LT_OQ>(self.0, other.0) })
            }
            #[inline(always)]
            fn le(self, other: Self) -> Self::Mask {
                // SAFETY: as above.
                LaneBits(unsafe { $cmp::<_CMP_LE_OQ>(self.0, other.0) })
            }
            #[inline(always)]
            fn eq(self, other: Self) -> Self::Mask {
                // SAFETY: as above.
                LaneBits(unsafe { $cmp::<_CMP_EQ_OQ>(self.0, other.0) })
            }
            #[inline(always)]
            fn select(mask: Self::Mask, if_true: Self, if_false: Self) -> Self {
                // SAFETY: as above.
                Self(unsafe { $blend(mask.0, if_false.0, if_true.0) })
            }
            #[inline(always)]
            fn zero_where_below(self, size: Self, floor: Self) -> Self {
                // SAFETY: as above.
                unsafe { Self($keep($cmp::<_CMP_NLT_UQ>(size.0, floor.0), self.0)) }
            }
            #[inline(always)]
            fn bit_and(self, other: Self) -> Self {
                // SAFETY: as above.
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
            fn four_in_order(four: [Self; FOUR]) -> [Self; FOUR] {
                #[target_feature(enable = "avx512f")]
                #[inline]
                fn in_order(mut four: [$vector; FOUR]) -> [$vector; FOUR] {
                    let [a, b, c, d] = &mut four;
                    // SAFETY: there is no instruction in it. All four are computed before it and used after it.
                    unsafe {
                        std::arch::asm!("/* {} {} {} {} */", inout(zmm_reg) a.0, inout(zmm_reg) b.0, inout(zmm_reg) c.0,
                            inout(zmm_reg) d.0, options(nomem, nostack, preserves_flags));
                    }
                    four
                }
                // SAFETY: a vector exists only where its instruction set does.
                unsafe { in_order(four) }
            }

            #[inline(always)]
            unsafe fn load(_: Avx512, source: *const $t) -> Self {
                // SAFETY: the caller vouches for the memory, the token for the instruction set.
                Self(unsafe { $loadu(source) })
            }
            #[inline(always)]
            unsafe fn store(self, target: *mut $t) {
                // SAFETY: the caller vouches for the memory, `self` for the instruction set.
                unsafe { $storeu(target, self.0) }
            }
            #[inline(always)]
            unsafe fn load_partial(_: Avx512, source: *const $t, count: usize) -> Self {
                // SAFETY: as `load`; lanes that are masked off are not touched.
                Self(unsafe { $maskload(Self::lanes_below(count), source) })
            }
            #[inline(always)]
            unsafe fn store_partial(self, target: *mut $t, count: usize) {
                // SAFETY: as `store`; lanes that are masked off are not touched.
                unsafe { $maskstore(target, Self::lanes_below(count), self.0) }
            }
            #[inline(always)]
            fn mask_from_bits(_: Avx512, bits: u32) -> Self::Mask {
                LaneBits(bits as $bits)
            }
            #[inline(always)]
            unsafe fn columns(_: Avx512, rows: Rows<$t>, part: usize) -> [Self; MOST_TURNED] {
                // SAFETY: the caller vouches for the block, the token for the instruction set.
                unsafe { Self::turn(rows, part) }
            }
            $($($own)*)?
        }

        impl $vector {
            #[inline(always)]
            fn lanes_below(count: usize) -> $bits {
                ((1u32 << count.min($lanes)) - 1) as $bits
            }
        }
    };
}

operator!(F32x16, Add, add, _mm512_add_ps);
operator!(F32x16, Sub, sub, _mm512_sub_ps);
operator!(F32x16, Mul, mul, _mm512_mul_ps);
operator!(F32x16, Div, div, _mm512_div_ps);
vector!(
    F32x16,
    __mmask16,
    f32,
    16,
    8,
    -0.0f32,
    _mm512_set1_ps,
    _mm512_loadu_ps,
    _mm512_storeu_ps,
    _mm512_maskz_loadu_ps,
    _mm512_mask_storeu_ps,
    _mm512_fmadd_ps,
    _mm512_sqrt_ps,
    _mm512_min_ps,
    _mm512_max_ps,
    _mm512_cmp_ps_mask,
    _mm512_mask_blend_ps,
    _mm512_maskz_mov_ps,
    _mm512_and_ps,
    _mm512_andnot_ps,
    _mm512_or_ps,
    _mm512_xor_ps,
    _mm512_castps_si512,
    _mm512_castsi512_ps,
    _mm512_add_epi32,
    _mm512_sub_epi32,
    _mm512_sll_epi32,
    _mm512_srl_epi32;
);

operator!(F64x8, Add, add, _mm512_add_pd);
operator!(F64x8, Sub, sub, _mm512_sub_pd);
operator!(F64x8, Mul, mul, _mm512_mul_pd);
operator!(F64x8, Div, div, _mm512_div_pd);
vector!(
    F64x8,
    __mmask8,
    f64,
    8,
    2,
    -0.0f64,
    _mm512_set1_pd,
    _mm512_loadu_pd,
    _mm512_storeu_pd,
    _mm512_maskz_loadu_pd,
    _mm512_mask_storeu_pd,
    _mm512_fmadd_pd,
    _mm512_sqrt_pd,
    _mm512_min_pd,
    _mm512_max_pd,
    _mm512_cmp_pd_mask,
    _mm512_mask_blend_pd,
    _mm512_maskz_mov_pd,
    _mm512_and_pd,
    _mm512_andnot_pd,
    _mm512_or_pd,
    _mm512_xor_pd,
    _mm512_castpd_si512,
    _mm512_castsi512_pd,
    _mm512_add_epi64,
    _mm512_sub_epi64,
    _mm512_sll_epi64,
    _mm512_srl_epi64
);

impl F32x16 {
    #[inline(always)]
    fn product_of_lower_halves(a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: a vector exists only where its instruction set does.
        unsafe {
            let low = _mm512_set1_epi32(0xffff);
            _mm512_mullo_epi32(_mm512_and_si512(a, low), _mm512_and_si512(b, low))
        }
    }

    /// Halves of two rows are joined on loading; then pairs and quads are interleaved within quarters, and quarters put
    /// in order.
    ///
    /// # Safety
    /// As [`Vector::columns`], on a machine with AVX-512.
    #[inline(always)]
    unsafe fn turn(rows: Rows<f32>, half: usize) -> [Self; MOST_TURNED] {
        let fours = [rows.four(0), rows.four(1), rows.four(2), rows.four(3)];
        // SAFETY: all accesses are to the 16 rows of 16 elements that the caller vouches for.
        unsafe {
            let mut columns = [Self(_mm512_setzero_ps()); MOST_TURNED];
            // In quarter q of vector c of each: four rows of column c, or of column c + 4 if q is odd.
            let mut quads = [[_mm512_setzero_ps(); 4]; 2];
            for (fours, quads) in fours.chunks_exact(2).zip(&mut quads) {
                let mut joined = [_mm512_setzero_ps(); 4];
                for (r, joined) in joined.iter_mut().enumerate() {
                    let first = _mm256_loadu_ps(fours[0][r].add(8 * half));
                    let second = _mm256_loadu_ps(fours[1][r].add(8 * half));
                    *joined = _mm512_insertf32x8::<1>(_mm512_castps256_ps512(first), second);
                }
                let [a, b, c, d] = joined;
                let ab_low = _mm512_unpacklo_ps(a, b);
                let ab_high = _mm512_unpackhi_ps(a, b);
                let cd_low = _mm512_unpacklo_ps(c, d);
                let cd_high = _mm512_unpackhi_ps(c, d);
                *quads = [
                    _mm512_shuffle_ps::<0x44>(ab_low, cd_low),
                    _mm512_shuffle_ps::<0xee>(ab_low, cd_low),
                    _mm512_shuffle_ps::<0x44>(ab_high, cd_high),
                    _mm512_shuffle_ps::<0xee>(ab_high, cd_high),
                ];
            }
            let [upper, lower] = quads;
            for (c, (upper, lower)) in upper.into_iter().zip(lower).enumerate() {
                columns[c] = Self(_mm512_shuffle_f32x4::<0x88>(upper, lower));
                columns[c + 4] = Self(_mm512_shuffle_f32x4::<0xdd>(upper, lower));
            }
            columns
        }
    }
}

impl F64x8 {
    #[inline(always)]
    fn product_of_lower_halves(a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: a vector exists only where its instruction set does.
        unsafe { _mm512_mul_epu32(a, b) }
    }

    /// # Safety
    /// As [`Vector::columns`], on a machine with AVX-512.
    #[inline(always)]
    unsafe fn turn(rows: Rows<f64>, quarter: usize) -> [Self; MOST_TURNED] {
        let fours = [rows.four(0), rows.four(1)];
        // SAFETY: all accesses are to the 8 rows of 8 elements that the caller vouches for.
        unsafe {
            let mut columns = [Self(_mm512_setzero_pd()); MOST_TURNED];
            let mut joined = [_mm512_setzero_pd(); 2];
            for (r, joined) in joined.iter_mut().enumerate() {
                let first = _mm_loadu_pd(fours[0][r].add(2 * quarter));
                let second = _mm_loadu_pd(fours[0][r + 2].add(2 * quarter));
                let third = _mm_loadu_pd(fours[1][r].add(2 * quarter));
                let fourth = _mm_loadu_pd(fours[1][r + 2].add(2 * quarter));
                let half = _mm512_insertf64x2::<1>(_mm512_castpd128_pd512(first), second);
                let three = _mm512_insertf64x2::<2>(half, third);
                *joined = _mm512_insertf64x2::<3>(three, fourth);
            }
            let [a, b] = joined;
            columns[0] = Self(_mm512_unpacklo_pd(a, b));
            columns[1] = Self(_mm512_unpackhi_pd(a, b));
            columns
        }
    }
}
