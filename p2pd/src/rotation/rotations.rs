//! What is known of the network's secrets, and which hold: plain functions on plain state, but for loading and saving.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use p2p_mesh::id::{Offset, PeerId, PostId, base32, from_base32};
use zeroize::Zeroizing;

use super::kept::Kept;
use super::post::{Notice, OUT_MAX};
use super::{KeptError, Rotation, chain};
use crate::keyfile::KeyFileError;
use crate::letters::Letters;
use crate::network::{KeyName, NETWORKS_MAX, NetworkKey};

/// All that is known of the network's secrets.
#[derive(Clone, Debug)]
pub struct Rotations {
    letters: Letters,
    kept: Kept,
    /// What the file holds; none where there is none that can be used.
    saved: Option<Kept>,
    /// Those of our network whose secret we know.
    held: BTreeMap<KeyName, NetworkKey>,
    /// Those of other networks, which nothing here changes.
    foreign: Vec<NetworkKey>,
}

/// A post of the kind `network`, as it was heard.
#[derive(Clone, Copy, Debug)]
pub struct Said<'a> {
    /// Which post.
    pub post: PostId,
    /// When it was sent, milliseconds since 1970.
    pub at_ms: u64,
    /// What it says.
    pub text: &'a str,
}

/// What hearing a post led to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Heard {
    /// It is no rotation, or known.
    Nothing,
    /// Its author was shut out before.
    Ignored,
    /// Something is to be kept; which key holds may be another.
    New,
}

/// Where this daemon stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It has the key that holds.
    In,
    /// Somebody shut it out.
    ShutOut(PeerId),
    /// Somebody changed the secret and did not give it the new one.
    LeftOut(PeerId),
}

/// A key that is accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeldKey {
    /// Which.
    pub name: KeyName,
    /// Until when, milliseconds since 1970; none for no end that is known.
    pub until_ms: Option<u64>,
}

/// A rotation to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// Who gets the new key.
    pub members: BTreeSet<PeerId>,
    /// Who is shut out.
    pub shuts: BTreeSet<PeerId>,
    /// Who was shut out and is not any more.
    pub readmits: BTreeSet<PeerId>,
    /// How long older keys are still accepted.
    pub grace: Duration,
}

impl Rotations {
    /// Takes over what the last run kept, where it is about the network of these keys: those of the configuration, and
    /// those that came by rotation and could not be put there. A file that cannot be used is none: what it held is found
    /// in the log again.
    ///
    /// # Panics
    ///
    /// No key is configured.
    #[must_use]
    pub fn load(
        letters: Letters,
        path: &Path,
        (configured, rotated): (&[NetworkKey], &[NetworkKey]),
        now_ms: u64,
    ) -> (Self, Option<KeptError>) {
        let (kept, error) = match Kept::load(path) {
            Ok(kept) => (kept, None),
            Err(error) => (None, Some(error)),
        };
        let mut this = Self::fresh(letters, configured);
        this.saved.clone_from(&kept);
        let first = this.kept.base;
        if error.is_some() {
            // The log may not reach back to how they came, and they open links.
            this.hold(rotated);
        }
        if let Some(kept) = kept.filter(|kept| kept.network == this.kept.network) {
            let fresh = std::mem::replace(&mut this.kept, kept);
            if this.knows(&first) {
                this.hold(rotated);
                this.open_parts(now_ms);
                this.drop_ended(now_ms);
            } else {
                // Somebody put another key there by hand: it is his word that counts.
                this.kept = Kept { seen: this.kept.seen, ..fresh };
            }
        }
        (this, error)
    }

    /// Holds those of them that are of our network.
    fn hold(&mut self, keys: &[NetworkKey]) {
        let own = keys.iter().filter(|key| key.id == self.kept.network);
        self.held.extend(own.map(|key| (key.name(), key.clone())));
    }

    /// Knows these keys and nothing else.
    ///
    /// # Panics
    ///
    /// There is none.
    #[must_use]
    pub fn fresh(letters: Letters, keys: &[NetworkKey]) -> Self {
        let first = keys.first().expect("a daemon always has a network");
        let (own, foreign): (Vec<_>, Vec<_>) = keys.iter().cloned().partition(|key| key.id == first.id);
        let held = own.into_iter().map(|key| (key.name(), key)).collect();
        let kept = Kept {
            network: first.id,
            base: first.name(),
            past: Vec::new(),
            given: Vec::new(),
            rotations: Vec::new(),
            taken_ms: 0,
            seen: Offset(0),
        };
        Self { letters, kept, saved: None, held, foreign }
    }

