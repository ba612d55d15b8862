//! The gradients of the affine map as a function on matrices.

#![allow(unsafe_code)]

use super::{BLOCK_ROWS, Shape};
use crate::buffer::with_scratch;
use crate::gemm::pack::{Source, pack_rows};
use crate::gemm::turn::unpack_rows;
use crate::gemm::{PANEL, packed_len, panels_len, sum_rows};
use crate::pool::{self, Member, Shared};
use crate::simd::{Element, Isa, Kernel, Simd};
use std::ptr::null_mut;

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
            product.run(simd, |all| member.share(all), null_mut(), |_, _| {});
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
                    .add(member.index * packed_len::<T>(inputs, outputs));
                product.run(simd, |all| member.share(all), buffer, |_, _| {});
                member.barrier();
                unpack_rows(simd, rows, inputs, panels, self.x_panels, dx, inputs);
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
        packed_len::<T>(inputs, outputs) * pool::num_threads(),
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
