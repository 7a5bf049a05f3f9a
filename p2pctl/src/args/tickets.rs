//! The words of `invite`.

use std::time::Duration;

use clap::Args;

use super::span;

/// What `invite` takes. Its help is with the command.
#[derive(Debug, Args)]
pub(crate) struct Invite {
    /// How long the ticket lets somebody in, by the clock of this daemon; 24h where nothing is said
    #[arg(long, value_name = "SPAN", value_parser = span)]
    pub(crate) expires: Option<Duration>,
    /// How many different peers may use it; 1 where nothing is said
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) uses: Option<u32>,
    /// Where others reach this daemon: HOST:PORT; can be repeated
    #[arg(long, value_name = "ADDR")]
    pub(crate) address: Vec<String>,
    /// Put the network's secret itself into the ticket: it works without this daemon, for everybody and for ever
    #[arg(long, conflicts_with_all = ["expires", "uses"])]
    pub(crate) offline: bool,
    /// Show the invites that were made here
    #[arg(long, conflicts_with_all = ["expires", "uses", "address", "offline", "revoke"])]
    pub(crate) list: bool,
    /// Take an invite back; who is in already stays
    #[arg(long, value_name = "ID", conflicts_with_all = ["expires", "uses", "address", "offline"])]
    pub(crate) revoke: Option<String>,
}
