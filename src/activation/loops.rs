//! The loops over slices, one for each activation, behind one choice.

#![allow(unsafe_code)]

use super::Activation;
use super::gated::{Gelu, GeluTanh, Mish, Silu};
use super::pointwise::{
    Elu, FromOutput, LeakyRelu, Pointwise, Relu, Selu, Sigmoid, Softplus, Step, Tanh,
};
use crate::simd::{Element, Kernel, MOST_LANES, Simd, Vector};

/// The numbers that a pass turns into those of `out`.
#[derive(Clone, Copy)]
pub(super) enum Source<'a, T> {
    /// Those of `out` itself.
    Own,
    /// As many others.
    Other(&'a [T]),
}

impl<'a, T> Source<'a, T> {
    #[inline(always)]
    fn check(self, len: usize) {
        if let Self::Other(values) = self {
            assert_eq!(values.len(), len);
        }
    }

    /// Where the number lies that becomes the one at `to`, number `at`.
    #[inline(always)]
    fn address(self, to: *const T, at: usize) -> *const T {
        match self {
            Self::Own => to,
            Self::Other(values) => values[at..].as_ptr(),
        }
    }

    #[inline(always)]
    fn range<'b>(self, out: &'b [T], at: usize, count: usize) -> &'b [T]
    where
        'a: 'b,
    {
        match self {
            Self::Own => &out[at..at + count],
            Self::Other(values) => &values[at..at + count],
        }
    }
}

/// out = f(x).
pub(super) struct ForwardLoop<'a, T> {
    pub activation: Activation,
    pub x: Source<'a, T>,
    pub out: &'a mut [T],
}

impl<T: Element> Kernel for ForwardLoop<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let (x, out) = (self.x, self.out);
        match self.activation {
            Activation::Identity => {
                if let Source::Other(x) = x {
                    out.copy_from_slice(x);
                }
            }
            Activation::Relu => forward_loop(simd, Relu, x, out),
            Activation::Step => forward_loop(simd, Step, x, out),
            Activation::Sigmoid => forward_loop(simd, Sigmoid, x, out),
            Activation::Tanh => forward_loop(simd, Tanh, x, out),
            Activation::LeakyRelu { negative_slope } => {
                forward_loop(simd, LeakyRelu { negative_slope }, x, out)
            }
            Activation::Elu { alpha } => forward_loop(simd, Elu { alpha }, x, out),
            Activation::Selu => forward_loop(simd, Selu, x, out),
            Activation::Gelu => forward_loop(simd, Gelu, x, out),
            Activation::GeluTanh => forward_loop(simd, GeluTanh, x, out),
            Activation::Silu => forward_loop(simd, Silu, x, out),
            Activation::Mish => forward_loop(simd, Mish, x, out),
            Activation::Softplus { beta } => forward_loop(simd, Softplus { beta }, x, out),
        }
    }
}

/// out = dout · f′, from what [`Activation::keeps`] says.
pub(super) struct BackwardLoop<'a, T> {
    pub activation: Activation,
    pub dout: Source<'a, T>,
    pub kept: &'a [T],
    pub out: &'a mut [T],
}

impl<T: Element> Kernel for BackwardLoop<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let (dout, kept, out) = (self.dout, self.kept, self.out);
        match self.activation {
            Activation::Identity => {
                if let Source::Other(dout) = dout {
                    out.copy_from_slice(dout);
                }
            }
            Activation::Step => out.fill(T::ZERO),
            Activation::Relu => backward_loop(simd, Relu, dout, kept, out),
            Activation::Sigmoid => backward_loop(simd, FromOutput(Sigmoid), dout, kept, out),
            Activation::Tanh => backward_loop(simd, FromOutput(Tanh), dout, kept, out),
            Activation::LeakyRelu { negative_slope } => {
                backward_loop(simd, LeakyRelu { negative_slope }, dout, kept, out)
            }
            Activation::Elu { alpha } => backward_loop(simd, Elu { alpha }, dout, kept, out),
            Activation::Selu => backward_loop(simd, Selu, dout, kept, out),
            Activation::Gelu => backward_loop(simd, Gelu, dout, kept, out),
            Activation::GeluTanh => backward_loop(simd, GeluTanh, dout, kept, out),
            Activation::Silu => backward_loop(simd, Silu, dout, kept, out),
            Activation::Mish => backward_loop(simd, Mish, dout, kept, out),
            Activation::Softplus { beta } => {
                backward_loop(simd, Softplus { beta }, dout, kept, out)
            }
        }
    }
}

/// As [`BackwardLoop`] from the input, for the activations whose derivative a network computes from the output.
pub(super) struct FromInputLoop<'a, T> {
    pub activation: Activation,
    pub dout: &'a [T],
    pub x: &'a [T],
    pub out: &'a mut [T],
}