    /// Keeps all that a restart needs.
    ///
    /// # Errors
    ///
    /// The system refuses.
    pub fn save(&self, path: &Path) -> Result<(), KeyFileError> {
        self.kept.save(path)
    }

    /// Whether the file tells all of this, but for how far the log was looked at. Where nothing is known it may be missing.
    #[must_use]
    pub fn is_saved(&self) -> bool {
        let Kept { past, given, rotations, .. } = &self.kept;
        match &self.saved {
            Some(saved) => Kept { seen: saved.seen, ..self.kept.clone() } == *saved,
            None => past.is_empty() && given.is_empty() && rotations.is_empty(),
        }
    }

    /// Whether the file tells the very same.
    #[must_use]
    pub fn is_saved_whole(&self) -> bool {
        self.saved.as_ref() == Some(&self.kept)
    }

    /// The file holds this now.
    pub fn note_saved(&mut self) {
        self.saved = Some(self.kept.clone());
    }

    /// The log was looked at up to here.
    pub fn note_seen(&mut self, offset: Offset) {
        self.kept.seen = self.kept.seen.max(offset);
    }

    /// Up to where the log was looked at.
    #[must_use]
    pub fn seen(&self) -> Offset {
        self.kept.seen
    }

    /// Hears of a post of the kind `network`.
    pub fn hear(&mut self, said: Said<'_>, now_ms: u64) -> Heard {
        let author = said.post.feed.id;
        let Some(notice) = Notice::parse(said.text) else { return Heard::Nothing };
        let heard = self.read(notice, said, now_ms);
        if let Some(known) = self.kept.rotations.iter_mut().find(|known| known.is_same(&heard)) {
            let before = known.clone();
            known.merge(heard);
            if *known == before {
                return Heard::Nothing;
            }
        } else if self.out().contains(&author) && now_ms.abs_diff(self.kept.taken_ms) >= TOGETHER_MS {
            return Heard::Ignored;
        } else {
            self.kept.rotations.push(heard);
        }
        self.settle(now_ms);
        Heard::New
    }

    fn read(&self, notice: Notice, said: Said<'_>, now_ms: u64) -> Rotation {
        let Notice { old, new, until_ms, shuts, out, parts } = notice;
        let (author, me) = (said.post.feed.id, self.letters.me());
        // Who shuts out himself says nothing.
        let without_author = |mut ids: BTreeSet<PeerId>| {
            ids.remove(&author);
            ids
        };
        let (shuts, out) = (without_author(shuts), without_author(out));
        let part = parts.iter().find(|(id, _)| *id == me).map(|(_, sealed)| sealed.clone());
        let members = parts.into_iter().map(|(id, _)| id).filter(|id| !out.contains(id)).collect();
        Rotation {
            author,
            at_ms: said.at_ms,
            old,
            new,
            until_ms: until_ms.min(now_ms.saturating_add(GRACE_MAX_MS)),
            shuts,
            out,
            members,
            posts: vec![said.post],
            part,
            heard_ms: now_ms,
        }
    }

    /// Somebody gave us keys at its hatch: they open links, and what comes through them tells whether they hold.
    pub fn take_given(&mut self, keys: &[NetworkKey], now_ms: u64) -> bool {
        // The newest goes first.
        let Some(key) = keys.iter().find(|key| key.id == self.kept.network) else { return false };
        let name = key.name();
        if self.held.insert(name, key.clone()).is_some() {
            return false;
        }
        self.drop_given(|_| true);
        self.kept.given.push((name, now_ms));
        self.settle(now_ms);
        true
    }

    /// Gives up keys from hatches, unless rotations brought them meanwhile.
    fn drop_given(&mut self, is_over: impl Fn(u64) -> bool) {
        let (over, left) = std::mem::take(&mut self.kept.given).into_iter().partition(|(_, at)| is_over(*at));
        self.kept.given = left;
        let over: Vec<(KeyName, u64)> = over;
        for (name, _) in over.into_iter().filter(|(name, _)| !self.knows(name)).collect::<Vec<_>>() {
            self.held.remove(&name);
        }
    }

