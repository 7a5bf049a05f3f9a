//! Whoever keeps the secrets, with what the driver tells it and what it asks the driver.

#![allow(clippy::unwrap_used)]

use ed25519_dalek::SigningKey;
use p2p_mesh::envelope::{Body, Post, Stamp};
use p2p_mesh::id::{Epoch, Instance, Seq};
use p2p_mesh::status::SyncState;
use zeroize::Zeroizing;

use super::*;
use crate::rotation::Plan;

/// A rotator that runs, and the ways to it.
struct Stage {
    hatches: Hatches,
    ring: Ring,
    stop: CancellationToken,
    _dir: tempfile::TempDir,
}

fn root() -> NetworkKey {
    NetworkKey { id: [7; 16], secret: Zeroizing::new([7; 32]) }
}

fn other(seed: u8) -> NetworkKey {
    NetworkKey { id: [7; 16], secret: Zeroizing::new([seed; 32]) }
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn id(seed: u8) -> PeerId {
    Letters::new(&key(seed)).me()
}

/// Posts of one author, one in each envelope, from the first offset on.
fn said(by: u8, texts: &[String]) -> Vec<Delivery> {
    let mut prev = None;
    let envelopes = (1_u64..).zip(texts).map(|(number, text)| {
        let feed = Instance { id: id(by), epoch: Epoch(1) };
        let at = Stamp { ms: 1_000 + number, counter: 0 };
        let posts = vec![Post::network(text)];
        let envelope = Body { feed, first: Seq(number), prev, at, posts }.sign(&key(by));
        prev = Some(envelope.hash());
        Delivery { offset: Offset(number), envelope, own: false, late: false, forked: false }
    });
    envelopes.collect()
}

/// A rotation by the author of `seed`, and the key that it brings.
fn rotation(seed: u8) -> (String, KeyName) {
    let letters = Letters::new(&key(seed));
    let mut author = Rotations::fresh(letters.clone(), &[root()]);
    let plan = Plan { members: [id(1)].into(), shuts: [].into(), readmits: [].into(), grace: Duration::ZERO };
    let text = author.plan(&plan, unix_ms()).unwrap().remove(0);
    let post = PostId { feed: Instance { id: letters.me(), epoch: Epoch(1) }, seq: Seq(1) };
    author.hear(Said { post, at_ms: 1, text: &text }, unix_ms());
    (text, author.current())
}

/// What a driver with this log answers.
async fn drive(mut requests: mpsc::Receiver<Request>, log: Vec<Delivery>) {
    while let Some(request) = requests.recv().await {
        match request {
            Request::ReadLog { after, reply, .. } => {
                let entries = log.iter().filter(|entry| entry.offset > after).take(10).cloned().collect();
                drop(reply.send(Ok(LogPage { gap: None, entries, end: false })));
            }
            Request::Peers(reply) => drop(reply.send(Vec::new())),
            Request::SyncState(reply) => drop(reply.send(SyncState::default())),
            _ => (),
        }
    }
}

/// Member 1 with the root key, which hears `heard` before it looks.
fn start(heard: &[Delivery]) -> Stage {
    let dir = tempfile::tempdir().unwrap();
    let letters = Letters::new(&key(1));
    let (rotating, mail) = rotating(&letters);
    let (requests, asked) = mpsc::channel(8);
    let ring = Ring::new(vec![root()]);
    let rotator = Rotator {
        rotations: Rotations::fresh(letters.clone(), &[root()]),
        letters,
        networks: ring.clone(),
        names: Names::default(),
        hatches: rotating.hatches.clone(),
        alarms: Alarms::default(),
        ear: rotating.ear.clone(),
        requests,
        place: Place::File(dir.path().join("network.key")),
        configured: root().name(),
        files: Files { kept: dir.path().join("rotation.json"), rotated: dir.path().join("network.rotated.key") },
        read_to: Offset(0),
        written: vec![root().name()],
        unsaved: None,
        is_pausing: false,
        given_at: BTreeMap::new(),
    };
    heard.iter().for_each(|entry| rotating.ear.listen(entry));
    let stop = CancellationToken::new();
    tokio::spawn(drive(asked, heard.to_vec()));
    tokio::spawn(rotator.run(mail, Offset(0), stop.clone()));
    Stage { hatches: rotating.hatches, ring, stop, _dir: dir }
}

impl Stage {
    async fn wait_for(&self, what: impl Fn(&[KeyName]) -> bool) {
        let names = || self.ring.now().iter().map(NetworkKey::name).collect::<Vec<_>>();
        // Only so that a broken test ends.
        let waited = tokio::time::timeout(Duration::from_secs(30), async {
            while !what(&names()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        assert!(waited.await.is_ok(), "{:?}", names());
    }

    fn give(&self, by: u8, seed: u8) {
        self.hatches.give(Given { by: id(by), keys: vec![other(seed)] });
    }
}

#[tokio::test]
async fn what_was_missed_in_a_flood_is_found_in_the_log() {
    let (text, new) = rotation(2);
    let mut texts: Vec<String> = (0..100).map(|n| format!("nothing {n}")).collect();
    texts.push(text);
    let stage = start(&said(2, &texts));
    stage.wait_for(|names| names == [new]).await;
    stage.stop.cancel();
}

#[tokio::test]
async fn who_gives_ever_new_keys_is_heard_once_and_hinders_nobody_else() {
    let stage = start(&[]);
    stage.give(2, 20);
    stage.wait_for(|names| names == [root().name(), other(20).name()]).await;
    stage.give(2, 21);
    stage.give(3, 30);
    stage.wait_for(|names| names == [root().name(), other(30).name()]).await;
    stage.stop.cancel();
}
