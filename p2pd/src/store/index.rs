//! What the store knows without reading: every feed's summary and the next offset.
//!
//! It follows the transaction: what a failed one changed is taken back.

use std::collections::{BTreeMap, HashMap};

use p2p_mesh::effect::Delivery;
use p2p_mesh::envelope::{Envelope, Stamp};
use p2p_mesh::feed::{Fit, IntervalSet, Run, Runs, StoredFeed, Tip};
use p2p_mesh::id::{Epoch, FeedId, Hash, Instance, Offset, PeerId, Seq};
use rusqlite::{Connection, Row};

use super::fault::Fault;
use super::retain::Dropped;
use super::{file, gaps, log, sql};

/// A feed's row number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct FeedRow(pub(super) i64);

/// One feed, summed up.
#[derive(Clone, Debug)]
pub(super) struct Feed {
    /// Author, epoch and the runs that are held.
    pub(super) stored: StoredFeed,
    /// Of all its bodies.
    bytes: u64,
    envelopes: u64,
}

/// What retention dropped so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Expired {
    /// How many posts.
    pub(super) posts: u64,
    /// The newest of their clocks.
    pub(super) newest_ms: u64,
}

/// See above.
#[derive(Debug)]
pub(super) struct Index {
    /// Whose store it is.
    me: PeerId,
    feeds: BTreeMap<FeedRow, Feed>,
    rows: HashMap<FeedId, FeedRow>,
    next_offset: Offset,
    expired: Expired,
    /// How touched feeds were when the transaction began; none for those that are new.
    before: BTreeMap<FeedRow, Option<Feed>>,
    next_offset_before: Offset,
    expired_before: Expired,
}

impl Index {
    /// Reads it at a start.
    pub(super) fn load(db: &Connection) -> Result<Self, Fault> {
        let mut statement = db.prepare(
            "SELECT id, author, epoch, runs, head, hash, ms, counter, bytes, envelopes, base FROM feeds ORDER BY id",
        )?;
        let mut rows = statement.query(())?;
        let mut feeds = BTreeMap::new();
        let mut summaries = Vec::new();
        while let Some(row) = rows.next()? {
            let (feed, summary) = load_feed(row)?;
            summaries.push((FeedRow(row.get(0)?), summary));
            feeds.insert(FeedRow(row.get(0)?), feed);
        }
        let by_id = feeds.iter().map(|(row, feed)| (feed.stored.feed.feed_id(), *row)).collect();
        // The last post may be among those that were dropped, and no offset is given twice.
        let next_offset = log::next_offset(db)?.max(gaps::end(db)?);
        let expired = gaps::expired(db)?;
        let mut index = Self {
            me: file::owner(db)?,
            feeds,
            rows: by_id,
            next_offset,
            expired,
            before: BTreeMap::new(),
            next_offset_before: next_offset,
            expired_before: expired,
        };
        for (row, summary) in summaries {
            index.load_runs(db, row, &summary)?;
        }
        Ok(index)
    }

    /// The summary tells the end of the highest run. All other ends, and what each run continues, the envelopes tell.
    fn load_runs(&mut self, db: &Connection, row: FeedRow, summary: &Summary) -> Result<(), Fault> {
        let mut runs = Vec::new();
        for (first, last) in summary.held.runs() {
            let begin = (first > Seq(1)).then(|| log::containing(db, self, row, first)).transpose()?;
            let end = (last != summary.tip.head).then(|| log::containing(db, self, row, last)).transpose()?;
            runs.push(Run {
                first,
                prev: begin.as_ref().and_then(|begin| begin.envelope.body().prev),
                first_at: begin.map_or(Stamp::default(), |begin| begin.envelope.body().at),
                tip: end.map_or(summary.tip, |end| Tip::after(&end.envelope)),
            });
        }
        let feed = self.feeds.get_mut(&row).expect("its row was just read");
        let damaged = || Fault::Damaged(format!("the runs of the feed {:?} are damaged", feed.stored.feed));
        feed.stored.runs = Runs::of(runs).ok_or_else(damaged)?;
        Ok(())
    }

    /// Whose store it is.
    pub(super) fn me(&self) -> &PeerId {
        &self.me
    }

    /// The feed of a row.
    pub(super) fn feed(&self, row: FeedRow) -> Option<&Feed> {
        self.feeds.get(&row)
    }

    /// The row of a feed.
    pub(super) fn row(&self, feed: FeedId) -> Option<FeedRow> {
        self.rows.get(&feed).copied()
    }

    /// Every feed, as the mesh wants it.
    pub(super) fn stored(&self) -> Vec<StoredFeed> {
        self.feeds.values().map(|feed| feed.stored.clone()).collect()
    }

    /// The rows of all feeds of an author.
    pub(super) fn rows_of<'a>(&'a self, authors: impl Fn(&PeerId) -> bool + 'a) -> impl Iterator<Item = FeedRow> + 'a {
        self.feeds.iter().filter(move |(_, feed)| authors(&feed.stored.feed.id)).map(|(row, _)| *row)
    }

