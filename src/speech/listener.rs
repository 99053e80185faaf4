//! The listener's end of speech: what is read, in order, from a job in flight or from a complete result.

use std::sync::Arc;

use tokio::sync::watch;

use super::{
    Pcm, Said,
    cache::Spoken,
    job::{Job, Polled},
    level::Leveller,
    shelf::Shelf,
};
use crate::{engine::Params, error::Error};

/// Speech under way, for one listener. Dropping it leaves the job; the last one out cancels it.
pub struct Speaking {
    pub sample_rate_hz: u32,
    pub engine: String,
    pub voice: String,
    pub seed: u64,
    /// Nothing had to be spoken.
    pub cached: bool,
    /// Segments in all; of speech whose text still comes, those that there were at its beginning.
    pub segments: usize,
    /// The highest amplitude that is to be sent, at any rate. None: as the engine makes it.
    pub ceiling: Option<f32>,
    source: Source,
    /// None: it goes out as it is.
    leveller: Option<Leveller>,
}

enum Source {
    Kept { spoken: Arc<Spoken>, next: usize, caption: usize },
    Live(Ear),
}

/// One place among a job's listeners.
struct Ear {
    job: Arc<Job>,
    id: u64,
    changed: watch::Receiver<()>,
    shelf: Arc<Shelf>,
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.job.leave(self.id);
        self.shelf.listening.send_modify(|listening| *listening -= 1);
    }
}

impl Speaking {
    pub(super) fn kept(spoken: Arc<Spoken>) -> Self {
        Self {
            sample_rate_hz: spoken.sample_rate_hz,
            engine: spoken.engine.clone(),
            voice: spoken.voice.clone(),
            seed: spoken.seed,
            cached: true,
            segments: spoken.segment_ends.len(),
            source: Source::Kept { spoken, next: 0, caption: 0 },
            ceiling: None,
            leveller: None,
        }
    }

    /// None if the job has ended badly or has let go of its beginning.
    pub(super) fn join(job: &Arc<Job>, shelf: &Arc<Shelf>) -> Option<Self> {
        let (id, changed) = job.join()?;
        shelf.listening.send_modify(|listening| *listening += 1);
        let script = &job.script;
        Some(Self {
            sample_rate_hz: script.sample_rate_hz,
            engine: script.engine.clone(),
            voice: script.voice.id.clone(),
            seed: script.seed,
            cached: false,
            segments: job.segments(),
            source: Source::Live(Ear { job: Arc::clone(job), id, changed, shelf: Arc::clone(shelf) }),
            ceiling: None,
            leveller: None,
        })
    }

    /// The next sound in order: mono float32 at `sample_rate_hz`; none at the end. Captions are passed over. Safe to
    /// drop while it waits.
    ///
    /// # Errors
    /// Whatever ended the speech before its end. What was read before stays valid, but is not all of it.
    pub async fn next_sound(&mut self) -> Result<Option<Pcm>, Error> {
        loop {
            match self.next().await? {
                Some(Said::Sound(pcm)) => return Ok(Some(pcm)),
                Some(Said::Caption(_)) => {}
                None => return Ok(None),
            }
        }
    }

    /// Before anything is read.
    pub(super) fn set_leveller(&mut self, leveller: Option<Leveller>, ceiling: f32) {
        self.ceiling = leveller.as_ref().map(|_| ceiling);
        self.leveller = leveller;
    }

    /// The next sound or caption; as `next_sound`.
    ///
    /// # Errors
    /// As `next_sound`.
    pub async fn next(&mut self) -> Result<Option<Said>, Error> {
        let said = self.read().await?;
        let all = self.all_is_read();
        let Some(leveller) = &mut self.leveller else { return Ok(said) };
        Ok(match said {
            Some(Said::Sound(pcm)) => Some(Said::Sound(leveller.push(&pcm, all))),
            Some(caption) => Some(caption),
            None => leveller.finish().map(Said::Sound),
        })
    }

    /// What was read last is the end, as far as that is known.
    fn all_is_read(&self) -> bool {
        match &self.source {
            Source::Kept { spoken, next, .. } => *next >= spoken.chunks.len(),
            Source::Live(ear) => ear.job.all_is_read(ear.id),
        }
    }

    /// As it was made. Safe to drop while it waits.
    async fn read(&mut self) -> Result<Option<Said>, Error> {
        match &mut self.source {
            Source::Kept { spoken, next, caption } => {
                let chunk = spoken.chunks.get(*next);
                if let Some(told) = spoken.captions.get(*caption)
                    && spoken.segment_ends[*caption] <= *next + usize::from(chunk.is_some())
                {
                    *caption += 1;
                    return Ok(Some(Said::Caption(Arc::clone(told))));
                }
                *next += 1;
                Ok(chunk.cloned().map(Said::Sound))
            }
            Source::Live(ear) => loop {
                ear.changed.mark_unchanged();
                match ear.job.poll(ear.id) {
                    Polled::Chunk(chunk) => return Ok(Some(Said::Sound(chunk))),
                    Polled::Caption(caption) => return Ok(Some(Said::Caption(caption))),
                    Polled::End => return Ok(None),
                    Polled::Failed(error) => return Err(error),
                    // The sender lives in the job that `ear` holds: this cannot fail.
                    Polled::Wait => drop(ear.changed.changed().await),
                }
            },
        }
    }

    /// What the engine chose for the first segment where the request left the choice to it; known with its first sound.
    #[must_use]
    pub fn params(&self) -> Params {
        match &self.source {
            Source::Kept { spoken, .. } => {
                spoken.captions.first().map(|caption| caption.params.clone()).unwrap_or_default()
            }
            Source::Live(ear) => ear.job.params(0),
        }
    }

    /// Segments that were read to the end.
    #[must_use]
    pub fn segments_read(&self) -> usize {
        match &self.source {
            Source::Kept { spoken, next, .. } => spoken.segment_ends.partition_point(|end| end <= next),
            Source::Live(ear) => ear.job.segments_read(ear.id),
        }
    }
}
