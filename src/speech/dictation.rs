//! Speech whose text is still being written: it is spoken segment by segment as it comes, by one job whose script grows.
//!
//! Owned by one task, which also reads the sound. What it says depends on the text alone, not on how it was cut on its
//! way here, unless a flush or a hurry intervenes.

use std::sync::Arc;

use super::{
    Level, Loudness, Speaking, Speech, SpeechRequest,
    job::{Job, Line},
    request::{Resolved, lines, resolve, script},
    route::{self, Stop},
    service::{ask, shares},
};
use crate::{
    error::Error,
    text::{Incremental, Piece},
    voices::Voice,
};

/// Every method that takes text gives the speech once: when its first segment goes to the engine. If one fails, the
/// speech has failed. Dropping it ends the text; dropping the speech cancels what is not spoken.
pub struct Dictation {
    speech: Arc<Speech>,
    request: SpeechRequest,
    voice: Arc<Voice>,
    route: Vec<Stop>,
    text: Incremental,
    /// Code points so far.
    chars: usize,
    given: usize,
    begun: Option<(Arc<Job>, Resolved)>,
}

impl Speech {
    /// Checks everything about a request but its text, which is to come; what `request.text` holds is not looked at.
    /// It is not shared with others, nor kept.
    ///
    /// # Errors
    /// Everything that can be known without the text.
    pub fn dictate(self: &Arc<Self>, request: SpeechRequest) -> Result<Dictation, Error> {
        self.check_open()?;
        let route = route::route(&self.links, request.engine.as_deref())?;
        let voice = self.voices().resolve(request.voice.as_deref().unwrap_or(&self.config.voices.default))?;
        let route = route::with_params(route::with_voice(route, &voice)?, &request.params);
        // Nobody waits for a text to be complete: what is measured as a whole is measured by its voice instead.
        let level = match self.loudness(&request.level) {
            Loudness::File => Level { loudness: Some(Loudness::Voice), ..request.level },
            Loudness::Voice | Loudness::Off => request.level,
        };
        let request = SpeechRequest { text: String::new(), cache: false, level, ..request };
        resolve(&self.config, &request, &voice, &route)?;
        let text = Incremental::for_reader(self.limits(&route[0]), route::reader(&route, &request.params));
        Ok(Dictation { speech: Arc::clone(self), request, voice, route, text, chars: 0, given: 0, begun: None })
    }
}

impl Dictation {
    /// The text goes on.
    ///
    /// # Errors
    /// `TextTooLong` for all of it together, and whatever keeps its segments from being spoken.
    pub async fn write(&mut self, text: &str) -> Result<Option<Speaking>, Error> {
        self.chars += text.chars().count();
        let limit = self.speech.config.text.max_chars;
        if self.chars > limit {
            let error = Error::TextTooLong { chars: self.chars, limit };
            self.fail(&error);
            return Err(error);
        }
        let pieces = self.text.push(text);
        self.say(pieces, false).await
    }

    /// All that was written is to be said now, however it ends.
    ///
    /// # Errors
    /// As `write`.
    pub async fn flush(&mut self) -> Result<Option<Speaking>, Error> {
        let pieces = self.text.flush();
        self.say(pieces, true).await
    }

    /// Whole clauses are to be said now, as the listener has nothing left to hear, or the text has stalled.
    ///
    /// # Errors
    /// As `write`.
    pub async fn hurry(&mut self, stalled: bool) -> Result<Option<Speaking>, Error> {
        let pieces = self.text.hurry(stalled);
        self.say(pieces, true).await
    }

    /// Whether `hurry` would find a whole clause.
    #[must_use]
    pub fn can_hurry(&self, stalled: bool) -> bool {
        self.text.can_hurry(stalled)
    }

    /// The text is complete: its rest is said, and then the speech ends.
    ///
    /// # Errors
    /// As `write`.
    pub async fn end(&mut self) -> Result<Option<Speaking>, Error> {
        let speaking = self.flush().await?;
        if let Some((job, _)) = &self.begun {
            job.close();
        }
        Ok(speaking)
    }

    /// Segments that went to the engine.
    #[must_use]
    pub fn segments(&self) -> usize {
        self.given
    }

    /// `flushed`: nothing may follow for long.
    async fn say(&mut self, pieces: Vec<Piece>, flushed: bool) -> Result<Option<Speaking>, Error> {
        if pieces.is_empty() {
            return Ok(None);
        }
        let shares = shares(&self.route, &pieces, self.request.language.as_deref(), &self.voice.languages);
        let (shares, languages) = shares.inspect_err(|error| self.fail(error))?;
        let from = self.given;
        self.given += pieces.len();
        let beginning = pieces[0].text.clone();
        let pieces = pieces.into_iter().zip(languages);
        if let Some((job, resolved)) = &self.begun {
            job.extend(marked(lines(resolved, pieces, from), flushed))?;
            for (stop, segments) in shares {
                let segments = segments.into_iter().map(|index| from + index).collect();
                self.ask_more(job, &self.route[stop], segments).await?;
            }
            return Ok(None);
        }
        let first = &self.route[shares[0].0].link;
        let prepared = self.speech.prepared(first, &first.name, &self.voice).await?;
        self.speech.gain(&self.request.level, first, &self.voice).await;
        // The seed that a request without one gets is derived from the beginning of the text.
        let request = SpeechRequest { text: beginning, ..self.request.clone() };
        let resolved = resolve(&self.speech.config, &request, &self.voice, &self.route)?;
        let script = script(&self.speech.config, &request, &resolved, &self.voice, &self.route[shares[0].0]);
        let (job, mut speaking) =
            self.speech.start_job(script, marked(lines(&resolved, pieces, from), flushed), true)?;
        let mut shares = shares.into_iter();
        if let Some((stop, segments)) = shares.next() {
            ask(&job, &self.route[stop].link, segments, prepared, true)?;
        }
        for (stop, segments) in shares {
            self.ask_more(&job, &self.route[stop], segments).await?;
        }
        self.begun = Some((job, resolved));
        self.speech.set_level(&mut speaking, &self.request.level, &self.voice).await;
        Ok(Some(speaking))
    }

    async fn ask_more(&self, job: &Arc<Job>, stop: &Stop, segments: Vec<usize>) -> Result<(), Error> {
        if let Some(request) = job.grow_part(&stop.link, &segments) {
            return stop.link.extend(request, &segments).inspect_err(|error| job.fail(error.clone()));
        }
        let prepared = self.speech.prepared(&stop.link, &job.script.engine, &self.voice).await;
        ask(job, &stop.link, segments, prepared.inspect_err(|error| job.fail(error.clone()))?, true)
    }

    fn fail(&self, error: &Error) {
        if let Some((job, _)) = &self.begun {
            job.fail(error.clone());
        }
    }
}

fn marked(mut lines: Vec<Line>, flushed: bool) -> Vec<Line> {
    if let Some(last) = lines.last_mut() {
        last.flushed = flushed;
    }
    lines
}

impl Drop for Dictation {
    fn drop(&mut self) {
        if let Some((job, _)) = &self.begun {
            job.close();
        }
    }
}
