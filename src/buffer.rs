//! Memory on cache-line boundaries: the flat buffers of a model, and workspaces.

#![allow(unsafe_code)]

use crate::memory::Memory;
use std::ops::{Deref, DerefMut};
use std::panic::panic_any;
use std::ptr::NonNull;

/// Bytes in a cache line.
pub const LINE: usize = 64;

/// Bytes behind each buffer that nobody uses. The hardware asks for the lines behind those that a core passes over, up to
/// the end of a page of 4 KiB, and takes them from the core that writes them.
pub const APART: usize = 4096;

/// A number: all-zero bytes are zero, and every bit pattern is a value.
///
/// # Safety
/// That must be so.
pub unsafe trait Plain: Copy + 'static {}
// SAFETY: IEEE numbers and unsigned integers.
unsafe impl Plain for f32 {}
// SAFETY: as above.
unsafe impl Plain for f64 {}
// SAFETY: as above.
unsafe impl Plain for u16 {}

/// A zeroed slice that starts on a cache line.
///
/// `stagger` moves the start by that many lines: buffers that are read side by side at equal offsets (weights and their
/// moments) must not start at the same place modulo a power of two, where caches would see them as one.
pub struct Aligned<T> {
    start: NonNull<T>,
    len: usize,
    _memory: Memory,
}

// SAFETY: owns plain memory.
unsafe impl<T: Send> Send for Aligned<T> {}
// SAFETY: shared references allow only reads.
unsafe impl<T: Sync> Sync for Aligned<T> {}

/// The panic of a buffer for which there are not so many bytes.
#[derive(Clone, Copy, Debug)]
pub struct OutOfMemory(pub usize);

impl<T: Plain> Aligned<T> {
    pub fn zeros(len: usize) -> Self {
        Self::staggered(len, 0)
    }

    /// # Panics
    /// If the size overflows; with [`OutOfMemory`] if there is not so much memory.
    pub fn staggered(len: usize, stagger: usize) -> Self {
        let bytes = len
            .checked_mul(size_of::<T>())
            .and_then(|bytes| bytes.checked_add((stagger + 1) * LINE + APART))
            .filter(|&bytes| bytes <= isize::MAX as usize)
            .expect("a buffer's size overflows");
        let Some(memory) = Memory::zeroed(bytes) else {
            panic_any(OutOfMemory(bytes))
        };
        // SAFETY: the memory has `stagger` + 1 lines beside the elements; zero bytes are zero elements.
        let start = unsafe { memory.start().add(stagger * LINE) }.cast();
        Self {
            start,
            len,
            _memory: memory,
        }
    }
}

impl<T> Aligned<T> {
    /// No elements, no memory.
    pub const EMPTY: Self = Self {
        start: NonNull::dangling(),
        len: 0,
        _memory: Memory::EMPTY,
    };

    pub fn as_mut_pointer(&self) -> *mut T {
        self.start.as_ptr()
    }
}

impl<T> Deref for Aligned<T> {
    type Target = [T];
    #[inline(always)]
    fn deref(&self) -> &[T] {
        // SAFETY: `len` initialised elements, owned.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T> DerefMut for Aligned<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: `len` initialised elements, owned and borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

/// A buffer that several owners read and write: NumPy views, networks, optimisers.
///
/// As with any NumPy array, nobody keeps one thread from writing while another reads; what a model computes while its
/// parameters are being written is unspecified, though memory stays sound: elements are plain numbers, each value of
/// which is valid.
pub struct Flat<T>(Aligned<T>);

impl<T: Plain> Flat<T> {
    pub fn zeros(len: usize, stagger: usize) -> Self {
        Self(Aligned::staggered(len, stagger))
    }
}

impl<T> Flat<T> {
    pub fn len(&self) -> usize {
        self.0.len
    }
    pub fn is_empty(&self) -> bool {
        self.0.len == 0
    }
    pub fn as_mut_pointer(&self) -> *mut T {
        self.0.as_mut_pointer()
    }
}

thread_local! {
    static SCRATCH: std::cell::Cell<Aligned<f64>> = const { std::cell::Cell::new(Aligned::EMPTY) };
}

/// Lends this thread's scratch memory, of unspecified content, to `body`; it grows to the largest length asked for.
pub fn with_scratch<T: Plain, R>(len: usize, body: impl FnOnce(&mut [T]) -> R) -> R {
    const { assert!(size_of::<T>() <= size_of::<f64>() && align_of::<T>() <= LINE) };
    SCRATCH.with(|cell| {
        let mut memory = cell.replace(Aligned::EMPTY);
        if size_of_val(&*memory) < len * size_of::<T>() {
            memory = Aligned::zeros((len * size_of::<T>()).div_ceil(size_of::<f64>()));
        }
        // SAFETY: large enough, aligned to a line, initialised, and borrowed for the call alone; a number of any kind.
        let scratch =
            unsafe { std::slice::from_raw_parts_mut(memory.as_mut_pointer().cast::<T>(), len) };
        let result = body(scratch);
        cell.set(memory);
        result
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_start_on_lines_and_are_zero() {
        for stagger in [0, 1, 3] {
            let buffer = Aligned::<f32>::staggered(37, stagger);
            assert_eq!(buffer.as_ptr() as usize % LINE, 0);
            assert!(buffer.len() == 37 && buffer.iter().all(|&x| x == 0.0));
        }
        assert!(Aligned::<f64>::zeros(0).is_empty());
    }

    #[test]
    #[should_panic(expected = "overflows")]
    fn a_size_that_overflows_is_refused() {
        Aligned::<f64>::zeros(usize::MAX / 4);
    }

    #[test]
    fn scratch_may_be_lent_while_it_is_lent() {
        with_scratch::<f32, _>(100, |outer| {
            outer.fill(1.0);
            with_scratch::<f64, _>(1000, |inner| inner.fill(2.0));
            assert!(outer.iter().all(|&x| x == 1.0));
        });
    }
}
