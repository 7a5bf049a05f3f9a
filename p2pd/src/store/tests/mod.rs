//! The store through its door: jobs in, answers out, and what is on disk afterwards.
#![allow(clippy::unwrap_used)]

pub(super) mod kit;

mod crash;
mod forks;
mod invites;
mod jobs;
mod open;
mod queries;
mod recount;
mod retain;
mod search;
