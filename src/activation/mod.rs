//! Activation functions, element by element: out = f(x), dx = dout · f′(x).
//!
//! The functions of a vector stand in `pointwise` and `gated`; here they are named and run over slices. A call is one
//! function for each element type and instruction set, in which the choice of the activation stands outside the loop.
//!
//! Values are within 5 ulp of the exact ones in float32 (GELU's within 7) and 7 in float64, far out in the negative
//! tails too, down to subnormal numbers; derivatives from the input within 5 and 7. Two exceptions: where the derivative
//! of GELU, SiLU or Mish crosses zero (−3 < x < 0), the unit is at least that of 0.1, and the bound 9; and an exponential
//! whose argument z is itself rounded (`GeluTanh`, `Softplus` with β ≠ 1) adds 3 ulp for each unit of |z|. A derivative
//! from the output is as exact as the output allows: near 1 it has lost what the output has.
//!
//! ```
//! use _core::activation::{Activation, Backward, Forward};
//! use _core::simd::Isa;
//!
//! let activation = Activation::parse("leaky_relu", 0.5).unwrap();
//! let x = [-1.0f32, 0.0, 3.0];
//! let (mut out, mut dx) = ([0.0; 3], [0.0; 3]);
//! Isa::best().run(Forward { activation, x: &x, out: &mut out });
//! Isa::best().run(Backward { activation, dout: &[1.0; 3], x: &x, out: &mut dx });
//! assert_eq!((out, dx), ([-0.5, 0.0, 3.0], [0.5, 0.5, 1.0]));
//! ```

mod gated;
mod loops;
mod pointwise;
#[cfg(test)]
pub(crate) mod tests;

use crate::simd::{Element, Kernel, Simd};
use loops::{BackwardLoop, ForwardLoop, FromInputLoop, Source};

/// An activation function. Where it has a parameter, that is rounded to the element type.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Activation {
    /// x
    Identity,
    /// max(x, 0), NaN where x is; +0 at −0
    Relu,
    /// 1 where x ≥ 0, else 0; NaN where x is. Its derivative is taken as 0.
    Step,
    /// 1/(1 + e⁻ˣ)
    Sigmoid,
    Tanh,
    /// x where x > 0, else negative_slope·x
    LeakyRelu {
        negative_slope: f64,
    },
    /// x where x > 0, else α·(eˣ − 1)
    Elu {
        alpha: f64,
    },
    /// λ·x where x > 0, else λ·α·(eˣ − 1), with the constants of Klambauer et al. 2017
    Selu,
    /// x·Φ(x), Φ the normal distribution function
    Gelu,
    /// x·½·(1 + tanh(√(2/π)·(x + 0.044715·x³)))
    GeluTanh,
    /// x·sigmoid(x)
    Silu,
    /// x·tanh(log(1 + eˣ))
    Mish,
    /// log(1 + e^(β·x))/β; where torch returns x itself (beyond a threshold) this stays accurate, and within half an
    /// ulp of x
    Softplus {
        beta: f64,
    },
}

/// What a network keeps of the forward pass to compute the derivative from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keeps {
    Nothing,
    Output,
    Input,
}

const NAMES: [&str; 13] = [
    "relu",
    "step",
    "sigmoid",
    "tanh",
    "leaky_relu",
    "elu",
    "selu",
    "gelu",
    "gelu_tanh",
    "silu",
    "mish",
    "softplus",
    "identity",
];

impl Activation {
    /// The activation of this name; `alpha` is its slope, α or β where it has one.
    pub fn parse(name: &str, alpha: f64) -> Option<Self> {
        Some(match name {
            "identity" => Self::Identity,
            "relu" => Self::Relu,
            "step" => Self::Step,
            "sigmoid" => Self::Sigmoid,
            "tanh" => Self::Tanh,
            "leaky_relu" => Self::LeakyRelu {
                negative_slope: alpha,
            },
            "elu" => Self::Elu { alpha },
            "selu" => Self::Selu,
            "gelu" => Self::Gelu,
            "gelu_tanh" => Self::GeluTanh,
            "silu" => Self::Silu,
            "mish" => Self::Mish,
            "softplus" => Self::Softplus { beta: alpha },
            _ => return None,
        })
    }

    /// The names that [`Activation::parse`] takes.
    pub fn names() -> &'static [&'static str] {
        &NAMES
    }

    pub fn keeps(self) -> Keeps {
        match self {
            Self::Identity | Self::Step => Keeps::Nothing,
            Self::Relu | Self::Sigmoid | Self::Tanh => Keeps::Output,
            _ => Keeps::Input,
        }
    }
}

/// out = f(x).
///
/// # Panics
/// If the lengths differ.
#[inline(always)]
pub fn forward<S: Simd, T: Element>(simd: S, activation: Activation, x: &[T], out: &mut [T]) {
    let x = Source::Other(x);
    simd.call(ForwardLoop { activation, x, out });
}

/// values = f(values).
#[inline(always)]
pub fn forward_in_place<S: Simd, T: Element>(simd: S, activation: Activation, values: &mut [T]) {
    if activation != Activation::Identity {
        simd.call(ForwardLoop {
            activation,
            x: Source::Own,
            out: values,
        });
    }
}

/// dout = dout · f′, computed from what [`Activation::keeps`] says.
///
/// # Panics
/// If the activation keeps something and the lengths differ.
#[inline(always)]
pub fn backward_in_place<S: Simd, T: Element>(
    simd: S,
    activation: Activation,
    dout: &mut [T],
    kept: &[T],
) {
    if activation != Activation::Identity {
        simd.call(BackwardLoop {
            activation,
            dout: Source::Own,
            kept,
            out: dout,
        });
    }
}

/// out = dout · f′(x), from the input x whatever the activation.
///
/// # Panics
/// If the lengths differ.
#[inline(always)]
pub fn backward<S: Simd, T: Element>(
    simd: S,
    activation: Activation,
    dout: &[T],
    x: &[T],
    out: &mut [T],
) {
    assert_eq!(dout.len(), out.len());
    assert_eq!(x.len(), out.len());
    match activation {
        Activation::Sigmoid | Activation::Tanh => simd.call(FromInputLoop {
            activation,
            dout,
            x,
            out,
        }),
        // A ReLU's input is as good as its output.
        _ => simd.call(BackwardLoop {
            activation,
            dout: Source::Other(dout),
            kept: x,
            out,
        }),
    }
}

/// [`forward`] as a kernel.
pub struct Forward<'a, T> {
    pub activation: Activation,
    pub x: &'a [T],
    pub out: &'a mut [T],
}

impl<T: Element> Kernel for Forward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        forward(simd, self.activation, self.x, self.out);
    }
}

/// [`backward`] as a kernel.
pub struct Backward<'a, T> {
    pub activation: Activation,
    pub dout: &'a [T],
    pub x: &'a [T],
    pub out: &'a mut [T],
}

impl<T: Element> Kernel for Backward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        backward(simd, self.activation, self.dout, self.x, self.out);
    }
}
