//! The one source of randomness: Philox blocks addressed by what they are for.
//!
//! A [`Stream`] belongs to (seed, purpose, step, layer); in it a block of 128 bits belongs to (row, column block).
//! So no number depends on threads, on the order of calls or on what was drawn before.
//!
//! How the parts form key and counter: one block keyed by the seed, with (step low, step high, layer, purpose) as its
//! counter, is the stream's identity. Its words 0 and 1 are the stream's key, its words 2 and 3 stand in the counter
//! (column block, row, word 2, word 3) of every block of the stream. Philox is a bijection of the counters of a key;
//! hence under one seed two different (purpose, step, layer, row, column block) never share key and counter.

mod dropout;
mod fill;
mod normal;
mod orthogonal;
mod permutation;
mod philox;

pub use dropout::DropoutMask;
pub use fill::{normal, uniform};
pub use orthogonal::orthogonal;
pub use permutation::{permutation, shuffle};
pub use philox::{philox, philox_lanes};

use crate::error::Error;
use std::str::FromStr;

/// What random numbers are for; equal positions of two purposes have nothing to do with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Init = 0,
    Shuffle = 1,
    Split = 2,
    Dropout = 3,
    Data = 4,
    Stratify = 5,
}

impl Purpose {
    const NAMES: [(&'static str, Purpose); 6] = [
        ("init", Purpose::Init),
        ("shuffle", Purpose::Shuffle),
        ("split", Purpose::Split),
        ("dropout", Purpose::Dropout),
        ("data", Purpose::Data),
        ("stratify", Purpose::Stratify),
    ];
}

impl FromStr for Purpose {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        match Self::NAMES.iter().find(|(known, _)| *known == name) {
            Some((_, purpose)) => Ok(*purpose),
            None => {
                let names = Self::NAMES.map(|(known, _)| known).join(", ");
                Err(Error::Value(format!(
                    "purpose is {name:?}; expected one of {names}"
                )))
            }
        }
    }
}

/// The random blocks of one (seed, purpose, step, layer).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    key: [u32; 2],
    identity: [u32; 2],
}

impl Stream {
    #[inline]
    pub fn new(seed: u64, purpose: Purpose, step: u64, layer: u32) -> Self {
        let [k0, k1, i0, i1] = philox(
            [step as u32, (step >> 32) as u32, layer, purpose as u32],
            [seed as u32, (seed >> 32) as u32],
        );
        Self {
            key: [k0, k1],
            identity: [i0, i1],
        }
    }

    /// The block of a row and a column block.
    #[inline]
    pub fn block(&self, row: u32, column_block: u32) -> [u32; 4] {
        philox(
            [column_block, row, self.identity[0], self.identity[1]],
            self.key,
        )
    }

    /// The blocks of `N` successive column blocks of a row: word w of block n at `[w][n]`.
    #[inline(always)]
    pub fn blocks<const N: usize>(&self, row: u32, first_column_block: u32) -> [[u32; N]; 4] {
        let columns = std::array::from_fn(|n| first_column_block.wrapping_add(n as u32));
        philox_lanes(
            [
                columns,
                [row; N],
                [self.identity[0]; N],
                [self.identity[1]; N],
            ],
            self.key,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn streams_differ_in_every_part_of_their_address() {
        let mut seen = HashSet::new();
        for seed in [0, 1, 1 << 32, u64::MAX] {
            for purpose in Purpose::NAMES.map(|(_, purpose)| purpose) {
                for step in [0, 1, 1 << 32, u64::MAX] {
                    for layer in [0, 1, u32::MAX] {
                        let stream = Stream::new(seed, purpose, step, layer);
                        for row in [0, 1, u32::MAX] {
                            for column in [0, 1, u32::MAX] {
                                assert!(seen.insert(stream.block(row, column)));
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn blocks_are_single_blocks_side_by_side() {
        let stream = Stream::new(7, Purpose::Data, 1, 2);
        let lanes = stream.blocks::<8>(9, u32::MAX - 3);
        for n in 0..8u32 {
            assert_eq!(
                lanes.map(|words| words[n as usize]),
                stream.block(9, (u32::MAX - 3).wrapping_add(n))
            );
        }
    }

    #[test]
    fn purposes_have_names() {
        assert_eq!("stratify".parse::<Purpose>(), Ok(Purpose::Stratify));
        let error = "dreams".parse::<Purpose>().unwrap_err();
        assert_eq!(
            error.message(),
            "purpose is \"dreams\"; expected one of init, shuffle, split, dropout, data, stratify"
        );
    }
}
