//! Optimisers against torch's formulas in plain float64.

mod norm;
mod refused;

use super::*;
use crate::simd::{Isa, Kernel};

fn numbers<T: Element>(length: usize, seed: u64, scale: f64) -> Vec<T> {
    let mut state = seed;
    let mut next = || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    };
    (0..length).map(|_| T::from_f64(next() * scale)).collect()
}

fn bits<T: Element>(values: &[T]) -> Vec<T::Bits> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Parameters, slots and their optimiser, stepped with the gradients of a formula.
struct Run<T> {
    isa: Isa,
    optimizer: Optimizer<T>,
    weights: Vec<T>,
    slots: [Vec<T>; 3],
}

impl<T: Element> Run<T> {
    fn new(isa: Isa, kind: Kind, segments: &[Segment], groups: &[Group], length: usize) -> Self {
        let optimizer = Optimizer::new(kind, length, segments, groups).unwrap();
        let count = optimizer.slot_names().len();
        let slots = std::array::from_fn(|k| vec![T::ZERO; if k < count { length } else { 0 }]);
        let mut weights = vec![T::ZERO; length];
        for segment in segments {
            let range = segment.offset..segment.offset + segment.length;
            weights[range].copy_from_slice(&numbers(
                segment.length,
                7 + segment.offset as u64,
                1.0,
            ));
        }
        Self {
            isa,
            optimizer,
            weights,
            slots,
        }
    }

    fn one(isa: Isa, kind: Kind, group: Group, length: usize) -> Self {
        Self::new(
            isa,
            kind,
            &[Segment {
                offset: 0,
                length,
                group: 0,
            }],
            &[group],
            length,
        )
    }

    fn step(&mut self, clip: Clip<T>, gradient: &[T]) {
        self.optimizer.begin_step(None);
        let [a, b, c] = &mut self.slots;
        self.isa.run(Update {
            optimizer: &self.optimizer,
            clip,
            first: 0,
            weights: &mut self.weights,
            gradient,
            slots: [a, b, c],
        });
    }
}

/// torch's formulas for one parameter, in float64.
struct Plain {
    kind: Kind,
    group: Group,
    weight: f64,
    slots: [f64; 3],
    count: i32,
}

impl Plain {
    fn step(&mut self, mut g: f64) {
        let Group {
            lr,
            weight_decay,
            momentum,
            dampening,
            nesterov,
            beta1,
            beta2,
            eps,
            amsgrad,
        } = self.group;
        self.count += 1;
        let [m, v, largest] = &mut self.slots;
        if self.kind == Kind::Sgd {
            g += weight_decay * self.weight;
            if momentum != 0.0 {
                *m = if self.count == 1 {
                    g
                } else {
                    momentum * *m + (1.0 - dampening) * g
                };
                g = if nesterov { g + momentum * *m } else { *m };
            }
            self.weight -= lr * g;
            return;
        }
        if self.kind == Kind::AdamW {
            self.weight *= 1.0 - lr * weight_decay;
        } else {
            g += weight_decay * self.weight;
        }
        *m += (1.0 - beta1) * (g - *m);
        *v = beta2 * *v + (1.0 - beta2) * g * g;
        *largest = largest.max(*v);
        let second = if amsgrad { *largest } else { *v };
        let denominator = (second / (1.0 - beta2.powi(self.count))).sqrt() + eps;
        self.weight -= lr / (1.0 - beta1.powi(self.count)) * *m / denominator;
    }
}

fn variants() -> Vec<(Kind, Group)> {
    let group = Group {
        weight_decay: 0.02,
        ..Group::new(0.03)
    };
    let momentum = Group {
        momentum: 0.9,
        ..group
    };
    vec![
        (Kind::Sgd, Group::new(0.1)),
        (Kind::Sgd, group),
        (Kind::Sgd, momentum),
        (
            Kind::Sgd,
            Group {
                dampening: 0.3,
                ..momentum
            },
        ),
        (
            Kind::Sgd,
            Group {
                nesterov: true,
                ..momentum
            },
        ),
        (Kind::Adam, Group::new(0.01)),
        (Kind::Adam, group),
        (
            Kind::Adam,
            Group {
                amsgrad: true,
                beta1: 0.8,
                beta2: 0.95,
                eps: 1e-3,
                ..group
            },
        ),
        (Kind::AdamW, group),
        (
            Kind::AdamW,
            Group {
                amsgrad: true,
                ..group
            },
        ),
    ]
}

