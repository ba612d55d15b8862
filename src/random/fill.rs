//! Arrays of uniform and normal numbers.
//!
//! Element (row, column) depends on the stream, row, column and element type alone, not on the array's extent. An
//! array of one axis is one row; of several, the last axis holds the columns.

use super::Stream;
use super::normal::Quantiles;
use crate::error::{Error, Result};
use crate::simd::{Element, Isa};

/// Blocks generated at a time.
const BLOCKS: usize = 8;

/// Uniform numbers in [low, high): 24 random bits each in float32 (four to a block), 53 in float64 (two to a block).
///
/// The ends are rounded to the element type first. `low` = `high` gives that number everywhere.
pub fn uniform<T: Element>(
    stream: Stream,
    columns: usize,
    low: f64,
    high: f64,
    out: &mut [T],
) -> Result<()> {
    let (low, high) = (T::from_f64(low), T::from_f64(high));
    if !(low <= high
        && low.is_finite()
        && high.is_finite()
        && (high.to_f64() - low.to_f64()).is_finite())
    {
        return Err(Error::Value(format!(
            "low is {low}, high is {high}; expected finite numbers, low at most high"
        )));
    }
    let last = if low < high { below(high) } else { high };
    let (start, width) = (low.to_f64(), high.to_f64() - low.to_f64());
    let place = |unit: f64| {
        let value = T::from_f64(start + width * unit);
        if value < high { value } else { last }
    };
    let wide = size_of::<T>() == 8;
    let per_block = if wide { 2 } else { 4 };
    each_row(columns, out, |row, values| {
        for (group, values) in values.chunks_mut(BLOCKS * per_block).enumerate() {
            let words = stream.blocks::<BLOCKS>(row, (group * BLOCKS) as u32);
            for (i, value) in values.iter_mut().enumerate() {
                let (block, part) = (i / per_block, i % per_block);
                *value = place(if wide {
                    (pair(words[2 * part][block], words[2 * part + 1][block]) >> 11) as f64
                        * (0.5f64).powi(53)
                } else {
                    f64::from(words[part][block] >> 8) * (0.5f64).powi(24)
                });
            }
        }
    })
}

/// Normal numbers: the inverse of the normal distribution function at 52 random bits, two to a block.
///
/// Computed in float64 and rounded, so float32 and float64 arrays agree.
pub fn normal<T: Element>(
    isa: Isa,
    stream: Stream,
    columns: usize,
    mean: f64,
    std: f64,
    out: &mut [T],
) -> Result<()> {
    if !(mean.is_finite() && std.is_finite() && std >= 0.0) {
        return Err(Error::Value(format!(
            "mean is {mean}, std is {std}; expected finite numbers, std at least 0"
        )));
    }
    each_row(columns, out, |row, values| {
        for (group, values) in values.chunks_mut(BLOCKS * 2).enumerate() {
            let words = stream.blocks::<BLOCKS>(row, (group * BLOCKS) as u32);
            let mut numbers: [f64; 2 * BLOCKS] = std::array::from_fn(|i| {
                let bits = pair(words[2 * (i % 2)][i / 2], words[2 * (i % 2) + 1][i / 2]) >> 12;
                (bits as f64 + 0.5) * (0.5f64).powi(52)
            });
            isa.run(Quantiles(&mut numbers));
            for (value, number) in values.iter_mut().zip(numbers) {
                *value = T::from_f64(mean + std * number);
            }
        }
    })
}

/// Calls `fill` with every row's number and slice.
fn each_row<T>(columns: usize, out: &mut [T], mut fill: impl FnMut(u32, &mut [T])) -> Result<()> {
    if out.is_empty() {
        return Ok(());
    }
    assert!(
        columns > 0 && out.len().is_multiple_of(columns),
        "whole rows"
    );
    let limit = 1usize << 32;
    if columns > limit || out.len() / columns > limit {
        let rows = out.len() / columns;
        return Err(Error::Value(format!(
            "shape is ({rows}, {columns}); expected at most {limit} rows and columns"
        )));
    }
    for (row, values) in out.chunks_exact_mut(columns).enumerate() {
        fill(row as u32, values);
    }
    Ok(())
}

