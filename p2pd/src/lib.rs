//! p2pd: a daemon for group chat without a server.

pub mod api;
pub mod config;
pub mod link;
pub mod network;
pub mod query;
pub mod store;
