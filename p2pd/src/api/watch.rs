//! Watching: from a place in the log to its end, then live, without a gap and without a post twice.
//!
//! The offset is the only truth. A stream subscribes first and reads the log then, so whatever comes meanwhile is in
//! both, and what is at or before its own offset is skipped. A stream that falls too far behind the live batches
//! reads the log from its own offset.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use p2p_mesh::effect::Delivery;
use p2p_mesh::envelope::Post;
use p2p_mesh::id::{Offset, PeerId};
use p2p_proto::error::Error;
use p2p_proto::v1;
use p2p_proto::v1::watch_request::Start;
use p2p_proto::v1::watch_response::Item;
use tokio::time::Instant;
use tonic::Status;

use super::ask::{Asker, stopping};
use super::convert::{self, View, bound_ms, invalid, last_offset};
use super::shown::Shown;
use super::subscribers::{Lagged, Published, Subscription};
use super::{Batch, Request, Subscribers};
use crate::letters::Letters;
use crate::names::Names;
use crate::query::{Authors, HistoryQuery, LogGap};

/// What a reader wants to see.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Wish {
    filter: Filter,
    start: Place,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Filter {
    /// All where it is empty.
    rooms: BTreeSet<String>,
    /// All where it is empty.
    authors: BTreeSet<PeerId>,
    no_own: bool,
    /// Only what was written between this peer and us.
    with: Option<PeerId>,
    /// Also what peers said that are blocked.
    with_blocked: bool,
    /// Of the posts that were there when the stream began, only those at or after this time.
    since_ms: Option<u64>,
}

/// Where a reader wants to begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Live,
    After(Offset),
    Last(usize),
    Since(u64),
}

/// One reader's stream.
#[derive(Debug)]
pub(super) struct Watch {
    asker: Asker,
    batches: Subscription,
    filter: Filter,
    view: View,
    /// All up to here was sent or did not match.
    offset: Offset,
    /// The end of the log when the stream began.
    target: Offset,
    is_caught_up: bool,
    /// Posts left out since the item before, because their authors are blocked.
    blocked: u64,
    source: Source,
    /// What was fetched and is not sent yet: a batch and the first entry of it to be looked at.
    current: Option<(Arc<Published>, usize)>,
    /// What was dropped before that, and is not told yet.
    gap: Option<LogGap>,
    heartbeat: Duration,
    next_heartbeat: Instant,
}

/// Where the next posts come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Source {
    Log,
    Live,
}

/// A message being filled.
#[derive(Default)]
struct Filling {
    encoded: Vec<Bytes>,
    posts: usize,
    bytes: usize,
}

impl Wish {
    /// # Errors
    ///
    /// An author that is none, or a number out of range.
    pub(super) fn parse(request: v1::WatchRequest) -> Result<Self, Error> {
        let authors = request.authors.iter().map(|author| convert::parse_peer_id(author)).collect::<Result<_, _>>()?;
        let start = match request.start {
            None | Some(Start::Live(_) | Start::Last(0)) => Place::Live,
            Some(Start::After(after)) => Place::After(Offset(after)),
            Some(Start::Last(posts)) if posts > LAST_MAX => {
                return Err(invalid(format!("the last {posts} were asked for, the limit is {LAST_MAX}"))
                    .with_hint("p2pctl watch --all begins with the first"));
            }
            Some(Start::Last(posts)) => Place::Last(posts as usize),
            Some(Start::SinceUs(us)) => bound_ms(us).map_or(Place::After(Offset(0)), Place::Since),
        };
        let since_ms = match start {
            Place::Since(ms) => Some(ms),
            Place::Live | Place::After(_) | Place::Last(_) => None,
        };
        let with = convert::parse_with(&request.with, !request.rooms.is_empty())?;
        let rooms = request.rooms.into_iter().collect();
        let filter = Filter { rooms, authors, no_own: request.no_own, with, with_blocked: request.blocked, since_ms };
        Ok(Self { filter, start })
    }
}

