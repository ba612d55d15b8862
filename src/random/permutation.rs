//! Permutations: Fisher-Yates with unbiased bounded numbers.
//!
//! Bounded numbers as in Lemire, "Fast random integer generation in an interval", ACM TOMACS 29(1), 2019: the upper
//! half of word · range, drawn again when the lower half falls into the part that would be counted once too often.

use super::Stream;
use crate::error::{Error, Result};
use crate::simd::{Isa, Kernel, Simd};

/// Blocks of random words made side by side.
const BLOCKS: usize = 16;

/// Shuffles in place, from the last position down, by the stream's words of row 0 in order.
///
/// # Panics
/// If there are 2³² elements or more.
pub fn shuffle<I>(isa: Isa, stream: Stream, order: &mut [I]) {
    assert!(order.len() <= u32::MAX as usize);
    isa.run(Shuffle { stream, order });
}

struct Shuffle<'a, I> {
    stream: Stream,
    order: &'a mut [I],
}

impl<I> Kernel for Shuffle<'_, I> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let mut left = self.order.len();
        for first in (0..).step_by(BLOCKS) {
            let blocks = self.stream.blocks::<BLOCKS>(0, first);
            for i in 0..4 * BLOCKS {
                if left < 2 {
                    return;
                }
                if let Some(place) = below(blocks[i % 4][i / 4], left as u32) {
                    left -= 1;
                    self.order.swap(left, place as usize);
                }
            }
        }
    }
}

/// The number in 0..range that a word stands for; None if the next word is to be asked.
#[inline(always)]
fn below(word: u32, range: u32) -> Option<u32> {
    let product = u64::from(word) * u64::from(range);
    let low = product as u32;
    let excess = low < range && low < range.wrapping_neg() % range;
    (!excess).then_some((product >> 32) as u32)
}

/// 0..n in random order.
pub fn permutation(isa: Isa, stream: Stream, n: usize) -> Result<Vec<u32>> {
    if n > u32::MAX as usize {
        return Err(Error::Value(format!(
            "n is {n}; expected at most {}",
            u32::MAX
        )));
    }
    let mut order: Vec<u32> = (0..n as u32).collect();
    shuffle(isa, stream, &mut order);
    Ok(order)
}

#[cfg(test)]
mod tests {
    use super::super::Purpose;
    use super::*;

    fn stream(step: u64) -> Stream {
        Stream::new(1, Purpose::Shuffle, step, 0)
    }

    fn permutation(stream: Stream, n: usize) -> Result<Vec<u32>> {
        super::permutation(Isa::best(), stream, n)
    }

    #[test]
    fn every_number_once() {
        for n in [0, 1, 2, 3, 31, 32, 33, 1000, 100_003] {
            let mut order = permutation(stream(0), n).unwrap();
            assert!(n < 5 || order.iter().enumerate().any(|(i, &o)| i != o as usize));
            order.sort_unstable();
            assert!(order.iter().enumerate().all(|(i, &o)| i == o as usize));
        }
        assert!(permutation(stream(0), 1 << 32).is_err());
        assert_ne!(permutation(stream(0), 1000), permutation(stream(1), 1000));
    }

    #[test]
    fn all_orders_of_four_are_as_likely() {
        let mut counts = std::collections::HashMap::new();
        for step in 0..24_000 {
            *counts
                .entry(permutation(stream(step), 4).unwrap())
                .or_insert(0) += 1;
        }
        let chi: f64 = counts
            .values()
            .map(|&c| f64::from(c - 1000).powi(2) / 1000.0)
            .sum();
        assert_eq!(counts.len(), 24);
        // The 0.9999 quantile of chi-square with 23 degrees of freedom.
        assert!(chi < 57.0, "{chi}");
    }

    #[test]
    fn bounded_numbers_match_a_plain_restatement() {
        for range in [3u32 << 30, 7, 1, u32::MAX, 1 << 31, (1 << 31) + 1] {
            let multiples = (1u64 << 32) / u64::from(range);
            for word in (0..50).flat_map(|block| stream(5).block(0, block)) {
                let product = u64::from(word) * u64::from(range);
                let again = (product & 0xffff_ffff) < (1u64 << 32) - multiples * u64::from(range);
                assert_eq!(
                    below(word, range),
                    (!again).then_some((product >> 32) as u32)
                );
            }
        }
    }

    #[test]
    fn an_order_is_that_of_the_words_one_by_one_on_every_instruction_set() {
        let plain = |n: usize| {
            let mut words = (0..).flat_map(|block| stream(3).block(0, block));
            let mut order: Vec<u32> = (0..n as u32).collect();
            for last in (1..n).rev() {
                let mut places = words.by_ref().map(|word| below(word, last as u32 + 1));
                order.swap(last, places.find_map(|place| place).unwrap() as usize);
            }
            order
        };
        for isa in Isa::tested() {
            for n in [2, 64, 65, 1000, 100_000] {
                assert_eq!(super::permutation(isa, stream(3), n).unwrap(), plain(n));
            }
        }
    }
}
