//! The affine map of a layer, Z = X·Wᵀ + b, and its gradients: as products over panels, and as functions on matrices.

#![allow(unsafe_code)]

use crate::activation::{self, Activation};
use crate::buffer::with_scratch;
use crate::gemm::pack::{Source, pack_rows, sum_rows, unpack_rows};
use crate::gemm::{
    Ahead, Epilogue, Join, Operand, PANEL, Product, Start, Target, chained, packed_len,
    panel_stride, panels_len,
};
use crate::pool::{self, Member, Shared};
use crate::simd::{Element, Isa, Kernel, Simd};
use std::ptr::{null, null_mut};

/// The sizes of a layer and a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    pub outputs: usize,
    pub inputs: usize,
    pub rows: usize,
}

/// Inputs from which on packing the columns of W pays; below, they are read in place.
const PACK_FROM: usize = 128;

impl Shape {
    /// Zᵀ = W·Xᵀ + b, over panels.
    pub fn forward<T>(
        self,
        weight: *const T,
        bias: Option<*const T>,
        x: *const T,
        out: *mut T,
        epilogue: Epilogue,
    ) -> Product<T> {
        let chains = chained(self.outputs, self.inputs);
        Product {
            rows: self.outputs,
            columns: self.rows,
            k: self.inputs,
            a: Operand::plain(weight, self.inputs, 1),
            b: x,
            b_panel: panel_stride(self.inputs),
            c: Target {
                start: out,
                row: PANEL,
                panel: panel_stride(self.outputs),
                begin: bias.map_or(Start::Zero, Start::Rows),
                epilogue,
                kept: null(),
                local: false,
            },
            join: if chains {
                Join::Interleaved
            } else {
                Join::Chain
            },
            ahead: Ahead::nothing(),
            pack_a: false,
        }
    }

    /// dXᵀ = Wᵀ·dZᵀ, over panels; zero where a `kept` ReLU output is not above zero.
    pub fn input_gradient<T>(
        self,
        weight: *const T,
        dout: *const T,
        dx: *mut T,
        kept: Option<*const T>,
    ) -> Product<T> {
        Product {
            rows: self.inputs,
            columns: self.rows,
            k: self.outputs,
            a: Operand::plain(weight, 1, self.inputs),
            b: dout,
            b_panel: panel_stride(self.outputs),
            c: Target {
                start: dx,
                row: PANEL,
                panel: panel_stride(self.inputs),
                begin: Start::Zero,
                epilogue: if kept.is_some() {
                    Epilogue::ReluMask
                } else {
                    Epilogue::Store
                },
                kept: kept.unwrap_or(null()),
                local: false,
            },
            join: Join::Chain,
            ahead: Ahead::nothing(),
            pack_a: self.rows > 2 * PANEL && self.inputs >= PACK_FROM,
        }
    }

    /// dW = dZᵀ·X from panels of dZ and columns of X, row-major.
    pub fn weight_gradient<T>(
        self,
        dout: *const T,
        x_columns: *const T,
        dweight: *mut T,
        accumulate: bool,
    ) -> Product<T> {
        Product {
            rows: self.outputs,
            columns: self.inputs,
            k: self.rows,
            a: Operand {
                start: dout,
                row: PANEL,
                k: 1,
                block: panel_stride(self.outputs),
                k_block: PANEL,
            },
            b: x_columns,
            b_panel: panel_stride(self.rows),
            c: Target {
                start: dweight,
                row: self.inputs,
                panel: PANEL,
                begin: Start::Zero,
                epilogue: Epilogue::Store,
                kept: null(),
                local: false,
            },
            join: Join::Chunks { accumulate },
            ahead: Ahead::nothing(),
            pack_a: false,
        }
    }

    /// Floating-point operations of one product.
    pub fn flops(self) -> f64 {
        2.0 * self.outputs as f64 * self.inputs as f64 * self.rows as f64
    }
}

