//! The API through its real door: a real socket, the real client, and behind them a driver that keeps its log in
//! memory and can be told to be slow, busy or gone.

#![allow(clippy::unwrap_used)]

mod access;
mod direct;
mod history;
mod kit;
mod mesh;
mod names;
mod receipts;
mod search;
mod send;
mod stop;
mod watch;

pub(super) use kit::World;
