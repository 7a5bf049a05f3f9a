//! One tree per feed: who pushes which feed to whom.
//!
//! The mode of a feed on a link is decided once, by rules that make the author the root, and then changed only by
//! `want` and `prune`.

use crate::feed::Span;
use crate::id::Seq;
use crate::time::Mono;

/// What we do for one feed on one link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Push {
    /// Announce only.
    Off,
    /// Send everything from `cursor` on as it comes.
    Live {
        /// The next number to send.
        cursor: Seq,
        /// Up to here it is repair: whoever gets it does not push it on.
        repaired: Seq,
    },
}

/// One feed on one link.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LinkFeed {
    /// The first number that the other side may hold: 1 until it tells.
    pub(crate) floor: Seq,
    /// Where our own part begins, as the other side was last told: 1 until it was.
    pub(crate) floor_told: Seq,
    /// The last number the other side is known to hold.
    pub(crate) head: Seq,
    /// What we do for it.
    pub(crate) push: Push,
    /// The newest run that was handed to the link, whether or not the other side said that it has it.
    pub(crate) sent: Option<Span>,
    /// How often it was asked for what it announced and, though alive, brought nothing.
    pub(crate) vain_asks: u32,
    /// When it was first asked since it last brought something, or since that was counted.
    pub(crate) asked_since: Option<Mono>,
    /// What it holds showed to be of another branch than ours: nothing of it can be used as it is.
    pub(crate) is_torn: bool,
    /// Where the branches part is not looked for again before this moment.
    pub(crate) search_after: Mono,
}

/// What decides how a feed is pushed on a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Facts {
    /// The feed is this very run's.
    pub(crate) is_own: bool,
    /// The other side is the run that writes the feed.
    pub(crate) is_authors_link: bool,
    /// How the author's previous epoch is pushed on this link, where it is.
    pub(crate) previous_is_live: Option<bool>,
    /// The other side says it is linked to the author.
    pub(crate) is_authors_neighbor: bool,
    /// The feed was known before the link was up.
    pub(crate) is_older_than_link: bool,
}

impl LinkFeed {
    pub(crate) fn new(push: Push) -> Self {
        Self {
            floor: Seq(1),
            floor_told: Seq(1),
            head: Seq(0),
            push,
            sent: None,
            vain_asks: 0,
            asked_since: None,
            is_torn: false,
            search_after: Mono(0),
        }
    }

    /// What the other side is known to hold.
    pub(crate) fn span(&self) -> Span {
        Span { floor: self.floor, head: self.head }
    }

    /// The other side holds this run: what is pushed to it goes on behind it, unless something is to come before it.
    pub(crate) fn skip_held(&mut self, held: Span) {
        if let Push::Live { cursor, .. } = &mut self.push
            && held.floor <= *cursor
        {
            *cursor = (*cursor).max(held.head.next());
        }
    }

    /// `from..=to` was handed to the link.
    pub(crate) fn note_sent(&mut self, from: Seq, to: Seq) {
        self.sent = Some(match self.sent.filter(|sent| sent.head.next() >= from && sent.floor <= to.next()) {
            Some(sent) => Span { floor: sent.floor.min(from), head: sent.head.max(to) },
            None => Span { floor: from, head: to },
        });
    }
}

/// Whether a feed begins as pushed on a link: the six rules, in their order.
pub(crate) fn begins_live(facts: Facts) -> bool {
    if facts.is_own {
        return true;
    }
    if facts.is_authors_link {
        return false;
    }
    if let Some(previous) = facts.previous_is_live {
        return previous;
    }
    !facts.is_authors_neighbor && !facts.is_older_than_link
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_that_applies_decides() {
        let none = Facts {
            is_own: false,
            is_authors_link: false,
            previous_is_live: None,
            is_authors_neighbor: false,
            is_older_than_link: false,
        };
        assert!(begins_live(none));
        assert!(begins_live(Facts { is_own: true, is_older_than_link: true, ..none }));
        assert!(!begins_live(Facts { is_authors_link: true, previous_is_live: Some(true), ..none }));
        assert!(begins_live(Facts { previous_is_live: Some(true), is_authors_neighbor: true, ..none }));
        assert!(!begins_live(Facts { previous_is_live: Some(false), ..none }));
        assert!(!begins_live(Facts { is_authors_neighbor: true, ..none }));
        assert!(!begins_live(Facts { is_older_than_link: true, ..none }));
    }
}