/// Rows that a function on matrices takes at a time, so that its scratch memory stays bounded; whole chunks.
const BLOCK_ROWS: usize = 512;

struct Linear<'a, T> {
    member: &'a Member<'a>,
    shape: Shape,
    x: Source<'a, T>,
    weight: &'a [T],
    bias: Option<&'a [T]>,
    activation: Activation,
    panels: Shared<'a, T>,
    z: Shared<'a, T>,
    out: Shared<'a, T>,
}

impl<T: Element> Kernel for Linear<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Shape {
            outputs,
            inputs,
            rows,
        } = self.shape;
        let panels = self.member.share(rows.div_ceil(PANEL));
        let relu = self.activation == Activation::Relu;
        let epilogue = if relu {
            Epilogue::Relu
        } else {
            Epilogue::Store
        };
        let bias = self.bias.map(<[T]>::as_ptr);
        let z = self.z;
        // SAFETY: members write disjoint panels and units, and read what was finished before a barrier.
        unsafe {
            pack_rows(
                simd,
                &self.x,
                None,
                rows,
                inputs,
                panels.clone(),
                self.panels,
                None,
            );
            self.member.barrier();
            let x = self.panels.as_ptr();
            let product = self
                .shape
                .forward(self.weight.as_ptr(), bias, x, z.as_ptr(), epilogue);
            let units = self.member.share(product.units::<S>());
            product.run(simd, units, null_mut(), |features, columns| {
                if !relu && self.activation != Activation::Identity {
                    for panel in columns.start / PANEL..columns.end.div_ceil(PANEL) {
                        let at = panel * panel_stride(outputs);
                        let range = at + features.start * PANEL..at + features.end * PANEL;
                        activation::forward_in_place(simd, self.activation, z.write(range));
                    }
                }
            });
            self.member.barrier();
            unpack_rows(simd, rows, outputs, panels, z, self.out);
            self.member.barrier();
        }
    }
}

/// out ← f(x·weightᵀ + bias) for `rows` rows.
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
    let most = rows.min(BLOCK_ROWS);
    let (x_len, z_len) = (panels_len(most, inputs), panels_len(most, outputs));
    with_scratch(x_len + z_len, |scratch| {
        let (panels, z) = scratch.split_at_mut(x_len);
        let (panels, z, out) = (Shared::new(panels), Shared::new(z), Shared::new(out));
        pool::run(shape.flops(), &|member| {
            for first in (0..rows).step_by(BLOCK_ROWS) {
                let here = BLOCK_ROWS.min(rows - first);
                // SAFETY: the block's part of the result, which the team fills together.
                let out =
                    unsafe { Shared::from_raw(out.as_ptr().add(first * outputs), here * outputs) };
                let x = x.from_row(first);
                let shape = Shape {
                    rows: here,
                    ..shape
                };
                let member = &member;
                isa.run(Linear {
                    member,
                    shape,
                    x,
                    weight,
                    bias,
                    activation,
                    panels,
                    z,
                    out,
                });
            }
        });
    });
}

struct Gradients<'a, T> {
    member: &'a Member<'a>,
    shape: Shape,
    dout: Source<'a, T>,
    x: Source<'a, T>,
    weight: &'a [T],
    dout_panels: Shared<'a, T>,
    x_panels: Shared<'a, T>,
    x_columns: Shared<'a, T>,
    packed: Shared<'a, T>,
    dx: Option<Shared<'a, T>>,
    dweight: Shared<'a, T>,
    dbias: Shared<'a, T>,
    accumulate: bool,
}

