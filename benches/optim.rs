//! Micro-benchmark of the optimisers' updates, one thread: `cargo bench --no-default-features --bench optim [ISA]`.
//!
//! Prints nanoseconds for 16 parameters whose state lies in the first level, in the second and in memory, and in brackets
//! how many GB a second of weights, gradients and slots that is, what is written counted twice.

#![allow(unsafe_code)]

use _core::buffer::Flat;
use _core::gemm::caches;
use _core::optim::{Clip, Group, Kind, Segment, State};
use _core::simd::{Kernel, Simd};
use std::sync::Arc;

mod timing;

struct Run<'a>(&'a State<f32>);

impl Kernel for Run<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        // SAFETY: one thread, alone at the state.
        unsafe { self.0.update(simd, Clip::none(), 0..self.0.len()) }
    }
}

/// An optimiser over so many parameters, whose gradients are neither zero nor small.
fn over(length: usize, kind: Kind, group: Group) -> State<f32> {
    let parameters = Arc::new(Flat::<f32>::zeros(length, 0));
    let gradients = Arc::new(Flat::<f32>::zeros(length, 3));
    for i in 0..length {
        // SAFETY: within the buffer, at which nobody else is.
        unsafe { *gradients.as_mut_pointer().add(i) = (i * 7919 % 1009) as f32 / 1009.0 - 0.5 };
    }
    let segment = Segment {
        offset: 0,
        length,
        group: 0,
    };
    State::new(kind, parameters, gradients, &[segment], &[group]).expect("a layout that fits")
}

fn main() {
    let isa = timing::isa();
    println!("{isa:?}, one thread; ns for 16 parameters (GB/s)");
    println!("{:>16} {:>14} {:>14} {:>14}", "", "L1", "L2", "memory");
    let group = Group::new(1e-6);
    let momentum = Group {
        momentum: 0.9,
        ..group
    };
    let amsgrad = Group {
        amsgrad: true,
        ..group
    };
    for (name, kind, group) in [
        ("SGD", Kind::Sgd, group),
        ("SGD, momentum", Kind::Sgd, momentum),
        ("Adam", Kind::Adam, group),
        ("AdamW", Kind::AdamW, group),
        ("Adam, AMSGrad", Kind::Adam, amsgrad),
    ] {
        print!("{name:>16}");
        for bytes in [16 << 10, caches().l2 / 2, 256 << 20] {
            // As many buffers as AMSGrad has.
            let mut state = over(bytes / 5 / size_of::<f32>(), kind, group);
            let slots = state.rules.slot_names().len();
            let moved = (3 + 2 * slots) * size_of::<f32>() * state.len();
            state.rules.begin_step(None);
            let updates = (4_000_000 / state.len()).max(1);
            let took = timing::seconds(15, updates, || isa.run(Run(&state)));
            let each = took * 1e9 * 16.0 / state.len() as f64;
            print!(" {each:>7.2} ({:>4.0})", moved as f64 / took / 1e9);
        }
        println!();
    }
}
