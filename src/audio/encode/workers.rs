//! Threads that encode, so that neither the network nor the engine waits for a codec. They run at a lower priority where
//! the system has one for threads, and take turns between streams, a piece of sound at a time.

use std::{
    collections::VecDeque,
    io,
    sync::Arc,
    task::{Context, Poll},
    thread,
};

use bytes::{Bytes, BytesMut};
use parking_lot::{Condvar, Mutex};
use tokio::sync::mpsc;

use super::{EncodeError, Encoder};

/// Sound that is encoded in one turn: what another stream waits for at most, and the first bytes of this one too.
const TURN_SAMPLES: usize = 4_800;
/// Added to the process's niceness.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 5;

/// One stream's wish: more of its sound, or with none its end.
struct Turn {
    encoder: Encoder,
    sound: Arc<Vec<f32>>,
    done: usize,
    last: bool,
    to: mpsc::UnboundedSender<Piece>,
}

enum Piece {
    Bytes(Bytes),
    Failed(EncodeError),
    /// All of it is encoded: the encoder comes back for the next.
    Done(Box<Encoder>),
}

#[derive(Default)]
struct Queue {
    turns: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Turn>,
    closed: bool,
}

/// Ends its threads when it is dropped; what streams wait for then fails.
pub struct Workers {
    queue: Arc<Queue>,
}

impl Workers {
    /// # Errors
    /// What the system has against another thread.
    pub fn start(threads: usize) -> io::Result<Self> {
        let workers = Self { queue: Arc::default() };
        for _ in 0..threads.max(1) {
            let queue = Arc::clone(&workers.queue);
            thread::Builder::new().name("encode".to_owned()).spawn(move || {
                lower_priority();
                while let Some(turn) = queue.next() {
                    if let Some(turn) = turn.take() {
                        queue.add(turn);
                    }
                }
            })?;
        }
        Ok(workers)
    }

    /// Encodes `sound`, or with none the end, and hands the bytes over as they are made.
    #[must_use]
    pub fn encode(&self, encoder: Encoder, sound: Option<Arc<Vec<f32>>>) -> Pieces {
        let (to, pieces) = mpsc::unbounded_channel();
        let last = sound.is_none();
        self.queue.add(Turn { encoder, sound: sound.unwrap_or_default(), done: 0, last, to });
        Pieces { pieces }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        let mut state = self.queue.turns.lock();
        state.closed = true;
        state.waiting.clear();
        self.queue.changed.notify_all();
    }
}

impl Queue {
    fn add(&self, turn: Turn) {
        let mut state = self.turns.lock();
        if !state.closed {
            state.waiting.push_back(turn);
            self.changed.notify_one();
        }
    }

    fn next(&self) -> Option<Turn> {
        let mut state = self.turns.lock();
        loop {
            if state.closed {
                return None;
            }
            if let Some(turn) = state.waiting.pop_front() {
                return Some(turn);
            }
            self.changed.wait(&mut state);
        }
    }
}

impl Turn {
    /// Gives itself back if there is more to do.
    fn take(mut self) -> Option<Self> {
        // Fails if nobody listens any more: then nothing is to be done.
        if self.to.is_closed() {
            return None;
        }
        let end = self.sound.len().min(self.done + TURN_SAMPLES);
        let mut bytes = BytesMut::new();
        let mut outcome = self.encoder.encode_into(&self.sound[self.done..end], &mut bytes);
        if self.last && outcome.is_ok() {
            outcome = self.encoder.finish(&mut bytes);
        }
        self.done = end;
        if let Err(error) = outcome {
            let _ = self.to.send(Piece::Failed(error));
            return None;
        }
        if !bytes.is_empty() {
            let _ = self.to.send(Piece::Bytes(bytes.freeze()));
        }
        if self.done < self.sound.len() {
            return Some(self);
        }
        let _ = self.to.send(Piece::Done(Box::new(self.encoder)));
        None
    }
}

/// What a worker makes of one sound.
pub struct Pieces {
    pieces: mpsc::UnboundedReceiver<Piece>,
}

/// What comes of waiting for a piece.
pub enum Encoded {
    Bytes(Bytes),
    /// There is no more of this sound.
    Done(Box<Encoder>),
}

impl Pieces {
    /// Nothing must be asked for after `Done` or an error.
    ///
    /// # Errors
    /// What the codec's library says.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Encoded, EncodeError>> {
        self.pieces.poll_recv(context).map(|piece| match piece {
            Some(Piece::Bytes(bytes)) => Ok(Encoded::Bytes(bytes)),
            Some(Piece::Done(encoder)) => Ok(Encoded::Done(encoder)),
            Some(Piece::Failed(error)) => Err(error),
            None => Err(EncodeError::Failed { format: "sound", message: "the program ends".to_owned() }),
        })
    }
}

/// Where niceness is a thread's own.
fn lower_priority() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(NICENESS) {
        tracing::debug!(%error, "encoding at the usual priority");
    }
}