    /// Time went by. Says whether something is to be kept.
    pub fn expire(&mut self, now_ms: u64) -> bool {
        let before = (self.held.len(), self.kept.given.len());
        self.settle(now_ms);
        before != (self.held.len(), self.kept.given.len())
    }

    /// When the next key ends, milliseconds since 1970.
    #[must_use]
    pub fn next_end_ms(&self) -> Option<u64> {
        let ends = self.held.keys().filter(|name| !self.is_given(name)).filter_map(|name| self.until_ms(name));
        let given = self.kept.given.iter().filter(|_| !self.chain().is_empty());
        ends.chain(given.map(|(_, at)| at.saturating_add(GIVEN_MS))).min()
    }

    fn settle(&mut self, now_ms: u64) {
        let before = (self.current(), self.holds());
        self.rebase();
        self.open_parts(now_ms);
        self.prune(now_ms);
        if before != (self.current(), self.holds()) {
            self.kept.taken_ms = now_ms;
            // What was held besides, by hand, ends with the others.
            let others: Vec<KeyName> = self.held.keys().filter(|name| !self.knows(name)).copied().collect();
            others.into_iter().for_each(|name| self.note_past(name));
            // Whoever is shut out may have given us one before, to come back by.
            if self.rotation().is_some_and(|one| !one.shuts.is_empty()) {
                self.drop_given(|_| true);
            }
        }
        self.drop_ended(now_ms);
    }

    /// A key that was given to us becomes ours where a rotation brings it and nothing leads there from what we know: what
    /// lies between is not held by anybody any more.
    fn rebase(&mut self) {
        if !self.chain().is_empty() {
            return;
        }
        let is_brought = |name: &KeyName| self.kept.rotations.iter().any(|one| one.new == *name);
        let Some(name) = self.kept.given.iter().rev().map(|(name, _)| *name).find(is_brought) else { return };
        self.note_past(self.kept.base);
        self.kept.base = name;
        self.kept.given.retain(|(given, _)| *given != name);
    }

    fn holds(&self) -> Option<(PeerId, KeyName)> {
        self.rotation().map(|one| (one.author, one.new))
    }

    fn open_parts(&mut self, now_ms: u64) {
        let me = self.letters.me();
        let chain = self.chain();
        let wanted = chain.iter().filter(|one| !self.held.contains_key(&one.new) && !one.out.contains(&me));
        let keys: Vec<(KeyName, NetworkKey)> = wanted
            .filter(|one| self.until_ms(&one.new).is_none_or(|until| until > now_ms))
            .filter_map(|one| {
                let text = self.letters.open_key(&one.author, one.part.as_ref()?)?;
                let key = NetworkKey { id: self.kept.network, secret: Zeroizing::new(from_base32(&text).ok()?) };
                (key.name() == one.new).then_some((one.new, key))
            })
            .collect();
        self.held.extend(keys);
    }

    /// Keeps what is known small. What a chain rests on stays for some rotations, for those that are late.
    fn prune(&mut self, now_ms: u64) {
        let chain: Vec<KeyName> = self.chain().iter().map(|one| one.new).collect();
        if chain.len() > CHAIN_MAX {
            let (gone, base) = (chain.len() - CHAIN_MAX, chain[chain.len() - CHAIN_MAX - 1]);
            self.note_past(self.kept.base);
            chain[..gone - 1].iter().for_each(|name| self.note_past(*name));
            self.kept.base = base;
            self.kept.rotations.retain(|one| one.new == base || !chain[..gone].contains(&one.new));
        }
        let is_kept = |one: &Rotation| chain.contains(&one.new) || one.new == self.kept.base;
        self.kept.rotations.retain(|one| is_kept(one) || now_ms < one.heard_ms.saturating_add(LOOSE_MS));
        let mut count: BTreeMap<PeerId, usize> = BTreeMap::new();
        let mut loose = 0;
        // The newest first, so that whoever says ever new ones pushes out his own.
        for at in (0..self.kept.rotations.len()).rev() {
            let one = &self.kept.rotations[at];
            if is_kept(one) {
                continue;
            }
            let by_author = count.entry(one.author).or_default();
            (*by_author, loose) = (*by_author + 1, loose + 1);
            if *by_author > LOOSE_PER_AUTHOR_MAX || loose > LOOSE_MAX {
                self.kept.rotations.remove(at);
            }
        }
    }

