//! The masks of dropout: which elements of a panel of 16 rows are kept.
//!
//! Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", JMLR 15, 2014, in the form
//! that scales when training: y = x / (1 − p) where kept, 0 elsewhere.
//!
//! An element is kept when its 16 random bits, as a number, are below `round((1 − p) · 65536)`: so p is in effect
//! rounded to a multiple of 1/65536. A block of 128 bits (row = panel, column block = feature) serves the 16 rows of a
//! panel in one feature: byte ⌊r/2⌋ of its first half if r is even, of its second half if r is odd, is the upper byte
//! of row r's number. It decides alone unless it equals the threshold's upper byte; only then is the block of lower
//! bytes (row = panel + 2³¹) made.

use super::philox::RoundKeys;
use super::{Purpose, Stream};
use crate::simd::{Arithmetic, Element, Mask, Simd, Vector};

/// Rows of a panel.
const ROWS: usize = 16;
/// Features done together.
const FEATURES: usize = 8;
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
        Self {
            stream: Stream::new(seed, Purpose::Dropout, step, layer),
            threshold,
        }
    }

    /// 1 / (1 − p), what a kept element is multiplied by; 0 when everything is dropped.
    pub fn scale<T: Element>(p: f64) -> T {
        T::from_f64(if p < 1.0 { 1.0 / (1.0 - p) } else { 0.0 })
    }

    /// The masks of successive features: bit r of `masks[i]` says whether row 16 · `panel` + r keeps
    /// feature `first_feature` + i. Best for multiples of 8 features.
    #[inline(always)]
    pub fn panel<S: Simd>(&self, simd: S, panel: u32, first_feature: u32, masks: &mut [u16]) {
        if self.threshold == 0 || self.threshold > 0xffff {
            return masks.fill(if self.threshold == 0 { 0 } else { 0xffff });
        }
        let keys = RoundKeys::new(simd, self.stream.key);
        for (group, masks) in masks.chunks_mut(FEATURES).enumerate() {
            let first = first_feature.wrapping_add((group * FEATURES) as u32);
            let found = match S::F64::LANES {
                8 => self.group::<S, 1>(simd, &keys, panel, first),
                4 => self.group::<S, 2>(simd, &keys, panel, first),
                _ => self.group::<S, 4>(simd, &keys, panel, first),
            };
            if let Ok(masks) = <&mut [u16; FEATURES]>::try_from(&mut *masks) {
                *masks = found;
            } else {
                masks.copy_from_slice(&found[..masks.len()]);
            }
        }
    }

    /// The masks of rows that begin anywhere: bit r of `masks[i]` says whether row `first_row` + r keeps the feature.
    #[inline(always)]
    pub fn rows<S: Simd>(&self, simd: S, first_row: usize, first_feature: u32, masks: &mut [u16]) {
        let (panel, shift) = ((first_row / ROWS) as u32, first_row % ROWS);
        self.panel(simd, panel, first_feature, masks);
        if shift > 0 {
            for (group, masks) in masks.chunks_mut(FEATURES).enumerate() {
                let mut next = [0u16; FEATURES];
                let next = &mut next[..masks.len()];
                self.panel(
                    simd,
                    panel + 1,
                    first_feature.wrapping_add((group * FEATURES) as u32),
                    next,
                );
                for (mask, next) in masks.iter_mut().zip(next) {
                    *mask = *mask >> shift | *next << (ROWS - shift);
                }
            }
        }
    }

    /// `N` vectors of blocks, which hold 8 features.
    #[inline(always)]
    fn group<S: Simd, const N: usize>(
        &self,
        simd: S,
        keys: &RoundKeys<S::F64>,
        panel: u32,
        first_feature: u32,
    ) -> [u16; FEATURES] {
        let words = self.blocks::<S, N>(simd, keys, panel, first_feature);
        let upper = (self.threshold >> 8) as u8;
        let mut rows = [S::F64::zero(simd); N];
        let mut decided = S::F64::splat_bits(simd, SIGNS);
        for n in 0..N {
            let [even, odd] = halves(simd, words.map(|words| words[n]));
            rows[n] = interleaved(
                simd,
                bytes_below(simd, even, upper),
                bytes_below(simd, odd, upper),
            );
            decided = decided
                .bit_and(bytes_unlike(simd, even, upper))
                .bit_and(bytes_unlike(simd, odd, upper));
        }
        let mut masks = stored(rows);
        if self.threshold & 0xff != 0 && (!decided.eq(S::F64::splat_bits(simd, SIGNS))).any() {
            self.refine::<S, N>(simd, keys, panel, first_feature, words, &mut masks);
        }
        masks
    }

    #[inline(always)]
    fn blocks<S: Simd, const N: usize>(
        &self,
        simd: S,
        keys: &RoundKeys<S::F64>,
        row: u32,
        first_feature: u32,
    ) -> [[S::F64; N]; 4] {
        const LANES: [u64; FEATURES] = [0, 1, 2, 3, 4, 5, 6, 7];
        let lanes = LANES.map(f64::from_bits);
        let first = S::F64::splat_bits(simd, u64::from(first_feature));
        let mut features = [first; N];
        for n in 0..N {
            features[n] = S::F64::load_slice(simd, &lanes[n * S::F64::LANES..]).bit_add(first);
        }
        let row = [S::F64::splat_bits(simd, u64::from(row)); N];
        let identity = self
            .stream
            .identity
            .map(|word| [S::F64::splat_bits(simd, u64::from(word)); N]);
        keys.blocks(simd, [features, row, identity[0], identity[1]])
    }

    /// Adds the rows whose upper byte equals the threshold's and whose lower byte is below it.
    #[inline(always)]
    fn refine<S: Simd, const N: usize>(
        &self,
        simd: S,
        keys: &RoundKeys<S::F64>,
        panel: u32,
        first_feature: u32,
        words: [[S::F64; N]; 4],
        masks: &mut [u16; FEATURES],
    ) {
        let (upper, lower) = ((self.threshold >> 8) as u8, self.threshold as u8);
        let lower_words = self.blocks::<S, N>(simd, keys, panel | 1 << 31, first_feature);
        let signs = S::F64::splat_bits(simd, SIGNS);
        let mut rows = [S::F64::zero(simd); N];
        for n in 0..N {
            let [even, odd] = halves(simd, words.map(|words| words[n]));
            let [lower_even, lower_odd] = halves(simd, lower_words.map(|words| words[n]));
            let even = bytes_below(simd, lower_even, lower)
                .bit_and(bytes_unlike(simd, even, upper).bit_xor(signs));
            let odd = bytes_below(simd, lower_odd, lower)
                .bit_and(bytes_unlike(simd, odd, upper).bit_xor(signs));
            rows[n] = interleaved(simd, even, odd);
        }
        for (mask, more) in masks.iter_mut().zip(stored(rows)) {
            *mask |= more;
        }
    }
}

