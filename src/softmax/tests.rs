use super::*;
use crate::simd::Isa;

const WIDTHS: [usize; 12] = [1, 2, 3, 7, 8, 10, 15, 16, 17, 33, 100, 257];
const ROWS: usize = 37;

/// Scores that look random, some rows far apart.
fn scores<T: Element>(rows: usize, outputs: usize) -> Vec<T> {
    let value = |i: usize| {
        let scale = [0.1, 3.0, 40.0][i / outputs.max(1) % 3];
        T::from_f64(f64::from(((i as f64 * 12.9898).sin() * 43_758.547) as f32).fract() * scale)
    };
    (0..rows * outputs).map(value).collect()
}

fn reference(log: bool, row: &[f64]) -> Vec<f64> {
    let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = row.iter().map(|x| (x - max).exp()).sum();
    let log_p = |x: &f64| x - max - sum.ln();
    row.iter()
        .map(|x| if log { log_p(x) } else { log_p(x).exp() })
        .collect()
}

fn forward<T: Element>(isa: Isa, log: bool, outputs: usize, x: &[T]) -> Vec<T> {
    let mut out = vec![T::ONE; x.len()];
    isa.run(Forward {
        log,
        outputs,
        x,
        out: &mut out,
    });
    out
}

fn backward<T: Element>(isa: Isa, log: bool, outputs: usize, dout: &[T], x: &[T]) -> Vec<T> {
    let mut out = vec![T::ONE; x.len()];
    isa.run(Backward {
        log,
        outputs,
        dout,
        x,
        out: &mut out,
    });
    out
}

fn bits<T: Element>(values: &[T]) -> Vec<T::Bits> {
    values.iter().map(|v| v.to_bits()).collect()
}

/// Rows one by one, without panels.
struct EachRow<'a, T> {
    log: bool,
    outputs: usize,
    values: &'a mut [T],
}

impl<T: Element> Kernel for EachRow<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        for row in self.values.chunks_mut(self.outputs) {
            forward_row(simd, self.log, row);
        }
    }
}

/// A panel forward and, if there is a gradient, backward.
struct OnePanel<'a, T> {
    log: bool,
    outputs: usize,
    x: &'a [T],
    out: &'a mut [T],
    gradient: &'a mut [T],
}

impl<T: Element> Kernel for OnePanel<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        forward_panel(simd, self.log, self.outputs, self.x, self.out);
        backward_panel(simd, self.log, self.outputs, self.out, self.gradient);
    }
}

/// The panel whose first rows are these, garbage in the others.
fn panel_of<T: Element>(outputs: usize, rows: &[T], garbage: f64) -> Vec<T> {
    let mut panel = vec![T::from_f64(garbage); outputs * PANEL];
    for (r, row) in rows.chunks(outputs).enumerate() {
        for (j, &x) in row.iter().enumerate() {
            panel[j * PANEL + r] = x;
        }
    }
    panel
}

fn check_forward<T: Element>(tolerance: f64) {
    for outputs in WIDTHS {
        let x = scores::<T>(ROWS, outputs);
        for log in [false, true] {
            let first = forward(Isa::best(), log, outputs, &x);
            for (x, got) in x.chunks(outputs).zip(first.chunks(outputs)) {
                let x: Vec<f64> = x.iter().map(|x| x.to_f64()).collect();
                for (got, want) in got.iter().zip(reference(log, &x)) {
                    let bound = tolerance * want.abs().max(if log { 1.0 } else { 1e-30 });
                    assert!(
                        (got.to_f64() - want).abs() <= bound,
                        "{outputs} {log}: {got} is not {want}"
                    );
                }
            }
            for isa in Isa::tested() {
                assert!(bits(&forward(isa, log, outputs, &x)) == bits(&first));
                let mut values = x.clone();
                isa.run(EachRow {
                    log,
                    outputs,
                    values: &mut values,
                });
                assert!(bits(&values) == bits(&first), "{outputs} on {isa:?}");
            }
        }
    }
}

#[test]
fn softmax_agrees_with_scalar_loops() {
    check_forward::<f64>(1e-13);
    check_forward::<f32>(2e-5);
}

