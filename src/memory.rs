//! Zeroed memory on cache-line boundaries; large blocks on huge pages, where the system has them.
//!
//! A large net's weights, moments and activations are walked over in rows that lie pages apart. With pages of 4 KiB the
//! processor's list of them is too short, and looking one up takes longer than the multiply-adds of a line: on huge pages
//! the steps of nets of some 500,000 parameters and more take 3 to 5 % less.

#![allow(unsafe_code)]

use crate::buffer::LINE;
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;

/// Bytes of a huge page, and of the smallest block that is put on some.
#[cfg(target_os = "linux")]
const HUGE: usize = 2 << 20;

/// A block of zeroed memory, owned. Pages are taken from the system when they are first touched.
pub struct Memory {
    start: NonNull<u8>,
    from: Source,
}

enum Source {
    Nowhere,
    Allocator(Layout),
    /// Mapped for itself: address and length of the whole mapping.
    #[cfg(target_os = "linux")]
    Mapping(NonNull<u8>, usize),
}

// SAFETY: owns plain memory.
unsafe impl Send for Memory {}
// SAFETY: a shared reference gives no more than the address.
unsafe impl Sync for Memory {}

impl Memory {
    pub const EMPTY: Self = Self {
        start: NonNull::<Line>::dangling().cast(),
        from: Source::Nowhere,
    };

    /// `bytes` of memory that are zero, from a cache line on; None if there is not so much.
    pub fn zeroed(bytes: usize) -> Option<Self> {
        if bytes == 0 {
            return Some(Self::EMPTY);
        }
        #[cfg(target_os = "linux")]
        if bytes >= HUGE {
            return Self::mapped(bytes);
        }
        let layout = Layout::from_size_align(bytes, LINE).ok()?;
        // SAFETY: the layout is not empty.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        Some(Self {
            start,
            from: Source::Allocator(layout),
        })
    }

    /// Fresh pages, huge ones where the system grants them.
    #[cfg(target_os = "linux")]
    fn mapped(bytes: usize) -> Option<Self> {
        // Mappings start at any small page: one huge page more leaves room to begin at a huge one.
        let length = bytes.checked_next_multiple_of(HUGE)?.checked_add(HUGE)?;
        // SAFETY: a new private mapping, which touches no other.
        let mapping = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if mapping == libc::MAP_FAILED {
            return None;
        }
        let mapping = NonNull::new(mapping.cast::<u8>())?;
        let start = mapping.as_ptr().align_offset(HUGE);
        // What would fill less than half of a huge page stays on small ones.
        let huge = (bytes + HUGE / 2) / HUGE * HUGE;
        // SAFETY: less than a huge page further, within the mapping; the advice changes no content, and its refusal
        // leaves small pages.
        let start = unsafe {
            let start = mapping.add(start);
            libc::madvise(start.as_ptr().cast(), huge, libc::MADV_HUGEPAGE);
            start
        };
        Some(Self {
            start,
            from: Source::Mapping(mapping, length),
        })
    }

    pub fn start(&self) -> NonNull<u8> {
        self.start
    }
}

/// For an address on a line that nothing lies at.
#[repr(align(64))]
struct Line;
const _: () = assert!(align_of::<Line>() == LINE);

impl Drop for Memory {
    fn drop(&mut self) {
        match self.from {
            Source::Nowhere => {}
            // SAFETY: allocated with this layout.
            Source::Allocator(layout) => unsafe { dealloc(self.start.as_ptr(), layout) },
            #[cfg(target_os = "linux")]
            // SAFETY: mapped so, and nobody else knows of it.
            Source::Mapping(mapping, length) => unsafe {
                libc::munmap(mapping.as_ptr().cast(), length);
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_any_size_are_zero_and_begin_on_a_line() {
        for bytes in [0, 1, 64, 1000, 2 << 20, (2 << 20) + 1, 5_000_000] {
            let memory = Memory::zeroed(bytes).expect("so little memory");
            assert_eq!(memory.start().as_ptr() as usize % LINE, 0);
            // SAFETY: the block has so many bytes, and is this test's.
            let block = unsafe { std::slice::from_raw_parts_mut(memory.start().as_ptr(), bytes) };
            assert!(block.iter().all(|&byte| byte == 0));
            block.fill(1);
        }
    }

    #[test]
    fn what_can_not_be_had_is_none() {
        assert!(Memory::zeroed(usize::MAX / 2).is_none());
        assert!(Memory::zeroed(usize::MAX).is_none());
    }
}
