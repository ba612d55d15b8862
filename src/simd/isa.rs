//! The choice of an instruction set, as a value.

use super::portable::AnyPortable;
#[cfg(test)]
use super::portable::Portable;
use super::{Kernel, Simd};
use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

/// An instruction set that this machine has; only [`Isa::available`] and [`FromStr`] make one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Isa(Kind);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "aarch64")]
    Neon,
    Portable,
    #[cfg(test)]
    Portable8,
}

const NAMES: [&str; 4] = ["avx512", "avx2", "neon", "portable"];

impl Isa {
    /// Those that this machine has, best first.
    pub fn available() -> Vec<Isa> {
        let mut found = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if super::avx512::Avx512::detect().is_some() {
                found.push(Isa(Kind::Avx512));
            }
            if super::avx2::Avx2::detect().is_some() {
                found.push(Isa(Kind::Avx2));
            }
        }
        #[cfg(target_arch = "aarch64")]
        found.push(Isa(Kind::Neon));
        found.push(Isa(Kind::Portable));
        found
    }

    /// Those that this machine has, and in tests the portable form with eight lanes: the form that
    /// programs use has four, NEON's shape.
    #[cfg(test)]
    pub fn tested() -> Vec<Isa> {
        let mut found = Self::available();
        found.push(Isa(Kind::Portable8));
        found
    }

    pub fn best() -> Isa {
        static BEST: OnceLock<Isa> = OnceLock::new();
        *BEST.get_or_init(|| Self::available()[0])
    }

    pub fn name(self) -> &'static str {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => "avx2",
            #[cfg(target_arch = "aarch64")]
            Kind::Neon => "neon",
            Kind::Portable => "portable",
            #[cfg(test)]
            Kind::Portable8 => "portable8",
        }
    }

    /// Runs a kernel compiled for this instruction set.
    #[inline]
    pub fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: an `Isa` of this kind is made only where `detect` found it.
            Kind::Avx512 => unsafe { super::avx512::Avx512::assume() }.run(kernel),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: an `Isa` of this kind is made only where `detect` found it.
            Kind::Avx2 => unsafe { super::avx2::Avx2::assume() }.run(kernel),
            #[cfg(target_arch = "aarch64")]
            Kind::Neon => super::neon::Neon::new().run(kernel),
            Kind::Portable => AnyPortable {}.run(kernel),
            #[cfg(test)]
            Kind::Portable8 => Portable::<8, 4>.run(kernel),
        }
    }
}

impl fmt::Debug for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Isa {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let available = Self::available();
        if let Some(isa) = available.iter().find(|isa| isa.name() == name) {
            return Ok(*isa);
        }
        let names: Vec<_> = available.iter().map(|isa| isa.name()).collect();
        let names = names.join(", ");
        Err(if NAMES.contains(&name) {
            format!(
                "the instruction set {name:?} is not available on this machine; it has: {names}"
            )
        } else {
            format!("unknown instruction set {name:?}; this machine has: {names}")
        })
    }
}
