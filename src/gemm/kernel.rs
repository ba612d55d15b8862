//! The micro-kernel: tiles of C, one below the other, each held in registers while k passes by.
//!
//! `R` rows by `V` vectors. For every k it loads V vectors of B, broadcasts R elements of A and does R·V fused
//! multiply-adds. What happens to the finished tile is a const parameter: decided at run time it would make the
//! compiler spill accumulators inside the loop.

use super::PANEL;
use super::ahead::{Ahead, Coming};
use super::edge::Part;
use crate::simd::{Arithmetic, Element, Kernel, Opaque, Simd, Vector};

/// Where the chains of a tile begin.
#[derive(Clone, Copy)]
pub enum Start<T> {
    Zero,
    /// One value a row of C (a layer's bias in training).
    Rows(*const T),
    /// One value a column of C (a layer's bias in prediction over packed weights).
    Columns(*const T),
    /// What C holds: the chain continues.
    Target,
}

/// What becomes of a finished tile.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Epilogue {
    Store,
    /// Added to C.
    Add,
    /// max(0, ·), NaN kept.
    Relu,
    /// Zero where the kept output of a ReLU is not above zero.
    ReluMask,
}

pub(super) const STORE: u8 = 0;
pub(super) const ADD: u8 = 1;
pub(super) const RELU: u8 = 2;
pub(super) const RELU_MASK: u8 = 3;
/// As RELU, in a tile that asks for what comes: the smallest nets notice a test for it.
const ASKING_RELU: u8 = 4;

/// One tile's operands. Distances are in elements.
#[derive(Clone, Copy)]
pub struct Tile<'a, T> {
    pub k: usize,
    /// A advances by `a_k` within a block of so many k, and by `a_block` from block to block.
    pub k_block: usize,
    pub a: *const T,
    pub a_row: usize,
    pub a_k: usize,
    pub a_block: usize,
    /// From a tile to the one below it.
    pub a_tile: usize,
    /// B advances by one panel row (16 elements) a k; `b_panel` lies between panels of columns.
    pub b: *const T,
    pub b_panel: usize,
    pub c: *mut T,
    pub c_row: usize,
    pub c_panel: usize,
    /// With [`Epilogue::ReluMask`]: the kept outputs, laid out as C.
    pub kept: *const T,
    pub start: Start<T>,
    pub ahead: Option<&'a Ahead<T>>,
    pub coming: Option<&'a Coming>,
    /// The tile's number in its block, and whether the block's rows of A are new to this core.
    pub number: usize,
    pub is_first: bool,
}

impl<T> Tile<'_, T> {
    /// The tile that lies `tile` tiles of `rows` rows further down, where each is done by a call of its own.
    #[inline(always)]
    pub fn below(&self, tile: usize, rows: usize) -> Self
    where
        T: Copy,
    {
        let c = tile * rows * self.c_row;
        Self {
            a: self.a.wrapping_add(tile * self.a_tile),
            c: self.c.wrapping_add(c),
            kept: self.kept.wrapping_add(c),
            start: match self.start {
                Start::Rows(bias) => Start::Rows(bias.wrapping_add(tile * rows)),
                other => other,
            },
            // Too few to be asked for.
            ahead: None,
            coming: None,
            ..*self
        }
    }

    /// Where vector j of row r lies in C.
    #[inline(always)]
    pub(super) fn c_at<V: Vector>(&self, r: usize, j: usize) -> usize {
        r * self.c_row + column_offset::<V>(j, self.c_panel)
    }
}

/// Where vector j of a tile's columns lies.
#[inline(always)]
fn column_offset<V: Vector>(j: usize, panel: usize) -> usize {
    j * V::LANES / PANEL * panel + j * V::LANES % PANEL
}

/// How many odd multiples of the distance between two rows of A. With the scales of an address (1, 2, 4, 8) they reach every
/// row of a tile from one pointer: row 12 is four times three rows away.
const ODD: usize = 7;

/// The sums of a tile.
pub(super) type Sums<S, T, const R: usize, const V: usize> = [[<T as Element>::Vector<S>; V]; R];

