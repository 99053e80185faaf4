//! One job: the ordered sound of one request, and those who listen to it.
//!
//! Engine threads push, listeners' tasks poll; both hold the lock for microseconds and neither waits for the other.
//! Segments may finish out of order and leave in order. Each listener has its own cursor into the shared chunks.

mod growing;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use super::{
    Caption, Pcm,
    cache::{Key, Spoken},
    dispatch::{Link, Order},
    shelf::Shelf,
    verify::Heard,
};
use crate::{
    audio::join::{Joiner, Joining, Seam, Span},
    engine::{Chosen, Params, Segment, Transcript},
    error::Error,
    scheduler::{Class, RequestId, Work},
    text::Place,
    voices::Voice,
};

/// How a job speaks, fixed when it starts.
pub(super) struct Script {
    /// None: shared with nobody and not kept.
    pub key: Option<Key>,
    pub sample_rate_hz: u32,
    pub engine: String,
    pub voice: Arc<Voice>,
    pub seed: u64,
    /// The request did not name its engine.
    pub may_fall_back: bool,
    /// None: segments follow each other as they were made.
    pub joining: Option<Joining>,
    pub order: Order,
}

/// One segment of what a job says.
pub(super) struct Line {
    pub segment: Arc<Segment>,
    pub place: Place,
    /// Grapheme clusters of its text.
    pub chars: usize,
    /// Letters and digits of its text that any engine says.
    pub speakable: usize,
    /// All of it is to be heard, whatever follows and when.
    pub flushed: bool,
}

impl Line {
    pub fn work(&self) -> Work {
        Work { chars: self.chars, speed: self.segment.speed }
    }
}

/// The segments of a job that one engine says.
struct Part {
    link: Arc<Link>,
    request: RequestId,
    /// Which of the job's, ascending.
    segments: Vec<usize>,
    /// May get more of them.
    open: bool,
}

/// Bounds on what is made ahead of its listeners.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ahead {
    /// Unread by the fastest listener: no further segment is started.
    pub max_unread_samples: u64,
    /// Kept from the start for the cache and for those who join later; over it, what all have read is let go.
    pub max_kept_samples: u64,
}

pub(super) struct Job {
    pub script: Script,
    /// Only ever grows. No other lock is taken while it is held.
    lines: RwLock<Vec<Arc<Line>>>,
    ahead: Ahead,
    state: Mutex<State>,
    changed: watch::Sender<()>,
    parts: Mutex<Vec<Part>>,
    shelf: Arc<Shelf>,
}

struct State {
    chunks: VecDeque<Pcm>,
    /// Chunks let go at the front.
    let_go: usize,
    samples: u64,
    /// Of the segments that are complete and in order.
    complete_samples: u64,
    joiner: Option<Joiner>,
    /// What has left the joiner and is no chunk yet.
    joined: Vec<f32>,
    /// For every segment that is complete and in order, the number of chunks up to its end.
    segment_ends: Vec<usize>,
    /// Segments that are ahead of their turn.
    early: BTreeMap<usize, Vec<Pcm>>,
    /// Early ones that are complete.
    early_complete: BTreeSet<usize>,
    /// Segments that are changed as a whole, until they are complete.
    gathered: HashMap<usize, Vec<f32>>,
    heard: Vec<Heard>,
    /// Of segments that are not complete.
    transcripts: HashMap<usize, Transcript>,
    /// What their engines chose for them.
    params: HashMap<usize, Params>,
    /// Some of it was chosen for want of time.
    hurried: bool,
    /// Of every segment that is complete and in order.
    captions: Vec<Arc<Caption>>,
    /// Further segments may come.
    open: bool,
    end: Option<Result<(), Error>>,
    listeners: HashMap<u64, Cursor>,
    next_listener: u64,
    delivered: usize,
    held: bool,
}

#[derive(Default)]
struct Cursor {
    chunk: usize,
    caption: usize,
    samples: u64,
    cut_off: bool,
}

/// What a listener finds.
pub(super) enum Polled {
    Chunk(Pcm),
    Caption(Arc<Caption>),
    End,
    Failed(Error),
    Wait,
}

/// What came of pushing sound.
pub(super) enum Pushed {
    Taken,
    /// The segment is complete and cannot be all of what was to be said.
    NoSpeech(String),
}

