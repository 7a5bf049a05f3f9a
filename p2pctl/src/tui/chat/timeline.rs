//! The posts of one room that are held: a window of its history, in the order of their clocks.

use p2p_proto::v1::{Gap, Post, PostId};

/// Where something stands in the order of clocks.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Place {
    pub(super) time_us: i64,
    author: String,
    epoch: u64,
    seq: u64,
}

/// One thing to be shown.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Entry {
    Post(Box<Post>),
    /// So many posts are gone here; 0 where that is not known.
    Gap(u64),
}

/// What stands before the first entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Older {
    /// There may be more.
    More,
    /// They were asked for.
    Loading,
    /// Nothing is held there, and so many posts of all rooms were once.
    End { expired: u64 },
}

/// A window of the history, bounded at both ends.
#[derive(Debug)]
pub(super) struct Timeline {
    entries: Vec<(Place, Entry)>,
    bytes: usize,
    pub(super) older: Older,
    /// Newer posts are not in the window, and this is the highest offset known of them.
    skipped: Option<u64>,
}

/// At which end of the window nobody looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Side {
    Oldest,
    Newest,
}

impl Place {
    pub(super) fn of(post: &Post) -> Self {
        let id = post.id.clone().unwrap_or_default();
        Self { time_us: post.time_us, author: id.author, epoch: id.epoch, seq: id.seq }
    }
}

impl Default for Timeline {
    fn default() -> Self {
        Self { entries: Vec::new(), bytes: 0, older: Older::Loading, skipped: None }
    }
}

impl Timeline {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn entry(&self, at: usize) -> Option<&(Place, Entry)> {
        self.entries.get(at)
    }

    /// Where `place` stands, or would.
    pub(super) fn find(&self, place: &Place) -> Result<usize, usize> {
        self.entries.binary_search_by(|(other, _)| other.cmp(place))
    }

    pub(super) fn post(&self, at: usize) -> Option<&Post> {
        match self.entries.get(at) {
            Some((_, Entry::Post(post))) => Some(post),
            Some((_, Entry::Gap(_))) | None => None,
        }
    }

    pub(super) fn posts(&self) -> impl DoubleEndedIterator<Item = &Post> {
        (0..self.entries.len()).filter_map(|at| self.post(at))
    }

    /// The post with an id, as long as it is in the window.
    pub(super) fn named(&self, id: &PostId) -> Option<&Post> {
        self.posts().rev().find(|post| post.id.as_ref() == Some(id))
    }

    /// Puts a post where it belongs, and gives that place; none where it was there already.
    pub(super) fn insert(&mut self, post: Post) -> Option<usize> {
        let place = Place::of(&post);
        let bytes = bytes_of(&post);
        match self.find(&place) {
            Ok(at) => {
                // What a daemon says of it can change: its author's name, and that it is not the branch of all.
                self.bytes = self.bytes + bytes - self.bytes_at(at);
                self.entries[at].1 = Entry::Post(Box::new(post));
                None
            }
            Err(at) => {
                self.bytes += bytes;
                self.entries.insert(at, (place, Entry::Post(Box::new(post))));
                Some(at)
            }
        }
    }

    /// Tells of missing posts behind everything that is there.
    pub(super) fn insert_gap(&mut self, gap: &Gap) {
        let time_us = self.entries.last().map_or(0, |(place, _)| place.time_us);
        let place = Place { time_us, author: BEHIND_ALL.to_owned(), epoch: gap.from, seq: gap.to };
        if let Err(at) = self.find(&place) {
            self.entries.insert(at, (place, Entry::Gap(gap.posts)));
        }
    }

    pub(super) fn is_live(&self) -> bool {
        self.skipped.is_none()
    }

    /// A newer post was left out.
    pub(super) fn skip(&mut self, offset: u64) {
        self.skipped = Some(self.skipped.unwrap_or(0).max(offset));
    }

    /// Everything up to an offset was loaded; gives whether nothing newer is missing.
    pub(super) fn reach(&mut self, offset: u64) -> bool {
        if self.skipped.is_some_and(|skipped| skipped <= offset) {
            self.skipped = None;
        }
        self.is_live()
    }

    /// Drops what is too much, at one side.
    pub(super) fn trim(&mut self, side: Side) {
        self.trim_to(side, POSTS_MAX, BYTES_MAX);
    }

    /// Drops all but the end, which is kept of a room where nobody looks.
    pub(super) fn trim_to_end(&mut self) {
        self.trim_to(Side::Oldest, KEPT_POSTS_MAX, KEPT_BYTES_MAX);
    }

    /// Puts in everything of another one that is not there.
    pub(super) fn merge(&mut self, other: Self) {
        for (place, entry) in other.entries {
            if let Err(at) = self.find(&place) {
                self.entries.insert(at, (place, entry));
                self.bytes += self.bytes_at(at);
            }
        }
    }

