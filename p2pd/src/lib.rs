//! p2pd: a daemon for group chat without a server.

pub mod api;
pub mod args;
pub mod config;
pub mod exit;
pub mod identity;
pub mod keyfile;
pub mod link;
pub mod logging;
pub mod network;
pub mod paths;
pub mod query;
pub mod store;

mod command;

pub use command::main_with;
