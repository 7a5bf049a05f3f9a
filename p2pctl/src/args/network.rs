//! The words of `network`.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::span;

/// What `network` takes. Its help is with the command.
#[derive(Debug, Args)]
pub(crate) struct Network {
    #[command(subcommand)]
    pub(crate) command: Option<NetworkCommand>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum NetworkCommand {
    /// Show which keys are accepted, and who has the new one
    Show,
    /// Make a new secret and give it to every member, also to those that are away now
    ///
    /// Whoever comes back gets it from any member. The public id of the network stays, and so does everything that was
    /// said. Any member may do this, and everybody sees who did.
    Rotate(Rotate),
}

/// What `network rotate` takes. Its help is with the command.
#[derive(Debug, Args)]
pub(crate) struct Rotate {
    /// Shut this peer out: it gets no new secret, every member ends its link to it, and the old secret ends at once; can be
    /// repeated
    #[arg(long, value_name = "PEER")]
    pub(crate) without: Vec<String>,
    /// Make a peer that was shut out a member again; can be repeated
    #[arg(long, value_name = "PEER")]
    pub(crate) readmit: Vec<String>,
    /// How long the old secret is still accepted; 24h where nothing is said, 30d at most
    #[arg(long, value_name = "SPAN", value_parser = span, conflicts_with = "without")]
    pub(crate) grace: Option<Duration>,
}
