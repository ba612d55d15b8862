//! Philox4x32-10: a counter and a key in, 128 random bits out.
//!
//! Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011. For a fixed key it is a
//! bijection of the counters.

const ROUNDS: usize = 10;
const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const KEY_STEPS: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// One block.
#[inline]
pub fn philox(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    philox_lanes(counter.map(|word| [word]), key).map(|[word]| word)
}

/// `N` blocks of one key side by side: `counter[w][n]` is word w of block n, and so in the result.
///
/// The words stay in 64-bit lanes, whose upper halves hold what the last multiplication left there: the next one
/// reads lower halves only, so that a round costs two multiplications, two shifts and four exclusive ors.
#[inline(always)]
pub fn philox_lanes<const N: usize>(counter: [[u32; N]; 4], key: [u32; 2]) -> [[u32; N]; 4] {
    const LOW: u64 = 0xffff_ffff;
    let [mut c0, mut c1, mut c2, mut c3] = counter.map(|words| words.map(u64::from));
    let [mut k0, mut k1] = key;
    for _ in 0..ROUNDS {
        for n in 0..N {
            let p0 = (c0[n] & LOW) * u64::from(MULTIPLIERS[0]);
            let p1 = (c2[n] & LOW) * u64::from(MULTIPLIERS[1]);
            c0[n] = (p1 >> 32) ^ c1[n] ^ u64::from(k0);
            c1[n] = p1;
            c2[n] = (p0 >> 32) ^ c3[n] ^ u64::from(k1);
            c3[n] = p0;
        }
        k0 = k0.wrapping_add(KEY_STEPS[0]);
        k1 = k1.wrapping_add(KEY_STEPS[1]);
    }
    [c0, c1, c2, c3].map(|words| words.map(|word| word as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors that the authors publish with their code (Random123, `kat_vectors`).
    #[test]
    fn known_answers() {
        assert_eq!(philox([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox([!0; 4], [!0; 2]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        assert_eq!(
            philox([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0]),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn lanes_are_blocks() {
        let counter: [[u32; 8]; 4] = std::array::from_fn(|w| std::array::from_fn(|n| (w * 77 + n * n) as u32));
        let lanes = philox_lanes(counter, [5, 6]);
        for n in 0..8 {
            assert_eq!(lanes.map(|words| words[n]), philox(counter.map(|words| words[n]), [5, 6]));
        }
    }
}
