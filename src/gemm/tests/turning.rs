//! Products that turn their batch as they go.

use super::*;

/// One thread's part of a layer, by a batch that is there and by one that is turned meanwhile.
struct BothWays<'a> {
    outputs: usize,
    features: usize,
    rows: usize,
    source: Source<'a, f32>,
    weights: &'a [f32],
    epilogue: Epilogue,
    /// Of how many threads, and which of them.
    part: (usize, usize),
}

impl BothWays<'_> {
    fn product(&self, panels: *const f32, out: &mut [f32]) -> Product<f32> {
        Product {
            rows: self.outputs,
            columns: self.rows,
            k: self.features,
            a: Operand::plain(self.weights.as_ptr(), self.features, 1),
            b: panels,
            b_panel: panel_stride(self.features),
            c: Target {
                start: out.as_mut_ptr(),
                row: PANEL,
                panel: panel_stride(self.outputs),
                begin: Start::Rows(self.weights.as_ptr()),
                epilogue: self.epilogue,
                kept: null(),
                local: false,
            },
            join: Join::Chain,
            ahead: Ahead::nothing(),
            pack_a: false,
        }
    }

    fn units(&self, all: usize) -> Range<usize> {
        let (parts, number) = self.part;
        all * number / parts..all * (number + 1) / parts
    }
}

impl OnSimd for BothWays<'_> {
    type Output = bool;
    #[inline(always)]
    fn on<S: Simd>(self, simd: S) -> bool {
        let &Self {
            outputs,
            features,
            rows,
            source,
            ..
        } = &self;
        let form = |across, along| Aligned::<f32>::zeros(panels_len(across, along));
        let (mut panels, mut columns) = (form(rows, features), form(features, rows));
        let (mut later_panels, mut later_columns) = (form(rows, features), form(features, rows));
        let (mut out, mut later_out) = (form(rows, outputs), form(rows, outputs));
        let mut done = [Vec::new(), Vec::new()];
        // SAFETY: the operands are as large as the products say; one thread.
        unsafe {
            let (p, c) = (Shared::new(&mut panels), Shared::new(&mut columns));
            let all = 0..rows / PANEL;
            pack_rows(simd, &source, None, rows, features, all, p, Some(c));
            let product = self.product(p.as_ptr(), &mut out);
            let units = |all| self.units(all);
            product.run(simd, units, std::ptr::null_mut(), |rows, columns| {
                done[0].push((rows, columns));
            });

            let (p, c) = (
                Shared::new(&mut later_panels),
                Shared::new(&mut later_columns),
            );
            let product = self.product(p.as_ptr(), &mut later_out);
            let Some(mut turning) = Turning::new::<S>(source, rows, features, p, c) else {
                return false;
            };
            let mut tiles = TurningTiles {
                turning: Some(&mut turning),
                after: |rows, columns| done[1].push((rows, columns)),
            };
            product.run_with(simd, units, std::ptr::null_mut(), &mut tiles);
            turning.finish(simd);
        }
        let (parts, number) = self.part;
        let what = format!("{outputs} x {features} @ {rows}, part {number} of {parts}");
        assert_eq!(done[0], done[1], "{what}");
        for (name, there, turned) in [
            ("panels", &panels, &later_panels),
            ("columns", &columns, &later_columns),
            ("out", &out, &later_out),
        ] {
            let at = (0..there.len()).find(|&at| !same(there[at], turned[at]));
            assert_eq!(at, None, "{name} of {what}");
        }
        true
    }
}

#[test]
fn a_batch_that_is_turned_beside_its_products_is_the_same() {
    let mut random = Random(1);
    let x = random.many::<f32>(200 * 100);
    let weights = random.many::<f32>(200 * 96);
    let picks: Vec<u32> = (0..96).map(|r| r * 7 % 100).collect();
    for isa in Isa::tested() {
        let mut turned = 0;
        // Tiles of all heights, too low ones among them, several to a thread and none.
        for outputs in (1..=16).chain([20, 26, 27, 28, 65, 128, 200]) {
            for (features, rows) in [(16, 32), (48, 64), (96, 96)] {
                for picks in [None, Some(&picks[..])] {
                    for epilogue in [Epilogue::Store, Epilogue::Relu] {
                        for part in [(1, 0), (2, 0), (2, 1), (5, 3)] {
                            let source = Source {
                                start: x[3..].as_ptr(),
                                row_stride: 100,
                                column_stride: 1,
                                picks,
                            };
                            let weights = &weights[..];
                            turned += u32::from(isa.run(Call(BothWays {
                                outputs,
                                features,
                                rows,
                                source,
                                weights,
                                epilogue,
                                part,
                            })));
                        }
                    }
                }
            }
        }
        assert_eq!(turned > 0, isa.name() == "avx512", "{isa:?}");
    }
}

/// Whether a batch of these measures is turned on this instruction set.
struct Turns<'a>(Source<'a, f32>, usize, usize);
impl OnSimd for Turns<'_> {
    type Output = bool;
    #[inline(always)]
    fn on<S: Simd>(self, _: S) -> bool {
        let nothing = || Shared::new(&mut []);
        Turning::new::<S>(self.0, self.1, self.2, nothing(), nothing()).is_some()
    }
}

#[test]
fn products_so_deep_that_tiles_go_over_parts_of_them() {
    let (features, rows) = (20_000, 32);
    let mut random = Random(2);
    let x = random.many::<f32>(rows * features);
    for outputs in [2, 28] {
        let weights = random.many::<f32>(outputs * features);
        for isa in Isa::tested() {
            isa.run(Call(BothWays {
                outputs,
                features,
                rows,
                source: Source::rows(&x, features),
                weights: &weights,
                epilogue: Epilogue::Relu,
                part: (1, 0),
            }));
        }
    }
}

#[test]
fn only_whole_blocks_are_turned_beside_products() {
    let x = [0.0f32; 64];
    let source = Source::rows(&x, 16);
    let upright = Source {
        row_stride: 1,
        column_stride: 64,
        ..source
    };
    for isa in Isa::tested() {
        let turns = |source, rows, features| isa.run(Call(Turns(source, rows, features)));
        assert_eq!(turns(source, 32, 16), isa.name() == "avx512");
        for (source, rows, features) in [
            (source, 48, 16),
            (source, 33, 16),
            (source, 32, 17),
            (source, 32, 0),
            (source, 65 * 32, 16),
            (upright, 32, 16),
        ] {
            assert!(!turns(source, rows, features), "{isa:?} {rows} {features}");
        }
    }
}
