//! A source's life: connect, listen, and again after a wait that grows. Runs as the source's task.

use std::{
    future::Future,
    time::{Duration, SystemTime},
};

use tokio::sync::watch;

use super::{Event, Gone, Outlet, State};

/// Why one connection ended.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::chat) enum End {
    /// Nobody listens any more.
    Gone,
    /// The platform says that the stream is over.
    Ended,
    /// Trying again would not help.
    Failed(String),
    /// Try again after the usual, growing wait.
    Lost(String),
    /// Try again after this.
    Wait(Duration, String),
}

impl From<Gone> for End {
    fn from(Gone: Gone) -> Self {
        Self::Gone
    }
}

/// What a platform knows of its connection.
pub(in crate::chat) trait Source: Send + 'static {
    /// Connects and hands on what comes, until something ends it. May be dropped at any point where it waits.
    fn listen(&mut self, outlet: &mut Outlet) -> impl Future<Output = End> + Send;
}

/// Waits that double, with jitter, so that not everybody who lost the same server comes back at once.
#[derive(Debug, Clone, Copy)]
pub(in crate::chat) struct Backoff {
    first: Duration,
    longest: Duration,
    attempts: u32,
}

impl Backoff {
    pub(in crate::chat) fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest: longest.max(first), attempts: 0 }
    }

    pub(in crate::chat) fn reset(&mut self) {
        self.attempts = 0;
    }

    /// `jitter` from 0 to 1: between half of the wait and all of it.
    pub(in crate::chat) fn next(&mut self, jitter: f64) -> Duration {
        let doubled = self.first.saturating_mul(2_u32.saturating_pow(self.attempts));
        self.attempts = self.attempts.saturating_add(1);
        doubled.min(self.longest).mul_f64(0.5 + 0.5 * jitter.clamp(0.0, 1.0))
    }
}

pub(super) async fn run(
    mut source: impl Source,
    mut outlet: Outlet,
    mut backoff: Backoff,
    mut stopped: watch::Receiver<()>,
) {
    let over = tokio::select! {
        // First, so that nothing is sent after the stop.
        biased;
        // Ends when the handle's sender is dropped: nothing is ever sent.
        _ = stopped.changed() => State::Ended,
        over = listen_again_and_again(&mut source, &mut outlet, &mut backoff) => over,
    };
    outlet.tell(over);
}

async fn listen_again_and_again(source: &mut impl Source, outlet: &mut Outlet, backoff: &mut Backoff) -> State {
    loop {
        outlet.tell(State::Connecting);
        let end = source.listen(outlet).await;
        if outlet.take_was_connected() {
            backoff.reset();
        }
        let (wait, reason) = match end {
            End::Gone => return State::Ended,
            End::Ended => {
                let ended = Event::Ended { platform: outlet.platform, channel: outlet.channel.clone() };
                // If nobody takes it, nobody wants to know.
                let _ = outlet.send(ended).await;
                return State::Ended;
            }
            End::Failed(reason) => return State::Failed { reason },
            End::Lost(reason) => (backoff.next(fastrand::f64()), reason),
            End::Wait(wait, reason) => (wait, reason),
        };
        outlet.tell(State::Waiting { until: SystemTime::now() + wait, reason });
        tokio::time::sleep(wait).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
        let waits: Vec<u64> = (0..8).map(|_| backoff.next(1.0).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        for _ in 0..100 {
            assert!(backoff.next(1.0) <= Duration::from_secs(60));
        }
        backoff.reset();
        assert_eq!(backoff.next(0.0), Duration::from_millis(500));
    }
}
