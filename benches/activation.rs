//! Micro-benchmark of the activations, one thread: `cargo bench --no-default-features --bench activation [ISA]`.
//!
//! Prints nanoseconds for 16 elements, of float32 and of float64: the function of 2,048 elements that stay in the first
//! level, and its gradient.

use _core::activation::{Activation, Backward, Forward};
use _core::simd::{Element, Isa};

mod timing;

const LENGTH: usize = 2048;
const CALLS: usize = 200;

/// The median nanoseconds for 16 elements.
fn each(call: impl FnMut()) -> f64 {
    timing::seconds(31, CALLS, call) * 1e9 * 16.0 / LENGTH as f64
}

/// Forward and backward, over values between −4 and 4.
fn both<T: Element>(isa: Isa, activation: Activation) -> [f64; 2] {
    let x: Vec<T> = (0..LENGTH)
        .map(|i| T::from_f64((i * 7919 % 1009) as f64 / 1009.0 * 8.0 - 4.0))
        .collect();
    let dout = vec![T::ONE; LENGTH];
    let mut out = vec![T::ZERO; LENGTH];
    let forward = each(|| {
        isa.run(Forward {
            activation,
            x: &x,
            out: &mut out,
        });
    });
    let backward = each(|| {
        isa.run(Backward {
            activation,
            dout: &dout,
            x: &x,
            out: &mut out,
        });
    });
    [forward, backward]
}

fn main() {
    let isa = timing::isa();
    println!("{isa:?}, one thread; ns for 16 elements");
    println!(
        "{:>12} {:>17} {:>17}",
        "", "float32: f, df", "float64: f, df"
    );
    for &name in Activation::names() {
        let activation = Activation::parse(name, 1.0).expect("a name of its own");
        let [f32s, f64s] = [both::<f32>(isa, activation), both::<f64>(isa, activation)];
        println!(
            "{name:>12} {:>8.2} {:>8.2} {:>8.2} {:>8.2}",
            f32s[0], f32s[1], f64s[0], f64s[1]
        );
    }
}