    fn note_past(&mut self, name: KeyName) {
        self.kept.past.push(name);
        let surplus = self.kept.past.len().saturating_sub(PAST_MAX);
        self.kept.past.drain(..surplus);
    }

    fn drop_ended(&mut self, now_ms: u64) {
        if !self.chain().is_empty() {
            self.drop_given(|at| now_ms >= at.saturating_add(GIVEN_MS));
        }
        let ended: Vec<KeyName> = self.held.keys().filter(|name| !self.is_accepted(name, now_ms)).copied().collect();
        ended.iter().for_each(|name| drop(self.held.remove(name)));
    }

    fn is_accepted(&self, name: &KeyName, now_ms: u64) -> bool {
        self.is_given(name) || *name == self.current() || self.until_ms(name).is_none_or(|until| until > now_ms)
    }

    fn is_given(&self, name: &KeyName) -> bool {
        self.kept.given.iter().any(|(given, _)| given == name)
    }

    /// When a key ends; none where no end is known.
    fn until_ms(&self, name: &KeyName) -> Option<u64> {
        if *name == self.current() || self.standing() != Standing::In || !self.knows(name) {
            return None;
        }
        let chain = self.chain();
        let behind = chain.iter().position(|one| one.new == *name).map_or(0, |at| at + 1);
        let later = chain.iter().skip(behind).map(|one| one.until_ms);
        // What leads to no other key, and was not made by a rotation that holds, ends as all old ones do.
        later.min().or_else(|| self.rotation().map(|one| one.until_ms))
    }

    fn chain(&self) -> Vec<&Rotation> {
        chain::from(self.kept.base, &self.kept.rotations)
    }

    /// The rotation that holds, where one is known.
    #[must_use]
    pub fn rotation(&self) -> Option<&Rotation> {
        let made_base =
            || self.kept.rotations.iter().filter(|one| one.new == self.kept.base).max_by_key(|one| one.rank());
        self.chain().last().copied().or_else(made_base)
    }

    /// When it was taken here, milliseconds since 1970.
    #[must_use]
    pub fn taken_ms(&self) -> u64 {
        self.kept.taken_ms
    }

    /// The key that links are dialed with: the newest that we have.
    #[must_use]
    pub fn current(&self) -> KeyName {
        let chain = self.chain();
        let names = chain.iter().rev().map(|one| one.new).chain([self.kept.base]);
        let held = names.into_iter().find(|name| self.held.contains_key(name));
        held.or_else(|| self.held.keys().next().copied()).unwrap_or(self.kept.base)
    }

    /// The keys that are accepted, as a key file holds them: the one for dialing first.
    #[must_use]
    pub fn keys(&self) -> Vec<NetworkKey> {
        let current = self.current();
        let mut names = vec![current];
        names.extend(self.kept.given.iter().rev().map(|(name, _)| *name));
        let mut older: Vec<KeyName> = self.held.keys().filter(|name| !names.contains(name)).copied().collect();
        older.sort_by_key(|name| std::cmp::Reverse(self.until_ms(name).unwrap_or(u64::MAX)));
        let own = names.iter().chain(&older).filter_map(|name| self.held.get(name));
        let mut keys: Vec<NetworkKey> = Vec::new();
        for key in own.chain(&self.foreign) {
            if keys.len() < NETWORKS_MAX && !keys.iter().any(|held| held.id == key.id && held.name() == key.name()) {
                keys.push(key.clone());
            }
        }
        keys
    }

    /// The same without the secrets.
    #[must_use]
    pub fn held(&self) -> Vec<HeldKey> {
        let keys = self.keys();
        let names = keys.iter().filter(|key| key.id == self.kept.network).map(NetworkKey::name);
        names.map(|name| HeldKey { name, until_ms: self.until_ms(&name) }).collect()
    }

    /// Who is shut out.
    #[must_use]
    pub fn out(&self) -> BTreeSet<PeerId> {
        self.rotation().map(|one| one.out.clone()).unwrap_or_default()
    }