impl Job {
    /// `open`: more lines may follow, until `close`.
    pub fn new(script: Script, lines: Vec<Line>, open: bool, ahead: Ahead, shelf: Arc<Shelf>) -> Arc<Self> {
        let segments = lines.len();
        let joiner = script.joining.map(|joining| Joiner::new(script.sample_rate_hz, joining));
        Arc::new(Self {
            script,
            lines: RwLock::new(lines.into_iter().map(Arc::new).collect()),
            ahead,
            state: Mutex::new(State {
                chunks: VecDeque::new(),
                let_go: 0,
                samples: 0,
                complete_samples: 0,
                joiner,
                joined: Vec::new(),
                segment_ends: Vec::with_capacity(segments),
                early: BTreeMap::new(),
                early_complete: BTreeSet::new(),
                gathered: HashMap::new(),
                heard: vec![Heard::default(); segments],
                transcripts: HashMap::new(),
                params: HashMap::new(),
                hurried: false,
                captions: Vec::with_capacity(segments),
                open,
                end: None,
                listeners: HashMap::new(),
                next_listener: 0,
                delivered: 0,
                held: false,
            }),
            changed: watch::Sender::new(()),
            parts: Mutex::new(Vec::new()),
            shelf,
        })
    }

    pub fn line(&self, index: usize) -> Arc<Line> {
        Arc::clone(&self.lines.read()[index])
    }

    /// Segments, as far as they are known.
    pub fn segments(&self) -> usize {
        self.lines.read().len()
    }

    /// Tells which engine was asked for which segments. If the job has ended meanwhile, they are cancelled at once.
    pub fn add_part(&self, link: Arc<Link>, request: RequestId, segments: Vec<usize>, open: bool) {
        self.parts.lock().push(Part { link, request, segments, open });
        let ended = self.state.lock().end.is_some();
        if ended {
            self.cancel_parts();
        } else {
            self.tell();
        }
    }

    /// Sound of segment `index`, at the job's rate. An empty `pcm` only carries `last`.
    pub fn push(&self, index: usize, pcm: Vec<f32>, last: bool) -> Pushed {
        let mut state = self.state.lock();
        if state.end.is_some() {
            return Pushed::Taken;
        }
        state.heard[index].add(&pcm);
        let line = self.line(index);
        if last
            && let Some(reason) =
                state.heard[index].fault(line.speakable, line.segment.speed, self.script.sample_rate_hz)
        {
            return Pushed::NoSpeech(reason);
        }
        if index == state.segment_ends.len() {
            state.append(pcm);
            if last {
                state.complete(&self.script, &self.lines.read());
            }
            state.cut();
        } else {
            if !pcm.is_empty() {
                state.early.entry(index).or_default().push(Arc::new(pcm));
            }
            if last {
                state.early_complete.insert(index);
            }
        }
        let complete = state.segment_ends.len() == self.segments() && !state.open;
        if complete {
            state.end = Some(Ok(()));
        }
        let news = self.after_read(&mut state);
        if complete && state.let_go == 0 && !state.hurried {
            // Before anyone sees the end: whoever asks again then finds the result.
            self.shelf.keep(&self.script, || self.spoken(&state));
        }
        drop(state);
        self.changed.send_replace(());
        if complete {
            self.shelf.landed(self);
        } else if news {
            self.tell();
        }
        Pushed::Taken
    }

    /// What the next sound of segment `index` says.
    pub fn transcribe(&self, index: usize, transcript: Transcript) {
        let mut state = self.state.lock();
        let held = state.transcripts.entry(index).or_default();
        if !held.spoken.is_empty() {
            held.spoken.push(' ');
        }
        held.spoken.push_str(&transcript.spoken);
        held.words.extend(transcript.words);
    }

    /// Its engine took segment `index` and made these choices for it.
    pub fn chosen(&self, index: usize, chosen: Chosen) {
        let mut state = self.state.lock();
        state.hurried |= chosen.hurried;
        state.params.insert(index, chosen.params);
    }

    /// What was chosen for segment `index`, once its engine has taken it.
    pub fn params(&self, index: usize) -> Params {
        self.state.lock().params.get(&index).cloned().unwrap_or_default()
    }

    /// Collects a segment that is changed as a whole; gives all of it with the last piece.
    pub fn gather(&self, index: usize, pcm: Vec<f32>, last: bool) -> Option<Vec<f32>> {
        let mut state = self.state.lock();
        let gathered = state.gathered.entry(index).or_default();
        gathered.extend_from_slice(&pcm);
        if last { state.gathered.remove(&index) } else { None }
    }

    /// Drops what there is of a segment, so that another engine can say it; false if some of it has left already.
    pub fn take_back(&self, index: usize) -> bool {
        let mut state = self.state.lock();
        if index == state.segment_ends.len() && !state.take_back() {
            return false;
        }
        state.heard[index] = Heard::default();
        state.early.remove(&index);
        state.transcripts.remove(&index);
        state.params.remove(&index);
        state.gathered.remove(&index);
        true
    }