impl Filter {
    /// Whether any post of the entry may match.
    fn takes_entry(&self, entry: &Delivery) -> bool {
        let author = entry.envelope.feed().id;
        !(self.no_own && entry.own) && (self.authors.is_empty() || self.authors.contains(&author))
    }

    /// Whether this author is left out for being blocked. Who is asked for by name is not.
    fn hides(&self, author: &PeerId, names: &Names) -> bool {
        !self.with_blocked && self.authors.is_empty() && names.is_blocked(author)
    }

    fn whose(&self, names: &Names) -> Authors {
        match (self.authors.is_empty(), self.with_blocked) {
            (false, _) => Authors::Only(self.authors.iter().copied().collect()),
            (true, true) => Authors::AllBut(Vec::new()),
            (true, false) => Authors::AllBut(names.blocked().into_iter().collect()),
        }
    }

    fn takes_room(&self, author: &PeerId, post: &Post) -> bool {
        if let Some(with) = self.with {
            return post.direct.as_ref().is_some_and(|letter| letter.to == with || *author == with);
        }
        // Who asks for rooms is asking for no letters: they have none.
        self.rooms.is_empty() || (self.rooms.contains(&*post.room) && post.direct.is_none())
    }

    fn takes_all_rooms(&self) -> bool {
        self.rooms.is_empty() && self.with.is_none()
    }
}

impl Watch {
    /// Finds the place to begin.
    ///
    /// # Errors
    ///
    /// The daemon stops, the store failed, or the place is beyond the end.
    pub(super) async fn open(
        asker: Asker,
        (subscribers, letters): (&Subscribers, &Letters),
        wish: Wish,
        heartbeat: Duration,
    ) -> Result<Self, Error> {
        // Before everything else: what comes from now on is in the channel, whatever the questions below find.
        let batches = subscribers.subscribe();
        let target = asker.ask(Request::Status).await?.offset;
        let offset = find_start(&asker, &wish, target, subscribers.names()).await?;
        let source = if offset < target { Source::Log } else { Source::Live };
        Ok(Self {
            asker,
            batches,
            filter: wish.filter,
            view: View { names: subscribers.names().clone(), letters: letters.clone() },
            offset,
            target,
            is_caught_up: false,
            blocked: 0,
            source,
            current: None,
            gap: None,
            heartbeat,
            next_heartbeat: Instant::now() + heartbeat,
        })
    }

    /// The items, made as they are pulled: a reader that does not read costs what is in `current`.
    pub(super) fn items(self) -> impl Stream<Item = Result<v1::WatchResponse, Status>> + Send {
        futures_util::stream::unfold(Some(self), |watch| async {
            let mut watch = watch?;
            match watch.next().await {
                Ok(item) => {
                    watch.next_heartbeat = Instant::now() + watch.heartbeat;
                    let blocked = std::mem::take(&mut watch.blocked);
                    let response = v1::WatchResponse { offset: watch.offset.0, item: Some(item), blocked };
                    Some((Ok(response), Some(watch)))
                }
                Err(error) => Some((Err(error.into()), None)),
            }
        })
    }

    async fn next(&mut self) -> Result<Item, Error> {
        loop {
            if let Some(gap) = self.take_gap() {
                return Ok(Item::Gap(gap));
            }
            if self.owes_caught_up() {
                self.is_caught_up = true;
                return Ok(Item::CaughtUp(true));
            }
            let encoded = self.fill();
            if !encoded.is_empty() {
                return Ok(Item::Batch(v1::PostBatch { encoded, ..v1::PostBatch::default() }));
            }
            if self.owes_caught_up() {
                continue;
            }
            let stop = self.asker.stop().clone();
            let heartbeat = tokio::time::sleep_until(self.next_heartbeat);
            tokio::select! {
                biased;
                () = stop.cancelled() => return Err(stopping()),
                // Also in a long stretch where nothing matches: the reader learns how far we are.
                () = heartbeat => return Ok(Item::Heartbeat(true)),
                fetched = self.fetch() => fetched?,
            }
        }
    }

