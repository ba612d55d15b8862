//! Every product on every instruction set against plain loops: the same bits as one scalar chain, and close to float64.

#[cfg(unix)]
mod bounds;
mod packing;

use super::pack::{Scale, Source, pack_rows};
use super::turn::{blocks, panels_to_columns, unpack_rows};
use super::*;
use crate::buffer::Aligned;
use crate::pool::Shared;
use crate::simd::{Element, Isa, Kernel, Simd};
use std::ptr::null;

/// A scalar fused multiply-add from the standard library.
trait Scalar: Element {
    fn fma(self, b: Self, c: Self) -> Self;
}
impl Scalar for f32 {
    fn fma(self, b: Self, c: Self) -> Self {
        self.mul_add(b, c)
    }
}
impl Scalar for f64 {
    fn fma(self, b: Self, c: Self) -> Self {
        self.mul_add(b, c)
    }
}

struct Random(u64);
impl Random {
    fn next<T: Element>(&mut self) -> T {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        T::from_f64((self.0 >> 11) as f64 / (1u64 << 52) as f64 - 1.0)
    }
    fn many<T: Element>(&mut self, n: usize) -> Aligned<T> {
        let mut buffer = Aligned::zeros(n);
        buffer.iter_mut().for_each(|value| *value = self.next());
        buffer
    }
}

struct Call<F>(F);
trait OnSimd {
    type Output;
    fn on<S: Simd>(self, simd: S) -> Self::Output;
}
impl<F: OnSimd> Kernel for Call<F> {
    type Output = F::Output;
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> F::Output {
        self.0.on(simd)
    }
}

/// A product, in `parts` pieces as that many threads would do it.
struct InParts<'a, T> {
    product: &'a Product<T>,
    parts: usize,
}
impl<T: Element> OnSimd for InParts<'_, T> {
    type Output = ();
    #[inline(always)]
    fn on<S: Simd>(self, simd: S) {
        let product = self.product;
        let mut packed = vec![T::ZERO; packed_len::<T>(product.rows, product.k)];
        let mut seen = vec![0u8; product.rows * product.columns];
        for part in 0..self.parts {
            let share = |all| all * part / self.parts..all * (part + 1) / self.parts;
            // SAFETY: the operands are as large as the product says; one thread.
            unsafe {
                product.run(simd, share, packed.as_mut_ptr(), |rows, columns| {
                    for row in rows {
                        for column in columns.clone() {
                            seen[row * product.columns + column] += 1;
                        }
                    }
                });
            }
        }
        assert!(
            seen.iter().all(|&count| count == 1),
            "every element is finished once"
        );
    }
}

struct Pack<'a, T> {
    source: Source<'a, T>,
    scale: Option<Scale<'a, T>>,
    rows: usize,
    features: usize,
    panels: &'a mut [T],
    columns: Option<&'a mut [T]>,
}
impl<T: Element> OnSimd for Pack<'_, T> {
    type Output = ();
    #[inline(always)]
    fn on<S: Simd>(self, simd: S) {
        let panels = Shared::new(self.panels);
        let columns = self.columns.map(Shared::new);
        // SAFETY: one thread, buffers of panels_len.
        unsafe {
            let range = 0..self.rows.div_ceil(PANEL);
            pack_rows(
                simd,
                &self.source,
                self.scale,
                self.rows,
                self.features,
                range,
                panels,
                columns,
            );
        }
    }
}

fn pack<T: Element>(
    isa: Isa,
    matrix: &[T],
    rows: usize,
    features: usize,
) -> (Aligned<T>, Aligned<T>) {
    let mut panels = Aligned::zeros(panels_len(rows, features));
    let mut columns = Aligned::zeros(panels_len(features, rows));
    let source = Source::rows(matrix, features);
    isa.run(Call(Pack {
        source,
        scale: None,
        rows,
        features,
        panels: &mut panels,
        columns: Some(&mut columns),
    }));
    (panels, columns)
}