impl<T: Element> Kernel for Gradients<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Shape {
            outputs,
            inputs,
            rows,
        } = self.shape;
        let member = self.member;
        let panels = member.share(rows.div_ceil(PANEL));
        // SAFETY: members write disjoint panels and units, and read what was finished before a barrier.
        unsafe {
            pack_rows(
                simd,
                &self.dout,
                None,
                rows,
                outputs,
                panels.clone(),
                self.dout_panels,
                None,
            );
            let columns = Some(self.x_columns);
            pack_rows(
                simd,
                &self.x,
                None,
                rows,
                inputs,
                panels.clone(),
                self.x_panels,
                columns,
            );
            member.barrier();
            let dout = self.dout_panels.as_ptr().cast_const();
            let product = self.shape.weight_gradient(
                dout,
                self.x_columns.as_ptr(),
                self.dweight.as_ptr(),
                self.accumulate,
            );
            let units = member.share(product.units::<S>());
            product.run(simd, units, null_mut(), |_, _| {});
            let blocks = member.share(outputs.div_ceil(PANEL));
            sum_rows(
                simd,
                rows,
                outputs,
                blocks,
                self.dout_panels,
                self.dbias,
                self.accumulate,
            );
            if let Some(dx) = self.dx {
                // The panels of x have served; the gradient takes their place.
                let target = self.x_panels.as_ptr();
                let product = self
                    .shape
                    .input_gradient(self.weight.as_ptr(), dout, target, None);
                let buffer = self
                    .packed
                    .as_ptr()
                    .add(member.index * packed_len::<T>(outputs));
                let units = member.share(product.units::<S>());
                product.run(simd, units, buffer, |_, _| {});
                member.barrier();
                unpack_rows(simd, rows, inputs, panels, self.x_panels, dx);
            }
            member.barrier();
        }
    }
}

/// The gradients of [`linear`] without activation: dx ← dout·W, dweight ← doutᵀ·x, dbias ← column sums of dout.
///
/// # Safety
/// `dout` and `x` hold `rows` rows that nobody writes meanwhile.
///
/// # Panics
/// If a slice has another length than the shape says.
pub unsafe fn linear_backward<T: Element>(
    isa: Isa,
    shape: Shape,
    dout: Source<'_, T>,
    x: Source<'_, T>,
    weight: &[T],
    dx: Option<&mut [T]>,
    dweight: &mut [T],
    dbias: &mut [T],
) {
    let Shape {
        outputs,
        inputs,
        rows,
    } = shape;
    assert!(weight.len() == outputs * inputs && dweight.len() == weight.len());
    assert!(dbias.len() == outputs && dx.as_ref().is_none_or(|dx| dx.len() == rows * inputs));
    dweight.fill(T::ZERO);
    dbias.fill(T::ZERO);
    let most = rows.min(BLOCK_ROWS);
    let lengths = [
        panels_len(most, outputs),
        panels_len(most, inputs),
        panels_len(inputs, most),
        packed_len::<T>(outputs) * pool::num_threads(),
    ];
    with_scratch(lengths.iter().sum(), |scratch| {
        let (dout_panels, rest) = scratch.split_at_mut(lengths[0]);
        let (x_panels, rest) = rest.split_at_mut(lengths[1]);
        let (x_columns, packed) = rest.split_at_mut(lengths[2]);
        let (dout_panels, x_panels) = (Shared::new(dout_panels), Shared::new(x_panels));
        let (x_columns, packed) = (Shared::new(x_columns), Shared::new(packed));
        let (dx, dweight, dbias) = (
            dx.map(Shared::new),
            Shared::new(dweight),
            Shared::new(dbias),
        );
        pool::run(3.0 * shape.flops(), &|member| {
            for first in (0..rows).step_by(BLOCK_ROWS) {
                let here = BLOCK_ROWS.min(rows - first);
                isa.run(Gradients {
                    member: &member,
                    shape: Shape {
                        rows: here,
                        ..shape
                    },
                    dout: dout.from_row(first),
                    x: x.from_row(first),
                    weight,
                    dout_panels,
                    x_panels,
                    x_columns,
                    packed,
                    // SAFETY: the block's part of the result, which the team fills together.
                    dx: dx.map(|dx| unsafe {
                        Shared::from_raw(dx.as_ptr().add(first * inputs), here * inputs)
                    }),
                    dweight,
                    dbias,
                    accumulate: first > 0,
                });
            }
        });
    });
}
