//! Nothing is read or written past the operands: they end (or begin) where a page that nobody may touch begins (or ends).

use super::super::pack::{Source, pack_rows};
use super::super::turn::{blocks, panels_to_columns, unpack_rows};
use super::super::*;
use super::{Call, OnSimd, SIZES};
use crate::dense::Shape;
use crate::pool::Shared;
use crate::simd::{Element, Isa, Simd};
use std::ptr::{null, null_mut};

/// Elements in a mapping of their own between two pages without access.
struct Guarded<T> {
    mapping: *mut libc::c_void,
    bytes: usize,
    start: *mut T,
    len: usize,
}

impl<T: Element> Guarded<T> {
    /// Against the page behind (`at_end`) or the page before.
    fn new(len: usize, at_end: bool) -> Self {
        // SAFETY: a question to the system.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
        let inside = (len * size_of::<T>()).next_multiple_of(page);
        let bytes = inside + 2 * page;
        // SAFETY: a mapping at an address of the system's choice, of which the inner pages are made accessible.
        let mapping = unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let mapping = libc::mmap(null_mut(), bytes, libc::PROT_NONE, flags, -1, 0);
            assert!(mapping != libc::MAP_FAILED, "mmap of {bytes} bytes");
            let access = libc::PROT_READ | libc::PROT_WRITE;
            if inside > 0 {
                assert_eq!(libc::mprotect(mapping.byte_add(page), inside, access), 0);
            }
            mapping
        };
        let offset = if at_end {
            page + inside - len * size_of::<T>()
        } else {
            page
        };
        // SAFETY: within the mapping.
        let start = unsafe { mapping.byte_add(offset) }.cast::<T>();
        let guarded = Self {
            mapping,
            bytes,
            start,
            len,
        };
        for i in 0..len {
            // SAFETY: within the accessible pages.
            unsafe {
                start
                    .add(i)
                    .write(T::from_f64((i * 31 % 97) as f64 * 0.01 - 0.3))
            };
        }
        guarded
    }

    fn slice(&mut self) -> &mut [T] {
        // SAFETY: `len` elements, written when the mapping was made.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.len) }
    }
}

impl<T> Drop for Guarded<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `new`.
        unsafe { libc::munmap(self.mapping, self.bytes) };
    }
}

/// Elements of `across` rows in panels, up to the end of the last panel's last whole block.
fn panels_end(across: usize, along: usize) -> usize {
    match across.div_ceil(PANEL) {
        0 => 0,
        panels => (panels - 1) * panel_stride(along) + padded(along) * PANEL,
    }
}

/// As [`panels_end`], up to the last feature that exists: all that a product may touch.
fn panels_exact(across: usize, along: usize) -> usize {
    match across.div_ceil(PANEL) {
        0 => 0,
        panels => (panels - 1) * panel_stride(along) + along * PANEL,
    }
}

struct Products<T> {
    shape: Shape,
    at_end: bool,
    element: std::marker::PhantomData<T>,
}

