//! For AVX-512: 14 rows of two vectors of 16 lanes, zmm0 to zmm27.

use super::{Constants, Products, Waiting};
use crate::gemm::PANEL;
use std::arch::asm;
use std::arch::x86_64::{__m512, _mm512_setzero_ps, _mm512_storeu_ps};

pub const WIDTH: usize = 32;

macro_rules! products {
    ($k:tt: $($offset:tt $low:tt $high:tt)*) => {
        concat!(
            "vmovups zmm28, [{b} + 64 * ", $k, "]\n",
            "vmovups zmm29, [{b} + {second_b} + 64 * ", $k, "]\n",
            $(
                "vbroadcastss zmm30, dword ptr [{a} + ", $offset, " + 4 * ", $k, "]\n",
                "vfmadd231ps ", $low, ", zmm30, zmm28\n",
                "vfmadd231ps ", $high, ", zmm30, zmm29\n",
            )*
        )
    };
}

#[rustfmt::skip]
macro_rules! update {
    ($at:literal) => {
        concat!(
            // Both moments' parts of the gradient, zero where its square is below the floor.
            "vmovups zmm28, [{gradient} + ", $at, "]\n",
            "vmulps zmm29, zmm28, zmm28\n",
            "vcmpps k1, zmm29, dword ptr [{rule}]{{1to16}}, 21\n",
            "vmulps zmm30{{k1}}{{z}}, zmm28, dword ptr [{rule} + 4]{{1to16}}\n",
            "vmulps zmm31{{k1}}{{z}}, zmm29, dword ptr [{rule} + 8]{{1to16}}\n",
            "vbroadcastss zmm28, dword ptr [{rule} + 12]\n",
            "vfmadd231ps zmm30, zmm28, [{first} + ", $at, "]\n",
            "vbroadcastss zmm28, dword ptr [{rule} + 16]\n",
            "vfmadd231ps zmm31, zmm28, [{second} + ", $at, "]\n",
            // Zero where they are below theirs.
            "vandps zmm29, zmm30, dword ptr [{rule} + 20]{{1to16}}\n",
            "vcmpps k1, zmm29, dword ptr [{rule} + 24]{{1to16}}, 21\n",
            "vmovaps zmm30{{k1}}{{z}}, zmm30\n",
            "vcmpps k1, zmm31, dword ptr [{rule} + 24]{{1to16}}, 21\n",
            "vmovaps zmm31{{k1}}{{z}}, zmm31\n",
            "vmovups [{first} + ", $at, "], zmm30\n",
            "vmovups [{second} + ", $at, "], zmm31\n",
            "vsqrtps zmm31, zmm31\n",
            "vaddps zmm31, zmm31, dword ptr [{rule} + 28]{{1to16}}\n",
            "vmovups zmm28, [{weights} + ", $at, "]\n",
            "cmp dword ptr [{rule} + 40], 0\n",
            "je 9f\n",
            "vmulps zmm28, zmm28, dword ptr [{rule} + 36]{{1to16}}\n",
            "9:\n",
            "vdivps zmm30, zmm30, zmm31\n",
            "vfmadd231ps zmm28, zmm30, dword ptr [{rule} + 32]{{1to16}}\n",
            "vmovups [{weights} + ", $at, "], zmm28\n",
        )
    };
}

tiles!(
    [
        "avx512f,avx512dq" __m512 _mm512_setzero_ps _mm512_storeu_ps, 64 a vector,
        between [out("zmm28") _, out("zmm29") _, out("zmm30") _, out("zmm31") _, out("k1") _,]
    ]
    [1 2 3 4 5 6 7 8 9 10 11 12 13 14]
    (1 0 0 "zmm0" "zmm1")
    (2 1 64 "zmm2" "zmm3")
    (3 2 128 "zmm4" "zmm5")
    (4 3 192 "zmm6" "zmm7")
    (5 4 256 "zmm8" "zmm9")
    (6 5 320 "zmm10" "zmm11")
    (7 6 384 "zmm12" "zmm13")
    (8 7 448 "zmm14" "zmm15")
    (9 8 512 "zmm16" "zmm17")
    (10 9 576 "zmm18" "zmm19")
    (11 10 640 "zmm20" "zmm21")
    (12 11 704 "zmm22" "zmm23")
    (13 12 768 "zmm24" "zmm25")
    (14 13 832 "zmm26" "zmm27")
);
