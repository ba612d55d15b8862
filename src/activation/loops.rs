//! The loops over slices, one for each activation, behind one choice.

#![allow(unsafe_code)]

use super::Activation;
use super::gated::{Gelu, GeluTanh, Mish, Silu};
use super::pointwise::{
    Elu, FromOutput, LeakyRelu, Pointwise, Relu, Selu, Sigmoid, Softplus, Step, Tanh,
};
use crate::simd::{Element, FOUR, Four, Kernel, MOST_LANES, Simd, Vector};

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

    /// Where the numbers lie that become those at `to`.
    #[inline(always)]
    fn address(self, to: *const T) -> *const T {
        match self {
            Self::Own => to,
            Self::Other(values) => values.as_ptr(),
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

/// How many elements go by four vectors, by single vectors, and through a copy, as they fill none.
#[inline(always)]
fn parts<V: Vector>(len: usize) -> (usize, usize, usize) {
    let (tail, over) = (len % V::LANES, len % (FOUR * V::LANES));
    (len - over, over - tail, tail)
}

/// Reads and writes a few vectors at a time, so that memory is waited for beside the function's arithmetic.
#[inline(always)]
fn forward_loop<S: Simd, T: Element, P: Pointwise>(
    simd: S,
    function: P,
    x: Source<'_, T>,
    out: &mut [T],
) {
    let lanes = T::Vector::<S>::LANES;
    x.check(out.len());
    let (by_four, single, tail) = parts::<T::Vector<S>>(out.len());
    let rest = by_four + single;
    // What fills no vector goes through a copy: so the loops have no test in them.
    let mut copy = [T::ZERO; MOST_LANES];
    if tail > 0 {
        T::Vector::<S>::load_tail(simd, x.range(out, rest, tail)).store_slice(&mut copy);
    }
    let (to, copied) = (out.as_mut_ptr(), copy.as_mut_ptr());
    let from = x.address(to);
    for at in (0..by_four).step_by(FOUR * lanes) {
        let (from, to) = (from.wrapping_add(at), to.wrapping_add(at));
        if !P::LIGHT {
            for i in 0..FOUR {
                T::Vector::<S>::prefetch_ahead(from.wrapping_add(i * lanes));
                T::Vector::<S>::prefetch_ahead(to.wrapping_add(i * lanes));
            }
        }
        // SAFETY: x and out have so many elements.
        unsafe {
            let x = Four::<T::Vector<S>>::load(simd, from);
            function.forward(simd, x).store(to);
        }
    }
    for (from, to, count) in [
        (from.wrapping_add(by_four), to.wrapping_add(by_four), single),
        (copied.cast_const(), copied, tail),
    ] {
        for at in (0..count).step_by(lanes) {
            // SAFETY: x and out have so many elements, the copy those of a vector.
            unsafe {
                let x = T::Vector::<S>::load(simd, from.add(at));
                function.forward(simd, x).store(to.add(at));
            }
        }
    }
    if tail > 0 {
        T::Vector::<S>::load_slice(simd, &copy).store_tail(&mut out[rest..]);
    }
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
    let (by_four, single, tail) = parts::<T::Vector<S>>(out.len());
    let rest = by_four + single;
    let mut copies = [[T::ZERO; MOST_LANES]; 2];
    if tail > 0 {
        T::Vector::<S>::load_tail(simd, dout.range(out, rest, tail)).store_slice(&mut copies[0]);
        T::Vector::<S>::load_tail(simd, &kept[rest..]).store_slice(&mut copies[1]);
    }
    let [copied, copied_kept] = copies.each_mut().map(|copy| copy.as_mut_ptr());
    let to = out.as_mut_ptr();
    let from = [dout.address(to), kept.as_ptr()];
    for at in (0..by_four).step_by(FOUR * lanes) {
        let (from, to) = (from.map(|from| from.wrapping_add(at)), to.wrapping_add(at));
        if !P::LIGHT {
            for i in 0..FOUR {
                T::Vector::<S>::prefetch_ahead(from[0].wrapping_add(i * lanes));
                T::Vector::<S>::prefetch_ahead(from[1].wrapping_add(i * lanes));
                T::Vector::<S>::prefetch_ahead(to.wrapping_add(i * lanes));
            }
        }
        // SAFETY: dout, what is kept and out have so many elements.
        unsafe {
            let dout = Four::<T::Vector<S>>::load(simd, from[0]);
            let kept = Four::<T::Vector<S>>::load(simd, from[1]);
            function.backward(simd, dout, kept).store(to);
        }
    }
    for (from, to, count) in [
        (
            from.map(|from| from.wrapping_add(by_four)),
            to.wrapping_add(by_four),
            single,
        ),
        ([copied.cast_const(), copied_kept], copied, tail),
    ] {
        for at in (0..count).step_by(lanes) {
            // SAFETY: dout, what is kept and out have so many elements, the copies those of a vector.
            unsafe {
                let dout = T::Vector::<S>::load(simd, from[0].add(at));
                let kept = T::Vector::<S>::load(simd, from[1].add(at));
                function.backward(simd, dout, kept).store(to.add(at));
            }
        }
    }
    if tail > 0 {
        T::Vector::<S>::load_slice(simd, &copies[0]).store_tail(&mut out[rest..]);
    }
}
