//! What the tests are made with.

pub mod daemon;
pub mod program;
