//! Every maximum, with its reason. Users' choices are in the configuration; these are not for choosing.

use std::time::Duration;

/// Bytes of one frame, without its length prefix.
pub const FRAME_LEN_MAX: usize = 131_072;
/// Bytes of one frame until both hellos are done.
pub const FRAME_LEN_MAX_BEFORE_HELLO: usize = 4_096;
/// Bytes of an envelope's body.
pub const BODY_LEN_MAX: usize = 65_536;
/// Posts of one envelope.
pub const POSTS_PER_ENVELOPE_MAX: usize = 256;
/// Bytes of one post's text.
pub const TEXT_LEN_MAX: usize = 16_384;
/// Bytes of an idempotency key.
pub const KEY_LEN_MAX: usize = 128;
/// Characters of a room's name.
pub const ROOM_LEN_MAX: usize = 64;
/// Bytes of a post's kind.
pub const KIND_LEN_MAX: usize = 64;
/// Bytes of the name a peer gives itself.
pub const NAME_LEN_MAX: usize = 64;
/// Nesting of a body. A frame may nest deeper by what wraps a body in it.
pub const BODY_DEPTH_MAX: usize = 16;
/// Nesting of a frame: frame, list, item, then a body.
pub const FRAME_DEPTH_MAX: usize = BODY_DEPTH_MAX;

/// Bytes of `HOST:PORT`: a DNS name is at most 253.
pub const ADDR_LEN_MAX: usize = 260;
/// Addresses in one record.
pub const ADDRS_PER_RECORD_MAX: usize = 4;
/// Records in one `peers` frame and with a `bye`.
pub const RECORDS_PER_FRAME_MAX: usize = 32;
/// Records in the book.
pub const BOOK_LEN_MAX: usize = 2_000;
/// Records in the book that one peer told us of: a quarter.
pub const BOOK_LEN_PER_SOURCE_MAX: usize = BOOK_LEN_MAX / 4;
/// Bytes of a record's body.
pub const RECORD_LEN_MAX: usize = 2_048;

/// Accepted sockets that have not finished both hellos.
pub const HALF_OPEN_MAX: usize = 32;
/// The same from one address; loopback is exempt.
pub const HALF_OPEN_PER_ADDR_MAX: usize = 4;
/// Time for the handshake and the hello, each.
pub const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// Dials at the same time.
pub const DIALS_IN_FLIGHT_MAX: usize = 8;
/// Time in which one frame, once begun, must be complete, or at least `FRAME_STEP_BYTES` longer.
pub const FRAME_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes that win a frame the same time again: on 64 kbit/s, with other links on the same line, the longest frame takes
/// most of a minute.
pub const FRAME_STEP_BYTES: usize = 4_096;
/// Time for the last frames of a link that is hung up.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// A link that takes no byte for this long is hung up.
pub const WRITE_STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes encoded for one link and not yet written.
pub const IN_FLIGHT_BYTES_MAX: usize = 65_536;
/// Bytes of envelopes in one `envelopes` frame, unless a single one is larger.
pub const ENVELOPES_FRAME_BYTES: usize = 65_536;
/// Bytes of recently stored envelopes kept in memory, so that live links need no disk. Guess: seconds of a flood.
pub const TAIL_BYTES_MAX: usize = 4 << 20;
/// Bytes of our own feed that even the quickest link may have to come, before our own senders wait for it: a part of the
/// memory of newest envelopes. What is beyond that memory is read from disk for each link apart, which takes longer than
/// sending it, so whoever runs ahead of all links slows them down.
pub const BACKLOG_BYTES_MAX: usize = TAIL_BYTES_MAX / 4;
/// Time that a seal waits for that at most: peers that take nothing hold nobody up, and 5 MB/s are sealed all the same.
pub const BACKLOG_WAIT: Duration = Duration::from_millis(50);
/// Bytes of own envelopes sealed for one flush.
pub const SEAL_BYTES_MAX: usize = 256 << 10;
/// Bytes of memory for what waits beyond a gap of one feed: an envelope takes twice its length, because it was read.
pub const REORDER_BYTES_PER_FEED_MAX: usize = 512 << 10;
/// Bytes of memory for what waits beyond the gaps of all feeds.
pub const REORDER_BYTES_MAX: usize = 8 << 20;
/// Bytes handed to the store and not yet confirmed, before reading from links stops.
pub const UNSTORED_BYTES_MAX: usize = 16 << 20;

