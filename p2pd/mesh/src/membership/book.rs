//! The address book: the newest record of every peer that was ever heard of.

use std::collections::BTreeMap;

use crate::id::PeerId;
use crate::limits::{BOOK_LEN_MAX, BOOK_LEN_PER_SOURCE_MAX};
use crate::membership::record::{Addr, Record};

/// Records by peer, this one's own not included.
#[derive(Clone, Debug)]
pub(crate) struct Book {
    me: PeerId,
    entries: BTreeMap<PeerId, Entry>,
    /// What its user forgot, with the newest revision that was known: others may still tell of it.
    forgotten: BTreeMap<PeerId, u64>,
}

/// One peer.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// What it last said of itself.
    pub(crate) record: Record,
    /// When it was last linked, milliseconds since 1970; 0 for never.
    pub(crate) seen_ms: u64,
    /// Who told us first; none for what was on disk or came from itself.
    source: Option<PeerId>,
}

/// What a record changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Learned {
    /// A peer that was not known, or news of one that was.
    News,
    /// Nothing.
    Nothing,
    /// There is no room for what this source tells.
    Full,
}

impl Book {
    pub(crate) fn new(me: PeerId, kept: Vec<(Record, u64)>, forgotten: Vec<(PeerId, u64)>) -> Self {
        let kept = kept.into_iter().filter(|(record, _)| record.id != me);
        let entries = kept.map(|(record, seen_ms)| (record.id, Entry { record, seen_ms, source: None })).collect();
        Self { me, entries, forgotten: forgotten.into_iter().take(BOOK_LEN_MAX).collect() }
    }

    /// Takes a record over if it is newer than what is known.
    pub(crate) fn learn(&mut self, record: Record, source: PeerId) -> Learned {
        if record.id == self.me {
            return Learned::Nothing;
        }
        if let Some(entry) = self.entries.get_mut(&record.id) {
            if record.rev <= entry.record.rev {
                return Learned::Nothing;
            }
            entry.record = record;
            return Learned::News;
        }
        let source = (record.id != source).then_some(source);
        // Forgotten is who says nothing new of itself, and is not there to say it.
        if source.is_some() && self.forgotten.get(&record.id).is_some_and(|rev| record.rev <= *rev) {
            return Learned::Nothing;
        }
        if self.entries.len() >= BOOK_LEN_MAX
            || source.is_some_and(|source| self.told_by(source) >= BOOK_LEN_PER_SOURCE_MAX)
        {
            return Learned::Full;
        }
        self.forgotten.remove(&record.id);
        self.entries.insert(record.id, Entry { record, seen_ms: 0, source });
        Learned::News
    }

    pub(crate) fn get(&self, id: &PeerId) -> Option<&Entry> {
        self.entries.get(id)
    }

    pub(crate) fn set_seen(&mut self, id: &PeerId, unix_ms: u64) -> Option<&Entry> {
        let entry = self.entries.get_mut(id)?;
        entry.seen_ms = unix_ms;
        Some(entry)
    }

    /// Forgets a peer until it is linked again, or says something new of itself.
    pub(crate) fn forget(&mut self, id: &PeerId) {
        let Some(entry) = self.entries.remove(id) else { return };
        if self.forgotten.len() < BOOK_LEN_MAX {
            self.forgotten.insert(*id, entry.record.rev);
        }
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = PeerId> {
        self.entries.keys().copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// What a neighbour may be told: peers with an address it can use, itself not included.
    pub(crate) fn share(&self, with: PeerId, is_loopback: bool) -> impl Iterator<Item = &Record> {
        let records = self.entries.values().map(|entry| &entry.record);
        records.filter(move |record| record.id != with && is_shareable(record, is_loopback))
    }

    fn told_by(&self, source: PeerId) -> usize {
        self.entries.values().filter(|entry| entry.source == Some(source)).count()
    }
}

/// Loopback addresses mean something on this machine only.
pub(crate) fn is_shareable(record: &Record, is_loopback: bool) -> bool {
    record.addrs.iter().any(|addr| is_loopback || !Addr::is_loopback(addr))
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;

    use super::*;
    use crate::id::Epoch;

    fn record(seed: u16, rev: u64, addr: &str) -> Record {
        let mut bytes = [7; 32];
        bytes[..2].copy_from_slice(&seed.to_be_bytes());
        Record::sign(&SigningKey::from_bytes(&bytes), rev, &[addr.parse().unwrap()], "", Epoch(1))
    }

    fn book() -> (Book, PeerId) {
        let me = record(0, 1, "10.0.0.1:1").id;
        (Book::new(me, Vec::new(), Vec::new()), me)
    }

    #[test]
    fn w_21_an_older_record_changes_nothing() {
        let (mut book, me) = book();
        assert_eq!(book.learn(record(1, 5, "10.0.0.2:1"), me), Learned::News);
        assert_eq!(book.learn(record(1, 5, "10.0.0.3:1"), me), Learned::Nothing);
        assert_eq!(book.learn(record(1, 4, "10.0.0.3:1"), me), Learned::Nothing);
        assert_eq!(book.learn(record(1, 6, "10.0.0.4:1"), me), Learned::News);
        assert_eq!(book.get(&record(1, 1, "10.0.0.2:1").id).unwrap().record.rev, 6);
        assert_eq!(book.learn(record(0, 9, "10.0.0.9:1"), me), Learned::Nothing);
    }

    #[test]
    fn who_is_forgotten_comes_back_with_news_or_by_itself_and_not_by_what_others_remember() {
        let (mut book, other) = book();
        let known = record(1, 5, "10.0.0.2:1");
        for back in [(record(1, 6, "10.0.0.2:1"), other), (known.clone(), known.id)] {
            book.learn(known.clone(), other);
            book.forget(&known.id);
            assert_eq!(book.learn(known.clone(), other), Learned::Nothing);
            assert_eq!(book.len(), 0);
            assert_eq!(book.learn(back.0, back.1), Learned::News);
            book.forget(&known.id);
        }
    }

    #[test]
    fn who_was_forgotten_in_an_earlier_run_is_forgotten_still() {
        let (_, me) = book();
        let known = record(1, 5, "10.0.0.2:1");
        let mut book = Book::new(me, Vec::new(), vec![(known.id, 5)]);
        assert_eq!(book.learn(known, me_other()), Learned::Nothing);
        assert_eq!(book.learn(record(1, 6, "10.0.0.2:1"), me_other()), Learned::News);
    }

    fn me_other() -> PeerId {
        record(9, 1, "10.0.0.9:1").id
    }

    #[test]
    fn one_source_fills_a_quarter_of_the_book() {
        let (mut book, _) = book();
        let source = record(999, 1, "10.0.0.1:1").id;
        let learned: Vec<Learned> = (1..=600).map(|n| book.learn(record(n, 1, "10.0.0.2:1"), source)).collect();
        assert_eq!(learned.iter().filter(|learned| **learned == Learned::News).count(), BOOK_LEN_PER_SOURCE_MAX);
        assert_eq!(book.learn(record(700, 1, "10.0.0.2:1"), record(700, 1, "10.0.0.2:1").id), Learned::News);
    }

    #[test]
    fn loopback_addresses_are_told_on_this_machine_only() {
        let (mut book, me) = book();
        book.learn(record(1, 1, "127.0.0.1:1"), me);
        book.learn(record(2, 1, "10.0.0.2:1"), me);
        assert_eq!(book.share(me, true).count(), 2);
        assert_eq!(book.share(me, false).count(), 1);
        assert_eq!(book.share(record(2, 1, "10.0.0.2:1").id, false).count(), 0);
    }
}
