//! How full everything is: each queue and map against the most it may hold.

use super::Mesh;
use super::link::Link;
use crate::limits::{
    AUTHOR_KEYS_MAX, BODY_LEN_MAX, BOOK_LEN_MAX, DIALS_IN_FLIGHT_MAX, ENVELOPES_FRAME_BYTES, FRAME_LEN_MAX,
    FRAME_LEN_MAX_BEFORE_HELLO, HALF_OPEN_MAX, IN_FLIGHT_BYTES_MAX, NEIGHBORS_MAX, NEW_FEEDS_BURST, PENALTIES_MAX,
    PINGS_MAX, REORDER_BYTES_PER_FEED_MAX, REPAIRS_PER_LINK_MAX, SEAL_BYTES_MAX, SUSPICIONS_PER_LINK_MAX,
    UNSTORED_BYTES_MAX, WANTS_PER_LINK_MAX,
};
use crate::status::Count;

impl Mesh {
    /// Every queue and map with the most it may hold, between two inputs.
    #[must_use]
    pub fn census(&self) -> Vec<Count> {
        let mut counts = self.count_own();
        counts.extend(self.dials.census());
        counts.extend(self.hints.census());
        counts.extend(self.outbox.census());
        counts.extend(self.feeds.census(self.config.reorder_posts_max, self.links.len()));
        let feeds = self.feeds.iter().count();
        counts.extend(self.links.values().flat_map(|link| count_link(link, feeds)));
        counts
    }

    fn count_own(&self) -> Vec<Count> {
        let links_max = self.config.max_connections + HALF_OPEN_MAX + DIALS_IN_FLIGHT_MAX;
        let feeds = self.feeds.iter().count();
        let targets = self.dials.targets_len();
        // Reading stops when this much waits; what one frame more can bring still comes, and own posts do.
        let unstored_max =
            UNSTORED_BYTES_MAX + FRAME_LEN_MAX + REORDER_BYTES_PER_FEED_MAX + SEAL_BYTES_MAX + BODY_LEN_MAX;
        let last_frame = self.last_frame.as_ref().map_or(0, |last| last.bytes.len());
        vec![
            Count::new("links", self.links.len(), links_max),
            Count::new("effects", self.effects.len(), 0),
            Count::new("links with something to send", self.dirty.len(), 0),
            Count::new("envelopes to be handed to the store", self.accepted.len(), 0),
            Count::new("bytes in the store's hands", self.unstored_bytes, unstored_max),
            Count::new("reads", self.reads.len(), 2 * links_max),
            Count::new("records", self.book.len(), BOOK_LEN_MAX),
            Count::new("feeds that are behind", self.behind.len(), feeds),
            Count::new("author keys", self.authors.len(), AUTHOR_KEYS_MAX),
            Count::new("penalties", self.penalties.len(), PENALTIES_MAX),
            Count::new("allowances for new feeds", self.new_feeds.len(), PENALTIES_MAX + self.links.len()),
            Count::new("timers", self.timers.len(), 3 * self.links.len() + targets + feeds + SINGLE_TIMERS),
            Count::new("bytes of the last live frame", last_frame, FRAME_LEN_MAX.max(2 * ENVELOPES_FRAME_BYTES)),
        ]
    }
}

fn count_link(link: &Link, feeds: usize) -> Vec<Count> {
    let control = &link.control;
    // Feeds of which nothing came in the end are forgotten here when the link goes.
    let feeds_max = feeds + NEW_FEEDS_BURST as usize;
    let in_flight_max = IN_FLIGHT_BYTES_MAX + FRAME_LEN_MAX + 2 * FRAME_LEN_MAX_BEFORE_HELLO;
    let view = link.up().map_or(0, |up| up.view.len());
    vec![
        Count::new("bytes in flight on a link", link.in_flight, in_flight_max),
        Count::new("feeds of a link", link.feeds.len(), feeds_max),
        Count::new("feeds to be pushed on a link", link.ring.len(), feeds_max),
        Count::new("wants to be served on a link", link.serving.len(), WANTS_PER_LINK_MAX),
        Count::new("feeds asked for on a link", link.asked.len(), REPAIRS_PER_LINK_MAX),
        // Once without and once with the run's number, where that came later.
        Count::new("feeds that wait for a link", link.waiting.len(), 2 * feeds_max),
        Count::new("feeds named by heads on a link", link.heads_named.len(), feeds_max),
        Count::new("users that wait for a pong", link.pings.len(), PINGS_MAX),
        Count::new("neighbours of a neighbour", view, NEIGHBORS_MAX),
        Count::new("frames ready for a link", control.frames.len(), SUSPICIONS_PER_LINK_MAX),
        Count::new("records for a link", control.records.len(), BOOK_LEN_MAX + 1),
        Count::new("prunes for a link", control.prune.len(), feeds_max),
        Count::new("floors for a link", control.gone.len(), feeds_max),
        Count::new("wants for a link", control.wants.len(), WANTS_PER_LINK_MAX),
        Count::new("announcements for a link", control.have.len(), feeds_max),
    ]
}

/// Those that are neither a link's, a feed's nor a target's.
const SINGLE_TIMERS: usize = 4;