impl<T: Element> OnSimd for Products<T> {
    type Output = ();
    #[inline(always)]
    fn on<S: Simd>(self, simd: S) {
        let shape = self.shape;
        let Shape {
            outputs,
            inputs,
            rows,
        } = shape;
        let new = |len| Guarded::<T>::new(len, self.at_end);
        let weight = new(outputs * inputs);
        let bias = new(outputs);
        let x = new(panels_exact(rows, inputs));
        let z = new(panels_exact(rows, outputs));
        let dx = new(panels_exact(rows, inputs));
        let kept = new(panels_exact(rows, inputs));
        let columns = new(panels_exact(inputs, rows));
        let dweight = new(outputs * inputs);
        let run = |product: Product<T>| {
            let packed = new(if product.pack_a {
                packed_len::<T>(product.rows, product.k)
            } else {
                0
            });
            // SAFETY: the operands are as large as the product says.
            unsafe { product.run(simd, |all| 0..all, packed.start, |_, _| {}) };
        };
        for epilogue in [Epilogue::Store, Epilogue::Relu] {
            let bias = (epilogue == Epilogue::Relu).then_some(bias.start.cast_const());
            run(shape.forward(weight.start, bias, x.start, z.start, epilogue));
        }
        for kept in [None, Some(kept.start.cast_const())] {
            for pack_a in [false, true] {
                let product = shape.input_gradient(weight.start, z.start, dx.start, kept);
                run(Product { pack_a, ..product });
            }
        }
        for accumulate in [false, true] {
            run(shape.weight_gradient(z.start, columns.start, dweight.start, accumulate));
        }
        // The gradient in a buffer that every group of columns uses anew.
        let local = new(LOCAL_LEN);
        let product = shape.weight_gradient(z.start, columns.start, local.start, false);
        let c = Target {
            row: LOCAL_ROW,
            local: true,
            ..product.c
        };
        run(Product { c, ..product });
        // Prediction over packed weights, whose bias is padded to whole panels.
        let (matrix, y) = (new(rows * inputs), new(rows * outputs));
        let (panels, bias) = (new(panels_exact(outputs, inputs)), new(padded(outputs)));
        run(Product {
            rows,
            columns: outputs,
            k: inputs,
            a: Operand::plain(matrix.start, inputs, 1),
            b: panels.start,
            b_panel: panel_stride(inputs),
            c: Target {
                start: y.start,
                row: outputs,
                panel: PANEL,
                begin: Start::Columns(bias.start),
                epilogue: Epilogue::Relu,
                kept: null(),
                local: false,
            },
            join: Join::of(outputs, inputs),
            ahead: Ahead::nothing(),
            pack_a: false,
        });
    }
}

struct Packing<T> {
    rows: usize,
    features: usize,
    at_end: bool,
    element: std::marker::PhantomData<T>,
}

impl<T: Element> OnSimd for Packing<T> {
    type Output = ();
    #[inline(always)]
    fn on<S: Simd>(self, simd: S) {
        let (rows, features) = (self.rows, self.features);
        let new = |len| Guarded::<T>::new(len, self.at_end);
        let mut matrix = new(rows * features);
        let mut panels = new(panels_end(rows, features));
        let mut columns = new(panels_end(features, rows));
        let mut sums = new(features);
        let all = 0..rows.div_ceil(PANEL);
        let plain = Source::rows(matrix.slice(), features);
        let turned = Source {
            row_stride: 1,
            column_stride: rows as isize,
            ..plain
        };
        let panels = Shared::new(panels.slice());
        let columns = Shared::new(columns.slice());
        // SAFETY: one thread; the buffers hold all whole blocks.
        unsafe {
            for source in [plain, turned] {
                for columns in [None, Some(columns)] {
                    pack_rows(
                        simd,
                        &source,
                        None,
                        rows,
                        features,
                        all.clone(),
                        panels,
                        columns,
                    );
                }
            }
            panels_to_columns(
                simd,
                rows,
                features,
                0..blocks(rows, features),
                panels,
                columns,
            );
            let out = Shared::from_raw(matrix.start, matrix.len);
            unpack_rows(simd, rows, features, all, panels, out, features);
            let blocks = 0..features.div_ceil(PANEL);
            sum_rows(
                simd,
                rows,
                features,
                blocks,
                panels,
                Shared::new(sums.slice()),
                true,
            );
        }
    }
}

fn check<T: Element>(isa: Isa, outputs: usize, inputs: usize, rows: usize, at_end: bool) {
    let shape = Shape {
        outputs,
        inputs,
        rows,
    };
    let element = std::marker::PhantomData::<T>;
    isa.run(Call(Products {
        shape,
        at_end,
        element,
    }));
    isa.run(Call(Packing {
        rows,
        features: inputs,
        at_end,
        element,
    }));
}

#[test]
fn operands_may_end_at_the_last_page() {
    for isa in Isa::tested() {
        for (a, &first) in SIZES.iter().enumerate() {
            for (b, &second) in SIZES.iter().enumerate() {
                let third = SIZES[(a + 2 * b) % SIZES.len()];
                let at_end = (a + b) % 4 != 0;
                check::<f32>(isa, first, second, third, at_end);
                check::<f64>(isa, first, second, third, at_end);
            }
        }
        // Interleaved chains, and more than one block of rows.
        for (outputs, inputs, rows) in [(7, 300, 35), (15, 256, 1), (200, 130, 40)] {
            for at_end in [true, false] {
                check::<f32>(isa, outputs, inputs, rows, at_end);
                check::<f64>(isa, outputs, inputs, rows, at_end);
            }
        }
    }
}
