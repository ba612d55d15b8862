//! Every operation of every instruction set against plain scalar code, bit for bit.

mod disassembly;

use super::{Arithmetic, Element, Isa, Kernel, Mask, Simd, Vector};

/// Values that find the edges: zeros, subnormals, ties, large, infinite, NaN, and some in between.
fn values<T: Element>() -> Vec<T> {
    let edges = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.5,
        1.5,
        3.0,
        -7.25,
        1e-3,
        1.1,
        1e-30,
        -1e-39,
        1.4e-45,
        3e-310,
        1e30,
        3.4e38,
        -3.4e38,
        1e300,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
        8_388_609.0,
        16_777_217.0,
        0.1,
        1.0 + 1.2e-7,
        1.0 - 6e-8,
    ];
    let mut state = 1u64;
    let mut all: Vec<T> = edges.iter().map(|&v| T::from_f64(v)).collect();
    while all.len() < 96 {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        let value = ((state >> 11) as f64 / (1u64 << 53) as f64 - 0.5)
            * 2f64.powi((state >> 4) as i32 % 40 - 20);
        all.push(T::from_f64(value));
    }
    all
}

fn same<T: Element>(a: T, b: T) -> bool {
    a.to_bits() == b.to_bits() || (a.to_f64().is_nan() && b.to_f64().is_nan())
}

struct Operations<T>(std::marker::PhantomData<T>);

impl<T: Element> Kernel for Operations<T>
where
    T: Reference,
{
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let values = values::<T>();
        let lanes = T::Vector::<S>::LANES;
        let at = |i: usize| values[i % values.len()];
        for shift in 0..values.len() {
            for start in (0..values.len()).step_by(lanes) {
                let a: Vec<T> = (0..lanes).map(|l| at(start + l)).collect();
                let b: Vec<T> = (0..lanes).map(|l| at(start + l + shift)).collect();
                let c: Vec<T> = (0..lanes).map(|l| at(start + l + 2 * shift + 5)).collect();
                let (va, vb, vc) = (
                    T::Vector::<S>::load_slice(simd, &a),
                    T::Vector::<S>::load_slice(simd, &b),
                    T::Vector::<S>::load_slice(simd, &c),
                );
                let check = |name: &str, got: T::Vector<S>, want: &dyn Fn(usize) -> T| {
                    let mut out = vec![T::ZERO; lanes];
                    got.store_slice(&mut out);
                    for l in 0..lanes {
                        assert!(
                            same(out[l], want(l)),
                            "{name}({}, {}, {}) = {} not {}",
                            a[l],
                            b[l],
                            c[l],
                            out[l],
                            want(l)
                        );
                    }
                };
                check("add", va + vb, &|l| a[l] + b[l]);
                check("sub", va - vb, &|l| a[l] - b[l]);
                check("mul", va * vb, &|l| a[l] * b[l]);
                check("div", va / vb, &|l| a[l] / b[l]);
                check("neg", -va, &|l| -a[l]);
                check("mul_add", va.mul_add(vb, vc), &|l| {
                    a[l].reference_fma(b[l], c[l])
                });
                check("sqrt", va.sqrt(), &|l| a[l].reference_sqrt());
                check("abs", va.abs(), &|l| a[l].reference_abs());
                let lesser = |x: T, y: T| if x < y { x } else { y };
                let greater = |x: T, y: T| if x > y { x } else { y };
                check("lesser", va.lesser(vb), &|l| lesser(a[l], b[l]));
                check("greater", va.greater(vb), &|l| greater(a[l], b[l]));
                check("select", T::Vector::<S>::select(va.lt(vb), va, vc), &|l| {
                    if a[l] < b[l] { a[l] } else { c[l] }
                });
                check(
                    "select le",
                    T::Vector::<S>::select(va.le(vb), va, vc),
                    &|l| if a[l] <= b[l] { a[l] } else { c[l] },
                );
                check(
                    "select eq",
                    T::Vector::<S>::select(va.eq(vb), va, vc),
                    &|l| if a[l] == b[l] { a[l] } else { c[l] },
                );
                check(
                    "select nan",
                    T::Vector::<S>::select(va.is_nan(), vb, vc),
                    &|l| if a[l].to_f64().is_nan() { b[l] } else { c[l] },
                );
                check("and", va.bit_and(vb), &|l| {
                    a[l].reference_bits(b[l], |x, y| x & y)
                });
                check("or", va.bit_or(vb), &|l| {
                    a[l].reference_bits(b[l], |x, y| x | y)
                });
                check("xor", va.bit_xor(vb), &|l| {
                    a[l].reference_bits(b[l], |x, y| x ^ y)
                });
                check("bit_add", va.bit_add(vb), &|l| {
                    a[l].reference_bits(b[l], u64::wrapping_add)
                });
                check("bit_sub", va.bit_sub(vb), &|l| {
                    a[l].reference_bits(b[l], u64::wrapping_sub)
                });
                check("bit_mul_low", va.bit_mul_low(vb), &|l| {
                    let low = (1u64 << (4 * size_of::<T>())) - 1;
                    a[l].reference_bits(b[l], |x, y| (x & low) * (y & low))
                });
                check("shl", va.bit_shl::<5>(), &|l| {
                    a[l].reference_bits(b[l], |x, _| x << 5)
                });
                check("shr", va.bit_shr::<5>(), &|l| {
                    a[l].reference_bits(b[l], |x, _| x >> 5)
                });
                let bits = va.lt(vb).to_bits();
                assert_eq!(
                    bits,
                    (0..lanes).fold(0, |bits, l| bits | u32::from(a[l] < b[l]) << l)
                );
                assert_eq!(
                    (!T::Vector::<S>::mask_from_bits(simd, bits)).to_bits(),
                    !bits & ((1u64 << lanes) - 1) as u32
                );
                for count in 0..=lanes {
                    let tail = T::Vector::<S>::load_tail(simd, &a[..count]);
                    let mut out = vec![T::ONE; lanes];
                    tail.store_slice(&mut out);
                    assert!(
                        (0..lanes).all(|l| same(out[l], if l < count { a[l] } else { T::ZERO }))
                    );
                    let mut out = vec![T::ONE; lanes];
                    va.store_tail(&mut out[..count]);
                    assert!(
                        (0..lanes).all(|l| same(out[l], if l < count { a[l] } else { T::ONE }))
                    );
                }
            }
        }
        let (rows, stride_in, stride_out) = (lanes, lanes + 3, lanes + 1);
        let source: Vec<T> = (0..rows * stride_in)
            .map(|i| T::from_f64(i as f64))
            .collect();
        let mut target = vec![T::ZERO; rows * stride_out];
        // SAFETY: both hold LANES rows of LANES elements at their strides.
        unsafe {
            T::Vector::<S>::transpose(
                simd,
                source.as_ptr(),
                stride_in,
                target.as_mut_ptr(),
                stride_out,
            )
        };
        for r in 0..lanes {
            for c in 0..lanes {
                assert_eq!(target[c * stride_out + r], source[r * stride_in + c]);
            }
        }
    }
}

