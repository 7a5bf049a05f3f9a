//! The command line.

mod bench;
mod network;
mod peers;
mod tickets;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::output::Format;
use crate::output::template::Template;

pub(crate) use bench::{BENCH_ROOM, Bench, BenchSend, BenchWatch};
pub(crate) use network::{Network, NetworkCommand, Rotate};
pub(crate) use peers::{Peers, PeersCommand};
pub(crate) use tickets::Invite;

/// The client of p2pd: send, watch and see who is there.
#[derive(Debug, Parser)]
#[command(name = "p2pctl", version, max_term_width = 100, subcommand_required = true, arg_required_else_help = true, after_help = WORDS)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// A completion script hands on what somebody types: it asks the daemon that is meant there.
    pub(crate) fn meant(mut self) -> Self {
        if let Command::Complete { words, .. } = &self.command {
            self.global.socket = socket_of(words).or(self.global.socket);
        }
        self
    }
}

fn socket_of(words: &[String]) -> Option<String> {
    let option = |word: &String| matches!(word.as_str(), "-s" | "--socket");
    let apart = words.iter().position(option).and_then(|at| words.get(at + 1)).cloned();
    apart.or_else(|| words.iter().find_map(|word| word.strip_prefix("--socket=").map(str::to_owned)))
}

/// Options of every command. Those with a variable take it where the option is not given.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Where the daemon serves its API: PATH, unix:PATH or 127.0.0.1:PORT [env: P2PCTL_SOCKET]
    #[arg(short, long, global = true, value_name = "ENDPOINT")]
    pub(crate) socket: Option<String>,
    /// File with the bearer token that a TCP endpoint needs
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// How results are written; text where nothing is said [env: P2PCTL_OUTPUT]
    #[arg(short, long, global = true, value_name = "FORMAT")]
    pub(crate) output: Option<Format>,
    /// When names are coloured
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: Color,
    /// Nothing on stderr but warnings and errors
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Say on stderr what is done even where it is no terminal
    #[arg(short, long, global = true, conflicts_with = "quiet")]
    pub(crate) verbose: bool,
    /// Longest wait for an answer; 10s where nothing is said [env: P2PCTL_TIMEOUT]
    #[arg(long, global = true, value_name = "SPAN", value_parser = span)]
    pub(crate) timeout: Option<Duration>,
    /// How long to wait for a daemon that is not there yet
    #[arg(long, global = true, value_name = "SPAN", value_parser = span, default_value = "0s")]
    pub(crate) connect_wait: Duration,
}