/// What the chains begin with in the tile whose first row is `row`, its C at `c`.
///
/// # Safety
/// As [`run_tiles`], for this tile.
#[inline(always)]
pub(super) unsafe fn begin<S: Simd, T: Element, const R: usize, const V: usize>(
    simd: S,
    t: &Tile<'_, T>,
    row: usize,
    c: *const T,
) -> Sums<S, T, R, V> {
    let lanes = T::Vector::<S>::LANES;
    let mut sums = [[T::Vector::<S>::zero(simd); V]; R];
    // SAFETY: the addresses are those of the operands that the caller vouches for.
    unsafe {
        // Loops, not `from_fn`: a closure that is not inlined is compiled without the instruction set.
        match t.start {
            Start::Zero => {}
            Start::Rows(bias) => {
                for (r, sums) in sums.iter_mut().enumerate() {
                    *sums = [T::Vector::<S>::splat(simd, *bias.add(row + r)); V];
                }
            }
            Start::Columns(bias) => {
                let mut columns = [T::Vector::<S>::zero(simd); V];
                for (j, column) in columns.iter_mut().enumerate() {
                    *column = T::Vector::<S>::load(simd, bias.add(j * lanes));
                }
                sums = [columns; R];
            }
            Start::Target => {
                for (r, row) in sums.iter_mut().enumerate() {
                    for (j, sum) in row.iter_mut().enumerate() {
                        *sum = T::Vector::<S>::load(simd, c.add(t.c_at::<T::Vector<S>>(r, j)));
                    }
                }
            }
        }
    }
    sums
}

/// One k.
///
/// # Safety
/// As [`run_tiles`]; A and B of this k lie at `a` and `b`.
#[inline(always)]
pub(super) unsafe fn step<S: Simd, T: Element, const R: usize, const V: usize>(
    simd: S,
    sums: &mut Sums<S, T, R, V>,
    mut a: *const T,
    odd: [usize; ODD],
    b: *const T,
    b_panel: usize,
) {
    // SAFETY: the addresses are those of the operands that the caller vouches for.
    unsafe {
        if const { R == 1 } {
            // One row has so many vectors that they need not all be held beside their sums.
            let factor = T::Vector::<S>::splat(simd, *a);
            for (j, sum) in sums[0].iter_mut().enumerate() {
                let vector = b.add(column_offset::<T::Vector<S>>(j, b_panel));
                *sum = factor.mul_add(T::Vector::<S>::load(simd, vector), *sum);
            }
        } else {
            let mut vectors = [T::Vector::<S>::zero(simd); V];
            for (j, vector) in vectors.iter_mut().enumerate() {
                *vector =
                    T::Vector::<S>::load(simd, b.add(column_offset::<T::Vector<S>>(j, b_panel)));
            }
            a = a.opaque();
            // Written out: as a loop, 14 rows would be more than the compiler unrolls.
            macro_rules! row {
                ($($r:literal)*) => {
                    $(if $r < R {
                        const SHIFT: u32 = if $r == 0 { 0 } else { ($r as usize).trailing_zeros() };
                        let distance = if $r == 0 { 0 } else { odd[($r >> SHIFT) / 2] << SHIFT };
                        let factor = T::Vector::<S>::splat(simd, *a.byte_add(distance));
                        for (sum, vector) in sums[$r].iter_mut().zip(vectors) {
                            *sum = factor.mul_add(vector, *sum);
                        }
                    })*
                };
            }
            row!(0 1 2 3 4 5 6 7 8 9 10 11 12 13);
        }
    }
}

/// What the finished sums become, in the tile whose first row is `row`, its C at `c`.
///
/// # Safety
/// As [`run_tiles`], for this tile.
#[inline(always)]
pub(super) unsafe fn finish<
    S: Simd,
    T: Element,
    const R: usize,
    const V: usize,
    const EPILOGUE: u8,
