//! The affine map with its activation as a function on matrices.

#![allow(unsafe_code)]

use super::few::{self, FewRows};
use super::{BLOCK_ROWS, Shape};
use crate::activation::{self, Activation};
use crate::buffer::{APART, with_scratch};
use crate::cache;
use crate::gemm::pack::{Source, pack_rows};
use crate::gemm::turn::unpack_rows;
use crate::gemm::{Epilogue, PANEL, Product, panel_stride, panels_len};
use crate::pool::{self, Shared};
use crate::simd::{Element, Isa, Kernel, Simd};
use std::ops::Range;
use std::ptr::null_mut;

/// Rows that go through a product side by side.
const GROUP: usize = 2 * PANEL;

/// out ← f(x·weightᵀ + bias) for `rows` rows. Each thread does some of the rows; where they are too few, all of them for
/// some of the outputs.
///
/// # Safety
/// `x` holds `rows` rows of `inputs` elements that nobody writes meanwhile.
///
/// # Panics
/// If a slice has another length than the shape says.
pub unsafe fn linear<T: Element>(
    isa: Isa,
    shape: Shape,
    x: Source<'_, T>,
    weight: &[T],
    bias: Option<&[T]>,
    activation: Activation,
    out: &mut [T],
) {
    let Shape {
        outputs,
        inputs,
        rows,
    } = shape;
    assert!(weight.len() == outputs * inputs && out.len() == rows * outputs);
    assert!(bias.is_none_or(|bias| bias.len() == outputs));
    let threads = pool::num_threads();
    let few = few::pays(shape, &x);
    let block = (BLOCK_ROWS / threads)
        .next_multiple_of(GROUP)
        .min(rows.next_multiple_of(PANEL));
    let (x_len, z_len) = (panels_len(block, inputs), panels_len(block, outputs));
    let (each, flops) = if few {
        (0, few::flops(shape))
    } else {
        (x_len + z_len + APART / size_of::<T>(), shape.flops())
    };
    with_scratch(each * threads, |scratch| {
        let (scratch, out) = (Shared::new(scratch), Shared::new(out));
        pool::run(flops, &|member| {
            let (mut my_rows, mut my_outputs) = (0..rows, 0..outputs);
            if rows >= GROUP * member.count {
                let groups = member.share(rows.div_ceil(GROUP));
                my_rows = groups.start * GROUP..rows.min(groups.end * GROUP);
            } else {
                let panels = member.share(outputs.div_ceil(PANEL));
                my_outputs = panels.start * PANEL..outputs.min(panels.end * PANEL);
            }
            if my_rows.is_empty() || my_outputs.is_empty() {
                return;
            }
            let weight = &weight[my_outputs.start * inputs..my_outputs.end * inputs];
            let bias = bias.map(|bias| &bias[my_outputs.clone()]);
            // SAFETY: each member has its own part.
            let scratch = unsafe { scratch.write(member.index * each..(member.index + 1) * each) };
            if few {
                // While it slept, the caller may have read all weights.
                if member.woken {
                    cache::claim(weight);
                }
                isa.run(FewRows {
                    shape,
                    outputs: my_outputs,
                    x,
                    weight,
                    bias,
                    activation,
                    out,
                });
            } else {
                let (panels, z) = scratch.split_at_mut(x_len);
                isa.run(Part {
                    shape,
                    block,
                    rows: my_rows,
                    outputs: my_outputs,
                    x,
                    weight,
                    bias,
                    activation,
                    panels: Shared::new(panels),
                    z: Shared::new(z),
                    out,
                });
            }
        });
    });
}

/// Some rows and outputs of a result, which one thread computes.
struct Part<'a, T> {
    shape: Shape,
    /// Rows at a time, so that scratch memory stays bounded.
    block: usize,
    rows: Range<usize>,
    outputs: Range<usize>,
    x: Source<'a, T>,
    /// Of these outputs.
    weight: &'a [T],
    bias: Option<&'a [T]>,
    activation: Activation,
    /// A block of x and of the result, in panels.
    panels: Shared<'a, T>,
    z: Shared<'a, T>,
    out: Shared<'a, T>,
}

impl<T: Element> Kernel for Part<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let outputs = self.outputs.len();
        let Shape { inputs, .. } = self.shape;
        let fused = matches!(self.activation, Activation::Relu | Activation::Identity);
        let epilogue = if self.activation == Activation::Relu {
            Epilogue::Relu
        } else {
            Epilogue::Store
        };
        for first in self.rows.clone().step_by(self.block) {
            let rows = self.block.min(self.rows.end - first);
            let all = 0..rows.div_ceil(PANEL);
            let x = self.x.from_row(first);
            // SAFETY: the panels and this part of the result are this thread's alone.
            unsafe {
                pack_rows(simd, &x, None, rows, inputs, all.clone(), self.panels, None);
                let shape = Shape {
                    outputs,
                    inputs,
                    rows,
                };
                let (x, z) = (self.panels.as_ptr(), self.z.as_ptr());
                let bias = self.bias.map(<[T]>::as_ptr);
                let product = Product {
                    join: self.shape.join(),
                    ..shape.forward(self.weight.as_ptr(), bias, x, z, epilogue)
                };
                product.run(
                    simd,
                    |all| 0..all,
                    null_mut(),
                    |features, columns| {
                        if fused {
                            return;
                        }
                        for panel in columns.start / PANEL..columns.end.div_ceil(PANEL) {
                            let at = panel * panel_stride(outputs);
                            let range = at + features.start * PANEL..at + features.end * PANEL;
                            activation::forward_in_place(
                                simd,
                                self.activation,
                                self.z.write(range),
                            );
                        }
                    },
                );
                let stride = self.shape.outputs;
                let start = first * stride + self.outputs.start;
                let len = (rows - 1) * stride + outputs;
                let target = Shared::from_raw(self.out.as_ptr().add(start), len);
                unpack_rows(simd, rows, outputs, all, self.z, target, stride);
            }
        }
    }
}
