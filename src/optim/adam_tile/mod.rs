//! Tiles of a weight gradient with Adam's update of other rows beside them, for AVX-512 and AVX2.
//!
//! In assembly: between the products a compiler would move the loads of the one and the other about until the sums no
//! longer fit the registers. Here the sums have all but four of them; two vectors of B and an element of A have three, and the
//! update has these, between two k, and the last. The arithmetic is that of [`AdamVectors`](super::AdamVectors), instruction
//! by instruction.

#![allow(unsafe_code)]

use super::AdamRule;
use super::adam::{MOMENT_FLOOR, SQUARED_FLOOR, power_of_two};
use crate::gemm::Ahead;
use crate::simd::{Element, Simd, Vector};

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
    /// Whether `keep` changes anything: a multiplication that does not would take the multipliers from the products.
    shrinks: u32,
}

impl Constants {
    pub fn new<T: Element>(rule: &AdamRule<T>) -> Self {
        Self {
            squared_floor: power_of_two(SQUARED_FLOOR),
            gain1: rule.gain1.to_f64() as f32,
            gain2: rule.gain2.to_f64() as f32,
            beta1: rule.beta1.to_f64() as f32,
            beta2: rule.beta2.to_f64() as f32,
            magnitude: u32::MAX >> 1,
            moment_floor: power_of_two(MOMENT_FLOOR),
            epsilon: rule.epsilon.to_f64() as f32,
            negative_rate: rule.negative_rate.to_f64() as f32,
            keep: rule.keep.to_f64() as f32,
            shrinks: u32::from(rule.keep != T::ONE),
        }
    }
}

/// Floats of a tile's row: two vectors.
pub const fn width<S: Simd>() -> usize {
    2 * <S::F32 as Vector>::LANES
}

/// The products of a tile. A's rows lie [`PANEL`](crate::gemm::PANEL) elements apart, its k side by side in blocks of as many, so
/// far apart.
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
pub struct Products<'a> {
    pub k: usize,
    pub a: *const f32,
    pub a_block: usize,
    pub b: *const f32,
    /// From a tile's first vector of B to its second.
    pub b_second: usize,
    /// Rows of [`width`] floats.
    pub c: *mut f32,
    /// What is asked for meanwhile, from this row on.
    pub ahead: Option<&'a Ahead<f32>>,
    pub first_row: usize,
}

/// Rows of two vectors to be updated, the next one first.
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
pub struct Waiting {
    pub weights: *mut f32,
    pub first: *mut f32,
    pub second: *mut f32,
    /// Between the rows of these three.
    pub stride: usize,
    /// Rows of [`width`] floats.
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
/// The tile's elements lie in memory that may be read, C and what waits also written, with no other thread at it.
///
/// # Panics
/// On more rows than a tile has, or none; on an instruction set without such tiles.
#[inline(always)]
pub unsafe fn run<S: Simd>(
    _: S,
    rows: usize,
    products: &Products<'_>,
    waiting: &mut Waiting,
    rule: &Constants,
) {
    assert!(S::ADAM_TILES);
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the caller's; two instruction sets have such tiles, which differ in their lanes, and the token proves theirs.
    unsafe {
        if width::<S>() == avx512::WIDTH {
            avx512::run(rows, products, waiting, rule);
        } else {
            avx2::run(rows, products, waiting, rule);
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (rows, products, waiting, rule);
}

/// `run`, and the tile of every height from one row to as many as are given (index, bytes from the first row's A, registers).
/// The instruction set has `products!`, of one k (offset in A and B), and `update!`, of a vector (offset in its row).
#[cfg(target_arch = "x86_64")]
macro_rules! tiles {
    ($form:tt [$($r:literal)*] $($row:tt)*) => {
        /// # Safety
        /// As [`super::run`], on a machine with these instructions.
        #[inline(always)]
        pub unsafe fn run(
            rows: usize,
            products: &Products<'_>,
            waiting: &mut Waiting,
            rule: &Constants,
        ) {
            match rows {
                // SAFETY: the caller's.
                $($r => unsafe { Height::<$r>::run(products, waiting, rule) },)*
                _ => unreachable!("no tile of {rows} rows"),
            }
        }

        /// A tile's height.
        struct Height<const R: usize>;

        heights!($form [] $($row)*);
    };
}

#[cfg(target_arch = "x86_64")]
macro_rules! heights {
    ($form:tt [$($row:tt)*]) => {};
    ($form:tt [$($done:tt)*] ($rows:tt $($row:tt)*) $($rest:tt)*) => {
        tile!($form $rows, $($done)* ($($row)*));
        heights!($form [$($done)* ($($row)*)] $($rest)*);
    };
}

#[cfg(target_arch = "x86_64")]
macro_rules! tile {
    (
        [$features:tt $vector:tt $zero:ident $store:ident, $bytes:tt a vector, between $scratch:tt]
        $rows:tt, $(($r:tt $offset:tt $low:tt $high:tt))*
    ) => {
        impl Height<$rows> {
            /// # Safety
            /// As [`run`].
            #[target_feature(enable = $features)]
            unsafe fn run(products: &Products<'_>, waiting: &mut Waiting, rule: &Constants) {
                let mut sums: [[$vector; 2]; $rows] = [[$zero(); 2]; $rows];
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
                    tile!(@asm $scratch $bytes, block, b, products, waiting, rule, rows, k, sums, $(($r $offset $low $high))*);
                    block = block.wrapping_add(products.a_block);
                }
                // Written out: a loop so long stays one, and its sums in memory.
                $(
                    // SAFETY: C has so many rows of two vectors.
                    unsafe {
                        let row = products.c.add($r * WIDTH);
                        $store(row, sums[$r][0]);
                        $store(row.add(WIDTH / 2), sums[$r][1]);
                    }
                )*
            }
        }
    };
    (
        @asm [$($scratch:tt)*] $bytes:tt, $block:ident, $b:ident, $products:ident, $waiting:ident, $rule:ident, $rows:ident,
        $k:ident, $sums:ident, $(($r:tt $offset:tt $low:tt $high:tt))*
    ) => {
        // SAFETY: the operands that the caller vouches for, and the machine has the instructions. The sums are in the registers
        // named.
        unsafe {
            asm!(
                "test {rows}, {rows}",
                "je 3f",
                "2:",
                products!(0: $($offset $low $high)*),
                update!(0),
                products!(1: $($offset $low $high)*),
                update!($bytes),
                "add {a}, 8",
                "add {b}, 128",
                "add {weights}, {stride}",
                "add {first}, {stride}",
                "add {second}, {stride}",
                concat!("add {gradient}, 2 * ", $bytes),
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
                a = inout(reg) $block => _,
                b = inout(reg) $b,
                second_b = in(reg) 4 * $products.b_second,
                weights = inout(reg) $waiting.weights,
                first = inout(reg) $waiting.first,
                second = inout(reg) $waiting.second,
                stride = in(reg) 4 * $waiting.stride,
                gradient = inout(reg) $waiting.gradient,
                rule = in(reg) $rule,
                rows = inout(reg) $rows => _,
                k = inout(reg) $k - 2 * $rows => _,
                $(inout($low) $sums[$r][0], inout($high) $sums[$r][1],)*
                $($scratch)*
                options(nostack)
            );
        }
    };
}

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;
    use crate::gemm::PANEL;
    use crate::optim::{AdamVectors, Clip, Group, Rows, sweep_rows};
    use crate::simd::{Isa, Kernel};

    /// Between rows of the weights.
    const STRIDE: usize = 50;

    /// Numbers of every kind.
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

    /// A tile of some rows and k beside the update of as many rows as fit, against plain chains and the loop over flat memory.
    struct Check<'a> {
        rule: &'a AdamRule<f32>,
        rows: usize,
        k: usize,
    }

