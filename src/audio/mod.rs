//! Sound in and out: mono float32 from what a user has, changed, and to what a client asked for. Knows no requests and
//! does no I/O; runs on the caller's thread, but for `encode::Workers`.

pub mod decode;
pub mod encode;
pub mod join;
pub mod limiter;
pub mod loudness;
pub mod resample;
pub mod shape;
pub mod stretch;

pub use encode::{EncodeError, Encoder, Format, Spec};
