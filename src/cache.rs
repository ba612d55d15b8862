//! Lines of the cache, asked for to have them alone.

#![allow(unsafe_code)]

use crate::buffer::LINE;

/// Asks for the line of an address that need not be valid, for this core alone.
#[inline(always)]
pub fn prefetch_for_writing<T>(address: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch of any address is harmless, and where a processor lacks this one it does nothing. The intrinsic
    // would become a prefetch for reading, which leaves the line with other cores as well.
    unsafe {
        std::arch::asm!("prefetchw [{}]", in(reg) address, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// Asks for all lines of what this core is about to read again and again.
///
/// A line that another core has read too may leave this core's cache early, a few of them at every pass (seen on Sapphire
/// Rapids: 800 KB take up to a fifth longer, for a thousand passes).
pub fn claim<T>(values: &[T]) {
    for line in values.chunks(LINE / size_of::<T>()) {
        prefetch_for_writing(line.as_ptr());
    }
}
