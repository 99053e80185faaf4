//! The log of the process, on standard error. Started once; the first runtime's level stands.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

pub(super) fn start(level: &str) {
    let filter = EnvFilter::try_new(level).unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .finish();
    // An error means that the process has a log already.
    let _ = tracing::subscriber::set_global_default(log);
}
