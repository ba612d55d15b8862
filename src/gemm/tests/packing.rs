//! Rows to panels and columns, and back.

use super::*;

#[test]
fn packing_takes_any_strides_picks_and_scale() {
    let (rows, features) = (37, 21);
    let matrix: Vec<f32> = (0..200 * 100).map(|i| (i * 31 % 977) as f32).collect();
    let picks: Vec<u32> = (0..rows as u32).map(|r| r * 7 % 100).collect();
    let shift: Vec<f32> = (0..features).map(|j| j as f32).collect();
    let factor: Vec<f32> = (0..features).map(|j| 1.0 / (j as f32 + 1.0)).collect();
    for isa in Isa::tested() {
        for (row_stride, column_stride, offset) in [
            (100, 1, 0),
            (1, 100, 0),
            (200, 2, 1),
            (-100, 1, 15_000),
            (100, -1, 40),
        ] {
            for picks in [None, Some(&picks[..])] {
                for scale in [
                    None,
                    Some(Scale {
                        shift: &shift,
                        factor: &factor,
                    }),
                ] {
                    let start = matrix[offset..].as_ptr();
                    let source = Source {
                        start,
                        row_stride,
                        column_stride,
                        picks,
                    };
                    let mut panels = vec![f32::NAN; panels_len(rows, features)];
                    let mut columns = vec![f32::NAN; panels_len(features, rows)];
                    let (p, c) = (&mut panels, Some(&mut columns[..]));
                    isa.run(Call(Pack {
                        source,
                        scale,
                        rows,
                        features,
                        panels: p,
                        columns: c,
                    }));
                    for r in 0..padded(rows) {
                        for j in 0..padded(features) {
                            let want = if r < rows && j < features {
                                let row = picks.map_or(r, |picks| picks[r] as usize) as isize;
                                let at =
                                    offset as isize + row * row_stride + j as isize * column_stride;
                                let value = matrix[at as usize];
                                scale.map_or(value, |s| (value - s.shift[j]) * s.factor[j])
                            } else {
                                0.0
                            };
                            assert_eq!(
                                panels[r / PANEL * panel_stride(features) + j * PANEL + r % PANEL],
                                want
                            );
                            assert_eq!(
                                columns[j / PANEL * panel_stride(rows) + r * PANEL + j % PANEL],
                                want
                            );
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn a_single_column_is_packed_as_it_is() {
    let matrix: Vec<f32> = (0..120).map(|i| i as f32).collect();
    let picks: Vec<u32> = (0..35).map(|r| r * 7 % 35).collect();
    for isa in Isa::tested() {
        for row_stride in [1, 3] {
            for picks in [None, Some(&picks[..])] {
                let source = Source {
                    row_stride,
                    picks,
                    ..Source::rows(&matrix, 1)
                };
                let mut panels = vec![f32::NAN; panels_len(35, 1)];
                isa.run(Call(Pack {
                    source,
                    scale: None,
                    rows: 35,
                    features: 1,
                    panels: &mut panels,
                    columns: None,
                }));
                for r in 0..48 {
                    let row = picks.map_or(r, |picks| picks[r.min(34)] as usize);
                    let want = if r < 35 {
                        matrix[row * row_stride as usize]
                    } else {
                        0.0
                    };
                    assert_eq!(panels[r / PANEL * panel_stride(1) + r % PANEL], want);
                }
            }
        }
    }
}

/// Panels back to rows, to columns, and summed.
struct Turn<'a, T> {
    rows: usize,
    features: usize,
    panels: &'a mut [T],
    columns: &'a mut [T],
    matrix: &'a mut [T],
    sums: &'a mut [T],
}
impl<T: Element> OnSimd for Turn<'_, T> {
    type Output = ();
    #[inline(always)]
    fn on<S: Simd>(self, simd: S) {
        let (rows, features) = (self.rows, self.features);
        let panels = Shared::new(self.panels);
        // SAFETY: one thread, buffers of the right lengths.
        unsafe {
            panels_to_columns(
                simd,
                rows,
                features,
                0..blocks(rows, features),
                panels,
                Shared::new(self.columns),
            );
            unpack_rows(
                simd,
                rows,
                features,
                0..rows.div_ceil(PANEL),
                panels,
                Shared::new(self.matrix),
                features,
            );
            let sums = Shared::new(self.sums);
            sum_rows(
                simd,
                rows,
                features,
                0..features.div_ceil(PANEL),
                panels,
                sums,
                true,
            );
        }
    }
}

#[test]
fn panels_turn_back() {
    for isa in Isa::tested() {
        for (rows, features) in [(1, 1), (16, 16), (17, 5), (300, 33), (600, 16)] {
            let mut random = Random(3);
            let matrix = random.many::<f64>(rows * features);
            let (mut panels, columns) = pack(isa, &matrix, rows, features);
            let mut turned = vec![0.0; columns.len()];
            let mut back = vec![0.0; rows * features];
            let mut sums = vec![1.0; features];
            isa.run(Call(Turn {
                rows,
                features,
                panels: &mut panels,
                columns: &mut turned,
                matrix: &mut back,
                sums: &mut sums,
            }));
            assert_eq!(&back[..], &matrix[..]);
            assert_eq!(&turned[..], &columns[..]);
            for j in 0..features {
                let chunk_sum = |chunk: usize| {
                    (chunk * CHUNK..rows.min((chunk + 1) * CHUNK))
                        .fold(0.0, |sum, r| sum + matrix[r * features + j])
                };
                let want = (0..rows.div_ceil(CHUNK)).fold(1.0, |sum, chunk| sum + chunk_sum(chunk));
                assert_eq!(sums[j], want);
            }
        }
    }
}
