//! For AVX2: 6 rows of two vectors of 8 lanes, ymm0 to ymm11.

use super::{Constants, Products, Waiting};
use crate::gemm::PANEL;
use std::arch::asm;
use std::arch::x86_64::{__m256, _mm256_setzero_ps, _mm256_storeu_ps};

pub const WIDTH: usize = 16;

macro_rules! products {
    ($k:tt: $($offset:tt $low:tt $high:tt)*) => {
        concat!(
            "vmovups ymm12, [{b} + 64 * ", $k, "]\n",
            "vmovups ymm13, [{b} + {second_b} + 64 * ", $k, "]\n",
            $(
                "vbroadcastss ymm14, dword ptr [{a} + ", $offset, " + 4 * ", $k, "]\n",
                "vfmadd231ps ", $low, ", ymm14, ymm12\n",
                "vfmadd231ps ", $high, ", ymm14, ymm13\n",
            )*
        )
    };
}

#[rustfmt::skip]
macro_rules! update {
    ($at:literal) => {
        concat!(
            // Both moments' parts of the gradient, zero where its square is below the floor.
            "vmovups ymm12, [{gradient} + ", $at, "]\n",
            "vmulps ymm13, ymm12, ymm12\n",
            "vbroadcastss ymm14, dword ptr [{rule}]\n",
            "vcmpps ymm14, ymm13, ymm14, 21\n",
            "vbroadcastss ymm15, dword ptr [{rule} + 4]\n",
            "vmulps ymm15, ymm15, ymm12\n",
            "vandps ymm15, ymm15, ymm14\n",
            "vbroadcastss ymm12, dword ptr [{rule} + 8]\n",
            "vmulps ymm13, ymm13, ymm12\n",
            "vandps ymm13, ymm13, ymm14\n",
            "vbroadcastss ymm12, dword ptr [{rule} + 12]\n",
            "vfmadd231ps ymm15, ymm12, [{first} + ", $at, "]\n",
            "vbroadcastss ymm12, dword ptr [{rule} + 16]\n",
            "vfmadd231ps ymm13, ymm12, [{second} + ", $at, "]\n",
            // Zero where they are below theirs.
            "vbroadcastss ymm12, dword ptr [{rule} + 20]\n",
            "vandps ymm12, ymm12, ymm15\n",
            "vbroadcastss ymm14, dword ptr [{rule} + 24]\n",
            "vcmpps ymm12, ymm12, ymm14, 21\n",
            "vandps ymm15, ymm15, ymm12\n",
            "vcmpps ymm14, ymm13, ymm14, 21\n",
            "vandps ymm13, ymm13, ymm14\n",
            "vmovups [{first} + ", $at, "], ymm15\n",
            "vmovups [{second} + ", $at, "], ymm13\n",
            "vsqrtps ymm13, ymm13\n",
            "vbroadcastss ymm12, dword ptr [{rule} + 28]\n",
            "vaddps ymm13, ymm13, ymm12\n",
            "vmovups ymm12, [{weights} + ", $at, "]\n",
            "cmp dword ptr [{rule} + 40], 0\n",
            "je 9f\n",
            "vbroadcastss ymm14, dword ptr [{rule} + 36]\n",
            "vmulps ymm12, ymm12, ymm14\n",
            "9:\n",
            "vdivps ymm15, ymm15, ymm13\n",
            "vbroadcastss ymm14, dword ptr [{rule} + 32]\n",
            "vfmadd231ps ymm12, ymm15, ymm14\n",
            "vmovups [{weights} + ", $at, "], ymm12\n",
        )
    };
}

tiles!(
    [
        "avx2,fma" __m256 _mm256_setzero_ps _mm256_storeu_ps, 32 a vector,
        between [out("ymm12") _, out("ymm13") _, out("ymm14") _, out("ymm15") _,]
    ]
    [1 2 3 4 5 6]
    (1 0 0 "ymm0" "ymm1")
    (2 1 64 "ymm2" "ymm3")
    (3 2 128 "ymm4" "ymm5")
    (4 3 192 "ymm6" "ymm7")
    (5 4 256 "ymm8" "ymm9")
    (6 5 320 "ymm10" "ymm11")
);
