//! Which messages are spoken, and how: one ordered list of rules, each of which can say why. Pure logic on the caller's
//! thread, with the caller's clock.

mod verdict;

pub use verdict::{Command, Decision, Outcome, Priority, Speech, Step, Verdict};