/// When names are coloured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Say something
    ///
    /// Prints the post's id when it is on disk.
    Send(Send),
    /// Read what is said, as it is said
    ///
    /// Goes on until Ctrl-C, also when the daemon restarts. Gaps and the end of the past are told on stderr, and with -o json as
    /// objects of the stream. People are not shown what `bench` measures with, but for `watch bench`, --all and --after.
    Watch(Watch),
    /// Talk, on the whole terminal
    ///
    /// Rooms, posts, members, and a line to type in. Goes on when the daemon restarts; what was typed meanwhile is sent then.
    /// /help shows the keys and commands, /quit leaves.
    #[cfg(feature = "tui")]
    Chat(Chat),
    /// Read what was said, oldest first
    ///
    /// People are not shown what `bench` measures with, but for `history bench` and --all.
    History(History),
    /// Find what was said, by words in it
    ///
    /// Shows posts that have all the words in them, in upper or lower case, oldest first. Direct messages, which are stored
    /// sealed, are not searched.
    Search(Search),
    /// Show who holds a post
    ///
    /// Of each known peer: whether it holds the post, was sent it, is linked, or is away since when.
    Receipts(Receipts),
    /// List the rooms
    Rooms,
    /// List the peers, or change them
    ///
    /// BEHIND counts the posts that are held here and that the peer is not known to hold. PEER is an id, the first 6 characters
    /// of one or more, a petname, a name, or name~key.
    Peers(Peers),
    /// Make a ticket, which lets somebody else into this network
    ///
    /// Prints one line to hand on; whoever has it can get in. Where this is a terminal, a QR code of it too. The daemon must run
    /// and be reachable when the ticket is used.
    Invite(Invite),
    /// Get into the network of a ticket
    ///
    /// Ends when its issuer is linked and everything that was said there has come. Only for a daemon that knows nobody yet.
    /// Without TICKET, reads it from stdin, where no other user of the machine sees it. White space in it is left out.
    Join {
        /// What `p2pctl invite` printed
        ticket: Vec<String>,
    },
    /// Show the network's keys and who has them, or change the secret
    ///
    /// Never the secret itself: keys are told apart by names that say nothing of them.
    Network(Network),
    /// Show the daemon's state
    Status(Watching),
    /// Show what is held of each author, what is missing, and who agrees
    ///
    /// Wide shows every run of each author: first and last number held, the last one known of, and holes.
    Sync(Sync),
    /// Measure the way to a peer and back
    Ping(Ping),
    /// Show who is linked to whom
    ///
    /// As far as peers tell that are linked to this daemon. `dot` is for graphviz, `svg` is a picture.
    Graph(Graph),
    /// Show the daemon and its peers on the whole terminal, as they change
    ///
    /// Round trips, what each peer lacks, and bytes a second in and out, with the last of each as a curve. q leaves.
    #[cfg(feature = "tui")]
    Top,
    /// Wait until the daemon is ready, has peers, is in sync, or delivered a post
    ///
    /// Everything asked for has to be true: exit 0. Exit 7 at --timeout, and says what is missing.
    Wait(Wait),
    /// Say by the exit code whether the daemon is well: 0 or 1
    Health(Health),
    /// Look for the usual mistakes, and say what to type
    ///
    /// Exit 1 where something is a failure and not only worth a warning.
    Doctor,
    /// Measure: how fast this daemon stores, and what others bring
    ///
    /// What is sent for that is kept and passed on as all posts are, in a room of its own.
    Bench {
        #[command(subcommand)]
        command: Bench,
    },
    /// Ask, tune or stop the daemon itself
    Daemon {
        #[command(subcommand)]
        command: Daemon,
    },
    /// Show the form of JSON documents, as JSON Schema
    ///
    /// Within v 1 fields are only added.
    Schema {
        /// What stands in the field `type`; all where nothing is said
        kind: Option<String>,
    },
    /// Write a completion script, which asks the daemon for peers and rooms
    Completions {
        /// For which shell
        shell: Shell,
    },
    /// What a completion script asks
    #[command(hide = true)]
    Complete {
        /// Which of the words is being typed
        at: usize,
        /// All of them, the program first
        #[arg(last = true)]
        words: Vec<String>,
    },
    /// Write the manual: all its pages into DIR, or the first one to stdout
    Man {
        /// A folder that is there
        dir: Option<PathBuf>,
    },
    /// Show the versions of the client and the daemon
    Version,
}

/// What `send` takes. Its help is with the command.
#[derive(Debug, Args)]
pub(crate) struct Send {
    /// Words, joined by spaces; none: stdin is one message. Behind -- a text may begin with a dash
    pub(crate) text: Vec<String>,
    /// Where to say it; the daemon's default room where nothing is said
    #[arg(short, long, value_name = "ROOM")]
    pub(crate) room: Option<String>,
    /// Say it to this peer alone: only the two of you can read it
    #[arg(short, long, value_name = "PEER", conflicts_with = "room")]
    pub(crate) to: Option<String>,
    /// The post that this one answers
    #[arg(long, value_name = "ID")]
    pub(crate) re: Option<String>,
    /// Sent again with the same key, a message is not repeated. With -l or -0, item N gets KEY/N
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<String>,
    /// Come back when it is stored here (the default), was sent to a peer, is held by N others, by everybody who is
    /// online, or by everyone known. Exit 8 where that takes too long
    #[arg(short, long, value_name = "stored|sent|N|online|everyone", value_parser = wanted)]
    pub(crate) wait: Option<Wanted>,
    /// How long that may take; as long as --timeout where nothing is said
    #[arg(long, value_name = "SPAN", value_parser = span, requires = "wait")]
    pub(crate) wait_timeout: Option<Duration>,
    /// Each line of stdin is a message
    #[arg(short = 'l', long, conflicts_with_all = ["text", "null"])]
    pub(crate) lines: bool,
    /// Each text of stdin up to a NUL is a message
    #[arg(short = '0', long, conflicts_with = "text")]
    pub(crate) null: bool,
}

