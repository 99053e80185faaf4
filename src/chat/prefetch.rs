//! The next items are spoken while one plays: what was made is then in the result cache, or joined while it is made.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::task::JoinHandle;

use super::{desk::Desk, item::Numbered, progress::TRIES};
use crate::error::Error;

/// While the engine has no room, or loads.
const RETRY: Duration = Duration::from_millis(500);

/// Ends when it is dropped, so that what is not wanted any more is not made.
pub(super) struct Prefetch(Option<JoinHandle<()>>);

impl Prefetch {
    pub fn start(desk: Weak<Desk>, item: Arc<Numbered>) -> Self {
        Self(Some(tokio::spawn(run(desk, item))))
    }

    /// Lets it go on by itself.
    pub fn detach(mut self) {
        self.0.take();
    }
}

impl Drop for Prefetch {
    fn drop(&mut self) {
        if let Some(task) = self.0.take() {
            task.abort();
        }
    }
}

async fn run(desk: Weak<Desk>, item: Arc<Numbered>) {
    let mut tries = if item.is_paid() { TRIES } else { 1 };
    loop {
        let Some(speaking) = desk.upgrade() else { return };
        let outcome = speaking.make(&item).await;
        drop(speaking);
        match outcome {
            Ok(()) | Err(Error::ShuttingDown) => return,
            Err(Error::Busy { .. } | Error::Loading { .. } | Error::Deadline { .. } | Error::TooSlow) => {
                tokio::time::sleep(RETRY).await;
            }
            // What was paid for is not given up because an engine stumbled once.
            Err(error) if tries > 1 => {
                tracing::warn!(platform = %item.item.message.platform, %error, "a paid chat item is tried again");
                tries -= 1;
                tokio::time::sleep(RETRY).await;
            }
            Err(error) => {
                if let Some(desk) = desk.upgrade() {
                    desk.cannot_say(&item, &error);
                }
                return;
            }
        }
    }
}
