//! The pure core of p2pd: it decides, the daemon does.
//!
//! No clock, no socket, no file, no thread, no unseeded randomness. Time and bytes come in as values, and what shall
//! happen comes out as values, so the same seed gives the same run.

mod clock;
pub mod config;
pub mod effect;
pub mod envelope;
pub mod feed;
pub mod fork;
pub mod id;
pub mod input;
mod json;
pub mod limits;
mod liveness;
pub mod membership;
pub mod mesh;
mod reconnect;
pub mod status;
mod sync;
pub mod time;
mod timers;
mod tree;
pub mod wire;

pub use json::JsonError;