fn follows_the_formulas<T: Element>(tolerance: f64) {
    for (kind, group) in variants() {
        for length in [0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 100, 257] {
            let mut plain: Vec<Plain> = numbers::<T>(length, 7, 1.0)
                .iter()
                .map(|w| Plain {
                    kind,
                    group,
                    weight: w.to_f64(),
                    slots: [0.0; 3],
                    count: 0,
                })
                .collect();
            let mut runs: Vec<Run<T>> = Isa::tested()
                .into_iter()
                .map(|isa| Run::one(isa, kind, group, length))
                .collect();
            for step in 0..12 {
                let gradient = numbers::<T>(length, 100 + step, 2.0 - 0.15 * step as f64);
                runs.iter_mut()
                    .for_each(|run| run.step(Clip::none(), &gradient));
                plain
                    .iter_mut()
                    .zip(&gradient)
                    .for_each(|(p, g)| p.step(g.to_f64()));
            }
            for (p, w) in plain.iter().zip(&runs[0].weights) {
                let error = (p.weight - w.to_f64()).abs();
                assert!(
                    error <= tolerance,
                    "{kind:?} {group:?}: {w} not {}",
                    p.weight
                );
            }
            for run in &runs {
                assert_eq!(
                    bits(&run.weights),
                    bits(&runs[0].weights),
                    "{kind:?} {:?}",
                    run.isa
                );
                for (slot, first) in run.slots.iter().zip(&runs[0].slots) {
                    assert_eq!(bits(slot), bits(first), "{kind:?} {:?}", run.isa);
                }
            }
        }
    }
}

#[test]
fn float32_follows_torch_formulas() {
    follows_the_formulas::<f32>(4e-6);
}

#[test]
fn float64_follows_torch_formulas() {
    follows_the_formulas::<f64>(1e-14);
}

#[test]
fn parts_of_the_buffer_give_the_bits_of_the_whole() {
    for (kind, group) in variants() {
        let slow = Group {
            lr: group.lr / 10.0,
            amsgrad: false,
            ..group
        };
        let segments = [
            Segment {
                offset: 160,
                length: 33,
                group: 1,
            },
            Segment {
                offset: 0,
                length: 70,
                group: 0,
            },
            Segment {
                offset: 80,
                length: 40,
                group: 0,
            },
            Segment {
                offset: 208,
                length: 0,
                group: 0,
            },
        ];
        let mut whole = Run::<f32>::new(Isa::best(), kind, &segments, &[group, slow], 208);
        let mut parts = Run::<f32>::new(Isa::best(), kind, &segments, &[group, slow], 208);
        // Between 128 and 160 lies a parameter that is not trained.
        whole.weights[128..160].fill(3.0);
        parts.weights[128..160].fill(3.0);
        for step in 0..3 {
            let mut gradient = numbers::<f32>(208, step, 1.0);
            gradient[70..80].fill(0.0);
            gradient[120..128].fill(0.0);
            whole.step(Clip::none(), &gradient);
            parts.optimizer.begin_step(None);
            for (first, end) in [(176, 208), (0, 48), (48, 176)] {
                let [a, b, c] = &mut parts.slots;
                let used = |slot: &'_ mut Vec<f32>| if slot.is_empty() { 0..0 } else { first..end };
                let (ra, rb, rc) = (used(a), used(b), used(c));
                parts.isa.run(Update {
                    optimizer: &parts.optimizer,
                    clip: Clip::none(),
                    first,
                    weights: &mut parts.weights[first..end],
                    gradient: &gradient[first..end],
                    slots: [&mut a[ra], &mut b[rb], &mut c[rc]],
                });
            }
        }
        assert_eq!(bits(&whole.weights), bits(&parts.weights));
        assert_eq!(whole.slots, parts.slots);
        assert!(
            whole.weights[70..80]
                .iter()
                .chain(&whole.weights[120..128])
                .all(|&w| w == 0.0)
        );
        assert!(whole.weights[128..160].iter().all(|&w| w == 3.0));
        assert!(whole.weights[193..].iter().all(|&w| w == 0.0));
        let start = Run::<f32>::new(Isa::best(), kind, &segments, &[group, slow], 208);
        assert!(
            whole.weights[160..193]
                .iter()
                .zip(&start.weights[160..])
                .all(|(a, b)| a != b)
        );
    }
}

#[test]
fn gaps_stay_zero_without_epsilon() {
    let group = Group {
        eps: 0.0,
        ..Group::new(0.1)
    };
    let segments = [
        Segment {
            offset: 0,
            length: 3,
            group: 0,
        },
        Segment {
            offset: 16,
            length: 5,
            group: 0,
        },
    ];
    let mut run = Run::<f64>::new(Isa::best(), Kind::Adam, &segments, &[group], 32);
    let mut gradient = vec![0.0; 32];
    gradient[..3].fill(1.0);
    gradient[16..21].fill(-1.0);
    run.step(Clip::none(), &gradient);
    assert!(
        run.weights.iter().all(|w| w.is_finite()) && run.weights[3..16].iter().all(|&w| w == 0.0)
    );
    assert_eq!(run.optimizer.runs().len(), 2);
    run.optimizer.set_group(0, Group::new(0.1)).unwrap();
    assert_eq!(
        run.optimizer.runs(),
        [Segment {
            offset: 0,
            length: 21,
            group: 0
        }]
    );
}

