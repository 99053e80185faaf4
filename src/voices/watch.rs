//! Follows what others change in the folder of voices. Owns the thread `voices`.
//!
//! It asks for the state of the known files twice a second instead of waiting for the system's events: that works on
//! every file system (network shares, folders that containers mount, folders that come to be later), opens nothing, and
//! for 200 voices takes about a millisecond.

use std::{
    io,
    sync::{Arc, Weak},
    thread,
    time::Duration,
};

use super::Store;

const PERIOD: Duration = Duration::from_millis(500);

/// Ends with the store.
///
/// # Errors
/// The thread does not start.
pub fn watch(store: &Arc<Store>) -> io::Result<()> {
    let store = Arc::downgrade(store);
    thread::Builder::new().name("voices".to_owned()).spawn(move || run(&store)).map(drop)
}

fn run(store: &Weak<Store>) {
    loop {
        thread::sleep(PERIOD);
        let Some(store) = store.upgrade() else { return };
        store.refresh();
    }
}