    fn spoken(&self, state: &State) -> Spoken {
        Spoken {
            sample_rate_hz: self.script.sample_rate_hz,
            engine: self.script.engine.clone(),
            voice: self.script.voice.id.clone(),
            seed: self.script.seed,
            chunks: state.chunks.iter().cloned().collect(),
            segment_ends: state.segment_ends.clone(),
            captions: state.captions.clone(),
        }
    }

    /// Ends the job for all listeners. The first end stands.
    pub fn fail(&self, error: Error) {
        if self.state.lock().fail(error) {
            self.changed.send_replace(());
            self.cancel_parts();
            self.shelf.landed(self);
        }
    }

    /// A further listener, from the start; none if that is gone or the job has failed.
    pub fn join(&self) -> Option<(u64, watch::Receiver<()>)> {
        let mut state = self.state.lock();
        if state.let_go > 0 || matches!(state.end, Some(Err(_))) {
            return None;
        }
        let id = state.next_listener;
        state.next_listener += 1;
        state.listeners.insert(id, Cursor::default());
        Some((id, self.changed.subscribe()))
    }

    /// The last one out ends the job.
    pub fn leave(&self, listener: u64) {
        let abandoned = {
            let mut state = self.state.lock();
            state.listeners.remove(&listener);
            state.listeners.is_empty() && state.fail(Error::TooSlow)
        };
        if abandoned {
            self.cancel_parts();
            self.shelf.landed(self);
        } else {
            self.read_on();
        }
    }

    pub fn poll(&self, listener: u64) -> Polled {
        let polled = self.state.lock().poll(listener);
        if let Polled::Chunk(_) = polled {
            self.read_on();
        }
        polled
    }

    /// The job has ended well, and this listener has read all of its sound.
    pub fn all_is_read(&self, listener: u64) -> bool {
        let state = self.state.lock();
        let chunk = state.listeners.get(&listener).map(|cursor| cursor.chunk);
        matches!(state.end, Some(Ok(()))) && chunk == Some(state.let_go + state.chunks.len())
    }

    /// A listener of this class has joined.
    pub fn promote(&self, class: Class) {
        for part in self.parts.lock().iter() {
            part.link.promote(part.request, class);
        }
    }

    /// Segments that this listener has read to the end.
    pub fn segments_read(&self, listener: u64) -> usize {
        let state = self.state.lock();
        let chunk = state.listeners.get(&listener).map_or(0, |cursor| cursor.chunk);
        state.segment_ends.partition_point(|end| *end <= chunk)
    }

    fn read_on(&self) {
        let news = self.after_read(&mut self.state.lock());
        if news {
            self.tell();
        }
    }

    /// Tells the schedulers how far the listeners are. The state is read under the lock of the parts: of two threads
    /// with news the later one to tell must not bring the older news, or a request stays held that nobody holds.
    fn tell(&self) {
        let links: Vec<_> = {
            let parts = self.parts.lock();
            let (delivered, held) = {
                let state = self.state.lock();
                (state.delivered, state.held)
            };
            let told = parts.iter().map(|part| {
                let read = part.segments.partition_point(|index| *index < delivered);
                part.link.listener(part.request, read, held);
                Arc::clone(&part.link)
            });
            told.collect()
        };
        // Not under the lock: a plan may give up jobs, this one too, and that takes their parts.
        links.iter().for_each(|link| link.pump());
    }

    /// Lets go of what nobody needs; true if the window, or whether to wait, has changed.
    fn after_read(&self, state: &mut State) -> bool {
        let fastest = state.listeners.values().map(|cursor| (cursor.samples, cursor.chunk)).max().unwrap_or((0, 0));
        let delivered = state.segment_ends.partition_point(|end| *end <= fastest.1);
        let held = state.samples - fastest.0.min(state.samples) > self.ahead.max_unread_samples;
        if state.samples > self.ahead.max_kept_samples || self.script.key.is_none() {
            state.let_go(fastest.0, 2 * self.ahead.max_unread_samples);
        }
        let news = (delivered, held) != (state.delivered, state.held);
        (state.delivered, state.held) = (delivered, held);
        news
    }

    fn cancel_parts(&self) {
        let parts = std::mem::take(&mut *self.parts.lock());
        for part in parts {
            part.link.cancel(part.request);
        }
    }
}