fn same<T: Element>(a: T, b: T) -> bool {
    a.to_bits() == b.to_bits() || (a.to_f64().is_nan() && b.to_f64().is_nan())
}

fn relu<T: Element>(x: T) -> T {
    if x <= T::ZERO { T::ZERO } else { x }
}

/// The sum of a forward product as the design states it: one chain from the bias, or 16 interleaved ones.
fn chain_of<T: Scalar>(outputs: usize, bias: T, products: impl Iterator<Item = (T, T)>) -> T {
    let terms: Vec<_> = products.collect();
    if Join::of(outputs, terms.len()) == Join::Chain {
        return terms.iter().fold(bias, |sum, &(a, b)| a.fma(b, sum));
    }
    let mut sums = [T::ZERO; 16];
    for (k, &(a, b)) in terms.iter().enumerate() {
        sums[k % 16] = a.fma(b, sums[k % 16]);
    }
    for width in [8, 4, 2, 1] {
        for c in 0..width {
            sums[c] = sums[c] + sums[c + width];
        }
    }
    sums[0] + bias
}

/// All products of one layer and batch, on one instruction set.
fn check_layer<T: Scalar>(isa: Isa, outputs: usize, inputs: usize, batch: usize, parts: usize) {
    let mut random = Random((outputs * 10007 + inputs * 101 + batch) as u64);
    let weights = random.many::<T>(outputs * inputs);
    let bias = random.many::<T>(outputs);
    let x = random.many::<T>(batch * inputs);
    let dout = random.many::<T>(batch * outputs);
    let (x_panels, x_columns) = pack(isa, &x, batch, inputs);
    let (dout_panels, _) = pack(isa, &dout, batch, outputs);
    let what = format!(
        "{} {isa:?} {outputs} x {inputs} @ {batch} in {parts}",
        T::NAME
    );
    let panel_at = |features: usize, r: usize, j: usize| {
        r / PANEL * panel_stride(features) + j * PANEL + r % PANEL
    };

    // Forward with a fused ReLU.
    let mut z = Aligned::<T>::zeros(panels_len(batch, outputs));
    let forward = Product {
        rows: outputs,
        columns: batch,
        k: inputs,
        a: Operand::plain(weights.as_ptr(), inputs, 1),
        b: x_panels.as_ptr(),
        b_panel: panel_stride(inputs),
        c: Target {
            start: z.as_mut_ptr(),
            row: PANEL,
            panel: panel_stride(outputs),
            begin: Start::Rows(bias.as_ptr()),
            epilogue: Epilogue::Relu,
            kept: null(),
            local: false,
        },
        join: Join::of(outputs, inputs),
        ahead: Ahead::nothing(),
        pack_a: false,
    };
    isa.run(Call(InParts {
        product: &forward,
        parts,
    }));
    for r in 0..batch {
        for o in 0..outputs {
            let terms = (0..inputs).map(|i| (weights[o * inputs + i], x[r * inputs + i]));
            let want = relu(chain_of(outputs, bias[o], terms.clone()));
            let got = z[panel_at(outputs, r, o)];
            assert!(same(got, want), "{what}: z[{r}, {o}] = {got}, not {want}");
            let exact = terms
                .fold(bias[o].to_f64(), |sum, (a, b)| {
                    sum + a.to_f64() * b.to_f64()
                })
                .max(0.0);
            let bound = T::from_f64(1e-6).to_f64() * (1.0 + inputs as f64);
            assert!(
                (got.to_f64() - exact).abs() <= bound,
                "{what}: z[{r}, {o}] = {got}, exactly {exact}"
            );
        }
    }

    // The gradient of the input, masked by the ReLU's output before.
    let kept = random.many::<T>(panels_len(batch, inputs));
    for pack_a in [false, true] {
        let mut dx = Aligned::<T>::zeros(panels_len(batch, inputs));
        let back = Product {
            rows: inputs,
            columns: batch,
            k: outputs,
            a: Operand::plain(weights.as_ptr(), 1, inputs),
            b: dout_panels.as_ptr(),
            b_panel: panel_stride(outputs),
            c: Target {
                start: dx.as_mut_ptr(),
                row: PANEL,
                panel: panel_stride(inputs),
                begin: Start::Zero,
                epilogue: Epilogue::ReluMask,
                kept: kept.as_ptr(),
                local: false,
            },
            join: Join::Chain,
            ahead: Ahead::nothing(),
            pack_a,
        };
        isa.run(Call(InParts {
            product: &back,
            parts,
        }));
        for r in 0..batch {
            for i in 0..inputs {
                let sum = (0..outputs).fold(T::ZERO, |sum, o| {
                    weights[o * inputs + i].fma(dout[r * outputs + o], sum)
                });
                let want = if kept[panel_at(inputs, r, i)] <= T::ZERO {
                    T::ZERO
                } else {
                    sum
                };
                let got = dx[panel_at(inputs, r, i)];
                assert!(same(got, want), "{what}: dx[{r}, {i}] = {got}, not {want}");
            }
        }
    }

    // The gradient of the weights, over chunks of the batch, overwriting and adding.
    let mut dw = random.many::<T>(outputs * inputs);
    let chunked = |o: usize, i: usize| {
        (0..batch.div_ceil(CHUNK))
            .map(move |chunk| chunk * CHUNK..batch.min((chunk + 1) * CHUNK))
            .map(move |rows| (o, i, rows))
    };
    for accumulate in [false, true] {
        let before = dw.to_vec();
        let gradient = Product {
            rows: outputs,
            columns: inputs,
            k: batch,
            a: Operand {
                start: dout_panels.as_ptr(),
                row: PANEL,
                k: 1,
                block: panel_stride(outputs),
                k_block: PANEL,
            },
            b: x_columns.as_ptr(),
            b_panel: panel_stride(batch),
            c: Target {
                start: dw.as_mut_ptr(),
                row: inputs,
                panel: PANEL,
                begin: Start::Zero,
                epilogue: Epilogue::Store,
                kept: null(),
                local: false,
            },
            join: Join::Chunks { accumulate },
            ahead: Ahead::nothing(),
            pack_a: false,
        };
        isa.run(Call(InParts {
            product: &gradient,
            parts,
        }));
        for o in 0..outputs {
            for i in 0..inputs {
                let parts = chunked(o, i).map(|(o, i, rows)| {
                    rows.fold(T::ZERO, |sum, r| {
                        dout[r * outputs + o].fma(x[r * inputs + i], sum)
                    })
                });
                let mut want = if accumulate {
                    Some(before[o * inputs + i])
                } else {
                    None
                };
                for part in parts {
                    want = Some(want.map_or(part, |sum| sum + part));
                }
                let got = dw[o * inputs + i];
                let want = want.unwrap_or(T::ZERO);
                assert!(same(got, want), "{what}: dw[{o}, {i}] = {got}, not {want}");
            }
        }
    }

    // Prediction over packed weights: the roles of the operands exchanged, the same chains; asking for nothing, or for far
    // weights.
    let (packed_weights, _) = pack(isa, &weights, outputs, inputs);
    let plain = Operand::plain(x.as_ptr(), inputs, 1);
    for a in [plain, plain.in_blocks(16)] {
        let mut y = Aligned::<T>::zeros(batch * outputs);
        let prediction = Product {
            rows: batch,
            columns: outputs,
            k: inputs,
            a,
            b: packed_weights.as_ptr(),
            b_panel: panel_stride(inputs),
            c: Target {
                start: y.as_mut_ptr(),
                row: outputs,
                panel: PANEL,
                begin: Start::Columns(bias.as_ptr()),
                epilogue: Epilogue::Relu,
                kept: null(),
                local: false,
            },
            join: Join::of(outputs, inputs),
            ahead: Ahead::nothing(),
            pack_a: false,
        };
        isa.run(Call(InParts {
            product: &prediction,
            parts,
        }));
        for r in 0..batch {
            for o in 0..outputs {
                let (got, want) = (y[r * outputs + o], z[panel_at(outputs, r, o)]);
                assert!(
                    same(got, want),
                    "{what}: y[{r}, {o}] = {got}, in training {want}"
                );
            }
        }
    }
}