    /// The newest epoch in which an author wrote.
    pub(super) fn newest_epoch(&self, author: &PeerId) -> Option<Epoch> {
        self.feeds.values().map(|feed| feed.stored.feed).filter(|feed| feed.id == *author).map(|feed| feed.epoch).max()
    }

    /// The offset after the last one.
    pub(super) fn next_offset(&self) -> Offset {
        self.next_offset
    }

    /// Bytes of all bodies.
    pub(super) fn bytes(&self) -> u64 {
        self.feeds.values().map(|feed| feed.bytes).sum()
    }

    /// What the envelopes take on disk, roughly.
    pub(super) fn disk_bytes(&self) -> u64 {
        self.feeds.values().map(|feed| feed.bytes + feed.envelopes * ENVELOPE_BYTES).sum()
    }

    /// The share of an envelope with a body of this length in that.
    pub(super) fn disk_bytes_of(&self, body_len: u64) -> u64 {
        body_len + ENVELOPE_BYTES
    }

    /// What was dropped so far.
    pub(super) fn expired(&self) -> Expired {
        self.expired
    }

    /// The newest number held of a feed.
    pub(super) fn head(&self, row: FeedRow) -> Option<Seq> {
        self.feeds.get(&row).map(|feed| feed.stored.runs.head())
    }

    /// Takes an envelope out, which is the lowest of its feed and not the newest.
    pub(super) fn drop_lowest(&mut self, row: FeedRow, dropped: &Dropped) {
        let Some(feed) = self.feeds.get_mut(&row) else { return };
        self.before.entry(row).or_insert_with(|| Some(feed.clone()));
        feed.bytes = feed.bytes.saturating_sub(dropped.bytes);
        feed.envelopes = feed.envelopes.saturating_sub(1);
        feed.stored.base = feed.stored.base.max(dropped.end.min(feed.stored.runs.head()));
        self.expired.posts += dropped.posts;
        self.expired.newest_ms = self.expired.newest_ms.max(dropped.ms);
    }

    /// Takes an envelope out that was set aside, and so is no part of its feed.
    pub(super) fn drop_aside(&mut self, row: FeedRow, dropped: &Dropped) {
        let Some(feed) = self.feeds.get_mut(&row) else { return };
        self.before.entry(row).or_insert_with(|| Some(feed.clone()));
        feed.bytes = feed.bytes.saturating_sub(dropped.bytes);
        feed.envelopes = feed.envelopes.saturating_sub(1);
        self.expired.posts += dropped.posts;
        self.expired.newest_ms = self.expired.newest_ms.max(dropped.ms);
    }

    /// The feed begins with this envelope now; what is stored of it.
    pub(super) fn begin_with(&mut self, row: FeedRow, first: &Envelope) -> Option<StoredFeed> {
        let feed = self.feeds.get_mut(&row)?;
        self.before.entry(row).or_insert_with(|| Some(feed.clone()));
        feed.stored.runs.cut_before(first);
        Some(feed.stored.clone())
    }

    /// Takes in an envelope of the running transaction and says to which feed it belongs.
    pub(super) fn add(&mut self, delivery: &Delivery) -> Result<FeedRow, Fault> {
        let envelope = &delivery.envelope;
        let count = envelope.body().posts.len() as u64;
        if delivery.offset < self.next_offset || delivery.offset.0 >= OFFSET_END - count {
            let (offset, next) = (delivery.offset.0, self.next_offset.0);
            return Err(Fault::Refused(format!("offset {offset} is taken: the next one is {next}")));
        }
        let row = self.touch(envelope.feed(), envelope.feed_id());
        let feed = self.feeds.get_mut(&row).expect("a touched feed is there");
        let (first, last) = (envelope.first(), envelope.last());
        let why = match feed.stored.runs.add(envelope) {
            Fit::Extends | Fit::Beyond => None,
            Fit::Held => Some("are stored already"),
            Fit::Conflicts => Some("do not continue what is stored"),
        };
        if let Some(why) = why {
            return Err(Fault::Refused(format!("posts {} to {} of {:?} {why}", first.0, last.0, envelope.feed())));
        }
        feed.bytes += envelope.bytes().len() as u64;
        feed.envelopes += 1;
        self.next_offset = Offset(delivery.offset.0 + count);
        Ok(row)
    }

    /// Writes what the running transaction changed.
    pub(super) fn save(&mut self, db: &Connection) -> Result<(), Fault> {
        let rows: Vec<FeedRow> = self.before.keys().copied().collect();
        for row in rows {
            save_feed(db, row, &self.feeds[&row])?;
        }
        Ok(())
    }

    /// The transaction is done: what it changed stays.
    pub(super) fn keep(&mut self) {
        self.before.clear();
        self.next_offset_before = self.next_offset;
        self.expired_before = self.expired;
    }

    /// The transaction failed: all is as it was.
    pub(super) fn take_back(&mut self) {
        for (row, before) in std::mem::take(&mut self.before) {
            let now = match before {
                Some(before) => self.feeds.insert(row, before),
                None => self.feeds.remove(&row),
            };
            let feed = now.expect("a touched feed is there").stored.feed;
            if !self.feeds.contains_key(&row) {
                self.rows.remove(&feed.feed_id());
            }
        }
        self.next_offset = self.next_offset_before;
        self.expired = self.expired_before;
    }

