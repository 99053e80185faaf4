//! Text that comes in pieces, spoken while it comes: what the surfaces on WebSockets share.

use std::{collections::VecDeque, future::pending, sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    error::Error,
    speech::{Dictation, Said, Speaking, Speech, SpeechRequest},
};

/// After so long without text a mark at its very end counts as the end of a clause.
const STALL: Duration = Duration::from_millis(500);
/// A clause is taken so long before the listener's sound runs out: for making it and bringing it there.
const HURRY: Duration = Duration::from_millis(400);

/// Some text, and what to do with it.
#[derive(Debug, Default)]
pub struct Input {
    pub text: String,
    /// Say all there is, however it ends.
    pub flush: bool,
    /// No more will come.
    pub end: bool,
}

/// Owned by the task that speaks for one text.
pub struct Narration {
    speech: Arc<Speech>,
    /// Until the first input.
    request: Option<SpeechRequest>,
    dictation: Option<Dictation>,
    speaking: Option<Speaking>,
    /// Clauses may be taken early, so that there is no silence.
    hurries: bool,
    ended: bool,
    /// Segments up to each flush that was not told yet.
    flushes: VecDeque<usize>,
    text_at: Instant,
    /// When the listener has heard everything that was sent.
    dry_at: Option<Instant>,
}

impl Narration {
    /// # Errors
    /// Everything that can be known without the text.
    pub fn new(speech: Arc<Speech>, request: SpeechRequest, hurries: bool) -> Result<Self, Error> {
        let dictation = speech.dictate(request.clone())?;
        Ok(Self {
            speech,
            request: Some(request),
            dictation: Some(dictation),
            speaking: None,
            hurries,
            ended: false,
            flushes: VecDeque::new(),
            text_at: Instant::now(),
            dry_at: None,
        })
    }

    /// True: with this the speech has begun. A text that is whole at once is a request like any other: it may come from
    /// the cache.
    ///
    /// # Errors
    /// What keeps it from being spoken.
    pub async fn take(&mut self, input: Input) -> Result<bool, Error> {
        self.text_at = Instant::now();
        let request = self.request.take();
        if let Some(request) = request.filter(|_| input.end && !input.text.is_empty()) {
            (self.ended, self.dictation) = (true, None);
            self.speaking = Some(self.speech.speak(SpeechRequest { text: input.text, ..request }).await?);
            return Ok(true);
        }
        let Some(dictation) = &mut self.dictation else { return Ok(false) };
        let mut begun = dictation.write(&input.text).await?;
        if input.flush {
            begun = dictation.flush().await?.or(begun);
            self.flushes.push_back(dictation.segments());
        }
        if input.end {
            begun = dictation.end().await?.or(begun);
            self.ended = true;
        }
        Ok(self.begin(begun))
    }

    fn begin(&mut self, begun: Option<Speaking>) -> bool {
        let begins = begun.is_some();
        self.speaking = begun.or(self.speaking.take());
        begins
    }

    /// When `hurry` should be called, if nothing happens before.
    #[must_use]
    pub fn hurry_at(&self) -> Option<Instant> {
        let dictation = self.dictation.as_ref().filter(|_| self.hurries && !self.ended)?;
        let stalled = dictation.can_hurry(true).then(|| self.text_at + STALL);
        let dry = self.dry_at.filter(|_| dictation.can_hurry(false) && self.has_said_all());
        stalled.into_iter().chain(dry.map(|dry| dry - HURRY)).min()
    }

    /// As `take`, of the clauses that have come.
    ///
    /// # Errors
    /// As `take`.
    pub async fn hurry(&mut self) -> Result<bool, Error> {
        let stalled = self.text_at + STALL <= Instant::now();
        let Some(dictation) = &mut self.dictation else { return Ok(false) };
        let begun = dictation.hurry(stalled).await?;
        Ok(self.begin(begun))
    }

    fn has_said_all(&self) -> bool {
        let given = self.dictation.as_ref().map(Dictation::segments);
        self.speaking.as_ref().map(Speaking::segments_read) == given
    }

    /// What is said next; none at the end, which does not come before the text's. Safe to drop while it waits.
    ///
    /// # Errors
    /// Whatever ended the speech before its end.
    pub async fn next(&mut self) -> Result<Option<Said>, Error> {
        match &mut self.speaking {
            Some(speaking) => {
                let said = speaking.next().await?;
                if let Some(Said::Sound(pcm)) = &said {
                    let played = Duration::from_secs_f64(pcm.len() as f64 / f64::from(speaking.sample_rate_hz.max(1)));
                    let now = Instant::now();
                    self.dry_at = Some(self.dry_at.map_or(now, |dry_at| dry_at.max(now)) + played);
                }
                Ok(said)
            }
            None if self.ended => Ok(None),
            None => pending().await,
        }
    }

    /// Flushes of which all has been read since the last call.
    pub fn flushed(&mut self) -> usize {
        let read = self.speaking.as_ref().map_or(0, Speaking::segments_read);
        let flushed = self.flushes.iter().take_while(|segments| **segments <= read).count();
        self.flushes.drain(..flushed);
        flushed
    }

    /// Once it has begun.
    #[must_use]
    pub fn speaking(&self) -> Option<&Speaking> {
        self.speaking.as_ref()
    }
}
