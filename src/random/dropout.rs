//! The masks of dropout: which elements of a panel of 16 rows are kept.
//!
//! Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", JMLR 15, 2014, in the form
//! that scales when training: y = x / (1 − p) where kept, 0 elsewhere.
//!
//! An element is kept when its 16 random bits, as a number, are below `round((1 − p) · 65536)`: so p is in effect
//! rounded to a multiple of 1/65536. A block of 128 bits serves the 16 rows of a panel in one column; byte r is the
//! upper byte of row r's number. It decides alone unless it equals the threshold's upper byte; only then is the block
//! of lower bytes (row 2³¹ + panel of the stream) made.

use super::{Purpose, Stream};
use crate::simd::Element;

/// Rows of a panel.
const ROWS: usize = 16;
/// Features done together.
const LANES: usize = 8;
/// One in every byte of a word.
const BYTES: u64 = 0x0101_0101_0101_0101;
/// The sign bit of every byte of a word.
const SIGNS: u64 = 0x8080_8080_8080_8080;

/// The masks of one dropout layer in one step.
#[derive(Clone, Copy, Debug)]
pub struct DropoutMask {
    stream: Stream,
    /// An element is kept when its number is below this; 65536 keeps all.
    threshold: u32,
}

impl DropoutMask {
    /// `p` in [0, 1] is the probability of being dropped.
    pub fn new(seed: u64, step: u64, layer: u32, p: f64) -> Self {
        debug_assert!((0.0..=1.0).contains(&p));
        let threshold = ((1.0 - p) * 65536.0).round_ties_even() as u32;
        Self { stream: Stream::new(seed, Purpose::Dropout, step, layer), threshold }
    }

    /// 1 / (1 − p), what a kept element is multiplied by; 0 when everything is dropped.
    pub fn scale<T: Element>(p: f64) -> T {
        T::from_f64(if p < 1.0 { 1.0 / (1.0 - p) } else { 0.0 })
    }

    /// The masks of successive features: bit r of `masks[i]` says whether row 16 · `panel` + r keeps
    /// feature `first_feature` + i. Fast inside a kernel, and for multiples of 8 features.
    #[inline(always)]
    pub fn panel(&self, panel: u32, first_feature: u32, masks: &mut [u16]) {
        if self.threshold == 0 || self.threshold > 0xffff {
            return masks.fill(if self.threshold == 0 { 0 } else { 0xffff });
        }
        for (group, masks) in masks.chunks_mut(LANES).enumerate() {
            let first = first_feature.wrapping_add((group * LANES) as u32);
            let found = self.group(panel, first);
            masks.copy_from_slice(&found[..masks.len()]);
        }
    }

    /// The masks of rows that begin anywhere: bit r of `masks[i]` says whether row `first_row` + r keeps the feature.
    #[inline(always)]
    pub fn rows(&self, first_row: usize, first_feature: u32, masks: &mut [u16]) {
        let (panel, shift) = ((first_row / ROWS) as u32, first_row % ROWS);
        self.panel(panel, first_feature, masks);
        if shift > 0 {
            for (group, masks) in masks.chunks_mut(LANES).enumerate() {
                let mut next = [0u16; LANES];
                let next = &mut next[..masks.len()];
                self.panel(panel + 1, first_feature.wrapping_add((group * LANES) as u32), next);
                for (mask, next) in masks.iter_mut().zip(next) {
                    *mask = *mask >> shift | *next << (ROWS - shift);
                }
            }
        }
    }

    #[inline(always)]
    fn group(&self, panel: u32, first_feature: u32) -> [u16; LANES] {
        let words = self.stream.blocks::<LANES>(panel, first_feature);
        let (upper, lower) = ((self.threshold >> 8) as u8, (self.threshold & 0xff) as u8);
        let mut masks = [0u16; LANES];
        let mut undecided = 0;
        for n in 0..LANES {
            let (low, high) = (joined(words[0][n], words[1][n]), joined(words[2][n], words[3][n]));
            masks[n] = gathered(bytes_below(low, upper)) | gathered(bytes_below(high, upper)) << 8;
            undecided |= zero_bytes(low ^ u64::from(upper) * BYTES) | zero_bytes(high ^ u64::from(upper) * BYTES);
        }
        if undecided != 0 && lower != 0 {
            for n in 0..LANES {
                let equal = zero_bytes(joined(words[0][n], words[1][n]) ^ u64::from(upper) * BYTES);
                let equal_high = zero_bytes(joined(words[2][n], words[3][n]) ^ u64::from(upper) * BYTES);
                if equal | equal_high != 0 {
                    masks[n] |= self.refined(panel, first_feature.wrapping_add(n as u32), lower)
                        & (gathered(equal) | gathered(equal_high) << 8);
                }
            }
        }
        masks
    }