    /// Who may get the key that holds from us.
    #[must_use]
    pub fn may_ask(&self) -> BTreeSet<PeerId> {
        match (self.standing(), self.rotation()) {
            (Standing::In, Some(rotation)) => rotation.members.clone(),
            (Standing::In, None) | (Standing::ShutOut(_) | Standing::LeftOut(_), _) => BTreeSet::new(),
        }
    }

    /// Where we stand.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let chain = self.chain();
        match chain.last() {
            Some(last) if last.out.contains(&self.letters.me()) => Standing::ShutOut(last.author),
            Some(last) if !self.held.contains_key(&last.new) => Standing::LeftOut(last.author),
            Some(_) | None => Standing::In,
        }
    }

    /// Whom we shut out by a rotation that did not hold, and who is in therefore.
    #[must_use]
    pub fn lost_shuts(&self) -> BTreeSet<PeerId> {
        let (chain, out, me) = (self.chain(), self.out(), self.letters.me());
        let is_lost = |one: &&Rotation| one.author == me && one.new != self.kept.base && !chain.contains(one);
        let lost = self.kept.rotations.iter().filter(is_lost).flat_map(|one| &one.shuts);
        lost.filter(|id| !out.contains(id)).copied().collect()
    }

    /// Whether this key is one that was replaced.
    #[must_use]
    pub fn is_replaced(&self, name: &KeyName) -> bool {
        self.knows(name) && *name != self.current()
    }

    /// How many rotations are remembered.
    #[cfg(test)]
    pub(super) fn known_len(&self) -> usize {
        self.kept.rotations.len()
    }

    fn knows(&self, name: &KeyName) -> bool {
        let kept = &self.kept;
        kept.base == *name
            || kept.past.contains(name)
            || self.is_given(name)
            || kept.rotations.iter().any(|one| one.new == *name || one.old == *name)
    }

    /// The texts of the posts by which a plan is carried out.
    ///
    /// # Errors
    ///
    /// More would be out than can be told.
    pub fn plan(&self, plan: &Plan, now_ms: u64) -> Result<Vec<String>, PlanError> {
        let key = NetworkKey { id: self.kept.network, secret: NetworkKey::generate().secret };
        let mut out = self.out();
        out.extend(&plan.shuts);
        out.retain(|id| !plan.readmits.contains(id));
        if out.len() > OUT_MAX {
            return Err(PlanError::TooMany(out.len()));
        }
        let grace_ms = u64::try_from(plan.grace.as_millis()).unwrap_or(u64::MAX).min(GRACE_MAX_MS);
        let until_ms = if plan.shuts.is_empty() { now_ms.saturating_add(grace_ms) } else { 0 };
        let secret = Zeroizing::new(base32(&*key.secret));
        let members = plan.members.iter().chain([&self.letters.me()]).copied().collect::<BTreeSet<_>>();
        // An id that is no key belongs to nobody.
        let seal = |id: PeerId| Some((id, self.letters.seal_key(id, &secret).ok()?));
        let parts = members.into_iter().filter(|id| !out.contains(id)).filter_map(seal).collect();
        // Also where we were not given the key that it replaces: who left us out, or everybody, does not have the last word.
        let old = self.chain().last().map_or_else(|| self.current(), |last| last.new);
        let notice = Notice { old, new: key.name(), until_ms, shuts: plan.shuts.clone(), out, parts };
        Ok(notice.texts())
    }
}

/// Why no rotation is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PlanError {
    /// More would be shut out than can be told.
    #[error("{0} peers would be shut out, the limit is {OUT_MAX}")]
    TooMany(usize),
}

const DAY_MS: u64 = 86_400_000;
/// Longer no older key is accepted, whatever a rotation says.
pub const GRACE_MAX_MS: u64 = 30 * DAY_MS;
/// For so long a rotation of somebody who is shut out counts, because both may have shut out each other at once.
const TOGETHER_MS: u64 = 10 * 60_000;
/// A key from a hatch that no rotation confirmed is held so long.
const GIVEN_MS: u64 = DAY_MS;
/// Rotations that lead to the present key and are remembered.
const CHAIN_MAX: usize = 8;
/// Rotations that lead nowhere: those before them may come yet.
const LOOSE_MAX: usize = 64;
const LOOSE_PER_AUTHOR_MAX: usize = 4;
const LOOSE_MS: u64 = 30 * DAY_MS;
/// Names of keys that were replaced long ago, in case somebody configures one again.
const PAST_MAX: usize = 256;