>(
    simd: S,
    t: &Tile<'_, T>,
    row: usize,
    c: *mut T,
    sums: Sums<S, T, R, V>,
) {
    let zero = T::Vector::<S>::zero(simd);
    for (r, sums) in sums.into_iter().enumerate() {
        for (j, sum) in sums.into_iter().enumerate() {
            // SAFETY: the addresses are those of the operands that the caller vouches for.
            unsafe {
                let at = c.add(t.c_at::<T::Vector<S>>(r, j));
                let result = match EPILOGUE {
                    ADD => T::Vector::<S>::load(simd, at) + sum,
                    RELU | ASKING_RELU => T::Vector::<S>::select(sum.le(zero), zero, sum),
                    RELU_MASK => {
                        let kept = t.kept.add(row * t.c_row + t.c_at::<T::Vector<S>>(r, j));
                        let kept = T::Vector::<S>::load(simd, kept);
                        T::Vector::<S>::select(kept.le(zero), zero, sum)
                    }
                    _ => sum,
                };
                result.store(at);
            }
        }
    }
}

/// The odd multiples of the distance between two rows of A.
#[inline(always)]
pub(super) fn odd_distances<T>(row: usize) -> [usize; ODD] {
    let mut odd = [0; ODD];
    for (i, odd) in odd.iter_mut().enumerate() {
        *odd = ((2 * i + 1) * row * size_of::<T>()).opaque();
    }
    odd
}

/// The tile that lies `below` tiles under the first one, `t`. A number, not a [`Tile::below`]: to copy the operands for each
/// took a tenth of the smallest nets' step.
///
/// # Safety
/// The machine has the instruction set (a token proves it), and all of the tile's elements of A, B, C, the kept outputs
/// and the start lie in memory that may be read, C also written, with no other thread at it.
#[inline(always)]
unsafe fn tile<S: Simd, T: Element, const R: usize, const V: usize, const EPILOGUE: u8>(
    simd: S,
    t: &Tile<'_, T>,
    odd: [usize; ODD],
    below: usize,
) {
    // SAFETY: throughout, the addresses are those of the operands that the caller vouches for.
    unsafe {
        let row = below * R;
        let c = t.c.add(row * t.c_row);
        let mut sums = begin::<S, T, R, V>(simd, t, row, c);
        let (mut a_block, mut b, mut k_left) = (t.a.add(below * t.a_tile), t.b, t.k);
        while k_left > 0 {
            let k_here = k_left.min(t.k_block);
            if const { asks::<S>(R, V, EPILOGUE) } && (t.ahead.is_some() || t.coming.is_some()) {
                let k = t.k - k_left..t.k - k_left + k_here;
                t.ask([R, V * T::Vector::<S>::LANES], below, a_block, k);
            }
            let mut a = a_block;
            for _ in 0..k_here {
                step::<S, T, R, V>(simd, &mut sums, a, odd, b, t.b_panel);
                a = a.wrapping_add(t.a_k);
                b = b.wrapping_add(PANEL);
            }
            a_block = a_block.wrapping_add(t.a_block);
            k_left -= k_here;
        }
        finish::<S, T, R, V, EPILOGUE>(simd, t, row, c, sums);
    }
}

/// Whether a tile asks for what comes: those of a sum over the batch or of a prediction, but for their edges.
const fn asks<S: Simd>(rows: usize, vectors: usize, epilogue: u8) -> bool {
    rows > 2 && vectors == S::TILE_VECTORS && matches!(epilogue, STORE | ADD | ASKING_RELU)
}

/// `count` tiles of one shape as a function of its own, so that the register allocator sees it alone.
struct Shape<'a, T, const R: usize, const V: usize, const EPILOGUE: u8> {
    t: &'a Tile<'a, T>,
    count: usize,
}

impl<T: Element, const R: usize, const V: usize, const EPILOGUE: u8> Kernel
    for Shape<'_, T, R, V, EPILOGUE>
{
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { t, count } = self;
        let odd = odd_distances::<T>(t.a_row);
        for below in 0..count {
            // SAFETY: made only by `run_tiles`, whose caller vouches for the operands.
            unsafe { tile::<S, T, R, V, EPILOGUE>(simd, t, odd, below) }
        }
    }
}