    /// What the reader must be told before it gets what comes behind. Of posts that are too old for it anyway it is
    /// told nothing.
    fn take_gap(&mut self) -> Option<v1::Gap> {
        let gap = self.gap.take()?;
        self.offset = self.offset.max(gap.to);
        let since_ms = self.filter.since_ms.filter(|_| gap.to <= self.target);
        if since_ms.is_some_and(|since_ms| gap.newest_ms < since_ms) {
            return None;
        }
        let posts = gap.posts.filter(|_| since_ms.is_none_or(|since_ms| gap.oldest_ms >= since_ms));
        Some(v1::Gap { from: gap.from.0, to: gap.to.0, posts: posts.unwrap_or(0) })
    }

    fn owes_caught_up(&self) -> bool {
        !self.is_caught_up && self.offset >= self.target
    }

    /// Moves matching posts from what is fetched into a message, up to its limits, without waiting. What is live
    /// waits until the reader was told that it has all that was there before.
    fn fill(&mut self) -> Vec<Bytes> {
        let mut filling = Filling::default();
        while !self.owes_caught_up()
            && let Some((published, from)) = self.next_current()
        {
            let next = self.take_entries(&published, from, &mut filling);
            if next < published.batch.entries.len() {
                self.current = Some((published, next));
                break;
            }
        }
        filling.encoded
    }

    /// What is being worked on, or the next live batch if it is there already: many small ones make one message.
    fn next_current(&mut self) -> Option<(Arc<Published>, usize)> {
        if let Some(current) = self.current.take() {
            return Some(current);
        }
        match self.source {
            Source::Log => None,
            Source::Live => match self.batches.try_recv() {
                Ok(published) => published.map(|published| (published, 0)),
                Err(Lagged) => {
                    self.source = Source::Log;
                    None
                }
            },
        }
    }

    /// Takes entries from the place `from` on until the message is full; the place of the first one that is left.
    fn take_entries(&mut self, published: &Published, from: usize, filling: &mut Filling) -> usize {
        let entries = &published.batch.entries;
        for (place, entry) in (from..).zip(&entries[from..]) {
            if !filling.has_room(entry) {
                return place;
            }
            if last_offset(entry) > self.offset {
                if self.filter.takes_entry(entry) {
                    self.take_posts(entry, published.shown(place, &self.view), filling);
                }
                self.offset = last_offset(entry);
            }
        }
        entries.len()
    }

    fn take_posts(&mut self, entry: &Delivery, shown: &Shown, filling: &mut Filling) {
        let body = entry.envelope.body();
        let author = &body.feed.id;
        let is_hidden = self.filter.hides(author, &self.view.names);
        // What arrives after the beginning is news, however old its clock is.
        let since_ms = self.filter.since_ms.filter(|_| entry.offset <= self.target);
        if since_ms.is_some_and(|since_ms| body.at.ms < since_ms) {
            return;
        }
        if !is_hidden && entry.offset > self.offset && self.filter.takes_all_rooms() {
            return filling.take(shown.all(), body.posts.len());
        }
        for (index, post) in body.posts.iter().enumerate() {
            let is_new = entry.offset.0.saturating_add(index as u64) > self.offset.0;
            let Some(bytes) = shown.get(index).filter(|_| is_new && self.filter.takes_room(author, post)) else {
                continue;
            };
            if is_hidden {
                self.blocked += 1;
            } else {
                filling.take(bytes, 1);
            }
        }
    }

    /// Waits for more. Giving up halfway loses nothing: the log is read from the same offset again.
    async fn fetch(&mut self) -> Result<(), Error> {
        match self.source {
            Source::Log => self.fetch_log().await,
            Source::Live => match self.batches.recv().await {
                Ok(published) => {
                    self.current = Some((published, 0));
                    Ok(())
                }
                Err(Lagged) => {
                    self.source = Source::Log;
                    Ok(())
                }
            },
        }
    }