/// How far a post has to come before `send` comes back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wanted {
    /// On disk here.
    Stored,
    /// On its way to one peer, or held by it.
    Sent,
    /// Held by so many others.
    Holders(u32),
    /// Held by every peer that is linked, of which there is one at least.
    Online,
    /// Held by every peer that is known.
    Everyone,
}

/// What `watch` takes. Its help is with the command.
#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// Only these rooms
    #[arg(value_name = "ROOM")]
    pub(crate) rooms: Vec<String>,
    /// Only what this peer says
    #[arg(long, value_name = "PEER")]
    pub(crate) from: Vec<String>,
    /// Only what this peer and you say to each other alone
    #[arg(short, long, value_name = "PEER", conflicts_with = "rooms")]
    pub(crate) to: Option<String>,
    #[command(flatten)]
    pub(crate) start: WatchStart,
    /// Stop behind this many posts
    #[arg(long, value_name = "N")]
    pub(crate) count: Option<u64>,
    /// Stop after this time
    #[arg(long = "for", value_name = "SPAN", value_parser = span)]
    pub(crate) time: Option<Duration>,
    /// Stop when nothing came for this time
    #[arg(long, value_name = "SPAN", value_parser = span)]
    pub(crate) idle: Option<Duration>,
    /// Stop when everything that was there has been shown
    #[arg(long)]
    pub(crate) until_caught_up: bool,
    /// Leave out what was sent through this daemon
    #[arg(long)]
    pub(crate) no_own: bool,
    /// Also what blocked peers say
    #[arg(long)]
    pub(crate) blocked: bool,
    /// Only the texts, each followed by a NUL, exactly as they were sent
    #[arg(short = '0', long)]
    pub(crate) null: bool,
    /// A line a post, with {time} {name} {room} {text} {id} and more: an unknown one names them all
    #[arg(short = 'F', long, value_name = "TEMPLATE", value_parser = Template::parse, conflicts_with = "null")]
    pub(crate) format: Option<Template>,
    /// Run CMD for each post instead, one at a time: its JSON on stdin, P2P_TEXT, P2P_NAME, P2P_ROOM, P2P_TO, P2P_ID,
    /// P2P_AUTHOR, P2P_TIME and P2P_OFFSET as variables
    #[arg(long, value_name = "CMD", conflicts_with_all = ["null", "format"])]
    pub(crate) exec: Option<String>,
}

/// Where to begin; with the next post where nothing is said.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(crate) struct WatchStart {
    /// Begin with the last N posts (at most 10000)
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u32).range(..=10_000))]
    pub(crate) last: Option<u32>,
    /// Begin at a time: 2026-11-22, 14:30, 10m (ago), RFC 3339
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Begin behind this offset
    #[arg(long, value_name = "OFFSET")]
    pub(crate) after: Option<u64>,
    /// Begin with everything there is
    #[arg(long)]
    pub(crate) all: bool,
}

/// What `chat` takes. Its help is with the command.
#[cfg(feature = "tui")]
#[derive(Debug, Args)]
pub(crate) struct Chat {
    /// The room to begin in; the daemon's default room where nothing is said
    pub(crate) room: Option<String>,
}