/// Posts that a feed may be behind and is still fetched in order; further behind, the newest come first, and the rest
/// in chunks of half as many. Guess: what a person reads before the rest is there.
pub const NEWEST_FIRST_POSTS: u64 = 2_048;
/// Separate runs held of one feed. Fetching the newest first needs three; beyond this many, gaps are closed from below.
pub const RUNS_PER_FEED_MAX: usize = 64;
/// Ranges in one `want`.
pub const RANGES_PER_WANT_MAX: usize = 16;
/// Feeds that one link may have wanted and not got yet.
pub const WANTS_PER_LINK_MAX: usize = 64;
/// Feeds being repaired through one link at a time.
pub const REPAIRS_PER_LINK_MAX: usize = 16;
/// Feeds in one `have` frame, sized to stay below a frame.
pub const HAVES_PER_FRAME_MAX: usize = 1_024;
/// Feeds in one part of `heads`.
pub const HEADS_PER_FRAME_MAX: usize = 256;
/// Feeds in one `prune`.
pub const PRUNES_PER_FRAME_MAX: usize = 256;
/// Neighbours named in a `view`.
pub const NEIGHBORS_MAX: usize = 64;
/// Envelopes in one frame.
pub const ENVELOPES_PER_FRAME_MAX: usize = 1_024;

/// How often one link may say something: so much at once, and so much a second after that. What is beyond it is
/// ignored.
///
/// The bursts are for what honest peers say in one lump: at link up, after a partition, or when we were stopped for as
/// long as a heartbeat takes and then read all that came meanwhile.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    /// At once.
    pub burst: u32,
    /// In the long run. At least 1.
    pub per_second: u32,
}

/// Announcements. An honest peer sends ten a second, so a burst of these are those of a stall of 51 s, or the 524,288
/// feeds of a history that a newcomer is told of.
pub const HAVE_RATE: Rate = Rate { burst: 512, per_second: 50 };
/// Questions. An honest newcomer asks for each feed once, and `NEW_FEEDS_BURST` bounds how many it meets at once; the
/// same again is for what is asked anew.
pub const WANT_RATE: Rate = Rate { burst: 2 * NEW_FEEDS_BURST, per_second: 64 };
/// Feeds that are not wanted. An honest peer says so for each envelope that was under way when it said so first: some
/// dozens for each of a few dozen feeds.
pub const PRUNE_RATE: Rate = Rate { burst: 4_096, per_second: 256 };
/// Neighbours. An honest peer tells them once a second while they change.
pub const VIEW_RATE: Rate = Rate { burst: 64, per_second: 2 };
/// Shares of addresses. An honest peer sends one in 30 s.
pub const SHUFFLE_RATE: Rate = Rate { burst: 8, per_second: 1 };
/// Suspicions. An honest peer that lost a part of the mesh has one for each link at once.
pub const SUSPECT_RATE: Rate = Rate { burst: 64, per_second: 1 };
/// Ends of all that is held. An honest peer tells them once a second while digests differ, so a burst of these are those of
/// a stall of a minute. For each we look at every feed.
pub const HEADS_RATE: Rate = Rate { burst: 64, per_second: 2 };
/// Digests that are compared. For each that is like ours we look at every feed. An honest peer sends one with each ping and
/// pong; whoever sends more is answered and not compared.
pub const DIGEST_RATE: Rate = Rate { burst: 256, per_second: 16 };
/// Going beyond a rate costs points once in this time, so that one lump is one offence, and a flood is a ban after
/// `PENALTY_MAX / 5` of these.
pub const OFFENCE_INTERVAL: Duration = Duration::from_secs(1);
/// Feeds a link may make us create at once: a newcomer meets one for every run of every peer that ever spoke.
pub const NEW_FEEDS_BURST: u32 = 512;
/// New feeds.
pub const NEW_FEEDS_RATE: Rate = Rate { burst: NEW_FEEDS_BURST, per_second: 20 };
/// Times that somebody who announces a feed may be asked for it in vain.
pub const VAIN_ASKS_MAX: u32 = 3;
/// Links between a peer and an author: more than any mesh has.
pub const HOP_MAX: u64 = 255;
/// Of the dials at the same time, those kept for the user's own addresses.
pub const DIALS_FOR_CONFIGURED: usize = 2;
/// Of the dials at the same time, those to peers that are known from hearsay alone: whoever calls out names of peers on a
/// local network takes no more of them.
pub const DIALS_FOR_HINTED: usize = 2;
/// Peers of which is remembered where somebody said that they are.
pub const HINTED_PEERS_MAX: usize = 64;
/// Times that a hint is tried in vain before it is forgotten. Whoever is there will be heard again.
pub const HINT_TRIES_MAX: u32 = 3;
/// A hint that was heard before ends the wait for the next dial once in this time.
pub const HINT_INTERVAL: Duration = Duration::from_secs(5);
/// Peers whose offences are remembered.
pub const PENALTIES_MAX: usize = 4_096;
/// Links that hear at once of a new envelope they were not pushed. In small meshes that is everybody, so that all
/// know who holds what; in large ones a repair needs few sources.
pub const ANNOUNCED_LINKS_MAX: usize = 8;
/// Authors whose keys are kept ready.
pub const AUTHOR_KEYS_MAX: usize = 1_024;
/// Posts waiting to be sealed, of all local senders.
pub const OUTBOX_POSTS_MAX: usize = 16_384;
/// Bytes of text waiting to be sealed.
pub const OUTBOX_BYTES_MAX: usize = 4 << 20;
/// Runs of feeds remembered of peers that went away, of all peers together: about 6 MB.
pub const REMEMBERED_SPANS_MAX: usize = 65_536;
/// Missing runs of one feed that are listed.
pub const HOLES_LISTED_MAX: usize = 64;
/// Suspicions that wait for one link to take them. Each is only a hint, so more are dropped.
pub const SUSPICIONS_PER_LINK_MAX: usize = 64;
/// Heartbeats asked for by users and not yet answered.
pub const PINGS_MAX: usize = 64;