#[inline(always)]
fn run_shape<S: Simd, T: Element, const R: usize, const V: usize>(
    simd: S,
    epilogue: Epilogue,
    t: &Tile<'_, T>,
    count: usize,
) {
    // Shapes that an instruction set does not use are not compiled for it.
    if const { R <= S::TILE_ROWS && V <= tile_vectors::<S>(R) } {
        match epilogue {
            Epilogue::Store => simd.call(Shape::<T, R, V, STORE> { t, count }),
            Epilogue::Add => simd.call(Shape::<T, R, V, ADD> { t, count }),
            Epilogue::Relu if const { asks::<S>(R, V, ASKING_RELU) } && t.coming.is_some() => {
                simd.call(Shape::<T, R, V, ASKING_RELU> { t, count });
            }
            Epilogue::Relu => simd.call(Shape::<T, R, V, RELU> { t, count }),
            Epilogue::ReluMask => simd.call(Shape::<T, R, V, RELU_MASK> { t, count }),
        }
    } else {
        unreachable!("no tile has {R} rows and {V} vectors")
    }
}

/// The widest tile of a product with so many rows in a tile: one or two rows take more vectors, to hide the latency of
/// a fused multiply-add.
#[inline(always)]
pub(super) const fn tile_vectors<S: Simd>(rows: usize) -> usize {
    match rows {
        0 | 1 => 8,
        // Of two rows of eight, the sums alone would fill 16 registers.
        2 if S::TILE_ROWS < 12 => 4,
        2 => 8,
        _ => S::TILE_VECTORS,
    }
}

/// What a tile measures, and what becomes of it.
#[derive(Clone, Copy)]
pub struct TileShape {
    /// No more than `TILE_ROWS`.
    pub rows: usize,
    pub vectors: usize,
    /// Columns of C that exist from the first on: B is padded to whole panels, C need not be.
    pub columns: usize,
    pub epilogue: Epilogue,
}

/// Runs `count` tiles, one below the other.
///
/// # Safety
/// The machine has the instruction set (a token proves it), and all of the tiles' elements of A, B, C, the kept outputs
/// and the start lie in memory that may be read, C also written, with no other thread at it.
///
/// # Panics
/// On a shape that [`tile_vectors`] does not give.
#[inline(always)]
pub unsafe fn run_tiles<S: Simd, T: Element>(
    simd: S,
    shape: TileShape,
    t: &Tile<'_, T>,
    count: usize,
) {
    let TileShape {
        rows,
        vectors,
        columns,
        epilogue,
    } = shape;
    if columns >= vectors * T::Vector::<S>::LANES {
        simd.call(AnyShape {
            epilogue,
            rows,
            vectors,
            t,
            count,
        });
        return;
    }
    for below in 0..count {
        simd.call(Part {
            epilogue,
            rows,
            vectors,
            columns,
            t: &t.below(below, rows),
        });
    }
}

/// The choice of a shape, in one place of the program; its maker keeps the promises of [`run_tiles`].
pub(super) struct AnyShape<'a, T> {
    pub epilogue: Epilogue,
    pub rows: usize,
    pub vectors: usize,
    pub t: &'a Tile<'a, T>,
    pub count: usize,
}

impl<T: Element> Kernel for AnyShape<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self {
            epilogue,
            rows,
            vectors,
            t,
            count,
        } = self;
        macro_rules! shapes {
            ($(($r:literal, $v:literal))*) => {
                match (rows, vectors) {
                    $(($r, $v) => run_shape::<S, T, $r, $v>(simd, epilogue, t, count),)*
                    _ => unreachable!("no tile of {rows} rows and {vectors} vectors"),
                }
            };
        }
        shapes!(
            (1, 1)(1, 2)(1, 4)(1, 8)(2, 1)(2, 2)(2, 4)(2, 8)(3, 1)(4, 1)(5, 1)(6, 1)(7, 1)(8, 1)(
                9, 1
            )(10, 1)(11, 1)(12, 1)(13, 1)(14, 1)(3, 2)(4, 2)(5, 2)(6, 2)(7, 2)(8, 2)(
                9, 2
            )(10, 2)(11, 2)(12, 2)(13, 2)(14, 2)
        );
    }
}