    impl Kernel for Check<'_> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, simd: S) {
            let Self { rule, rows, k } = self;
            let case = format!("{rows} rows of {}, {k} k", width::<S>());
            let (width, lanes) = (width::<S>(), width::<S>() / 2);
            let (a_block, b_panel) = (S::TILE_ROWS * PANEL + 5, k * PANEL + 3);
            let a = many(1, k.div_ceil(PANEL) * a_block);
            let b = many(2, 2 * b_panel);
            let gradient = many(3, S::TILE_ROWS * width);
            let mut plain = [4, 5, 6].map(|seed| many(seed, S::TILE_ROWS * STRIDE));
            plain[2].iter_mut().for_each(|v| *v = v.abs());
            let mut updated = plain.clone();
            let mut c = vec![0.0; rows * width];
            let [weights, first, second] = updated.each_mut().map(|buffer| buffer.as_mut_ptr());
            let mut waiting = Waiting {
                weights,
                first,
                second,
                stride: STRIDE,
                gradient: gradient.as_ptr(),
                rows: S::TILE_ROWS,
            };
            let products = Products {
                k,
                a: a.as_ptr(),
                a_block,
                b: b.as_ptr(),
                b_second: if lanes == PANEL { b_panel } else { lanes },
                c: c.as_mut_ptr(),
                ahead: None,
                first_row: 0,
            };
            // SAFETY: the buffers hold what is said.
            unsafe { super::run(simd, rows, &products, &mut waiting, &Constants::new(rule)) };
            let done = S::TILE_ROWS - waiting.rows;
            assert!(done == S::TILE_ROWS || done * 2 + PANEL > k, "{case}");
            assert_eq!(waiting.gradient, gradient[done * width..].as_ptr());
            let [weights, first, second] = plain.each_mut().map(|buffer| buffer.as_mut_ptr());
            let swept = Rows {
                rows: done,
                columns: width,
                weights,
                slots: [first, second],
                stride: STRIDE,
                gradient: gradient.as_ptr(),
                gradient_stride: width,
            };
            // SAFETY: as above.
            unsafe {
                sweep_rows(
                    simd,
                    AdamVectors::<S::F32>::new(simd, rule),
                    Clip::none(),
                    swept,
                )
            };
            for (updated, plain) in updated.iter().zip(&plain) {
                assert!(bits(updated) == bits(plain), "{case}");
            }
            for (at, &c) in c.iter().enumerate() {
                let (row, column) = (at / width, at % width);
                let chain = (0..k).fold(0f32, |sum, k| {
                    let a = a[k / PANEL * a_block + row * PANEL + k % PANEL];
                    a.mul_add(
                        b[column / PANEL * b_panel + k * PANEL + column % PANEL],
                        sum,
                    )
                });
                assert_eq!(bits(&[c]), bits(&[chain]), "{case}, {row}, {column}");
            }
        }
    }

    #[test]
    fn a_tile_is_its_products_and_the_update_that_of_the_sweep() {
        let decaying = Group {
            weight_decay: 0.1,
            ..Group::new(0.01)
        };
        let rules = [
            AdamRule::new(&Group::new(0.1), 0.1, [0.9, 0.99], false),
            AdamRule::new(&decaying, 0.01, [0.5, 0.9], true),
        ];
        for (name, most_rows) in [("avx2", 6), ("avx512", 14)] {
            let Ok(isa) = name.parse::<Isa>() else {
                println!("not tested: this machine has no {name}");
                continue;
            };
            for rows in 1..=most_rows {
                for k in [1, 2, 3, 15, 16, 17, 64, 100] {
                    let rule = &rules[(rows + k) % 2];
                    isa.run(Check { rule, rows, k });
                }
            }
        }
    }
}
