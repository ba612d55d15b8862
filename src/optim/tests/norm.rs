//! The norm of a gradient: its order and its edges.

use super::*;

struct Norm<'a, T>(&'a Optimizer<T>, &'a [T]);
impl<T: Element> Kernel for Norm<'_, T> {
    type Output = (f64, bool);
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> (f64, bool) {
        (squared_norm(simd, self.0, self.1), all_finite(simd, self.1))
    }
}

/// The documented order, element by element.
fn plain_squared_norm(chunks: &[Range<usize>], gradient: &[f32]) -> f64 {
    let mut total = 0.0;
    for chunk in chunks {
        let mut lanes = [0f32; 16];
        for (i, &g) in gradient[chunk.clone()].iter().enumerate() {
            lanes[i % 16] = g.mul_add(g, lanes[i % 16]);
        }
        for half in [8, 4, 2, 1] {
            (0..half).for_each(|lane| lanes[lane] += lanes[lane + half]);
        }
        total += f64::from(lanes[0]);
    }
    total
}

#[test]
fn the_norm_has_its_order_on_every_instruction_set() {
    for length in [0, 1, 15, 16, 17, 100, 4095, 4096, 4097, 9000] {
        let optimizer = |segments: &[Segment]| {
            Optimizer::<f32>::new(Kind::Sgd, length, segments, &[Group::new(0.1)]).unwrap()
        };
        let mut optimizers = vec![optimizer(&[Segment {
            offset: 0,
            length,
            group: 0,
        }])];
        if length > 5000 {
            optimizers.push(optimizer(&[
                Segment {
                    offset: 4992,
                    length: length - 4992,
                    group: 0,
                },
                Segment {
                    offset: 0,
                    length: 4500,
                    group: 0,
                },
            ]));
            assert_eq!(
                optimizers[1].norm_chunks(),
                [0..4096, 4096..4500, 4992..9000]
            );
        }
        let gradient = numbers::<f32>(length, 5, 3.0);
        for optimizer in &optimizers {
            let want = plain_squared_norm(optimizer.norm_chunks(), &gradient);
            let exact: f64 = optimizer
                .norm_chunks()
                .iter()
                .flat_map(|c| &gradient[c.clone()])
                .map(|&g| f64::from(g).powi(2))
                .sum();
            assert!((want - exact).abs() <= 1e-5 * exact);
            for isa in Isa::tested() {
                assert_eq!(isa.run(Norm(optimizer, &gradient)), (want, true), "{isa:?}");
            }
        }
    }
}

#[test]
fn the_norm_of_large_and_of_wrong_gradients() {
    for isa in Isa::tested() {
        for length in [1usize, 8, 19, 300] {
            let segment = Segment {
                offset: 0,
                length,
                group: 0,
            };
            let optimizer =
                Optimizer::<f32>::new(Kind::Sgd, length, &[segment], &[Group::new(0.1)]).unwrap();
            let mut gradient = vec![0f32; length];
            gradient[length / 2] = 1e30;
            let (square, finite) = isa.run(Norm(&optimizer, &gradient));
            assert!((square / 1e60 - 1.0).abs() < 1e-6 && finite);
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                gradient[length - 1] = bad;
                let (square, finite) = isa.run(Norm(&optimizer, &gradient));
                assert!(!square.is_finite() && !finite);
            }
        }
    }
}
