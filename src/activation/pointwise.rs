//! The activations that are made of a choice, an exponential or a hyperbolic tangent.

use crate::math::{Math, splat};
use crate::simd::Arithmetic;

/// A function of a vector and its derivative.
pub(super) trait Pointwise: Copy {
    /// Of so few instructions that the loop around them counts.
    const LIGHT: bool = false;
    fn forward<V: Arithmetic>(self, simd: V::Simd, x: V) -> V;
    /// dout · f′(x).
    fn backward<V: Arithmetic>(self, simd: V::Simd, dout: V, x: V) -> V;
}

/// A derivative that is computed from the function's value.
pub(super) trait DerivativeOfOutput: Copy {
    fn backward<V: Arithmetic>(self, simd: V::Simd, dout: V, y: V) -> V;
}

/// A function whose derivative takes the function's value in the place of x.
#[derive(Clone, Copy)]
pub(super) struct FromOutput<P>(pub P);

impl<P: Pointwise + DerivativeOfOutput> Pointwise for FromOutput<P> {
    const LIGHT: bool = true;
    #[inline(always)]
    fn forward<V: Arithmetic>(self, simd: V::Simd, x: V) -> V {
        self.0.forward(simd, x)
    }
    #[inline(always)]
    fn backward<V: Arithmetic>(self, simd: V::Simd, dout: V, y: V) -> V {
        DerivativeOfOutput::backward(self.0, simd, dout, y)
    }
}

/// `positive` where x > 0, else (also where x is NaN) `other`.
#[inline(always)]
pub(super) fn where_positive<V: Arithmetic>(simd: V::Simd, x: V, positive: V, other: V) -> V {
    V::select(x.gt(V::zero(simd)), positive, other)
}

#[derive(Clone, Copy)]
pub(super) struct Relu;

impl Pointwise for Relu {
    const LIGHT: bool = true;
    #[inline(always)]
    fn forward<V: Arithmetic>(self, simd: V::Simd, x: V) -> V {
        let zero = V::zero(simd);
        V::select(x.le(zero), zero, x)
    }
    /// x may as well be the output. dout where it is NaN.
    #[inline(always)]
    fn backward<V: Arithmetic>(self, simd: V::Simd, dout: V, x: V) -> V {
        let zero = V::zero(simd);
        V::select(x.le(zero), zero, dout)
    }
}

#[derive(Clone, Copy)]
pub(super) struct Step;

impl Pointwise for Step {
    const LIGHT: bool = true;
    #[inline(always)]
    fn forward<V: Arithmetic>(self, simd: V::Simd, x: V) -> V {
        let zero = V::zero(simd);
        let below = V::select(x.lt(zero), zero, x);
        V::select(x.ge(zero), splat(simd, 1.0), below)
    }
    #[inline(always)]
    fn backward<V: Arithmetic>(self, simd: V::Simd, _: V, _: V) -> V {
        V::zero(simd)
    }
}

#[derive(Clone, Copy)]
pub(super) struct LeakyRelu {
    pub negative_slope: f64,
}

impl Pointwise for LeakyRelu {
    const LIGHT: bool = true;
    #[inline(always)]
    fn forward<V: Arithmetic>(self, simd: V::Simd, x: V) -> V {
        where_positive(simd, x, x, x * splat(simd, self.negative_slope))
    }
    #[inline(always)]
    fn backward<V: Arithmetic>(self, simd: V::Simd, dout: V, x: V) -> V {
        where_positive(simd, x, dout, dout * splat(simd, self.negative_slope))
    }
}

#[derive(Clone, Copy)]
pub(super) struct Sigmoid;

impl Pointwise for Sigmoid {
    #[inline(always)]
    fn forward<V: Arithmetic>(self, simd: V::Simd, x: V) -> V {
        x.sigmoid(simd)
    }
    /// f′ = e/(1 + e)², e = exp(−|x|).
    #[inline(always)]
    fn backward<V: Arithmetic>(self, simd: V::Simd, dout: V, x: V) -> V {
        let e = (-x.abs()).exp_nonpositive(simd);
        let sum = e + splat(simd, 1.0);
        dout * (e / (sum * sum))
    }
}

