//! Sizes of blocks, from the caches of this machine.

use std::sync::OnceLock;

/// Bytes of the caches that one core sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caches {
    pub l1: usize,
    pub l2: usize,
    /// Shared with other cores.
    pub l3: usize,
}

/// The caches of this machine; where they can't be found, those of a small one.
pub fn caches() -> Caches {
    static CACHES: OnceLock<Caches> = OnceLock::new();
    *CACHES.get_or_init(find)
}

fn find() -> Caches {
    let mut caches = Caches {
        l1: 32 << 10,
        l2: 256 << 10,
        l3: 4 << 20,
    };
    for index in 0..8 {
        let read = |name: &str| {
            std::fs::read_to_string(format!(
                "/sys/devices/system/cpu/cpu0/cache/index{index}/{name}"
            ))
            .unwrap_or_default()
        };
        if read("type").trim() == "Instruction" {
            continue;
        }
        let Some(size) = parse_size(read("size").trim()) else {
            continue;
        };
        match read("level").trim() {
            "1" => caches.l1 = size,
            "2" => caches.l2 = size,
            "3" => caches.l3 = size,
            _ => {}
        }
    }
    caches
}

/// "48K" → 49152.
fn parse_size(text: &str) -> Option<usize> {
    let (digits, unit) = match text.as_bytes().last()? {
        b'K' => (&text[..text.len() - 1], 1 << 10),
        b'M' => (&text[..text.len() - 1], 1 << 20),
        _ => (text, 1),
    };
    digits
        .parse::<usize>()
        .ok()
        .filter(|&n| n > 0)?
        .checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_their_units() {
        assert_eq!(parse_size("48K"), Some(49152));
        assert_eq!(parse_size("2M"), Some(2 << 20));
        assert_eq!(parse_size("512"), Some(512));
        assert_eq!(parse_size(""), None);
        assert_eq!(parse_size("K"), None);
        assert_eq!(parse_size("0K"), None);
    }
}