    /// Where the lower bytes of a panel's column are below the threshold's.
    #[cold]
    fn refined(&self, panel: u32, feature: u32, lower: u8) -> u16 {
        let words = self.stream.block(panel | 1 << 31, feature);
        gathered(bytes_below(joined(words[0], words[1]), lower))
            | gathered(bytes_below(joined(words[2], words[3]), lower)) << 8
    }
}

#[inline(always)]
fn joined(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

/// The sign bit of every byte that is below `limit`.
#[inline(always)]
fn bytes_below(bytes: u64, limit: u8) -> u64 {
    // Sign bit of `part`: the lower seven bits are at least the limit's. No byte borrows from the next.
    let part = (bytes | SIGNS) - u64::from(limit & 0x7f) * BYTES;
    let at_least = if limit & 0x80 != 0 { bytes & part } else { bytes | part };
    !at_least & SIGNS
}

/// The sign bit of every byte that is zero.
#[inline(always)]
fn zero_bytes(bytes: u64) -> u64 {
    !(((bytes & !SIGNS) + !SIGNS) | bytes) & SIGNS
}

/// The sign bits of the eight bytes as eight bits.
#[inline(always)]
fn gathered(signs: u64) -> u16 {
    ((signs >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{Isa, Kernel, Simd};

    struct Masks<'a>(DropoutMask, u32, u32, &'a mut [u16]);
    impl Kernel for Masks<'_> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, _: S) {
            self.0.panel(self.1, self.2, self.3);
        }
    }

    /// By the definition: 16 bits an element, upper byte and lower byte from two blocks.
    fn plain(mask: &DropoutMask, row: u32, feature: u32) -> bool {
        let byte = |block: [u32; 4]| block[row as usize % 16 / 4] >> (row % 4 * 8) & 0xff;
        let number = byte(mask.stream.block(row / 16, feature)) << 8 | byte(mask.stream.block(row / 16 | 1 << 31, feature));
        number < mask.threshold
    }

    #[test]
    fn masks_match_the_definition_everywhere() {
        for p in [0.0, 1e-5, 0.1, 0.2, 0.25, 0.5, 0.51, 0.9, 0.999, 0.99999, 1.0] {
            let mask = DropoutMask::new(5, 6, 7, p);
            for features in [0, 1, 7, 8, 9, 100] {
                for isa in Isa::tested() {
                    let mut masks = vec![0u16; features];
                    isa.run(Masks(mask, 3, 11, &mut masks));
                    for (i, bits) in masks.iter().enumerate() {
                        for r in 0..16 {
                            assert_eq!(bits >> r & 1 == 1, plain(&mask, 48 + r, 11 + i as u32), "p {p}, {isa:?}");
                        }
                    }
                }
            }
            for first_row in [0, 1, 15, 16, 37] {
                let mut masks = [0u16; 19];
                mask.rows(first_row, 4, &mut masks);
                for (i, bits) in masks.iter().enumerate() {
                    for r in 0..16 {
                        assert_eq!(bits >> r & 1 == 1, plain(&mask, first_row as u32 + r, 4 + i as u32));
                    }
                }
            }
        }
    }

    #[test]
    fn the_share_kept_is_right() {
        for p in [0.003, 0.1, 0.5, 0.8] {
            let mask = DropoutMask::new(1, 2, 3, p);
            let mut kept = 0u32;
            let mut masks = [0u16; 512];
            for panel in 0..64 {
                mask.panel(panel, 0, &mut masks);
                kept += masks.iter().map(|bits| bits.count_ones()).sum::<u32>();
            }
            let n = 64.0 * 512.0 * 16.0;
            let spread = (p * (1.0 - p) / n).sqrt();
            assert!((f64::from(kept) / n - (1.0 - p)).abs() < 4.0 * spread, "{p}: {kept}");
        }
        assert_eq!(DropoutMask::scale::<f32>(0.5), 2.0);
        assert_eq!(DropoutMask::scale::<f32>(1.0), 0.0);
    }
}