impl DerivativeOfOutput for Sigmoid {
    /// f′ = y − y².
    #[inline(always)]
    fn backward<V: Arithmetic>(self, _: V::Simd, dout: V, y: V) -> V {
        dout * (-y).mul_add(y, y)
    }
}

#[derive(Clone, Copy)]
pub(super) struct Tanh;

impl Pointwise for Tanh {
    #[inline(always)]
    fn forward<V: Arithmetic>(self, simd: V::Simd, x: V) -> V {
        x.tanh(simd)
    }
    /// f′ = 4e/(1 + e)², e = exp(−2|x|).
    #[inline(always)]
    fn backward<V: Arithmetic>(self, simd: V::Simd, dout: V, x: V) -> V {
        let e = (x.abs() * splat(simd, -2.0)).exp_nonpositive(simd);
        let sum = e + splat(simd, 1.0);
        dout * (e * splat(simd, 4.0) / (sum * sum))
    }
}

impl DerivativeOfOutput for Tanh {
    /// f′ = 1 − y².
    #[inline(always)]
    fn backward<V: Arithmetic>(self, simd: V::Simd, dout: V, y: V) -> V {
        dout * (-y).mul_add(y, splat(simd, 1.0))
    }
}

#[derive(Clone, Copy)]
pub(super) struct Elu {
    pub alpha: f64,
}

impl Pointwise for Elu {
    #[inline(always)]
    fn forward<V: Arithmetic>(self, simd: V::Simd, x: V) -> V {
        where_positive(
            simd,
            x,
            x,
            x.expm1_nonpositive(simd) * splat(simd, self.alpha),
        )
    }
    #[inline(always)]
    fn backward<V: Arithmetic>(self, simd: V::Simd, dout: V, x: V) -> V {
        let slope = x.exp_nonpositive(simd) * splat(simd, self.alpha);
        where_positive(simd, x, dout, dout * slope)
    }
}

const SELU_SCALE: f64 = 1.050_700_987_355_480_5;
const SELU_ALPHA: f64 = 1.673_263_242_354_377_2;

#[derive(Clone, Copy)]
pub(super) struct Selu;

impl Pointwise for Selu {
    #[inline(always)]
    fn forward<V: Arithmetic>(self, simd: V::Simd, x: V) -> V {
        let below = x.expm1_nonpositive(simd) * splat(simd, SELU_SCALE * SELU_ALPHA);
        where_positive(simd, x, x * splat(simd, SELU_SCALE), below)
    }
    #[inline(always)]
    fn backward<V: Arithmetic>(self, simd: V::Simd, dout: V, x: V) -> V {
        let below = x.exp_nonpositive(simd) * splat(simd, SELU_SCALE * SELU_ALPHA);
        dout * where_positive(simd, x, splat(simd, SELU_SCALE), below)
    }
}

/// f = max(x, 0) + log(1 + exp(−|β·x|))/β, f′ = sigmoid(β·x).
#[derive(Clone, Copy)]
pub(super) struct Softplus {
    pub beta: f64,
}

impl Pointwise for Softplus {
    #[inline(always)]
    fn forward<V: Arithmetic>(self, simd: V::Simd, x: V) -> V {
        let z = x * splat(simd, self.beta);
        let log = (-z.abs()).exp_nonpositive(simd).log1p_unit(simd);
        log.mul_add(splat(simd, 1.0 / self.beta), V::zero(simd).greater(x))
    }
    #[inline(always)]
    fn backward<V: Arithmetic>(self, simd: V::Simd, dout: V, x: V) -> V {
        dout * (x * splat(simd, self.beta)).sigmoid(simd)
    }
}