impl<T: Element> Kernel for FromInputLoop<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let dout = Source::Other(self.dout);
        if self.activation == Activation::Sigmoid {
            backward_loop(simd, Sigmoid, dout, self.x, self.out);
        } else {
            backward_loop(simd, Tanh, dout, self.x, self.out);
        }
    }
}

/// Vectors side by side in the loop of a function of few instructions. Of others it is two: more of their arithmetic is at
/// hand when some of it must wait.
const LIGHT_STEP: usize = 4;

/// Reads and writes a vector at a time, so that memory is waited for beside the function's arithmetic.
#[inline(always)]
fn forward_loop<S: Simd, T: Element, P: Pointwise>(
    simd: S,
    function: P,
    x: Source<'_, T>,
    out: &mut [T],
) {
    let lanes = T::Vector::<S>::LANES;
    x.check(out.len());
    let mut at = 0;
    while P::LIGHT && at + LIGHT_STEP * lanes <= out.len() {
        for _ in 0..LIGHT_STEP {
            let values = T::Vector::<S>::load_slice(simd, x.range(out, at, lanes));
            function.forward(simd, values).store_slice(&mut out[at..]);
            at += lanes;
        }
    }
    // What is left of the last pair goes through a copy: so the loop has no test in it.
    let pair = 2 * lanes;
    let tail = (out.len() - at) % pair;
    let rest = out.len() - tail;
    let mut copy = [T::ZERO; 2 * MOST_LANES];
    copy[..tail].copy_from_slice(x.range(out, rest, tail));
    let to = out[at..].as_mut_ptr();
    let copied = copy.as_mut_ptr();
    for (mut from, mut to, pairs) in [
        (x.address(to, at), to, (rest - at) / pair),
        (copied.cast_const(), copied, usize::from(tail > 0)),
    ] {
        for _ in 0..pairs {
            for half in [0, lanes] {
                T::Vector::<S>::prefetch_ahead(from.wrapping_add(half));
                T::Vector::<S>::prefetch_ahead(to.wrapping_add(half));
            }
            // SAFETY: so many whole pairs follow in both, or one in the copy.
            unsafe {
                let first = T::Vector::<S>::load(simd, from);
                let second = T::Vector::<S>::load(simd, from.add(lanes));
                let first = function.forward(simd, first);
                let second = function.forward(simd, second);
                first.store(to);
                second.store(to.add(lanes));
            }
            (from, to) = (from.wrapping_add(pair), to.wrapping_add(pair));
        }
    }
    out[rest..].copy_from_slice(&copy[..tail]);
}

/// As [`forward_loop`].
#[inline(always)]
fn backward_loop<S: Simd, T: Element, P: Pointwise>(
    simd: S,
    function: P,
    dout: Source<'_, T>,
    kept: &[T],
    out: &mut [T],
) {
    let lanes = T::Vector::<S>::LANES;
    dout.check(out.len());
    assert_eq!(kept.len(), out.len());
    let mut at = 0;
    while P::LIGHT && at + LIGHT_STEP * lanes <= out.len() {
        for _ in 0..LIGHT_STEP {
            let d = T::Vector::<S>::load_slice(simd, dout.range(out, at, lanes));
            let k = T::Vector::<S>::load_slice(simd, &kept[at..]);
            function.backward(simd, d, k).store_slice(&mut out[at..]);
            at += lanes;
        }
    }
    let tail = (out.len() - at) % lanes;
    let rest = out.len() - tail;
    let mut copies = [[T::ZERO; MOST_LANES]; 2];
    T::Vector::<S>::load_tail(simd, dout.range(out, rest, tail)).store_slice(&mut copies[0]);
    T::Vector::<S>::load_tail(simd, &kept[rest..]).store_slice(&mut copies[1]);
    let to = out[at..].as_mut_ptr();
    let whole = (dout.address(to, at), kept[at..].as_ptr(), to);
    let [d, k] = copies.each_mut().map(|copy| copy.as_mut_ptr());
    let copied = (d.cast_const(), k.cast_const(), d);
    for ((mut from, mut kept, mut to), vectors) in [
        (whole, (rest - at) / lanes),
        (copied, usize::from(tail > 0)),
    ] {
        for _ in 0..vectors {
            T::Vector::<S>::prefetch_ahead(from);
            T::Vector::<S>::prefetch_ahead(kept);
            T::Vector::<S>::prefetch_ahead(to);
            // SAFETY: so many whole vectors follow in all three, or one in the copies.
            unsafe {
                let d = T::Vector::<S>::load(simd, from);
                let k = T::Vector::<S>::load(simd, kept);
                function.backward(simd, d, k).store(to);
            }
            (from, to) = (from.wrapping_add(lanes), to.wrapping_add(lanes));
            kept = kept.wrapping_add(lanes);
        }
    }
    T::Vector::<S>::load_slice(simd, &copies[0]).store_tail(&mut out[rest..]);
}
