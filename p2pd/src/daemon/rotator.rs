//! Keeps the network's secrets: hears of changes, makes them, and lets everybody else in the house know.

mod alarm;
mod begin;
mod change;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use p2p_mesh::effect::Delivery;
use p2p_mesh::envelope::NETWORK;
use p2p_mesh::id::{Offset, PeerId, PostId};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::door::Place;
use crate::api::{Alarms, NetworkState, Request, RotateError, RotateWish, Rotated};
use crate::clock::unix_ms;
use crate::keyfile::KeyFileError;
use crate::letters::Letters;
use crate::names::Names;
use crate::network::{self, KeyName, NetworkKey, Ring};
use crate::query::LogPage;
use crate::rotation::{Ear, Given, Hatches, Heard, Rotations, Said, Standing};

pub(super) use begin::{Keys, keys, rotating, rotator};

/// What is asked of it.
#[derive(Debug)]
pub(super) enum Ask {
    /// Change the secret.
    Rotate(RotateWish, oneshot::Sender<Result<Rotated, RotateError>>),
    /// Tell of the secrets.
    Network(oneshot::Sender<NetworkState>),
    /// The daemon is in the network of these keys now.
    Joined(Vec<NetworkKey>, oneshot::Sender<()>),
    /// Somebody let us in by a ticket once more, into the network that we are in.
    LetIn(Vec<NetworkKey>, oneshot::Sender<()>),
}

/// The only one that changes the keys while the daemon runs.
pub(super) struct Rotator {
    pub(super) rotations: Rotations,
    pub(super) letters: Letters,
    pub(super) networks: Ring,
    pub(super) names: Names,
    pub(super) hatches: Hatches,
    pub(super) alarms: Alarms,
    pub(super) ear: Ear,
    pub(super) requests: mpsc::Sender<Request>,
    pub(super) place: Place,
    /// What the configuration says is the first key.
    pub(super) configured: KeyName,
    pub(super) files: Files,
    /// Up to here the log is read, because what stands there was not heard.
    pub(super) read_to: Offset,
    /// The keys that are in the file, by their names.
    pub(super) written: Vec<KeyName>,
    /// What held when all was on disk, where something is not: it does not hold before it is.
    pub(super) unsaved: Option<Before>,
    /// The log cannot be read now.
    pub(super) is_pausing: bool,
    /// Who gave us a key at its hatch just now, and when.
    pub(super) given_at: BTreeMap<PeerId, Instant>,
}

/// Where things are kept.
#[derive(Clone, Debug)]
pub(super) struct Files {
    /// What is known of rotations.
    pub(super) kept: PathBuf,
    /// The keys, where the daemon may not put them where they are configured.
    pub(super) rotated: PathBuf,
}

/// What comes in.
pub(super) struct Mail {
    pub(super) asked: mpsc::Receiver<Ask>,
    pub(super) heard: mpsc::Receiver<Delivery>,
    pub(super) given: mpsc::Receiver<Given>,
}

/// What may be another after something was taken in.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Before {
    key: KeyName,
    by: Option<PeerId>,
    standing: Standing,
    out: BTreeSet<PeerId>,
}

