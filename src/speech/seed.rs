//! Seeds: the same request gives the same bytes, and its segments do not share their noise.

use std::hash::{BuildHasher, Hasher, RandomState};

/// Seeds stay below, so that JSON, JavaScript and Python carry them exactly.
pub const SEED_LIMIT: u64 = 1 << 53;

/// The seed of segment `index`; segment 0 uses the request's own.
pub(super) fn mix(seed: u64, index: usize) -> u64 {
    if index == 0 {
        return seed;
    }
    // SplitMix64 (Steele, Lea, Flood 2014), the index-th output of a generator that starts at `seed`.
    let mut z = seed.wrapping_add((index as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (z ^ (z >> 31)) % SEED_LIMIT
}

/// Another one each time.
pub(super) fn fresh() -> u64 {
    RandomState::new().build_hasher().finish() % SEED_LIMIT
}

/// The one that a request without a seed gets.
pub(super) fn derived(hash: &blake3::Hash) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&hash.as_bytes()[..8]);
    u64::from_le_bytes(bytes) % SEED_LIMIT
}

#[cfg(test)]
mod tests {
    use super::{SEED_LIMIT, fresh, mix};

    #[test]
    fn segments_have_their_own_seeds() {
        assert_eq!(mix(7, 0), 7);
        let seeds: std::collections::BTreeSet<u64> = (0..1000).map(|index| mix(7, index)).collect();
        assert_eq!(seeds.len(), 1000);
        assert!(seeds.iter().all(|seed| *seed < SEED_LIMIT));
    }

    #[test]
    fn fresh_seeds_differ() {
        assert_ne!(fresh(), fresh());
    }
}
