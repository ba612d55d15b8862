//! Tiles of a weight gradient with Adam's update of other rows beside them, for AVX-512.
//!
//! In assembly: between the products a compiler would move the loads of the one and the other about until the sums no
//! longer fit the registers. It keeps them in zmm0 to zmm27, two vectors of B and an element of A in zmm28 to zmm30, and
//! updates with these, between two k, and zmm31. The arithmetic is that of [`AdamVectors`](super::AdamVectors), instruction
//! by instruction.

#![allow(unsafe_code)]

use super::AdamRule;
use super::adam::{GRADIENT_FLOOR, MOMENT_FLOOR};
use crate::gemm::{Ahead, PANEL};
use crate::simd::Element;

/// The most rows of a tile.
pub const MOST_ROWS: usize = 14;

/// Floats of a finished tile's row: two vectors.
pub const WIDTH: usize = 32;

/// An [`AdamRule`] as the instructions read it, by its place.
#[repr(C)]
pub struct Constants {
    squared_floor: f32,
    gain1: f32,
    gain2: f32,
    beta1: f32,
    beta2: f32,
    /// All bits but the sign.
    magnitude: u32,
    moment_floor: f32,
    epsilon: f32,
    negative_rate: f32,
    keep: f32,
}

impl Constants {
    pub fn new<T: Element>(rule: &AdamRule<T>) -> Self {
        let [gain1, gain2, beta1, beta2, epsilon, negative_rate, keep] = [
            rule.gain1,
            rule.gain2,
            rule.beta1,
            rule.beta2,
            rule.epsilon,
            rule.negative_rate,
            rule.keep,
        ]
        .map(|value| value.to_f64() as f32);
        Self {
            squared_floor: 2f32.powi(2 * GRADIENT_FLOOR[0]),
            gain1,
            gain2,
            beta1,
            beta2,
            magnitude: u32::MAX >> 1,
            moment_floor: 2f32.powi(MOMENT_FLOOR[0]),
            epsilon,
            negative_rate,
            keep,
        }
    }
}

/// The products of a tile. A's rows lie [`PANEL`] elements apart, its k side by side in blocks of as many, so far apart.
pub struct Products<'a> {
    pub k: usize,
    pub a: *const f32,
    pub a_block: usize,
    pub b: *const f32,
    pub b_panel: usize,
    /// Rows of [`WIDTH`] floats.
    pub c: *mut f32,
    /// What is asked for meanwhile, from this row on.
    pub ahead: Option<&'a Ahead<f32>>,
    pub first_row: usize,
}

/// Rows of two vectors to be updated, the next one first.
pub struct Waiting {
    pub weights: *mut f32,
    pub first: *mut f32,
    pub second: *mut f32,
    /// Between the rows of these three.
    pub stride: usize,
    /// Rows of [`WIDTH`] floats.
    pub gradient: *const f32,
    pub rows: usize,
}

impl Waiting {
    pub fn none() -> Self {
        Self {
            weights: std::ptr::null_mut(),
            first: std::ptr::null_mut(),
            second: std::ptr::null_mut(),
            stride: 0,
            gradient: std::ptr::null(),
            rows: 0,
        }
    }
}

