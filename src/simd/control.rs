//! The floating-point control word: rounding mode, and what happens to subnormals.

/// Sets the control word to its default (round to nearest, subnormals kept) until it is dropped.
///
/// Other code in the process may have told the processor to flush subnormals to zero; results must not depend on it.
#[must_use]
pub struct FloatControl {
    #[cfg_attr(
        not(any(target_arch = "x86_64", target_arch = "aarch64")),
        allow(dead_code)
    )]
    saved: u64,
}

#[cfg(target_arch = "x86_64")]
mod word {
    use std::arch::asm;

    /// All exceptions masked, round to nearest, no flushing; the low six bits are sticky flags.
    pub const DEFAULT: u64 = 0x1f80;
    const FLAGS: u64 = 0x3f;

    #[inline(always)]
    pub fn read() -> u64 {
        let mut word = 0u32;
        // SAFETY: stores MXCSR, which every x86-64 has, into a local.
        unsafe { asm!("stmxcsr [{}]", in(reg) &mut word, options(nostack, preserves_flags)) }
        u64::from(word) & !FLAGS
    }

    #[inline(always)]
    pub fn write(word: u64) {
        let word = word as u32;
        // SAFETY: loads MXCSR with a value read from it or with the default: no reserved bit is set.
        unsafe { asm!("ldmxcsr [{}]", in(reg) &word, options(nostack, preserves_flags, readonly)) }
    }
}

#[cfg(target_arch = "aarch64")]
mod word {
    use std::arch::asm;

    pub const DEFAULT: u64 = 0;

    #[inline(always)]
    pub fn read() -> u64 {
        let word: u64;
        // SAFETY: FPCR may be read at every privilege level.
        unsafe { asm!("mrs {}, fpcr", out(reg) word, options(nomem, nostack, preserves_flags)) }
        word
    }

    #[inline(always)]
    pub fn write(word: u64) {
        // SAFETY: FPCR may be written at every privilege level; zero and read values are valid.
        unsafe { asm!("msr fpcr, {}", in(reg) word, options(nomem, nostack, preserves_flags)) }
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod word {
    pub const DEFAULT: u64 = 0;
    pub fn read() -> u64 {
        DEFAULT
    }
    pub fn write(_: u64) {}
}

impl FloatControl {
    #[inline(always)]
    pub fn enter() -> Self {
        let saved = word::read();
        if saved != word::DEFAULT {
            word::write(word::DEFAULT);
        }
        Self { saved }
    }
}

impl Drop for FloatControl {
    #[inline(always)]
    fn drop(&mut self) {
        if self.saved != word::DEFAULT {
            word::write(self.saved);
        }
    }
}
