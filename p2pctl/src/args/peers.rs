//! The words of `peers`.

use clap::{Args, Subcommand};

/// What `peers` takes. Its help is with the command.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Peers {
    #[command(subcommand)]
    pub(crate) command: Option<PeersCommand>,
    /// Also those that are down
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Again whenever something changes
    #[arg(long)]
    pub(crate) watch: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PeersCommand {
    /// Show everything about a peer
    Show {
        /// Whom
        peer: String,
    },
    /// Dial an address now, and until the daemon stops
    Add {
        /// HOST:PORT
        address: String,
    },
    /// Drop a peer and its addresses
    Forget {
        /// Whom: a peer, or a configured address that never answered
        peer: String,
    },
    /// Call a peer by a name of your own, which nobody else can choose
    ///
    /// It is shown instead of the name that the peer gives itself, and stands for it in every command. Only this daemon
    /// knows it, and keeps it.
    Name {
        /// Whom
        peer: String,
        /// At most 32 characters; empty takes the name away
        #[arg(required_unless_present = "remove", conflicts_with = "remove")]
        name: Option<String>,
        /// Take the name away
        #[arg(long)]
        remove: bool,
    },
    /// Have no link to a peer, and show nothing that it says
    ///
    /// What it says is still kept and passed on, so that all peers hold the same. Kept over restarts, as `block` in the
    /// configuration is.
    Block {
        /// Whom
        peer: String,
    },
    /// Let a blocked peer in again, and show what it said
    Unblock {
        /// Whom
        peer: String,
    },
    /// End every wait and dial now
    Reconnect {
        /// Whom; all where nothing is said
        peer: Option<String>,
    },
}
