//! Lists that stand in the place of the posts for a while: help, members, rooms, what was found.

use p2p_proto::v1::{Post, SearchResponse};

/// One list.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Panel {
    /// From this line on.
    Help(usize),
    /// From this line on.
    Members(usize),
    /// This one is chosen.
    Rooms(usize),
    Search(Search),
}

/// Posts with some words in them.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Search {
    pub(super) query: String,
    pub(super) room: String,
    /// Oldest first.
    pub(super) hits: Vec<Post>,
    pub(super) chosen: usize,
    pub(super) progress: Looking,
    /// Where the search goes on; empty at the end.
    next: String,
}

/// How far a search is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Looking {
    Busy,
    Done,
    Failed(String),
}

/// How the choice in a list moves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Move {
    Up(usize),
    Down(usize),
    First,
    Last,
}

impl Move {
    /// Where it leads among `len` lines.
    pub(super) fn from(self, at: usize, len: usize) -> usize {
        let last = len.saturating_sub(1);
        match self {
            Self::Up(by) => at.saturating_sub(by),
            Self::Down(by) => at.saturating_add(by).min(last),
            Self::First => 0,
            Self::Last => last,
        }
    }
}

impl Search {
    pub(super) fn new(query: String, room: String) -> Self {
        Self { query, room, hits: Vec::new(), chosen: 0, progress: Looking::Busy, next: String::new() }
    }

    /// Takes an answer, and gives the page to ask for where there are few hits yet.
    pub(super) fn take(&mut self, found: Result<SearchResponse, String>) -> Option<String> {
        let found = match found {
            Ok(found) => found,
            Err(why) => {
                self.progress = Looking::Failed(why);
                return None;
            }
        };
        let older = found.posts.len();
        let is_first = self.hits.is_empty();
        self.hits.splice(..0, found.posts);
        self.chosen = if is_first { self.hits.len().saturating_sub(1) } else { self.chosen + older };
        // A daemon that leads in a circle must not hold us.
        self.next = if found.next == self.next { String::new() } else { found.next };
        self.progress = Looking::Done;
        if self.hits.len() < HITS_MIN { self.go_on() } else { None }
    }

    /// The page before those that were looked at, where there is one and nobody looks at it yet.
    pub(super) fn go_on(&mut self) -> Option<String> {
        if self.next.is_empty() || self.progress == Looking::Busy || self.hits.len() >= HITS_MAX {
            return None;
        }
        self.progress = Looking::Busy;
        Some(self.next.clone())
    }

    pub(super) fn is_complete(&self) -> bool {
        self.next.is_empty()
    }
}

/// Hits that fill a screen.
const HITS_MIN: usize = 50;
/// Hits that are held.
const HITS_MAX: usize = 1_000;