/// What `history` takes. Its help is with the command.
#[derive(Debug, Args)]
pub(crate) struct History {
    /// Only this room
    pub(crate) room: Option<String>,
    /// The newest this many; 0 for all
    #[arg(short = 'n', long, value_name = "N", default_value_t = 50)]
    pub(crate) last: u64,
    /// Everything there is
    #[arg(long, conflicts_with = "last")]
    pub(crate) all: bool,
    /// Only from this time on: 2026-11-22, 14:30, 10m (ago), RFC 3339
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Only before this time
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
    /// Only what this peer said
    #[arg(long, value_name = "PEER")]
    pub(crate) from: Vec<String>,
    /// Only what this peer and you said to each other alone
    #[arg(short, long, value_name = "PEER", conflicts_with = "room")]
    pub(crate) to: Option<String>,
    /// Also what blocked peers said
    #[arg(long)]
    pub(crate) blocked: bool,
    /// Only the texts, each followed by a NUL, exactly as they were sent
    #[arg(short = '0', long)]
    pub(crate) null: bool,
    /// A line a post, with {time} {name} {room} {text} {id} and more: an unknown one names them all
    #[arg(short = 'F', long, value_name = "TEMPLATE", value_parser = Template::parse, conflicts_with = "null")]
    pub(crate) format: Option<Template>,
    /// Go on with what is said from now on, until Ctrl-C
    #[arg(short, long, conflicts_with = "until")]
    pub(crate) follow: bool,
}

/// What `search` takes. Its help is with the command.
#[derive(Debug, Args)]
pub(crate) struct Search {
    /// Words, or parts of words
    #[arg(required = true)]
    pub(crate) query: Vec<String>,
    /// Only in this room
    #[arg(short, long, value_name = "ROOM")]
    pub(crate) room: Option<String>,
    /// The newest this many; 0 for all
    #[arg(short = 'n', long, value_name = "N", default_value_t = 50)]
    pub(crate) last: u64,
    /// Also what blocked peers said
    #[arg(long)]
    pub(crate) blocked: bool,
    /// Only the texts, each followed by a NUL, exactly as they were sent
    #[arg(short = '0', long)]
    pub(crate) null: bool,
}

/// What `receipts` takes. Its help is with the command.
#[derive(Debug, Args)]
pub(crate) struct Receipts {
    /// As `send` prints it
    pub(crate) id: String,
    /// Again whenever something changes
    #[arg(short, long)]
    pub(crate) follow: bool,
}

/// Show something once, or again whenever it changes.
#[derive(Debug, Args)]
pub(crate) struct Watching {
    /// Again whenever something changes
    #[arg(long)]
    pub(crate) watch: bool,
}

/// What `sync` takes. Its help is with the command.
#[derive(Debug, Args)]
pub(crate) struct Sync {
    /// Only authors that said something in this room
    pub(crate) room: Option<String>,
    /// Compare with every linked peer now, and wait until nothing is missing. Exit 7 at --timeout
    #[arg(long, conflicts_with = "watch")]
    pub(crate) now: bool,
    /// Again whenever something changes
    #[arg(long)]
    pub(crate) watch: bool,
}

/// What `ping` takes. Its help is with the command.
#[derive(Debug, Args)]
pub(crate) struct Ping {
    /// Whom
    #[arg(required_unless_present = "all")]
    pub(crate) peer: Option<String>,
    /// All that are linked
    #[arg(long, conflicts_with = "peer")]
    pub(crate) all: bool,
    /// How many heartbeats
    #[arg(short = 'n', long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) count: u32,
    /// Time between two heartbeats
    #[arg(long, value_name = "SPAN", value_parser = span, default_value = "200ms")]
    pub(crate) interval: Duration,
}