const SIZES: [usize; 15] = [0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 100, 257];

#[test]
fn every_product_of_pairwise_sizes_on_every_instruction_set() {
    for isa in Isa::tested() {
        // For each two of the three sizes, every pair of values occurs.
        for (a, &first) in SIZES.iter().enumerate() {
            for (b, &second) in SIZES.iter().enumerate() {
                let third = SIZES[(a + b) % SIZES.len()];
                check_layer::<f32>(isa, first, second, third, 1 + (a + 2 * b) % 4);
                if (a + b) % 2 == 0 || isa == Isa::best() {
                    check_layer::<f64>(isa, first, second, third, 1 + (2 * a + b) % 4);
                }
            }
        }
    }
}

#[test]
fn every_product_of_small_sizes() {
    let step = if cfg!(feature = "exhaustive") { 1 } else { 3 };
    for isa in Isa::tested() {
        for outputs in 0..=17 {
            for inputs in (outputs % step..=17).step_by(step) {
                for batch in ((outputs + inputs / step) % step..=17).step_by(step) {
                    check_layer::<f32>(isa, outputs, inputs, batch, 1 + batch % 3);
                    check_layer::<f64>(isa, outputs, inputs, batch, 1 + batch % 3);
                }
            }
        }
    }
}

#[test]
fn products_past_each_block() {
    for isa in Isa::available() {
        for (outputs, inputs, batch) in [
            (1037, 70, 33),
            (1037, 270, 33),
            (13, 1037, 270),
            (70, 33, 1037),
            (5, 5003, 17),
            (20, 5003, 3),
            (17, 3, 5003),
        ] {
            check_layer::<f32>(isa, outputs, inputs, batch, 2);
        }
        check_layer::<f64>(isa, 33, 5003, 17, 3);
    }
}