#[test]
fn clipping_scales_then_limits_and_keeps_nan() {
    let gradient = [
        4.0f32,
        -4.0,
        0.5,
        f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        -0.0,
    ];
    for isa in Isa::tested() {
        let mut run = Run::<f32>::one(isa, Kind::Sgd, Group::new(1.0), 7);
        run.weights.fill(0.0);
        run.step(Clip::new(0.5, Some(1.5)), &gradient);
        assert_eq!(run.weights[..3], [-1.5, 1.5, -0.25]);
        assert!(run.weights[3].is_nan());
        assert_eq!(run.weights[4..], [-1.5, 1.5, 0.0]);
    }
    assert_eq!(clip_scale(100.0, 20.0), 1.0);
    assert!((clip_scale(100.0, 5.0) - 0.5).abs() < 1e-6);
    assert!(clip_scale(f64::NAN, 5.0).is_nan());
}

#[test]
fn dead_units_leave_no_subnormal_moments() {
    fn check<T: Element>(smallest_normal: f64, steps: usize) {
        for (kind, group) in variants()
            .into_iter()
            .filter(|(_, group)| group.weight_decay == 0.0 || group.momentum > 0.0)
        {
            let group = Group {
                weight_decay: 0.0,
                beta2: 0.9,
                ..group
            };
            let mut run = Run::<T>::one(Isa::best(), kind, group, 9);
            run.step(Clip::none(), &numbers::<T>(9, 3, 1.0));
            for step in 0..steps {
                let tiny = if step % 100 == 0 {
                    smallest_normal.sqrt() * 0.9
                } else {
                    0.0
                };
                run.step(Clip::none(), &[T::from_f64(tiny); 9]);
                for x in run.slots.iter().flatten() {
                    let size = x.to_f64().abs();
                    assert!(
                        size == 0.0 || size >= smallest_normal,
                        "{kind:?}: {size:e} after {step}"
                    );
                }
            }
            let dead = if kind == Kind::Sgd {
                &run.slots[..1]
            } else {
                &run.slots[..2]
            };
            assert!(run.weights.iter().all(|w| w.is_finite()));
            assert!(kind == Kind::Sgd || dead.iter().flatten().all(|&x| x == T::ZERO));
        }
    }
    check::<f32>(f64::from(f32::MIN_POSITIVE), 1000);
    check::<f64>(f64::MIN_POSITIVE, 7000);
}

#[test]
fn a_gradient_at_its_floor_moves_both_moments() {
    fn check<T: Element>() {
        let exponent = adam::GRADIENT_FLOOR[usize::from(size_of::<T>() == 8)];
        let mut run = Run::<T>::one(
            Isa::best(),
            Kind::Adam,
            Group {
                eps: 0.0,
                ..Group::new(0.1)
            },
            2,
        );
        let at = T::from_f64(2f64.powi(exponent));
        run.step(Clip::none(), &[at, at]);
        assert!(
            run.slots[0][0] > T::ZERO && run.slots[1][0] > T::ZERO && run.weights[0].is_finite()
        );
    }
    check::<f32>();
    check::<f64>();
}

#[test]
fn counts_and_powers_are_set_and_kept() {
    let group = Group::new(0.1);
    let mut run = Run::<f32>::one(Isa::best(), Kind::Adam, group, 4);
    (0..50).for_each(|_| run.step(Clip::none(), &[1.0; 4]));
    let mut other =
        Optimizer::<f32>::new(Kind::Adam, 4, run.optimizer.segments(), &[group]).unwrap();
    other.set_step_count(50);
    assert_eq!(other.step_count(), 50);
    assert_eq!(other.powers(), run.optimizer.powers());
    other.set_powers(&[[0.5, 0.25]]).unwrap();
    assert_eq!(other.powers(), [[0.5, 0.25]]);
    assert!(other.set_powers(&[]).is_err());
    other.set_step_count(u64::MAX);
    assert_eq!(other.powers(), [[0.0; 2]]);
    other.set_step_count(6_000);
    for _ in 0..1_000 {
        other.begin_step(None);
        assert!(other.powers()[0].iter().all(|power| !power.is_subnormal()));
    }
    assert_eq!(other.powers()[0][0], 0.0);
    let rates = |optimizer: &mut Optimizer<f32>, rate| {
        optimizer.set_step_count(3);
        optimizer.begin_step(rate);
        format!("{:?}", optimizer.rules())
    };
    assert_eq!(rates(&mut other, None), rates(&mut other, Some(0.1)));
    assert_ne!(rates(&mut other, None), rates(&mut other, Some(0.2)));
}
