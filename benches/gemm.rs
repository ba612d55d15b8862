//! Micro-benchmark of the matrix products, one thread: `cargo bench --no-default-features --bench gemm [ISA]`.
//!
//! Prints GFLOP/s of each product of a layer and the share of the FMA peak measured in the same run.

#![allow(unsafe_code)]

use _core::buffer::Aligned;
use _core::gemm::{
    Ahead, Epilogue, Join, Operand, Product, Start, Target, panel_stride, panels_len,
};
use _core::peak::fma_peak;
use _core::simd::{Kernel, Simd};
use std::ptr::null;

mod timing;

struct Run<'a>(&'a Product<f32>, *mut f32);
impl Kernel for Run<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        // SAFETY: one thread, and the operands are as large as the product says.
        unsafe { self.0.run(simd, |all| 0..all, self.1, |_, _| {}) }
    }
}

fn filled(len: usize) -> Aligned<f32> {
    let mut buffer = Aligned::zeros(len);
    for (i, value) in buffer.iter_mut().enumerate() {
        *value = (i * 7919 % 1000) as f32 * 1e-3 - 0.5;
    }
    buffer
}

fn main() {
    let isa = timing::isa();
    let peak = fma_peak::<f32>(isa, 0.05) / 1e9;
    println!("{isa:?}, FMA peak {peak:.0} GFLOP/s on one core");
    println!(
        "{:>24} {:>16} {:>16} {:>16}",
        "outputs x inputs @ batch", "forward", "dX", "dW"
    );
    for (outputs, inputs, batch) in [
        (32, 64, 32),
        (10, 32, 32),
        (128, 64, 64),
        (10, 128, 64),
        (128, 784, 64),
        (64, 128, 64),
        (512, 784, 128),
        (256, 512, 128),
        (10, 256, 128),
        (1024, 784, 256),
        (1024, 1024, 256),
        (2048, 784, 512),
        (2048, 2048, 512),
    ] {
        let weights = filled(outputs * inputs);
        let bias = filled(outputs);
        let x_panels = filled(panels_len(batch, inputs));
        let x_columns = filled(panels_len(inputs, batch));
        let mut z = filled(panels_len(batch, outputs));
        let mut dx = filled(panels_len(batch, inputs));
        let mut dw = filled(outputs * inputs);
        let mut packed = filled(_core::gemm::packed_len::<f32>(inputs, outputs));
        let target = |start, row, panel, begin, epilogue| Target {
            start,
            row,
            panel,
            begin,
            epilogue,
            kept: null(),
            local: false,
        };
        let forward = Product {
            rows: outputs,
            columns: batch,
            k: inputs,
            a: Operand::plain(weights.as_ptr(), inputs, 1),
            b: x_panels.as_ptr(),
            b_panel: panel_stride(inputs),
            c: target(
                z.as_mut_ptr(),
                16,
                panel_stride(outputs),
                Start::Rows(bias.as_ptr()),
                Epilogue::Relu,
            ),
            join: Join::of(outputs, inputs),
            ahead: Ahead::nothing(),
            pack_a: false,
        };
        let back = Product {
            rows: inputs,
            columns: batch,
            k: outputs,
            a: Operand::plain(weights.as_ptr(), 1, inputs),
            b: z.as_ptr(),
            b_panel: panel_stride(outputs),
            c: Target {
                kept: x_panels.as_ptr(),
                local: false,
                ..target(
                    dx.as_mut_ptr(),
                    16,
                    panel_stride(inputs),
                    Start::Zero,
                    Epilogue::ReluMask,
                )
            },
            join: Join::Chain,
            ahead: Ahead::nothing(),
            pack_a: std::env::var_os("INPLACE").is_none() && batch > 32 && inputs >= 128,
        };
        let gradient = Product {
            rows: outputs,
            columns: inputs,
            k: batch,
            a: Operand {
                start: z.as_ptr(),
                row: 16,
                k: 1,
                block: panel_stride(outputs),
                k_block: 16,
            },
            b: x_columns.as_ptr(),
            b_panel: panel_stride(batch),
            c: target(dw.as_mut_ptr(), inputs, 16, Start::Zero, Epilogue::Store),
            join: Join::Chunks { accumulate: false },
            ahead: Ahead::nothing(),
            pack_a: false,
        };
        let flops = 2.0 * (outputs * inputs * batch) as f64;
        let rate = |product: &Product<f32>, packed: *mut f32| {
            let repeat = (2e7 / flops).max(1.0) as usize;
            let took = timing::seconds(31, repeat, || isa.run(Run(product, packed)));
            flops / took / 1e9
        };
        let rates = [&forward, &back, &gradient].map(|product| rate(product, packed.as_mut_ptr()));
        print!("{:>24}", format!("{outputs} x {inputs} @ {batch}"));
        for rate in rates {
            print!(" {:>9.0} ({:>3.0} %)", rate, 100.0 * rate / peak);
        }
        println!();
    }
}