    fn trim_to(&mut self, side: Side, posts_max: usize, bytes_max: usize) {
        let mut extra = self.entries.len().saturating_sub(posts_max);
        let mut bytes = self.bytes;
        let at = |len: usize, n: usize| if side == Side::Oldest { n } else { len - 1 - n };
        for n in 0..self.entries.len() {
            if n >= extra && bytes <= bytes_max {
                break;
            }
            bytes -= self.bytes_at(at(self.entries.len(), n));
            extra = extra.max(n + 1);
        }
        if extra == 0 {
            return;
        }
        self.bytes = bytes;
        if side == Side::Oldest {
            self.entries.drain(..extra);
            self.older = Older::More;
            return;
        }
        let kept = self.entries.len() - extra;
        let dropped = self.entries.split_off(kept);
        let offset = dropped.iter().map(|(_, entry)| entry.offset()).max();
        self.skip(offset.unwrap_or(0));
    }

    /// Where older ones are to be asked for: before this time, and without these.
    pub(super) fn oldest(&self) -> Option<(i64, Vec<PostId>)> {
        let time_us = self.posts().next()?.time_us;
        let held = self.posts().take_while(|post| post.time_us == time_us).filter_map(|post| post.id.clone());
        Some((time_us, held.collect()))
    }

    pub(super) fn newest_us(&self) -> Option<i64> {
        self.posts().next_back().map(|post| post.time_us)
    }

    fn bytes_at(&self, at: usize) -> usize {
        self.post(at).map_or(0, bytes_of)
    }
}

impl Entry {
    fn offset(&self) -> u64 {
        match self {
            Self::Post(post) => post.offset,
            Self::Gap(_) => 0,
        }
    }
}

fn bytes_of(post: &Post) -> usize {
    post.text.len() + POST_BYTES
}

/// Sorts behind every id.
const BEHIND_ALL: &str = "~";
/// Posts held; older and newer ones are asked for again.
pub(super) const POSTS_MAX: usize = 2_000;
/// Bytes of them.
const BYTES_MAX: usize = 4 << 20;
/// Posts kept of a room where nobody looks: more than a screen.
pub(super) const KEPT_POSTS_MAX: usize = 100;
/// Bytes of them: of all rooms that a chat knows at most 64 MiB.
const KEPT_BYTES_MAX: usize = 64 << 10;
/// Guess: what a post takes beside its text.
const POST_BYTES: usize = 400;

#[cfg(test)]
mod tests {
    use super::*;

    /// The post with this number, said so many seconds after 1970.
    fn post(author: &str, seq: u64, seconds: i64, text: &str) -> Post {
        Post {
            id: Some(PostId { author: author.to_owned(), epoch: 1, seq }),
            author_name: author.chars().next().map_or(String::new(), |letter| format!("peer-{letter}")),
            offset: seq,
            time_us: seconds * 1_000_000,
            kind: "chat".to_owned(),
            room: "general".to_owned(),
            text: text.to_owned(),
            ..Post::default()
        }
    }

    fn texts(timeline: &Timeline) -> Vec<&str> {
        timeline.posts().map(|post| post.text.as_str()).collect()
    }

    #[test]
    fn a_late_post_stands_where_it_belongs_and_nothing_stands_twice() {
        let mut timeline = Timeline::default();
        assert_eq!(timeline.insert(post("a", 1, 10, "one")), Some(0));
        assert_eq!(timeline.insert(post("b", 1, 30, "three")), Some(1));
        assert_eq!(timeline.insert(post("a", 2, 20, "two")), Some(1));
        assert_eq!(timeline.insert(post("a", 2, 20, "two")), None);
        assert_eq!(texts(&timeline), ["one", "two", "three"]);
        timeline.insert_gap(&Gap { from: 4, to: 9, posts: 3 });
        timeline.insert(post("b", 2, 40, "four"));
        assert_eq!(timeline.entry(3).map(|(_, entry)| entry), Some(&Entry::Gap(3)));
    }

    #[test]
    fn posts_in_memory_are_limited_at_the_side_where_nobody_looks() {
        let mut timeline = Timeline { older: Older::End { expired: 0 }, ..Timeline::default() };
        for seq in 1..=POSTS_MAX as u64 + 5 {
            timeline.insert(post("a", seq, seq as i64, "x"));
        }
        timeline.trim(Side::Oldest);
        assert_eq!((timeline.len(), timeline.older, timeline.is_live()), (POSTS_MAX, Older::More, true));
        assert_eq!(timeline.oldest().map(|(time_us, held)| (time_us, held.len())), Some((6_000_000, 1)));
        timeline.insert(post("b", 1, 1, "older"));
        timeline.trim(Side::Newest);
        assert_eq!((timeline.len(), timeline.is_live()), (POSTS_MAX, false));
        assert!(!timeline.reach(POSTS_MAX as u64 + 4));
        assert!(timeline.reach(POSTS_MAX as u64 + 5));
    }

    #[test]
    fn long_texts_are_limited_by_their_bytes() {
        let mut timeline = Timeline::default();
        for seq in 1..=600 {
            timeline.insert(post("a", seq, seq as i64, &"x".repeat(16_000)));
        }
        timeline.trim(Side::Oldest);
        assert!((200..300).contains(&timeline.len()), "{}", timeline.len());
        assert!(timeline.bytes <= BYTES_MAX);
    }
}