fn pair(high: u32, low: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

/// The largest number of the type below `value`.
fn below<T: Element>(value: T) -> T {
    let value = value.to_f64();
    T::from_f64(if size_of::<T>() == 8 {
        value.next_down()
    } else {
        f64::from((value as f32).next_down())
    })
}

#[cfg(test)]
mod tests {
    use super::super::Purpose;
    use super::*;

    const STREAM: fn() -> Stream = || Stream::new(3, Purpose::Data, 0, 0);

    fn uniforms<T: Element>(columns: usize, low: f64, high: f64, length: usize) -> Vec<T> {
        let mut out = vec![T::ZERO; length];
        uniform(STREAM(), columns, low, high, &mut out).unwrap();
        out
    }

    fn elements_do_not_depend_on_the_extent<T: Element>() {
        let wide: Vec<T> = uniforms(100, 0.0, 1.0, 500);
        for columns in [1, 2, 3, 4, 5, 31, 33] {
            let narrow: Vec<T> = uniforms(columns, 0.0, 1.0, columns * 3);
            for row in 0..3 {
                assert_eq!(
                    narrow[row * columns..][..columns],
                    wide[row * 100..][..columns]
                );
            }
        }
    }

    #[test]
    fn uniform_elements_do_not_depend_on_the_extent() {
        elements_do_not_depend_on_the_extent::<f32>();
        elements_do_not_depend_on_the_extent::<f64>();
    }

    #[test]
    fn uniform_numbers_are_in_range_and_spread() {
        let numbers: Vec<f32> = uniforms(1000, -0.1, 0.1, 100_000);
        assert!(numbers.iter().all(|&x| (-0.1..0.1).contains(&x)));
        let mean = numbers.iter().map(|&x| f64::from(x)).sum::<f64>() / 1e5;
        let square = numbers
            .iter()
            .map(|&x| f64::from(x) * f64::from(x))
            .sum::<f64>()
            / 1e5;
        assert!(mean.abs() < 4.0 * 0.2 / (12e5f64).sqrt(), "{mean}");
        assert!((square / (0.01 / 3.0) - 1.0).abs() < 0.02, "{square}");
        // One step of float32 wide: rounding alone would give the upper end every other time.
        let next = 1.0f32.next_up();
        assert!(
            uniforms::<f32>(64, 1.0, f64::from(next), 64)
                .iter()
                .all(|&x| x == 1.0)
        );
        assert!(
            uniforms::<f64>(64, 1.0, 1.0f64.next_up(), 64)
                .iter()
                .all(|&x| x == 1.0)
        );
        assert!(uniforms::<f64>(64, 2.5, 2.5, 64).iter().all(|&x| x == 2.5));
    }

    #[test]
    fn wrong_ranges_are_refused() {
        let mut out = [0f32; 4];
        for (low, high) in [
            (1.0, 0.0),
            (f64::NAN, 1.0),
            (0.0, f64::INFINITY),
            (0.0, 1e300),
        ] {
            assert!(uniform(STREAM(), 4, low, high, &mut out).is_err());
        }
        assert!(uniform(STREAM(), 4, -1e308, 1e308, &mut [0f64; 4]).is_err());
        for (mean, std) in [(f64::NAN, 1.0), (0.0, -1.0), (0.0, f64::INFINITY)] {
            assert!(normal(Isa::best(), STREAM(), 4, mean, std, &mut out).is_err());
        }
        assert_eq!(uniform(STREAM(), 0, 0.0, 1.0, &mut [0f32; 0]), Ok(()));
    }

    #[test]
    fn normal_numbers_are_normal_and_the_same_everywhere() {
        let draw = |isa| {
            let mut out = vec![0f64; 100_000];
            normal(isa, STREAM(), 1001, 0.0, 1.0, &mut out[..99_099]).unwrap();
            out
        };
        let numbers = draw(Isa::best());
        for isa in Isa::tested() {
            assert!(
                draw(isa)
                    .iter()
                    .zip(&numbers)
                    .all(|(a, b)| a.to_bits() == b.to_bits()),
                "{isa:?}"
            );
        }
        let numbers = &numbers[..99_099];
        let moment =
            |power: i32| numbers.iter().map(|x| x.powi(power)).sum::<f64>() / numbers.len() as f64;
        assert!(moment(1).abs() < 0.015, "{}", moment(1));
        assert!((moment(2) - 1.0).abs() < 0.02, "{}", moment(2));
        assert!(moment(3).abs() < 0.05, "{}", moment(3));
        assert!((moment(4) - 3.0).abs() < 0.1, "{}", moment(4));
        let mut single = [0f32; 100];
        normal(Isa::best(), STREAM(), 100, 1.0, 2.0, &mut single).unwrap();
        for (i, x) in single.iter().enumerate() {
            assert_eq!(*x, (1.0 + 2.0 * numbers[i]) as f32);
        }
    }
}