    /// What is held of a feed.
    pub(super) fn left(&self, row: FeedRow) -> StoredFeed {
        self.feeds[&row].stored.clone()
    }

    /// Everything of a feed from a number on was set aside in the running transaction.
    pub(super) fn cut(&mut self, db: &Connection, row: FeedRow, from: Seq) -> Result<(), Fault> {
        let end = Seq(from.0.saturating_sub(1));
        let is_held = self.feeds[&row].stored.runs.run_with(end).is_some();
        let tip = if is_held { Tip::after(&log::containing(db, self, row, end)?.envelope) } else { Tip::default() };
        self.feeds.get_mut(&row).expect("it was touched before").stored.runs.cut_from(from, tip);
        Ok(())
    }

    /// A feed that the running transaction changes; a new one where there is none.
    pub(super) fn touch(&mut self, feed: Instance, id: FeedId) -> FeedRow {
        if let Some(row) = self.row(id) {
            self.before.entry(row).or_insert_with(|| self.feeds.get(&row).cloned());
            return row;
        }
        let row = FeedRow(self.feeds.last_key_value().map_or(1, |(row, _)| row.0 + 1));
        let stored = StoredFeed { feed, base: Seq(1), runs: Runs::default() };
        self.feeds.insert(row, Feed { stored, bytes: 0, envelopes: 0 });
        self.rows.insert(id, row);
        self.before.insert(row, None);
        row
    }
}

/// A feed's row, but for what the envelopes tell.
struct Summary {
    held: IntervalSet,
    /// The end of the highest run.
    tip: Tip,
}

fn load_feed(row: &Row<'_>) -> Result<(Feed, Summary), Fault> {
    let feed = Instance { id: PeerId(row.get(1)?), epoch: Epoch(sql::number(row, 2)?) };
    let hash: Vec<u8> = row.get(5)?;
    let tip = Tip {
        head: Seq(sql::number(row, 4)?),
        hash: hash.try_into().ok().map(Hash),
        at: Stamp { ms: sql::number(row, 6)?, counter: sql::number(row, 7)? },
    };
    let held = decode_runs(row.get_ref(3)?.as_blob().unwrap_or_default());
    // Of a feed that was set aside as a whole nothing is held.
    let held = held.filter(|held| held.last().unwrap_or(Seq(0)) == tip.head);
    let held = held.ok_or_else(|| Fault::Damaged(format!("the summary of the feed {feed:?} is damaged")))?;
    let stored = StoredFeed { feed, base: Seq(sql::number(row, 10)?), runs: Runs::default() };
    let feed = Feed { stored, bytes: sql::number(row, 8)?, envelopes: sql::number(row, 9)? };
    Ok((feed, Summary { held, tip }))
}

fn save_feed(db: &Connection, row: FeedRow, feed: &Feed) -> Result<(), Fault> {
    let StoredFeed { feed: name, base, runs } = &feed.stored;
    let tip = runs.tip();
    let mut statement = db.prepare_cached(
        "INSERT INTO feeds (id, author, epoch, runs, head, hash, ms, counter, bytes, envelopes, base)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
         ON CONFLICT (id) DO UPDATE SET runs = excluded.runs, head = excluded.head, hash = excluded.hash,
           ms = excluded.ms, counter = excluded.counter, bytes = excluded.bytes,
           envelopes = excluded.envelopes, base = excluded.base",
    )?;
    statement.execute((
        row.0,
        name.id.0,
        sql::integer(name.epoch.0),
        encode_runs(runs),
        sql::integer(tip.head.0),
        tip.hash.map(|hash| hash.0.to_vec()).unwrap_or_default(),
        sql::integer(tip.at.ms),
        sql::integer(tip.at.counter),
        sql::integer(feed.bytes),
        sql::integer(feed.envelopes),
        sql::integer(base.0),
    ))?;
    Ok(())
}

fn encode_runs(runs: &Runs) -> Vec<u8> {
    runs.iter().flat_map(|run| [run.first.0, run.tip.head.0]).flat_map(u64::to_le_bytes).collect()
}

fn decode_runs(bytes: &[u8]) -> Option<IntervalSet> {
    let (numbers, []) = bytes.as_chunks::<8>() else { return None };
    let (pairs, []) = numbers.as_chunks::<2>() else { return None };
    let mut held = IntervalSet::default();
    for [first, last] in pairs {
        let (first, last) = (u64::from_le_bytes(*first), u64::from_le_bytes(*last));
        if first > last || last > OFFSET_END {
            return None;
        }
        held.insert(Seq(first), Seq(last));
    }
    Some(held)
}

/// What a small envelope takes on disk beside its body: signature, checksum, numbers, and its entries in four indexes.
const ENVELOPE_BYTES: u64 = 256;
/// Offsets stay integers that the database and every JSON reader hold exactly.
const OFFSET_END: u64 = p2p_mesh::id::INTEGER_END;
