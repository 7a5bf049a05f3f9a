//! skeleton
pub mod agenda;
pub mod dice;
pub mod network;
pub mod trace;