/// Runs a tile of so many rows, and updates as many of those waiting as there is time for.
///
/// # Safety
/// The machine has AVX-512; the tile's elements lie in memory that may be read, C and what waits also written, with no other
/// thread at it.
///
/// # Panics
/// On more than [`MOST_ROWS`] rows, or none.
#[inline(always)]
pub unsafe fn run(rows: usize, products: &Products<'_>, waiting: &mut Waiting, rule: &Constants) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the caller's.
    unsafe {
        avx512::run(rows, products, waiting, rule)
    }
    #[cfg(not(target_arch = "x86_64"))]
    unreachable!("{rows} rows on a machine without AVX-512");
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use super::{Constants, PANEL, Products, WIDTH, Waiting};
    use std::arch::asm;
    use std::arch::x86_64::{__m512, _mm512_setzero_ps, _mm512_storeu_ps};

    /// # Safety
    /// As [`super::run`].
    #[inline(always)]
    pub unsafe fn run(
        rows: usize,
        products: &Products<'_>,
        waiting: &mut Waiting,
        rule: &Constants,
    ) {
        macro_rules! heights {
            ($($r:literal)*) => {
                match rows {
                    // SAFETY: the caller's.
                    $($r => unsafe { Height::<$r>::run(products, waiting, rule) },)*
                    _ => unreachable!("no tile of {rows} rows"),
                }
            };
        }
        heights!(1 2 3 4 5 6 7 8 9 10 11 12 13 14);
    }

    /// Products of one k: two vectors of B, and every row's element of A.
    macro_rules! products {
        ($k:tt: $($offset:tt $low:tt $high:tt)*) => {
            concat!(
                "vmovups zmm28, [{b} + 64 * ", $k, "]\n",
                "vmovups zmm29, [{b} + {panel} + 64 * ", $k, "]\n",
                $(
                    "vbroadcastss zmm30, dword ptr [{a} + ", $offset, " + 4 * ", $k, "]\n",
                    "vfmadd231ps ", $low, ", zmm30, zmm28\n",
                    "vfmadd231ps ", $high, ", zmm30, zmm29\n",
                )*
            )
        };
    }

    /// The update of a vector, so many bytes from where the row begins.
    macro_rules! update {
        ($at:literal) => {
            concat!(
                "vmovups zmm28, [{gradient} + ",
                $at,
                "]\n",
                // Both moments' parts of the gradient, zero where its square is below the floor.
                "vmulps zmm29, zmm28, zmm28\n",
                "vcmpps k1, zmm29, dword ptr [{rule}]{{1to16}}, 21\n",
                "vmulps zmm30{{k1}}{{z}}, zmm28, dword ptr [{rule} + 4]{{1to16}}\n",
                "vmulps zmm31{{k1}}{{z}}, zmm29, dword ptr [{rule} + 8]{{1to16}}\n",
                "vbroadcastss zmm28, dword ptr [{rule} + 12]\n",
                "vfmadd231ps zmm30, zmm28, [{first} + ",
                $at,
                "]\n",
                "vbroadcastss zmm28, dword ptr [{rule} + 16]\n",
                "vfmadd231ps zmm31, zmm28, [{second} + ",
                $at,
                "]\n",
                // Zero where they are below theirs.
                "vandps zmm29, zmm30, dword ptr [{rule} + 20]{{1to16}}\n",
                "vcmpps k1, zmm29, dword ptr [{rule} + 24]{{1to16}}, 21\n",
                "vmovaps zmm30{{k1}}{{z}}, zmm30\n",
                "vcmpps k1, zmm31, dword ptr [{rule} + 24]{{1to16}}, 21\n",
                "vmovaps zmm31{{k1}}{{z}}, zmm31\n",
                "vmovups [{first} + ",
                $at,
                "], zmm30\n",
                "vmovups [{second} + ",
                $at,
                "], zmm31\n",
                "vsqrtps zmm31, zmm31\n",
                "vaddps zmm31, zmm31, dword ptr [{rule} + 28]{{1to16}}\n",
                "vmovups zmm28, [{weights} + ",
                $at,
                "]\n",
                "vmulps zmm28, zmm28, dword ptr [{rule} + 36]{{1to16}}\n",
                "vdivps zmm30, zmm30, zmm31\n",
                "vfmadd231ps zmm28, zmm30, dword ptr [{rule} + 32]{{1to16}}\n",
                "vmovups [{weights} + ",
                $at,
                "], zmm28\n",
            )
        };
    }

    /// A tile's height.
    struct Height<const R: usize>;

    /// The tile of every height from one row to as many as are given: index, bytes from the first row's A, registers.
    macro_rules! tiles {
        ([$($row:tt)*]) => {};
        ([$($done:tt)*] ($rows:tt $($row:tt)*) $($rest:tt)*) => {
            tile!($rows, $($done)* ($($row)*));
            tiles!([$($done)* ($($row)*)] $($rest)*);
        };
    }

    macro_rules! tile {
        ($rows:tt, $(($r:tt $offset:tt $low:tt $high:tt))*) => {
            impl Height<$rows> {
                /// # Safety
                /// As [`run`].
                #[target_feature(enable = "avx512f,avx512dq")]
                #[inline(never)]
                unsafe fn run(products: &Products<'_>, waiting: &mut Waiting, rule: &Constants) {
                    let mut sums: [[__m512; 2]; $rows] = [[_mm512_setzero_ps(); 2]; $rows];
                    let (mut block, mut b) = (products.a, products.b);
                    let blocks = products.k.div_ceil(PANEL);
                    for number in 0..blocks {
                        if let Some(ahead) = products.ahead {
                            let rows = $rows * number / blocks..$rows * (number + 1) / blocks;
                            ahead.ask(products.first_row + rows.start..products.first_row + rows.end, WIDTH);
                        }
                        let k = PANEL.min(products.k - number * PANEL);
                        // With every row, products of two k.
                        let rows = waiting.rows.div_ceil(blocks - number).min(k / 2);
                        waiting.rows -= rows;
                        // SAFETY: the operands that the caller vouches for, and the machine has the instructions. The numbers in the
                        // registers named are the sums'.
                        unsafe {
                            asm!(
                                "test {rows}, {rows}",
                                "je 3f",
                                "2:",
                                products!(0: $($offset $low $high)*),
                                update!(0),
                                products!(1: $($offset $low $high)*),
                                update!(64),
                                "add {a}, 8",
                                "add {b}, 128",
                                "add {weights}, {stride}",
                                "add {first}, {stride}",
                                "add {second}, {stride}",
                                "add {gradient}, 128",
                                "dec {rows}",
                                "jne 2b",
                                "3:",
                                "test {k}, {k}",
                                "je 5f",
                                "4:",
                                products!(0: $($offset $low $high)*),
                                "add {a}, 4",
                                "add {b}, 64",
                                "dec {k}",
                                "jne 4b",
                                "5:",
                                a = inout(reg) block => _,
                                b = inout(reg) b,
                                panel = in(reg) 4 * products.b_panel,
                                weights = inout(reg) waiting.weights,
                                first = inout(reg) waiting.first,
                                second = inout(reg) waiting.second,
                                stride = in(reg) 4 * waiting.stride,
                                gradient = inout(reg) waiting.gradient,
                                rule = in(reg) rule,
                                rows = inout(reg) rows => _,
                                k = inout(reg) k - 2 * rows => _,
                                $(inout($low) sums[$r][0], inout($high) sums[$r][1],)*
                                out("zmm28") _, out("zmm29") _, out("zmm30") _, out("zmm31") _, out("k1") _,
                                options(nostack)
                            );
                        }
                        block = block.wrapping_add(products.a_block);
                    }
                    // Written out: a loop so long stays one, and its sums in memory.
                    $(
                        // SAFETY: C has so many rows of two vectors.
                        unsafe {
                            let row = products.c.add($r * WIDTH);
                            _mm512_storeu_ps(row, sums[$r][0]);
                            _mm512_storeu_ps(row.add(PANEL), sums[$r][1]);
                        }
                    )*
                }
            }
        };
    }

    tiles!([]
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
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;
    use crate::optim::{AdamVectors, Clip, Group, Rows, sweep_rows};
    use crate::simd::{Isa, Kernel, Simd};

    /// What a group's rule makes of numbers of every kind, by the loop over flat memory.
    struct Sweep<'a>(&'a AdamRule<f32>, &'a mut [Vec<f32>; 3], &'a [f32], usize);

    impl Kernel for Sweep<'_> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, simd: S) {
            let Self(rule, [weights, first, second], gradient, rows) = self;
            let rule = AdamVectors::<S::F32>::new(simd, rule);
            let rows = Rows {
                rows,
                columns: WIDTH,
                weights: weights.as_mut_ptr(),
                slots: [first.as_mut_ptr(), second.as_mut_ptr()],
                stride: STRIDE,
                gradient: gradient.as_ptr(),
                gradient_stride: WIDTH,
            };
            // SAFETY: the buffers hold so many rows.
            unsafe { sweep_rows(simd, rule, Clip::none(), rows) }
        }
    }

    /// Between rows of the weights.
    const STRIDE: usize = 50;

    fn many(seed: u32, count: usize) -> Vec<f32> {
        let special = [
            0.0,
            -0.0,
            1e-45,
            -1e-38,
            2f32.powi(-55),
            2f32.powi(-56),
            3e-20,
            1e19,
            -3e38,
            f32::INFINITY,
            f32::NAN,
        ];
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 8
        };
        (0..count)
            .map(|_| match next() % 8 {
                0 => special[next() as usize % special.len()],
                _ => next() as f32 / 8e6 - 1.0,
            })
            .collect()
    }

    fn bits(values: &[f32]) -> Vec<u32> {
        let one_nan = |v: &f32| if v.is_nan() { f32::NAN } else { *v };
        values.iter().map(|v| one_nan(v).to_bits()).collect()
    }

    #[test]
    fn a_tile_is_its_products_and_the_update_that_of_the_sweep() {
        let Ok(isa) = "avx512".parse::<Isa>() else {
            return println!("not tested: this machine has no AVX-512");
        };
        let decaying = Group {
            weight_decay: 0.1,
            ..Group::new(0.01)
        };
        let rules = [
            AdamRule::new(&Group::new(0.1), 0.1, [0.9, 0.99], false),
            AdamRule::new(&decaying, 0.01, [0.5, 0.9], true),
        ];
        for rows in 1..=MOST_ROWS {
            for k in [1, 2, 3, 15, 16, 17, 64, 100] {
                check(isa, &rules[(rows + k) % 2], rows, k);
            }
        }
    }

    fn check(isa: Isa, rule: &AdamRule<f32>, rows: usize, k: usize) {
        let (a_block, b_panel) = (MOST_ROWS * PANEL + 5, k * PANEL + 3);
        let a = many(1, k.div_ceil(PANEL) * a_block);
        let b = many(2, 2 * b_panel);
        let gradient = many(3, MOST_ROWS * WIDTH);
        let mut plain = [4, 5, 6].map(|seed| many(seed, MOST_ROWS * STRIDE));
        plain[2].iter_mut().for_each(|v| *v = v.abs());
        let mut updated = plain.clone();
        let mut c = vec![0.0; rows * WIDTH];
        let [weights, first, second] = updated.each_mut().map(|buffer| buffer.as_mut_ptr());
        let mut waiting = Waiting {
            weights,
            first,
            second,
            stride: STRIDE,
            gradient: gradient.as_ptr(),
            rows: MOST_ROWS,
        };
        let products = Products {
            k,
            a: a.as_ptr(),
            a_block,
            b: b.as_ptr(),
            b_panel,
            c: c.as_mut_ptr(),
            ahead: None,
            first_row: 0,
        };
        // SAFETY: the machine has AVX-512, and the buffers hold what is said.
        unsafe { run(rows, &products, &mut waiting, &Constants::new(rule)) };
        let done = MOST_ROWS - waiting.rows;
        assert!(done > 0 || k == 1, "{rows} rows, {k} k");
        assert_eq!(waiting.gradient, gradient[done * WIDTH..].as_ptr());
        isa.run(Sweep(rule, &mut plain, &gradient, done));
        for (updated, plain) in updated.iter().zip(&plain) {
            assert!(bits(updated) == bits(plain), "{rows} rows, {k} k");
        }
        for (at, &c) in c.iter().enumerate() {
            let (row, column) = (at / WIDTH, at % WIDTH);
            let chain = (0..k).fold(0f32, |sum, k| {
                let a = a[k / PANEL * a_block + row * PANEL + k % PANEL];
                a.mul_add(
                    b[column / PANEL * b_panel + k * PANEL + column % PANEL],
                    sum,
                )
            });
            assert_eq!(
                bits(&[c]),
                bits(&[chain]),
                "{rows} rows, {k} k, {row}, {column}"
            );
        }
    }
}
