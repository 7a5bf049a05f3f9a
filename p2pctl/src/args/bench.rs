//! What `bench` takes.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::span;

/// Where measurements are said where no other room is named.
pub(crate) const BENCH_ROOM: &str = "bench";

#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// Store many messages, many at the same time
    Send(BenchSend),
    /// Store one message after the other; 50 a second where no rate is given
    Latency(BenchSend),
    /// Read what `bench send` says at other peers, by their clocks and this one's
    Watch(BenchWatch),
}

/// What `bench send` and `bench latency` take.
#[derive(Debug, Args)]
pub(crate) struct BenchSend {
    /// Where to say it
    #[arg(short, long, value_name = "ROOM", default_value = BENCH_ROOM)]
    pub(crate) room: String,
    /// How many messages
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub(crate) count: u64,
    /// Bytes of each
    #[arg(long, value_name = "BYTES", default_value_t = 64)]
    pub(crate) size: usize,
    /// Messages a second; as fast as may be where nothing is said
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate: Option<u32>,
}

/// What `bench watch` takes.
#[derive(Debug, Args)]
pub(crate) struct BenchWatch {
    /// Where it is said
    #[arg(short, long, value_name = "ROOM", default_value = BENCH_ROOM)]
    pub(crate) room: String,
    /// Stop behind this many messages
    #[arg(long, value_name = "N")]
    pub(crate) count: Option<u64>,
    /// Stop after this time
    #[arg(long = "for", value_name = "SPAN", value_parser = span, default_value = "10s")]
    pub(crate) time: Duration,
}