/// What `graph` takes. Its help is with the command.
#[derive(Debug, Args)]
pub(crate) struct Graph {
    /// How it is drawn
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) format: GraphFormat,
}

/// How a graph is drawn.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum GraphFormat {
    /// A line for each peer
    Text,
    /// For graphviz
    Dot,
    /// A picture
    Svg,
}

/// What `wait` takes. Its help is with the command.
#[derive(Debug, Args)]
pub(crate) struct Wait {
    /// The daemon is ready; also where nothing else is asked for
    #[arg(long)]
    pub(crate) ready: bool,
    /// At least this many peers are up
    #[arg(long, value_name = "N")]
    pub(crate) peers: Option<u32>,
    /// Nothing is missing and every linked peer was compared with; or no peer is configured and none is linked
    #[arg(long)]
    pub(crate) synced: bool,
    /// Every known peer holds this post; may be given several times
    #[arg(long, value_name = "ID")]
    pub(crate) delivered: Vec<String>,
}

/// What `health` takes. Its help is with the command.
#[derive(Debug, Args)]
pub(crate) struct Health {
    /// Only whether it runs: the store is open and it answers
    #[arg(long)]
    pub(crate) live: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Daemon {
    /// Show the configuration in force and where each value came from
    Config,
    /// Read the configuration again
    ///
    /// Takes over what can change while the daemon runs, dials at once, and says what needs a restart. Where there is a mistake,
    /// nothing changes: exit 6.
    Reload,
    /// Log more, or less
    ///
    /// Without FILTER it shows the present one.
    LogLevel(LogLevel),
    /// Stop the daemon cleanly
    Stop,
    /// Show all figures, as /metrics serves them
    Metrics,
}

/// What `daemon log-level` takes. Its help is with the command.
#[derive(Debug, Args)]
pub(crate) struct LogLevel {
    /// error, warn, info, debug, trace or off; parts of the program by name: info,p2pd::link=debug
    pub(crate) filter: Option<String>,
    /// Go back by itself after this time
    #[arg(long = "for", value_name = "SPAN", value_parser = span, requires = "filter")]
    pub(crate) time: Option<Duration>,
}

/// What the words in capitals stand for.
const WORDS: &str = "\
PEER is an id, 6 or more first characters of one, a petname, a name, or name~key as names are shown.
ROOM is 1 to 64 of a-z, 0-9, '.', '_' and '-', beginning with a letter or digit.
SPAN has a unit: 500ms, 10s, 1m30s.
ID is a post's, as `send` prints it: k5x3abcd-1863514283475123-42.

Exit: 0 done, 1 failed, 2 usage, 3 no daemon, 4 denied, 5 not found, 6 refused, 7 timeout,
8 stored but not delivered as far as asked, 9 ambiguous, 10 blocked, 11 busy, 130 Ctrl-C,
141 output closed.";

/// A span with its unit, as in 500ms, 10s, 1m30s. One that is longer than anybody lives is as good as for ever, and the
/// clocks have no moments that far ahead.
pub(crate) fn span(text: &str) -> Result<Duration, String> {
    let span = humantime::parse_duration(text).map_err(|error| format!("{error} (as in 500ms, 10s, 1m30s)"))?;
    Ok(span.min(SPAN_MAX))
}

fn wanted(text: &str) -> Result<Wanted, String> {
    match (text, text.parse()) {
        ("stored", _) => Ok(Wanted::Stored),
        ("sent", _) => Ok(Wanted::Sent),
        ("online", _) => Ok(Wanted::Online),
        ("everyone", _) => Ok(Wanted::Everyone),
        (_, Ok(holders @ 1..)) => Ok(Wanted::Holders(holders)),
        (_, Ok(0) | Err(_)) => Err("stored, sent, a number from 1, online or everyone".to_owned()),
    }
}

/// A hundred years.
const SPAN_MAX: Duration = Duration::from_secs(100 * 365 * 86_400);

#[cfg(test)]
mod tests;