impl Rotator {
    /// Works until it is stopped. Everything stored behind `read_to` is heard.
    pub(super) async fn run(mut self, mut mail: Mail, read_to: Offset, stop: CancellationToken) {
        self.read_to = read_to;
        if self.place == Place::Open {
            return self.refuse_all(mail, stop).await;
        }
        self.take_over().await;
        let mut tick = tokio::time::interval(TICK);
        loop {
            let is_behind = self.rotations.seen() < self.read_to;
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(ask) = mail.asked.recv() => self.on_ask(ask).await,
                Some(entry) = mail.heard.recv() => {
                    let more = std::iter::from_fn(|| mail.heard.try_recv().ok()).take(HEARD_MAX);
                    let entries: Vec<Delivery> = std::iter::once(entry).chain(more).collect();
                    self.hear(&entries).await;
                }
                Some(given) = mail.given.recv() => self.on_given(given).await,
                _ = tick.tick() => self.on_tick().await,
                () = self.wait_for_end() => self.on_end().await,
                page = self.read_on(), if is_behind && !self.is_pausing => self.on_page(page).await,
            }
            // Looked at first: what comes after it is not seen yet.
            let offset = self.ear.offset();
            if self.ear.has_missed() {
                self.read_to = self.ear.offset();
            }
            // What waits to be heard is not seen yet: a crash would lose it.
            if self.rotations.seen() >= self.read_to && mail.heard.is_empty() {
                self.rotations.note_seen(offset);
            }
        }
        self.save_quietly().await;
    }

    /// There is no secret, and so nothing to do.
    async fn refuse_all(self, mut mail: Mail, stop: CancellationToken) {
        loop {
            let ask = tokio::select! {
                () = stop.cancelled() => return,
                ask = mail.asked.recv() => ask,
            };
            match ask {
                Some(Ask::Rotate(_, reply)) => drop(reply.send(Err(RotateError::Open))),
                Some(Ask::Network(reply)) => drop(reply.send(self.state())),
                Some(Ask::Joined(_, reply) | Ask::LetIn(_, reply)) => drop(reply.send(())),
                None => return,
            }
        }
    }

    async fn on_ask(&mut self, ask: Ask) {
        // Whoever asked may be gone.
        match ask {
            Ask::Rotate(wish, reply) => drop(reply.send(self.rotate(wish).await)),
            Ask::Network(reply) => drop(reply.send(self.state())),
            Ask::Joined(keys, reply) => {
                self.configured = keys[0].name();
                let seen = self.rotations.seen();
                self.rotations = Rotations::fresh(self.letters.clone(), &keys);
                self.rotations.note_seen(seen);
                self.written = self.rotations.keys().iter().map(NetworkKey::name).collect();
                self.unsaved = None;
                self.take_over().await;
                let _ = reply.send(());
            }
            Ask::LetIn(keys, reply) => {
                self.take_given(keys).await;
                let _ = reply.send(());
            }
        }
    }

    fn state(&self) -> NetworkState {
        NetworkState {
            keys: if self.place == Place::Open { Vec::new() } else { self.rotations.held() },
            rotation: self.rotations.rotation().cloned(),
            taken_ms: self.rotations.taken_ms(),
            standing: self.rotations.standing(),
            lost_shuts: self.rotations.lost_shuts(),
        }
    }

    /// Looks at what was stored or delivered.
    async fn hear(&mut self, entries: &[Delivery]) {
        let before = self.before();
        let mut is_new = false;
        for entry in entries {
            let body = entry.envelope.body();
            for (index, post) in (0_u64..).zip(&body.posts).filter(|(_, post)| post.kind == NETWORK) {
                let id = PostId { feed: body.feed, seq: body.first.plus(index) };
                let said = Said { post: id, at_ms: body.at.ms, text: &post.text };
                match self.rotations.hear(said, unix_ms()) {
                    Heard::New => is_new = true,
                    Heard::Nothing => (),
                    Heard::Ignored => tracing::warn!(by = ?body.feed.id, "rotation_of_a_peer_that_is_shut_out"),
                }
            }
        }
        if is_new {
            self.apply(before).await;
        }
    }

    async fn on_given(&mut self, given: Given) {
        self.given_at.retain(|_, at| at.elapsed() < TICK);
        // Somebody who gives ever new ones could else keep us dialing and the disk flushing, and hinders nobody else.
        if self.given_at.contains_key(&given.by) {
            return;
        }
        self.given_at.insert(given.by, Instant::now());
        tracing::info!(by = ?given.by, "network_key_got");
        self.take_given(given.keys).await;
        // Whoever refused the old one is dialed with this one at once.
        let (reply, _dials) = oneshot::channel();
        let _ = self.requests.send(Request::Reconnect(None, reply)).await;
    }

    async fn take_given(&mut self, keys: Vec<NetworkKey>) {
        let before = self.before();
        if self.rotations.take_given(&keys, unix_ms()) {
            self.apply(before).await;
        }
    }

    async fn on_tick(&mut self) {
        self.is_pausing = false;
        if let Some(before) = self.unsaved.take() {
            self.apply(before).await;
        }
        self.set_hatches().await;
    }

    /// Waits until a key ends.
    async fn wait_for_end(&self) {
        match self.rotations.next_end_ms() {
            // The clock may be set meanwhile, so a long wait is none.
            Some(end_ms) => {
                tokio::time::sleep(Duration::from_millis(end_ms.saturating_sub(unix_ms())).min(TICK).max(SHORT)).await;
            }
            None => std::future::pending().await,
        }
    }

    async fn on_end(&mut self) {
        let before = self.before();
        if self.rotations.expire(unix_ms()) {
            tracing::info!("old_network_key_ended");
            self.apply(before).await;
        }
    }

    /// The next page of the log that was not looked at yet.
    async fn read_on(&self) -> Option<LogPage> {
        tokio::time::sleep(PAGE_PAUSE).await;
        let (reply, answer) = oneshot::channel();
        let (after, posts_max, bytes_max) = (self.rotations.seen(), PAGE_POSTS, PAGE_BYTES);
        self.requests.send(Request::ReadLog { after, posts_max, bytes_max, reply }).await.ok()?;
        answer.await.ok()?.ok()
    }

    async fn on_page(&mut self, page: Option<LogPage>) {
        let Some(page) = page else {
            self.is_pausing = true;
            return;
        };
        self.hear(&page.entries).await;
        let last = |entry: &Delivery| Offset(entry.offset.0 + entry.envelope.body().posts.len() as u64 - 1);
        let end = page.entries.last().map(last).or(page.gap.map(|gap| gap.to)).filter(|_| !page.end);
        self.rotations.note_seen(end.unwrap_or(self.read_to));
        if self.rotations.seen() >= self.read_to {
            self.save_quietly().await;
        }
    }

    fn before(&self) -> Before {
        Before {
            key: self.rotations.current(),
            by: self.rotations.rotation().map(|one| one.author),
            standing: self.rotations.standing(),
            out: self.rotations.out(),
        }
    }

    /// At a start: what the files say holds.
    async fn take_over(&mut self) {
        let before = Before { standing: Standing::In, out: BTreeSet::new(), ..self.before() };
        self.apply(before).await;
    }

    /// Puts what is known on disk, then lets it hold, then tells.
    async fn apply(&mut self, before: Before) {
        // What changed while the disk took nothing is told now as well.
        let before = self.unsaved.take().unwrap_or(before);
        if let Err(error) = self.save(false).await {
            self.unsaved = Some(before);
            tracing::warn!(why = ?error.to_string(), "network_key_not_kept");
            return self
                .alarms
                .raise(NOT_KEPT_ALARM, format!("the new network key is not kept, and not used: {error}"));
        }
        self.alarms.clear(NOT_KEPT_ALARM);
        let after = self.before();
        self.names.set_shut_out(after.out.clone());
        // Before the new key holds: who is shut out is at our hatch as soon as its old one fails.
        self.hatches.close_but_to(&self.may_ask());
        self.networks.set(self.rotations.keys());
        if after.out != before.out {
            let _ = self.requests.send(Request::KeepAway).await;
        }
        self.set_hatches().await;
        self.tell(&before, &after);
        self.set_alarms();
    }

    /// Writes what is not written yet; how far the log was looked at is written along, and alone only `with_place`.
    async fn save(&mut self, with_place: bool) -> Result<(), KeyFileError> {
        let (rotations, kept, keys) = (self.rotations.clone(), self.files.kept.clone(), self.rotations.keys());
        let file = match &self.place {
            Place::File(file) => file.clone(),
            Place::Configured(_) | Place::Open => self.files.rotated.clone(),
        };
        let names: Vec<KeyName> = keys.iter().map(NetworkKey::name).collect();
        let is_same = names == self.written;
        if is_same && self.rotations.is_saved() && !with_place {
            return Ok(());
        }
        let path = file.clone();
        let write = move || {
            rotations.save(&kept)?;
            if is_same { Ok(()) } else { network::save(&file, &keys) }
        };
        // Who was in the middle of it when it ended has written nothing that counts.
        let ended = |error: tokio::task::JoinError| KeyFileError::Io { path, act: "written", source: error.into() };
        tokio::task::spawn_blocking(write).await.map_err(ended)??;
        self.written = names;
        self.rotations.note_saved();
        Ok(())
    }

    async fn save_quietly(&mut self) {
        if let Err(error) = self.save(!self.rotations.is_saved_whole()).await {
            tracing::debug!(why = ?error.to_string(), "rotations_not_kept");
        }
    }

    /// Who may come to our hatch, and at whose we may ask.
    async fn set_hatches(&self) {
        let mut others = self.known().await.unwrap_or_default();
        let kept_away = self.names.kept_away();
        others.retain(|peer| !kept_away.contains(peer));
        self.hatches.set(self.networks.id(), self.may_ask(), others.into_iter().collect());
    }

    fn may_ask(&self) -> BTreeSet<PeerId> {
        let kept_away = self.names.kept_away();
        let mut members = self.rotations.may_ask();
        members.remove(&self.letters.me());
        members.retain(|peer| !kept_away.contains(peer));
        members
    }

    /// Every other peer that is known: linked once, told of, or heard of as an author.
    async fn known(&self) -> Option<BTreeSet<PeerId>> {
        let peers = self.ask(Request::Peers).await?;
        let feeds = self.ask(Request::SyncState).await?.feeds;
        let mut known: BTreeSet<PeerId> = peers.iter().filter_map(|peer| peer.id).collect();
        known.extend(feeds.iter().map(|feed| feed.feed.id));
        known.extend(self.rotations.rotation().iter().flat_map(|one| &one.members));
        known.remove(&self.letters.me());
        Some(known)
    }

    async fn ask<T>(&self, question: impl FnOnce(oneshot::Sender<T>) -> Request) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(question(reply)).await.ok()?;
        answer.await.ok()
    }
}

/// Between two looks at who is known, and two tries to write what could not be written.
const TICK: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(100);
/// Looked at together.
const HEARD_MAX: usize = 64;
/// Of the log at a time, and between two times: reading it holds nobody else up, also not at the start.
const PAGE_POSTS: usize = 512;
const PAGE_BYTES: usize = 1 << 18;
const PAGE_PAUSE: Duration = Duration::from_millis(5);
const NOT_KEPT_ALARM: &str = "rotation_not_kept";

#[cfg(test)]
mod tests;
