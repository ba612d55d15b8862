//! A row's result does not depend on the rows beside it, however few or many they are.

#![allow(unsafe_code)]

use super::{Shape, linear};
use crate::activation::Activation;
use crate::gemm::pack::Source;
use crate::pool::tests::with_threads;
use crate::simd::{Element, Isa};

fn filled<T: Element>(len: usize, seed: usize) -> Vec<T> {
    (0..len)
        .map(|i| T::from_f64(((i * 7919 + seed) % 1013) as f64 / 1013.0 - 0.5))
        .collect()
}

fn of_rows<T: Element>(
    isa: Isa,
    shape: Shape,
    x: &[T],
    weight: &[T],
    bias: Option<&[T]>,
    activation: Activation,
) -> Vec<T> {
    let mut out = vec![T::ZERO; shape.rows * shape.outputs];
    // SAFETY: x holds the rows, and is borrowed.
    unsafe {
        let x = Source::rows(x, shape.inputs);
        linear(isa, shape, x, weight, bias, activation, &mut out);
    }
    out
}

fn check<T: Element>(isa: Isa) {
    const MOST: usize = 150;
    for (outputs, inputs) in [
        (1, 1),
        (3, 300),
        (17, 5),
        (40, 70),
        (130, 33),
        (300, 200),
        (16, 0),
        (70, 272),
    ] {
        let (x, weight) = (
            filled::<T>(MOST * inputs, 1),
            filled::<T>(outputs * inputs, 2),
        );
        let bias = filled::<T>(outputs, 3);
        for (bias, activation) in [
            (None, Activation::Identity),
            (Some(&bias[..]), Activation::Relu),
            (Some(&bias[..]), Activation::Tanh),
        ] {
            let result = |rows: usize, threads: usize| {
                let shape = Shape {
                    outputs,
                    inputs,
                    rows,
                };
                with_threads(threads, || {
                    of_rows(isa, shape, &x[..rows * inputs], &weight, bias, activation)
                })
            };
            let all = result(MOST, 1);
            for (rows, threads) in [
                (0, 2),
                (1, 1),
                (1, 2),
                (2, 3),
                (8, 2),
                (9, 2),
                (70, 3),
                (150, 2),
            ] {
                assert!(
                    result(rows, threads) == all[..rows * outputs],
                    "{isa:?} {rows} × {inputs} × {outputs}, {threads} threads"
                );
            }
        }
    }
}

#[test]
fn every_number_of_rows_gives_the_same_bits() {
    for isa in Isa::tested() {
        check::<f32>(isa);
        check::<f64>(isa);
    }
}

fn check_beginnings<T: Element>(isa: Isa) {
    for (outputs, inputs) in [(40, 272), (32, 259), (64, 256)] {
        let weight = filled::<T>(outputs * inputs, 2);
        let x = filled::<T>(3 * inputs, 1);
        let shape = Shape {
            outputs,
            inputs,
            rows: 3,
        };
        let result = |weight: &[T]| of_rows(isa, shape, &x, weight, None, Activation::Identity);
        let expected = result(&weight);
        for begin in 1..17 {
            let moved = [&weight[..begin], &weight[..]].concat();
            assert!(
                result(&moved[begin..]) == expected,
                "{isa:?} {inputs} × {outputs}, {begin} elements further on"
            );
        }
    }
}

#[test]
fn weights_may_begin_anywhere() {
    for isa in Isa::tested() {
        check_beginnings::<f32>(isa);
        check_beginnings::<f64>(isa);
    }
}