/// Places of one feed where it parts. An author that forks more often gets no further: honest ones fork when a machine
/// is resumed twice, and that is one place.
pub const FORKS_PER_FEED_MAX: usize = 16;
/// Bytes of proofs kept in memory, of all feeds together. Beyond that a fork is still settled, but not told on.
pub const FORK_PROOFS_BYTES_MAX: usize = 8 << 20;
/// Forked feeds that are named in a status.
pub const FORKS_SHOWN_MAX: usize = 16;
/// Proofs that wait to be told on one link.
pub const FORKS_WAITING_MAX: usize = 256;
/// Proofs of which is remembered that a link knows them.
pub const FORKS_TOLD_MAX: usize = 1_024;
/// Proofs that a link may bring at once. An honest peer brings one in `FORK_INTERVAL`, so these are those of a stall of a
/// minute, which no link outlives. One too many is not told again on its link.
pub const FORKS_BURST: u32 = 64;
/// Proofs of forks.
pub const FORK_RATE: Rate = Rate { burst: FORKS_BURST, per_second: 1 };
/// We tell a link one proof in this time.
pub const FORK_INTERVAL: Duration = Duration::from_secs(1);
/// Own posts that lost their number, said again at a time.
pub const LOST_POSTS_MAX: usize = 256;

/// A clock further ahead than this moves nobody else's.
pub const CLOCK_AHEAD_MAX: Duration = Duration::from_secs(60);
/// A post that sorts this far behind the newest one shown is marked late.
pub const LATE_AFTER: Duration = Duration::from_secs(5);
/// Penalty points at which a link's peer is banned.
pub const PENALTY_MAX: u32 = 100;

// A single body and what wraps it fit into a frame, and so does one text in a body.
const _: () = assert!(BODY_LEN_MAX + 1_024 <= FRAME_LEN_MAX);
// Six bytes a character is the worst that JSON escaping does, and 16 KiB of control characters do not fit:
// `Mesh` refuses such a text when it is sent.
const _: () = assert!(TEXT_LEN_MAX * 2 <= BODY_LEN_MAX);
// The shortest body has over 200 bytes, and an item adds 105 to it: together they stay below the frame.
const _: () = assert!(ENVELOPES_FRAME_BYTES + ENVELOPES_FRAME_BYTES / 200 * 105 + 1_024 <= FRAME_LEN_MAX);
const _: () = assert!(RECORD_LEN_MAX < FRAME_LEN_MAX_BEFORE_HELLO);
const _: () = assert!(RECORDS_PER_FRAME_MAX * RECORD_LEN_MAX < FRAME_LEN_MAX);
const _: () = assert!(BOOK_LEN_PER_SOURCE_MAX < BOOK_LEN_MAX);
const _: () = assert!(DIALS_FOR_HINTED + DIALS_FOR_CONFIGURED < DIALS_IN_FLIGHT_MAX);
