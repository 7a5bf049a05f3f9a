//! Bytes to messages and back.

pub mod frame;
pub mod message;
