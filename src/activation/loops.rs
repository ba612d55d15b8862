//! The loops over slices, one for each activation, behind one choice.

use super::Activation;
use super::gated::{Gelu, GeluTanh, Mish, Silu};
use super::pointwise::{
    Elu, FromOutput, LeakyRelu, Pointwise, Relu, Selu, Sigmoid, Softplus, Step, Tanh,
};
use crate::simd::{Element, Kernel, Simd, Vector};

pub(super) struct ForwardInPlace<'a, T> {
    pub activation: Activation,
    pub values: &'a mut [T],
}

impl<T: Element> Kernel for ForwardInPlace<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let values = self.values;
        match self.activation {
            Activation::Identity => {}
            Activation::Relu => forward_loop(simd, Relu, values),
            Activation::Step => forward_loop(simd, Step, values),
            Activation::Sigmoid => forward_loop(simd, Sigmoid, values),
            Activation::Tanh => forward_loop(simd, Tanh, values),
            Activation::LeakyRelu { negative_slope } => {
                forward_loop(simd, LeakyRelu { negative_slope }, values)
            }
            Activation::Elu { alpha } => forward_loop(simd, Elu { alpha }, values),
            Activation::Selu => forward_loop(simd, Selu, values),
            Activation::Gelu => forward_loop(simd, Gelu, values),
            Activation::GeluTanh => forward_loop(simd, GeluTanh, values),
            Activation::Silu => forward_loop(simd, Silu, values),
            Activation::Mish => forward_loop(simd, Mish, values),
            Activation::Softplus { beta } => forward_loop(simd, Softplus { beta }, values),
        }
    }
}

pub(super) struct BackwardInPlace<'a, T> {
    pub activation: Activation,
    pub dout: &'a mut [T],
    pub kept: &'a [T],
}

impl<T: Element> Kernel for BackwardInPlace<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let (dout, kept) = (self.dout, self.kept);
        match self.activation {
            Activation::Identity | Activation::Step => {}
            Activation::Relu => backward_loop(simd, Relu, dout, kept),
            Activation::Sigmoid => backward_loop(simd, FromOutput(Sigmoid), dout, kept),
            Activation::Tanh => backward_loop(simd, FromOutput(Tanh), dout, kept),
            Activation::LeakyRelu { negative_slope } => {
                backward_loop(simd, LeakyRelu { negative_slope }, dout, kept)
            }
            Activation::Elu { alpha } => backward_loop(simd, Elu { alpha }, dout, kept),
            Activation::Selu => backward_loop(simd, Selu, dout, kept),
            Activation::Gelu => backward_loop(simd, Gelu, dout, kept),
            Activation::GeluTanh => backward_loop(simd, GeluTanh, dout, kept),
            Activation::Silu => backward_loop(simd, Silu, dout, kept),
            Activation::Mish => backward_loop(simd, Mish, dout, kept),
            Activation::Softplus { beta } => backward_loop(simd, Softplus { beta }, dout, kept),
        }
    }
}

/// For the activations whose derivative a network computes from the output.
pub(super) struct BackwardFromInput<'a, T> {
    pub activation: Activation,
    pub dout: &'a mut [T],
    pub x: &'a [T],
}

impl<T: Element> Kernel for BackwardFromInput<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        if self.activation == Activation::Sigmoid {
            backward_loop(simd, Sigmoid, self.dout, self.x);
        } else {
            backward_loop(simd, Tanh, self.dout, self.x);
        }
    }
}

/// Vectors side by side in the loop of a function of few instructions. The others gain nothing by it: the machine runs
/// several turns of their loops at once.
const LIGHT_STEP: usize = 4;

#[inline(always)]
fn forward_loop<S: Simd, T: Element, P: Pointwise>(simd: S, function: P, values: &mut [T]) {
    let lanes = T::Vector::<S>::LANES;
    let mut values = values;
    if P::LIGHT {
        let mut blocks = values.chunks_exact_mut(LIGHT_STEP * lanes);
        for block in &mut blocks {
            for values in block.chunks_exact_mut(lanes) {
                let x = T::Vector::<S>::load_slice(simd, values);
                function.forward(simd, x).store_slice(values);
            }
        }
        values = blocks.into_remainder();
    }
    for values in values.chunks_mut(lanes) {
        let result = function.forward(simd, load_chunk::<T::Vector<S>>(simd, values));
        store_chunk(result, values);
    }
}

#[inline(always)]
fn backward_loop<S: Simd, T: Element, P: Pointwise>(
    simd: S,
    function: P,
    dout: &mut [T],
    kept: &[T],
) {
    let lanes = T::Vector::<S>::LANES;
    let (mut dout, mut kept) = (dout, kept);
    if P::LIGHT {
        let step = LIGHT_STEP * lanes;
        let mut blocks = dout.chunks_exact_mut(step);
        let kept_blocks = kept.chunks_exact(step);
        kept = kept_blocks.remainder();
        for (dout, kept) in (&mut blocks).zip(kept_blocks) {
            for (dout, kept) in dout.chunks_exact_mut(lanes).zip(kept.chunks_exact(lanes)) {
                let (d, k) = (
                    T::Vector::<S>::load_slice(simd, dout),
                    T::Vector::<S>::load_slice(simd, kept),
                );
                function.backward(simd, d, k).store_slice(dout);
            }
        }
        dout = blocks.into_remainder();
    }
    for (dout, kept) in dout.chunks_mut(lanes).zip(kept.chunks(lanes)) {
        let (d, k) = (
            load_chunk::<T::Vector<S>>(simd, dout),
            load_chunk(simd, kept),
        );
        store_chunk(function.backward(simd, d, k), dout);
    }
}

/// A whole vector or the last, shorter one; one test instead of the function's code twice.
#[inline(always)]
fn load_chunk<V: Vector>(simd: V::Simd, chunk: &[V::Element]) -> V {
    if chunk.len() == V::LANES {
        V::load_slice(simd, chunk)
    } else {
        V::load_tail(simd, chunk)
    }
}

#[inline(always)]
fn store_chunk<V: Vector>(vector: V, chunk: &mut [V::Element]) {
    if chunk.len() == V::LANES {
        vector.store_slice(chunk)
    } else {
        vector.store_tail(chunk)
    }
}