#[test]
fn padding_touches_no_row_and_gets_no_gradient() {
    for outputs in [1, 3, 10, 33] {
        let x = scores::<f32>(5, outputs);
        let dout = scores::<f32>(5 * 2, outputs).split_off(5 * outputs);
        for log in [false, true] {
            let want = bits(&backward(Isa::best(), log, outputs, &dout, &x));
            for isa in Isa::tested() {
                for garbage in [0.0, 1e30, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
                    let x = panel_of(outputs, &x, garbage);
                    let mut gradient = panel_of(outputs, &dout, 0.0);
                    let mut out = vec![0.0; x.len()];
                    isa.run(OnePanel {
                        log,
                        outputs,
                        x: &x,
                        out: &mut out,
                        gradient: &mut gradient,
                    });
                    for (j, feature) in gradient.chunks(PANEL).enumerate() {
                        for (r, g) in feature.iter().enumerate() {
                            let want = if r < 5 { want[r * outputs + j] } else { 0 };
                            assert_eq!(g.to_bits(), want, "{outputs} {log} {isa:?} {garbage}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn gradients_agree_with_central_differences() {
    for outputs in WIDTHS {
        let x: Vec<f64> = scores::<f64>(1, outputs).iter().map(|x| 20.0 * x).collect();
        let dout = scores::<f64>(2, outputs).split_off(outputs);
        for log in [false, true] {
            let value = |x: &[f64]| -> f64 {
                let p = reference(log, x);
                p.iter().zip(&dout).map(|(p, g)| p * g).sum()
            };
            let got = backward(Isa::best(), log, outputs, &dout, &x);
            for i in 0..outputs {
                let (mut up, mut down) = (x.clone(), x.clone());
                up[i] += 1e-5;
                down[i] -= 1e-5;
                let want = (value(&up) - value(&down)) / 2e-5;
                assert!(
                    (got[i] - want).abs() <= 1e-7 * (1.0 + want.abs()),
                    "{outputs} {log}: {} is not {want}",
                    got[i]
                );
            }
        }
    }
}

#[test]
fn gradients_have_the_same_bits_on_every_instruction_set() {
    for outputs in WIDTHS {
        let x = scores::<f32>(ROWS, outputs);
        let dout = scores::<f32>(2 * ROWS, outputs).split_off(ROWS * outputs);
        for log in [false, true] {
            let first = bits(&backward(Isa::best(), log, outputs, &dout, &x));
            for isa in Isa::tested() {
                assert!(bits(&backward(isa, log, outputs, &dout, &x)) == first);
                for (r, want) in first.chunks(outputs).enumerate() {
                    let row = r * outputs..(r + 1) * outputs;
                    let alone = backward(isa, log, outputs, &dout[row.clone()], &x[row]);
                    assert!(bits(&alone) == want);
                }
            }
        }
    }
}

#[test]
fn nothing_overflows() {
    for isa in Isa::tested() {
        let x = [1e4f32, -1e4, 0.0, 1e4, 1e4, 1e4, 3e38, -3e38, 0.0];
        let p = forward(isa, false, 3, &x);
        let third = 1.0 / 3.0f32;
        assert_eq!(p, [1.0, 0.0, 0.0, third, third, third, 1.0, 0.0, 0.0]);
        let log_p = forward(isa, true, 3, &x[..6]);
        assert_eq!(log_p[..3], [0.0, -2e4, -1e4]);
        let minus_infinity = f32::NEG_INFINITY;
        let x = [minus_infinity, 1.0, minus_infinity, minus_infinity];
        assert_eq!(forward(isa, false, 4, &x), [0.0, 1.0, 0.0, 0.0]);
        assert_eq!(
            forward(isa, true, 4, &x),
            [minus_infinity, 0.0, minus_infinity, minus_infinity]
        );
    }
}

#[test]
fn a_row_that_is_undefined_is_nan_alone() {
    let nan = f64::NAN;
    let infinity = f64::INFINITY;
    let bad: [[f64; 3]; 7] = [
        [nan, 1.0, 2.0],
        [5.0, nan, 1.0],
        [5.0, 1.0, nan],
        [nan; 3],
        [infinity, 1.0, 2.0],
        [infinity, infinity, nan],
        [-infinity; 3],
    ];
    for isa in Isa::tested() {
        for log in [false, true] {
            let good = [1.0, 2.0, 3.0];
            let want = bits(&forward(isa, log, 3, &good));
            for bad in bad {
                let x = [good, bad, good].concat();
                let out = forward(isa, log, 3, &x);
                assert!(out[3..6].iter().all(|p| p.is_nan()), "{bad:?}");
                assert!(bits(&out[..3]) == want && bits(&out[6..]) == want);
                let mut values = x.clone();
                isa.run(EachRow {
                    log,
                    outputs: 3,
                    values: &mut values,
                });
                assert!(values[3..6].iter().all(|p| p.is_nan()), "{bad:?}");
            }
            // Long enough for rows along the vectors.
            let mut x = vec![1.0; 40];
            x[39] = nan;
            assert!(forward(isa, log, 40, &x).iter().all(|p| p.is_nan()));
        }
    }
}

#[test]
fn no_gradient_stays_none() {
    for isa in Isa::tested() {
        for log in [false, true] {
            let x = [f32::NAN, 1.0, f32::INFINITY, 2.0];
            assert_eq!(backward(isa, log, 2, &[0.0, -0.0, 0.0, 0.0], &x), [0.0; 4]);
            let dx = backward(isa, log, 2, &[1.0, 0.0, 0.0, f32::NAN], &[0.0; 4]);
            assert!(dx[..2].iter().all(|g| g.is_finite()) && dx[2..].iter().all(|g| g.is_nan()));
        }
    }
}

#[test]
fn no_rows_and_no_outputs() {
    for isa in Isa::tested() {
        for outputs in [0, 3, 40] {
            assert!(forward::<f32>(isa, false, outputs, &[]).is_empty());
            assert!(backward::<f32>(isa, true, outputs, &[], &[]).is_empty());
        }
        isa.run(OnePanel::<f32> {
            log: true,
            outputs: 0,
            x: &[],
            out: &mut [],
            gradient: &mut [],
        });
    }
}