#[test]
fn gradients_of_the_input_whose_tiles_pack() {
    for isa in Isa::tested() {
        for (outputs, batch) in [(127, 32), (128, 32), (200, 31), (600, 70)] {
            // Tiles of all heights, and slots that end with the matrix.
            for inputs in [11, 12, 13, 14, 16, 27, 30, 40, 100] {
                check_layer::<f32>(isa, outputs, inputs, batch, 1 + inputs % 3);
            }
        }
    }
}

#[test]
fn a_chain_continues_over_parts_of_k() {
    // Deep enough that a group of B exceeds half of any second-level cache up to 4 MiB.
    for isa in Isa::available() {
        check_layer::<f32>(isa, 17, 40_000, 18, 1);
    }
}

#[test]
fn nothing_is_written_outside_the_target() {
    for isa in Isa::tested() {
        let (outputs, inputs, batch) = (5, 3, 7);
        let x = vec![1.0f32; batch * inputs];
        let (weights, _) = pack(isa, &vec![1.0f32; outputs * inputs], outputs, inputs);
        let mut y = vec![-7.0f32; batch * outputs + 1];
        let prediction = Product {
            rows: batch,
            columns: outputs,
            k: inputs,
            a: Operand::plain(x.as_ptr(), inputs, 1),
            b: weights.as_ptr(),
            b_panel: panel_stride(inputs),
            c: Target {
                start: y.as_mut_ptr(),
                row: outputs,
                panel: PANEL,
                begin: Start::Zero,
                epilogue: Epilogue::Store,
                kept: null(),
                local: false,
            },
            join: Join::Chain,
            ahead: Ahead::nothing(),
            pack_a: false,
        };
        isa.run(Call(InParts {
            product: &prediction,
            parts: 1,
        }));
        assert_eq!(y[batch * outputs], -7.0);
        assert!(y[..batch * outputs].iter().all(|&v| v == 3.0));
    }
}