/// The operations from the standard library.
trait Reference: Element {
    fn reference_fma(self, b: Self, c: Self) -> Self;
    fn reference_sqrt(self) -> Self;
    fn reference_abs(self) -> Self;
    fn reference_bits(self, other: Self, op: impl Fn(u64, u64) -> u64) -> Self;
}
macro_rules! reference {
    ($t:ident, $bits:ident) => {
        impl Reference for $t {
            fn reference_fma(self, b: Self, c: Self) -> Self {
                self.mul_add(b, c)
            }
            fn reference_sqrt(self) -> Self {
                self.sqrt()
            }
            fn reference_abs(self) -> Self {
                self.abs()
            }
            fn reference_bits(self, other: Self, op: impl Fn(u64, u64) -> u64) -> Self {
                $t::from_bits(op(u64::from(self.to_bits()), u64::from(other.to_bits())) as $bits)
            }
        }
    };
}
reference!(f32, u32);
reference!(f64, u64);

#[test]
fn every_operation_has_the_same_bits_on_every_instruction_set() {
    for isa in Isa::tested() {
        isa.run(Operations::<f32>(std::marker::PhantomData));
        isa.run(Operations::<f64>(std::marker::PhantomData));
    }
}

#[test]
fn portable_fma_of_random_bit_patterns_is_exact() {
    let portable: Isa = "portable".parse().unwrap();
    struct Fma<'a>(&'a [f32; 24], &'a mut [f32; 8]);
    impl Kernel for Fma<'_> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, simd: S) {
            let mut done = 0;
            while done < 8 {
                let load = |at: usize| S::F32::load_slice(simd, &self.0[at + done..]);
                load(0)
                    .mul_add(load(8), load(16))
                    .store_slice(&mut self.1[done..]);
                done += S::F32::LANES;
            }
        }
    }
    let mut state = 9u64;
    let mut next = || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 32) as u32
    };
    for round in 0..200_000 {
        let mut input: [f32; 24] = std::array::from_fn(|_| f32::from_bits(next()));
        if round % 2 == 0 {
            // Near cancellation, where the sum's rounding decides.
            for l in 0..8 {
                input[16 + l] = -(input[l] * input[8 + l]) * (1.0 + next() as f32 * 1e-16);
            }
        }
        let mut out = [0f32; 8];
        portable.run(Fma(&input, &mut out));
        for l in 0..8 {
            let want = input[l].mul_add(input[8 + l], input[16 + l]);
            assert!(
                same(out[l], want),
                "{} * {} + {} = {} not {want}",
                input[l],
                input[8 + l],
                input[16 + l],
                out[l]
            );
        }
    }
}

#[test]
fn names_are_parsed_and_refused_clearly() {
    assert_eq!("portable".parse::<Isa>().unwrap().name(), "portable");
    assert!(
        "sse9"
            .parse::<Isa>()
            .unwrap_err()
            .contains("unknown instruction set \"sse9\"")
    );
    let missing = if cfg!(target_arch = "x86_64") {
        "neon"
    } else {
        "avx2"
    };
    assert!(
        missing
            .parse::<Isa>()
            .unwrap_err()
            .contains("not available")
    );
}
