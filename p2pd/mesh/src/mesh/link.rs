//! One link: what was said on it, what waits to be said, and what the other side is known to hold.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use super::rates::Rates;
use crate::fork::ForkPlace;
use crate::id::{DialId, Epoch, FeedId, Hash, Instance, LinkId, PeerId, Seq};
use crate::input::{LinkOpened, Ticket};
use crate::liveness::Liveness;
use crate::membership::record::Addr;
use crate::reconnect::Target;
use crate::time::Mono;
use crate::tree::LinkFeed;
use crate::wire::message::{Pong, Want};

/// One link.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) id: LinkId,
    pub(super) peer: PeerId,
    /// The dial that made it; none where the other side dialed.
    pub(super) dial: Option<Dial>,
    pub(super) remote: SocketAddr,
    pub(super) phase: Phase,
    pub(super) liveness: Liveness,
    /// Bytes handed out and not yet written.
    pub(super) in_flight: usize,
    pub(super) control: Control,
    pub(super) feeds: BTreeMap<FeedId, LinkFeed>,
    /// Feeds whose live cursor is behind, in turn.
    pub(super) ring: VecDeque<FeedId>,
    /// Answers to `want`s, in turn.
    pub(super) serving: VecDeque<Serving>,
    /// Repair frames wait while this counts live ones.
    pub(super) live_streak: u32,
    /// What the store reads for this link.
    pub(super) reading: Option<Reading>,
    /// Feeds we asked this peer for.
    pub(super) asked: BTreeSet<FeedId>,
    /// Feeds that wait to be asked for here, the newest run first. Some may not need it any more.
    pub(super) waiting: BTreeSet<(Reverse<Option<Epoch>>, FeedId)>,
    /// Feeds named since the first part of the other side's heads.
    pub(super) heads_named: BTreeSet<FeedId>,
    pub(super) heads_sent: Option<Mono>,
    /// What came of the last comparison.
    pub(super) comparison: Comparison,
    /// The ping whose pong is waited for before anything counts as compared; none while nobody asked for it.
    pub(super) awaited_pong: Option<u64>,
    /// The other side has named all that it holds since the link came up.
    pub(super) has_named: bool,
    /// A feed was named since the first part of the other side's heads that may not be remembered yet.
    pub(super) has_skipped: bool,
    /// The other side was told all heads because something is missing on one side, though all feeds end the same.
    pub(super) is_told_holes: bool,
    /// The other side ended like us and missed nothing that it wants, when its digest last came.
    pub(super) misses_nothing: bool,
    /// How many posts were missing here when it was last asked for all of them.
    pub(super) holes_asked: Option<u64>,
    /// When envelopes, `have` or `want` last went either way.
    pub(super) exchanged: Mono,
    /// Users who wait for a pong.
    pub(super) pings: Vec<u64>,
    /// When something that this peer was asked for last came from it.
    pub(super) served: Mono,
    /// How long its last answers took, on average.
    pub(super) answer_time: Duration,
    /// When a part of a frame last came that was not complete yet.
    pub(super) receiving: Mono,
    /// Before digests that differ are compared again: grows while that brings nothing.
    pub(super) compare_wait: Duration,
    pub(super) rates: Rates,
    /// Forks that the other side was told of, or told us, with the hash that is taken.
    pub(super) forks_told: BTreeSet<(FeedId, ForkPlace, Hash)>,
    /// When it was last told one.
    pub(super) fork_sent: Option<Mono>,
    pub(super) stats: Stats,
}

/// The dial that made a link.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Dial {
    pub(super) id: DialId,
    pub(super) target: Target,
    pub(super) addr: Addr,
}

/// How far a link is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// Hello is said; the other one's is waited for.
    Hello,
    /// In use.
    Up(Box<Up>),
    /// Goodbye is said; nothing counts any more.
    Closing,
}

/// What came of comparing two histories.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Comparison {
    /// Nothing yet.
    Pending,
    /// The digests differed, and the other side's heads are not here yet.
    Differs,
    /// The digests differed, and the other side named all that it holds.
    Named,
    /// The digests were equal.
    Equal,
}

/// What the other side's hello told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Up {
    pub(super) instance: Instance,
    /// What this run writes.
    pub(super) feed: FeedId,
    pub(super) agent: String,
    /// Where it says that it can be dialed.
    pub(super) addrs: Vec<Addr>,
    /// The dialer's count of its dials.
    pub(super) dial: u64,
    pub(super) since: Mono,
    pub(super) since_ms: u64,
    /// Beginnings of the ids of its neighbours.
    pub(super) view: BTreeSet<String>,
}

/// Control frames to be: each slot holds the newest only, so none of them queues.
#[derive(Clone, Debug, Default)]
pub(super) struct Control {
    /// Encoded already: hello, bye, suspicion.
    pub(super) frames: VecDeque<Bytes>,
    pub(super) pong: Option<Pong>,
    pub(super) ping: bool,
    pub(super) view: bool,
    pub(super) records: BTreeSet<PeerId>,
    pub(super) prune: BTreeSet<FeedId>,
    pub(super) gone: BTreeMap<FeedId, Seq>,
    pub(super) wants: BTreeMap<FeedId, Want>,
    pub(super) have: BTreeSet<FeedId>,
    pub(super) heads: Option<HeadsLeft>,
    pub(super) forks: BTreeSet<(FeedId, ForkPlace)>,
}