impl State {
    /// Of the segment whose turn it is; how much of it leaves now is the joiner's to say.
    fn append(&mut self, pcm: Vec<f32>) {
        match &mut self.joiner {
            Some(joiner) => joiner.push(&pcm, &mut self.joined),
            None => self.add(pcm),
        }
    }

    /// Makes a chunk of what has left the joiner.
    fn cut(&mut self) {
        let joined = std::mem::take(&mut self.joined);
        self.add(joined);
    }

    fn add(&mut self, pcm: Vec<f32>) {
        if !pcm.is_empty() {
            self.samples += pcm.len() as u64;
            self.chunks.push_back(Arc::new(pcm));
        }
    }

    /// Nothing of the segment whose turn it is has left, and now there is nothing of it.
    fn take_back(&mut self) -> bool {
        let begun = self.segment_ends.last().copied().unwrap_or(0);
        self.let_go + self.chunks.len() <= begun && self.joiner.as_mut().is_none_or(Joiner::take_back)
    }

    /// Where the segment lies whose sound is all there.
    fn end_segment(&mut self, line: &Line) -> Span {
        let Some(joiner) = &mut self.joiner else {
            let start = self.complete_samples;
            return Span { start, end: self.samples, origin: start as i64 };
        };
        let seam = match Seam::after(&line.segment.text) {
            // Of what is held back to be crossfaded nothing would be heard until there is more text.
            Seam::None if line.flushed => Seam::Clause,
            seam => seam,
        };
        joiner.end_segment(seam, &mut self.joined)
    }

    /// No further segment follows: what the joiner has held back goes out.
    fn finish(&mut self) {
        if let Some(joiner) = &mut self.joiner {
            joiner.finish(&mut self.joined);
        }
    }

    /// The segment whose turn it is has all its sound; those that were early may follow.
    fn complete(&mut self, script: &Script, lines: &[Arc<Line>]) {
        loop {
            let index = self.segment_ends.len();
            let line = &lines[index];
            let span = self.end_segment(line);
            if index + 1 == lines.len() && !self.open {
                self.finish();
            }
            self.cut();
            self.segment_ends.push(self.let_go + self.chunks.len());
            let transcript = self.transcripts.remove(&index).unwrap_or_default();
            let params = self.params.get(&index).cloned().unwrap_or_default();
            let (text, rate) = (&line.segment.text, script.sample_rate_hz);
            self.captions.push(Arc::new(Caption::new(index, text, &line.place, transcript, params, span, rate)));
            self.complete_samples = self.samples;
            let next = self.segment_ends.len();
            for chunk in self.early.remove(&next).unwrap_or_default() {
                self.append(Arc::unwrap_or_clone(chunk));
            }
            if !self.early_complete.remove(&next) {
                return;
            }
        }
    }

    fn fail(&mut self, error: Error) -> bool {
        let first = self.end.is_none();
        if first {
            self.end = Some(Err(error));
        }
        first
    }

    fn poll(&mut self, listener: u64) -> Polled {
        let Some(cursor) = self.listeners.get_mut(&listener) else { return Polled::Failed(Error::TooSlow) };
        if cursor.cut_off {
            return Polled::Failed(Error::TooSlow);
        }
        let chunk = self.chunks.get(cursor.chunk - self.let_go);
        // Before the segment's last sound, or after it if that was not yet known to be the last.
        if let Some(caption) = self.captions.get(cursor.caption)
            && self.segment_ends[cursor.caption] <= cursor.chunk + usize::from(chunk.is_some())
        {
            cursor.caption += 1;
            return Polled::Caption(Arc::clone(caption));
        }
        if let Some(chunk) = chunk {
            cursor.chunk += 1;
            cursor.samples += chunk.len() as u64;
            return Polled::Chunk(Arc::clone(chunk));
        }
        match &self.end {
            None => Polled::Wait,
            Some(Ok(())) => Polled::End,
            Some(Err(error)) => Polled::Failed(error.clone()),
        }
    }

    /// Frees the chunks that every listener has read. One that is more than `max_behind` samples behind the
    /// fastest is cut off: it does not slow the others, nor hold their memory.
    fn let_go(&mut self, fastest_samples: u64, max_behind: u64) {
        for cursor in self.listeners.values_mut() {
            cursor.cut_off |= fastest_samples - cursor.samples > max_behind;
        }
        let kept = self.listeners.values().filter(|cursor| !cursor.cut_off).map(|cursor| cursor.chunk).min();
        while kept.is_some_and(|chunk| chunk > self.let_go) {
            self.chunks.pop_front();
            self.let_go += 1;
        }
    }
}
