//! Rows a fixed distance apart, and addresses that a processor works out as it loads.

#![allow(unsafe_code)]

/// A number or an address whose origin the compiler does not see. It would address every row from the one before, a chain
/// of additions longer than the work on a row, or keep a pointer to each, more than there are registers.
pub trait Opaque {
    fn opaque(self) -> Self;
}

macro_rules! opaque {
    ($type:ty $(, $t:ident)?) => {
        impl$(<$t>)? Opaque for $type {
            #[inline(always)]
            fn opaque(self) -> Self {
                #[cfg(target_arch = "x86_64")]
                {
                    let mut value = self;
                    // SAFETY: no instruction: the value stays as it is, and nothing is read or written.
                    unsafe {
                        std::arch::asm!(
                            "/* {} */", inout(reg) value, options(nostack, preserves_flags, readonly)
                        );
                    }
                    value
                }
                #[cfg(not(target_arch = "x86_64"))]
                self
            }
        }
    };
}
opaque!(usize);
opaque!(*const T, T);

/// Rows of elements a fixed distance apart.
#[derive(Clone, Copy)]
pub struct Rows<T> {
    start: *const T,
    /// The distance in bytes, once and three times. With twice the first they reach four rows from one pointer.
    once: usize,
    thrice: usize,
}

impl<T: Copy> Rows<T> {
    #[inline(always)]
    pub fn new(start: *const T, stride: usize) -> Self {
        let bytes = stride * size_of::<T>();
        Self {
            start,
            once: bytes.opaque(),
            thrice: (3 * bytes).opaque(),
        }
    }

    /// The same rows from column `column` on.
    #[inline(always)]
    pub fn from_column(self, column: usize) -> Self {
        Self {
            start: self.start.wrapping_add(column),
            ..self
        }
    }

    /// The start of a row.
    #[inline(always)]
    pub fn row(self, index: usize) -> *const T {
        self.start.wrapping_byte_add(index * self.once)
    }

    /// The starts of four rows, from row `4 * index` on.
    #[inline(always)]
    pub fn four(self, index: usize) -> [*const T; 4] {
        let first = self.row(4 * index).opaque();
        [
            first,
            first.wrapping_byte_add(self.once),
            first.wrapping_byte_add(2 * self.once),
            first.wrapping_byte_add(self.thrice),
        ]
    }
}
