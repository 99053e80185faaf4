//! Ids that were handed on already, so that a reconnect does not make a message heard twice. Plain data, of bounded size.

use std::collections::{HashSet, VecDeque};

/// Far more than any platform sends again after a reconnect: YouTube's longest page has 2,000 messages.
const MAX_IDS: usize = 8192;

#[derive(Debug, Default)]
pub(in crate::chat) struct Seen {
    ids: HashSet<u128>,
    order: VecDeque<u128>,
}

impl Seen {
    /// False: it was there before.
    pub(in crate::chat) fn insert(&mut self, id: &str) -> bool {
        // Ids are of any length and from outside: what is kept of each is 16 bytes of a hash that nobody can collide.
        let hash = blake3::hash(id.as_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash.as_bytes()[..16]);
        let id = u128::from_le_bytes(bytes);
        if !self.ids.insert(id) {
            return false;
        }
        self.order.push_back(id);
        if self.order.len() > MAX_IDS
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_are_known_and_the_memory_is_bounded() {
        let mut seen = Seen::default();
        assert!(seen.insert("a"));
        assert!(!seen.insert("a"));
        for id in 0..MAX_IDS {
            assert!(seen.insert(&id.to_string()));
        }
        assert_eq!((seen.ids.len(), seen.order.len()), (MAX_IDS, MAX_IDS));
        assert!(!seen.insert("17"));
        assert!(seen.insert("a"));
    }
}
