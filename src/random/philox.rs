//! Philox4x32-10: a counter and a key in, 128 random bits out.
//!
//! Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011. For a fixed key it is a
//! bijection of the counters.

use crate::simd::Vector;

const ROUNDS: usize = 10;
const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const KEY_STEPS: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// One block.
#[inline]
pub fn philox(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    philox_lanes(counter.map(|word| [word]), key).map(|[word]| word)
}

/// `N` blocks of one key side by side: `counter[w][n]` is word w of block n, and so in the result.
#[inline(always)]
pub fn philox_lanes<const N: usize>(counter: [[u32; N]; 4], key: [u32; 2]) -> [[u32; N]; 4] {
    let [mut c0, mut c1, mut c2, mut c3] = counter;
    let [mut k0, mut k1] = key;
    for _ in 0..ROUNDS {
        for n in 0..N {
            let p0 = u64::from(c0[n]) * u64::from(MULTIPLIERS[0]);
            let p1 = u64::from(c2[n]) * u64::from(MULTIPLIERS[1]);
            (c0[n], c1[n]) = ((p1 >> 32) as u32 ^ c1[n] ^ k0, p1 as u32);
            (c2[n], c3[n]) = ((p0 >> 32) as u32 ^ c3[n] ^ k1, p0 as u32);
        }
        k0 = k0.wrapping_add(KEY_STEPS[0]);
        k1 = k1.wrapping_add(KEY_STEPS[1]);
    }
    [c0, c1, c2, c3]
}

/// The keys of the ten rounds, in the lower half of every 64-bit lane.
#[derive(Clone, Copy)]
pub struct RoundKeys<V>([[V; 2]; ROUNDS]);

impl<V: Vector<Element = f64>> RoundKeys<V> {
    #[inline(always)]
    pub fn new(simd: V::Simd, [mut k0, mut k1]: [u32; 2]) -> Self {
        let mut keys = [[V::zero(simd); 2]; ROUNDS];
        for key in &mut keys {
            *key = [
                V::splat_bits(simd, u64::from(k0)),
                V::splat_bits(simd, u64::from(k1)),
            ];
            k0 = k0.wrapping_add(KEY_STEPS[0]);
            k1 = k1.wrapping_add(KEY_STEPS[1]);
        }
        Self(keys)
    }

    /// A block in every 64-bit lane of `N` vectors of words, in the words' lower halves.
    ///
    /// The upper halves, in and out, may hold anything: the multiplication reads lower halves only, so that a round
    /// costs two multiplications, two shifts and four exclusive ors.
    #[inline(always)]
    pub fn blocks<const N: usize>(&self, simd: V::Simd, counter: [[V; N]; 4]) -> [[V; N]; 4] {
        // Written out, because a loop of ten stays one, and the first rounds' constant parts then stay inside it.
        let words = round(simd, round(simd, counter, self.0[0]), self.0[1]);
        let words = round(simd, round(simd, words, self.0[2]), self.0[3]);
        let words = round(simd, round(simd, words, self.0[4]), self.0[5]);
        let words = round(simd, round(simd, words, self.0[6]), self.0[7]);
        round(simd, round(simd, words, self.0[8]), self.0[9])
    }
}

#[inline(always)]
fn round<V: Vector<Element = f64>, const N: usize>(
    simd: V::Simd,
    words: [[V; N]; 4],
    [k0, k1]: [V; 2],
) -> [[V; N]; 4] {
    let [mut c0, mut c1, mut c2, mut c3] = words;
    let m0 = V::splat_bits(simd, u64::from(MULTIPLIERS[0]));
    let m1 = V::splat_bits(simd, u64::from(MULTIPLIERS[1]));
    for n in 0..N {
        let (p0, p1) = (c0[n].bit_mul_low(m0), c2[n].bit_mul_low(m1));
        c0[n] = p1.bit_shr::<32>().bit_xor(c1[n].bit_xor(k0));
        c1[n] = p1;
        c2[n] = p0.bit_shr::<32>().bit_xor(c3[n].bit_xor(k1));
        c3[n] = p0;
    }
    [c0, c1, c2, c3]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{Arithmetic, Isa, Kernel, Simd};

    /// The vectors that the authors publish with their code (Random123, `kat_vectors`).
    #[test]
    fn known_answers() {
        assert_eq!(
            philox([0; 4], [0; 2]),
            [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]
        );
        assert_eq!(
            philox([!0; 4], [!0; 2]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        assert_eq!(
            philox(
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0]
            ),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn lanes_are_blocks() {
        let counter: [[u32; 8]; 4] =
            std::array::from_fn(|w| std::array::from_fn(|n| (w * 77 + n * n) as u32));
        let lanes = philox_lanes(counter, [5, 6]);
        for n in 0..8 {
            assert_eq!(
                lanes.map(|words| words[n]),
                philox(counter.map(|words| words[n]), [5, 6])
            );
        }
    }

    #[test]
    fn vectors_are_blocks() {
        struct Blocks;
        impl Kernel for Blocks {
            type Output = ();
            #[inline(always)]
            fn run<S: Simd>(self, simd: S) {
                let mut garbage = 0x1234_5678u64;
                let counter: [[Vec<f64>; 2]; 4] = std::array::from_fn(|w| {
                    std::array::from_fn(|n| {
                        let lane = |l: usize| {
                            garbage = garbage.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1 << 32;
                            f64::from_bits(garbage << 32 | (w * 1000 + n * 100 + l) as u64)
                        };
                        (0..S::F64::LANES).map(lane).collect()
                    })
                });
                let mut vectors = [[S::F64::zero(simd); 2]; 4];
                for (vectors, lanes) in vectors.iter_mut().zip(&counter) {
                    for (vector, lanes) in vectors.iter_mut().zip(lanes) {
                        *vector = S::F64::load_slice(simd, lanes);
                    }
                }
                let found = RoundKeys::new(simd, [8, 9]).blocks(simd, vectors);
                for n in 0..2 {
                    for l in 0..S::F64::LANES {
                        let want = philox(
                            std::array::from_fn(|w| counter[w][n][l].to_bits() as u32),
                            [8, 9],
                        );
                        for w in 0..4 {
                            let mut lanes = [0f64; 8];
                            found[w][n].store_slice(&mut lanes);
                            assert_eq!(lanes[l].to_bits() as u32, want[w]);
                        }
                    }
                }
            }
        }
        Isa::tested().into_iter().for_each(|isa| isa.run(Blocks));
    }
}