    async fn fetch_log(&mut self) -> Result<(), Error> {
        let after = self.offset;
        // All that was published so far is in the log already, and what comes from now on is kept.
        self.batches.skip();
        let page =
            self.asker.ask_store(|reply| Request::ReadLog { after, posts_max: POSTS_MAX, bytes_max: BYTES_MAX, reply });
        let page = page.await?;
        // What came after this page was read is in the channel.
        if page.end {
            self.source = Source::Live;
        }
        self.gap = page.gap;
        match page.entries.last().map(last_offset) {
            Some(last) if last > after => {
                if page.end {
                    // A damaged disk may have lost what stood behind it: nobody waits for that.
                    self.target = self.target.min(last);
                }
                self.current = Some((Arc::new(Published::new(Batch { entries: page.entries })), 0))
            }
            Some(_) | None if !page.end => (),
            // The end of the log: whatever number the target is, nothing stands between.
            Some(_) | None => self.offset = self.offset.max(self.target),
        }
        Ok(())
    }
}

impl Filling {
    fn take(&mut self, encoded: Bytes, posts: usize) {
        if !encoded.is_empty() {
            self.bytes += encoded.len();
            self.posts += posts;
            self.encoded.push(encoded);
        }
    }

    fn has_room(&self, entry: &Delivery) -> bool {
        let posts = self.posts + entry.envelope.body().posts.len();
        let bytes = self.bytes + entry.envelope.bytes().len();
        self.posts == 0 || (posts <= POSTS_MAX && bytes <= BYTES_MAX)
    }
}

/// The offset behind which the reader begins.
async fn find_start(asker: &Asker, wish: &Wish, target: Offset, names: &Names) -> Result<Offset, Error> {
    match wish.start {
        Place::Live => Ok(target),
        Place::After(after) if after > target => {
            let (after, target) = (after.0, target.0);
            Err(invalid(format!("place {after} is behind the last one, {target}: it belongs to another history"))
                .with_hint("begin anew: p2pctl watch --all"))
        }
        Place::After(after) => Ok(after),
        Place::Last(posts) => {
            let rooms: Vec<String> = wish.filter.rooms.iter().cloned().collect();
            let (with, authors) = (wish.filter.with, wish.filter.whose(names));
            asker.ask_store(|reply| Request::FindLast { rooms, with, authors, posts, reply }).await
        }
        Place::Since(ms) => find_since(asker, ms, target).await,
    }
}

/// The offset before the first post of that time or later. Where there are many, or where some were dropped, the
/// beginning: reading over the others costs time, and no post.
async fn find_since(asker: &Asker, since_ms: u64, target: Offset) -> Result<Offset, Error> {
    let stored = asker.ask(Request::StoreSummary).await?;
    if stored.expired_posts > 0 && stored.expired_newest_ms >= since_ms {
        return Ok(Offset(0));
    }
    let query = HistoryQuery { since_ms: Some(since_ms), limit: SINCE_POSTS_MAX, ..HistoryQuery::default() };
    let found = asker.ask_store(|reply| Request::History { query, reply }).await?;
    if found.len() >= SINCE_POSTS_MAX {
        return Ok(Offset(0));
    }
    let first = found.iter().map(|stored| stored.offset).min();
    Ok(first.map_or(target, |first| Offset(first.0.saturating_sub(1)).min(target)))
}

/// Posts that `last` may ask for.
const LAST_MAX: u32 = 10_000;
/// Posts of one message, and of one page of the log.
const POSTS_MAX: usize = 1_024;
/// Bytes of one message, and of one page of the log; an entry that has more goes alone.
const BYTES_MAX: usize = 256 << 10;
/// Posts looked at to find where `since` begins: at 16 KiB each they stay within 16 MiB.
const SINCE_POSTS_MAX: usize = 1_000;