/// Words 0 and 1 of every lane's block, and words 2 and 3, as 64 bits.
#[inline(always)]
fn halves<V: Vector<Element = f64>>(simd: V::Simd, words: [V; 4]) -> [V; 2] {
    let low = V::splat_bits(simd, 0xffff_ffff);
    let even = words[0].bit_and(low).bit_or(words[1].bit_shl::<32>());
    let odd = words[2].bit_and(low).bit_or(words[3].bit_shl::<32>());
    [even, odd]
}

/// The sign bit of every byte that is below `limit`.
#[inline(always)]
fn bytes_below<V: Vector<Element = f64>>(simd: V::Simd, bytes: V, limit: u8) -> V {
    let signs = V::splat_bits(simd, SIGNS);
    // Sign bit of `part`: the lower seven bits are at least the limit's. No byte borrows from the next.
    let part = bytes
        .bit_or(signs)
        .bit_sub(V::splat_bits(simd, u64::from(limit & 0x7f) * BYTES));
    let at_least = if limit & 0x80 != 0 {
        bytes.bit_and(part)
    } else {
        bytes.bit_or(part)
    };
    at_least.bit_and(signs).bit_xor(signs)
}

/// The sign bit of every byte that is not `value`.
#[inline(always)]
fn bytes_unlike<V: Vector<Element = f64>>(simd: V::Simd, bytes: V, value: u8) -> V {
    let difference = bytes.bit_xor(V::splat_bits(simd, u64::from(value) * BYTES));
    // The lower seven bits carry into the sign bit unless they are zero.
    let lower = difference
        .bit_and(V::splat_bits(simd, !SIGNS))
        .bit_add(V::splat_bits(simd, !SIGNS));
    difference.bit_or(lower).bit_and(V::splat_bits(simd, SIGNS))
}

