//! Permutations: Fisher-Yates with unbiased bounded numbers.
//!
//! Bounded numbers as in Lemire, "Fast random integer generation in an interval", ACM TOMACS 29(1), 2019: the upper
//! half of word · range, drawn again when the lower half falls into the part that would be counted once too often.

use super::Stream;
use crate::error::{Error, Result};

/// The stream's words of row 0 in order: block after block, word 0 to word 3 of each.
struct Words {
    stream: Stream,
    words: [u32; 4 * Words::BLOCKS],
    next: usize,
    block: u32,
}

impl Words {
    const BLOCKS: usize = 8;

    fn new(stream: Stream) -> Self {
        Self {
            stream,
            words: [0; 32],
            next: 32,
            block: 0,
        }
    }

    #[inline]
    fn word(&mut self) -> u32 {
        if self.next == self.words.len() {
            let blocks = self.stream.blocks::<{ Words::BLOCKS }>(0, self.block);
            for (i, word) in self.words.iter_mut().enumerate() {
                *word = blocks[i % 4][i / 4];
            }
            self.block = self.block.wrapping_add(Words::BLOCKS as u32);
            self.next = 0;
        }
        self.next += 1;
        self.words[self.next - 1]
    }

    /// A number in 0..range.
    #[inline]
    fn below(&mut self, range: u32) -> u32 {
        let mut product = u64::from(self.word()) * u64::from(range);
        if (product as u32) < range {
            let excess = range.wrapping_neg() % range;
            while (product as u32) < excess {
                product = u64::from(self.word()) * u64::from(range);
            }
        }
        (product >> 32) as u32
    }
}

/// Shuffles in place, from the last position down.
///
/// # Panics
/// If there are 2³² elements or more.
pub fn shuffle<I>(stream: Stream, order: &mut [I]) {
    assert!(order.len() <= u32::MAX as usize);
    let mut words = Words::new(stream);
    for last in (1..order.len()).rev() {
        order.swap(last, words.below(last as u32 + 1) as usize);
    }
}

/// 0..n in random order.
pub fn permutation(stream: Stream, n: usize) -> Result<Vec<u32>> {
    if n > u32::MAX as usize {
        return Err(Error::Value(format!(
            "n is {n}; expected at most {}",
            u32::MAX
        )));
    }
    let mut order: Vec<u32> = (0..n as u32).collect();
    shuffle(stream, &mut order);
    Ok(order)
}

#[cfg(test)]
mod tests {
    use super::super::Purpose;
    use super::*;

    fn stream(step: u64) -> Stream {
        Stream::new(1, Purpose::Shuffle, step, 0)
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
        let (mut words, mut raw) = (Words::new(stream(5)), Words::new(stream(5)));
        for range in [3u32 << 30, 7, 1, u32::MAX, 1 << 31, (1 << 31) + 1].repeat(50) {
            let (multiples, mut word) = ((1u64 << 32) / u64::from(range), raw.word());
            while (u64::from(word) * u64::from(range)) & 0xffff_ffff
                < (1u64 << 32) - multiples * u64::from(range)
            {
                word = raw.word();
            }
            assert_eq!(
                words.below(range),
                ((u64::from(word) * u64::from(range)) >> 32) as u32
            );
        }
    }
}