/// Parts of heads still to be sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeadsLeft {
    pub(super) part: u64,
    pub(super) of: u64,
    pub(super) from: Instance,
}

/// What the other side asked for of one feed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Serving {
    pub(super) feed: FeedId,
    /// What is left of the first range.
    pub(super) next: Seq,
    pub(super) to: Seq,
    /// The ranges behind it, in the order in which they were asked for.
    pub(super) rest: VecDeque<(Seq, Seq)>,
}

/// What the store reads for a link, and for what.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Reading {
    pub(super) ticket: Ticket,
    pub(super) feed: FeedId,
    pub(super) from: Seq,
    pub(super) is_live: bool,
}

/// Figures for people.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stats {
    pub(super) bytes_sent: u64,
    pub(super) bytes_received: u64,
    pub(super) posts_received: u64,
    pub(super) posts_duplicate: u64,
}

impl Link {
    pub(super) fn new(opened: &LinkOpened, dialed: Option<(Target, Addr)>, liveness: Liveness, now: Mono) -> Self {
        let dial = opened.dial.zip(dialed).map(|(id, (target, addr))| Dial { id, target, addr });
        Self {
            id: opened.link,
            peer: opened.peer,
            dial,
            remote: opened.remote,
            phase: Phase::Hello,
            liveness,
            in_flight: 0,
            control: Control::default(),
            feeds: BTreeMap::new(),
            ring: VecDeque::new(),
            serving: VecDeque::new(),
            live_streak: 0,
            reading: None,
            asked: BTreeSet::new(),
            waiting: BTreeSet::new(),
            heads_named: BTreeSet::new(),
            heads_sent: None,
            comparison: Comparison::Pending,
            awaited_pong: None,
            has_named: false,
            has_skipped: false,
            is_told_holes: false,
            misses_nothing: false,
            holes_asked: None,
            exchanged: now,
            pings: Vec::new(),
            served: Mono(0),
            answer_time: Duration::ZERO,
            receiving: Mono(0),
            compare_wait: COMPARE_WAIT,
            rates: Rates::default(),
            forks_told: BTreeSet::new(),
            fork_sent: None,
            stats: Stats::default(),
        }
    }

    pub(super) fn up(&self) -> Option<&Up> {
        match &self.phase {
            Phase::Up(up) => Some(up),
            Phase::Hello | Phase::Closing => None,
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.up().is_some()
    }

    pub(super) fn is_closing(&self) -> bool {
        self.phase == Phase::Closing
    }

    pub(super) fn is_outbound(&self) -> bool {
        self.dial.is_some()
    }

    /// The other side is on this machine.
    pub(super) fn is_loopback(&self) -> bool {
        self.remote.ip().to_canonical().is_loopback()
    }

    /// The last number of a feed that the other side is known to hold, of our branch where it parts.
    pub(super) fn head_of(&self, feed: &FeedId) -> Seq {
        self.feeds.get(feed).filter(|state| !state.is_torn).map_or(Seq(0), |state| state.head)
    }

    /// A comparison was made, or is over. While somebody waits for a fresh one, an older one does not count.
    pub(super) fn note_compared(&mut self, comparison: Comparison) {
        if self.awaited_pong.is_none() {
            self.comparison = comparison;
        }
    }

    /// A pushed envelope of a feed reaches back to `first` from the `cursor` it was sent for.
    pub(super) fn skip_pushed(&mut self, feed: FeedId, first: Seq, cursor: Seq) {
        if first >= cursor {
            return;
        }
        for serving in self.serving.iter_mut().filter(|serving| serving.feed == feed) {
            serving.skip(first, cursor);
        }
        self.serving.retain_mut(|serving| serving.next <= serving.to || serving.next_range());
    }

    /// Puts a feed in the ring of those with something to push.
    pub(super) fn enqueue(&mut self, feed: FeedId) {
        if !self.ring.contains(&feed) {
            self.ring.push_back(feed);
        }
    }
}

impl Serving {
    /// The ranges of one question; none where nothing of them is left.
    pub(super) fn of(feed: FeedId, ranges: impl Iterator<Item = (Seq, Seq)>) -> Option<Self> {
        let mut rest: VecDeque<(Seq, Seq)> = ranges.filter(|(from, to)| from <= to).collect();
        let (next, to) = rest.pop_front()?;
        Some(Self { feed, next, to, rest })
    }

    /// The numbers from `first` to `last` went out. Gives back whether more follow.
    pub(super) fn advance(&mut self, first: Seq, last: Seq) -> bool {
        let asked = std::mem::replace(&mut self.next, last.next());
        self.skip(first, asked);
        self.next <= self.to || self.next_range()
    }

    /// An envelope that was asked for from `asked` on reaches back to `first`: a range that ends in it has that part.
    pub(super) fn skip(&mut self, first: Seq, asked: Seq) {
        let ends = self.rest.iter_mut().map(|(_, to)| to).chain([&mut self.to]);
        for to in ends.filter(|to| (first..asked).contains(to)) {
            *to = Seq(first.0 - 1);
        }
        self.rest.retain(|(from, to)| from <= to);
    }

    /// Goes on with the next range, if there is one.
    pub(super) fn next_range(&mut self) -> bool {
        let Some((next, to)) = self.rest.pop_front() else { return false };
        (self.next, self.to) = (next, to);
        true
    }
}

/// Both sides must have been quiet for this long before a difference counts.
pub(super) const COMPARE_WAIT: Duration = Duration::from_secs(1);
