//! Complete results, PCM before encoding, bounded in bytes, least recently used out.

use std::sync::Arc;

use super::{Caption, Pcm};

/// Everything that the samples depend on: engines and their revisions, voice version, text, parameters, seed.
pub(super) type Key = [u8; 32];

/// One complete result.
#[derive(Debug)]
pub(super) struct Spoken {
    pub sample_rate_hz: u32,
    pub engine: String,
    pub voice: String,
    pub seed: u64,
    pub chunks: Vec<Pcm>,
    /// For every segment the number of chunks up to its end.
    pub segment_ends: Vec<usize>,
    /// Of every segment.
    pub captions: Vec<Arc<Caption>>,
}

impl Spoken {
    fn nbytes(&self) -> usize {
        let samples: usize = self.chunks.iter().map(|chunk| chunk.len()).sum();
        let captions: usize = self.captions.iter().map(|caption| caption.nbytes()).sum();
        size_of::<Self>() + samples * size_of::<f32>() + captions
    }
}

pub(super) struct Cache {
    spoken: moka::sync::Cache<Key, Arc<Spoken>>,
    max_entry_bytes: usize,
}

impl Cache {
    pub fn new(capacity_bytes: usize) -> Self {
        let spoken = moka::sync::Cache::builder()
            .max_capacity(capacity_bytes as u64)
            .weigher(|_, spoken: &Arc<Spoken>| u32::try_from(spoken.nbytes()).unwrap_or(u32::MAX))
            .build();
        Self { spoken, max_entry_bytes: capacity_bytes / 4 }
    }

    pub fn get(&self, key: &Key) -> Option<Arc<Spoken>> {
        self.spoken.get(key)
    }

    pub fn insert(&self, key: Key, spoken: Arc<Spoken>) {
        if spoken.nbytes() <= self.max_entry_bytes {
            self.spoken.insert(key, spoken);
        }
    }

    /// A job that has made more than this need not keep what its listeners have read.
    pub fn max_entry_samples(&self) -> u64 {
        (self.max_entry_bytes / size_of::<f32>()) as u64
    }
}