/// In every lane, bit 2i from the sign bit of byte i of `even`, bit 2i + 1 from that of `odd`.
#[inline(always)]
fn interleaved<V: Vector<Element = f64>>(simd: V::Simd, even: V, odd: V) -> V {
    let pairs = even.bit_shr::<7>().bit_or(odd.bit_shr::<6>());
    let fours = pairs
        .bit_or(pairs.bit_shr::<6>())
        .bit_and(V::splat_bits(simd, 0x000f_000f_000f_000f));
    let eights = fours
        .bit_or(fours.bit_shr::<12>())
        .bit_and(V::splat_bits(simd, 0x0000_00ff_0000_00ff));
    eights.bit_or(eights.bit_shr::<24>())
}

/// The lowest 16 bits of every lane.
#[inline(always)]
fn stored<V: Vector<Element = f64>, const N: usize>(rows: [V; N]) -> [u16; FEATURES] {
    let mut lanes = [0f64; FEATURES];
    for n in 0..N {
        rows[n].store_slice(&mut lanes[n * V::LANES..]);
    }
    let mut masks = [0u16; FEATURES];
    for (mask, lane) in masks.iter_mut().zip(lanes) {
        *mask = lane.to_bits() as u16;
    }
    masks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{Isa, Kernel, Simd};

    struct Masks<'a>(DropoutMask, usize, u32, &'a mut [u16]);
    impl Kernel for Masks<'_> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, simd: S) {
            self.0.rows(simd, self.1, self.2, self.3);
        }
    }

    /// By the definition: 16 bits an element, upper and lower byte from two blocks.
    fn plain(mask: &DropoutMask, row: u32, feature: u32) -> bool {
        let byte = |block: [u32; 4]| {
            let at = row % 16 / 2 + row % 2 * 8;
            (block[at as usize / 4] >> (at % 4 * 8)) & 0xff
        };
        let number = (byte(mask.stream.block(row / 16, feature)) << 8)
            | byte(mask.stream.block(row / 16 + (1 << 31), feature));
        number < mask.threshold
    }

    #[test]
    fn masks_match_the_definition_everywhere() {
        for p in [
            0.0, 1e-5, 0.1, 0.2, 0.25, 0.5, 0.51, 0.9, 0.999, 0.99999, 1.0,
        ] {
            let mask = DropoutMask::new(5, 6, 7, p);
            for (features, first_row) in [
                (0, 0),
                (1, 48),
                (7, 48),
                (8, 48),
                (9, 48),
                (100, 48),
                (19, 1),
                (19, 15),
                (19, 37),
            ] {
                for isa in Isa::tested() {
                    let mut masks = vec![0u16; features];
                    isa.run(Masks(mask, first_row, 11, &mut masks));
                    for (i, bits) in masks.iter().enumerate() {
                        for r in 0..16 {
                            assert_eq!(
                                bits >> r & 1 == 1,
                                plain(&mask, first_row as u32 + r, 11 + i as u32),
                                "{p}, {isa:?}"
                            );
                        }
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
                Isa::best().run(Masks(mask, 16 * panel, 0, &mut masks));
                kept += masks.iter().map(|bits| bits.count_ones()).sum::<u32>();
            }
            let n = 64.0 * 512.0 * 16.0;
            let spread = (p * (1.0 - p) / n).sqrt();
            assert!(
                (f64::from(kept) / n - (1.0 - p)).abs() < 4.0 * spread,
                "{p}: {kept}"
            );
        }
        assert_eq!(DropoutMask::scale::<f32>(0.5), 2.0);
        assert_eq!(DropoutMask::scale::<f32>(1.0), 0.0);
    }
}
