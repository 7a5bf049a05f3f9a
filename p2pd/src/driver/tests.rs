#![allow(clippy::unwrap_used)]

use ed25519_dalek::SigningKey;
use p2p_mesh::config::{Config, Setup};
use p2p_mesh::id::{Epoch, Offset};
use zeroize::Zeroizing;

use super::*;
use crate::invite::Invites;
use crate::letters::Letters;
use crate::link::LinkConfig;
use crate::network::{NetworkKey, Ring};
use crate::rotation::{Ear, Hatches};

/// A driver among rooms in which nobody is, and the far ends of their channels.
struct Stage {
    driver: Driver,
    store: mpsc::Sender<StoreEvent>,
    jobs: mpsc::Receiver<Job>,
    leave: CancellationToken,
}

fn stage() -> Stage {
    let config = Config {
        name: "test".into(),
        agent: "test/1".into(),
        listen_port: 0,
        listens_on_loopback: true,
        advertise: Vec::new(),
        peers: Vec::new(),
        max_connections: 8,
        heartbeat_interval: Duration::from_secs(30),
        heartbeat_timeout: Duration::from_secs(5),
        full_mesh_max: 32,
        reorder_posts_max: 256,
        newest_first_posts: 100,
        allow: BTreeSet::new(),
        block: BTreeSet::new(),
    };
    let key = SigningKey::from_bytes(&[1; 32]);
    let networks = Ring::new(vec![NetworkKey { id: [7; 16], secret: Zeroizing::new([7; 32]) }]);
    let invites = Invites::default();
    let (connect_timeout, user_timeout) = (Duration::from_secs(1), Duration::from_secs(1));
    let hatches = Hatches::new(Letters::new(&key), mpsc::channel(1).0);
    let link_config = LinkConfig { key: key.clone(), networks, invites, hatches, connect_timeout, user_timeout };
    let (link_sender, link_events) = mpsc::channel(1);
    let (job_sender, jobs) = mpsc::channel(1);
    let (store, store_events) = mpsc::channel(1);
    let leave = CancellationToken::new();
    let rooms = Rooms {
        links: Links::start(link_config, Vec::new(), link_sender, CancellationToken::new()),
        link_events,
        sightings: mpsc::channel(1).1,
        jobs: job_sender,
        store_events,
        // Nobody asks anything any more, which is no reason to stop.
        requests: mpsc::channel(1).1,
        subscribers: Subscribers::new(1),
        ear: Ear::new().0,
        alarms: Alarms::default(),
        retention: Retention::new(None, None),
        notifier: Notifier::default(),
        stop_asked: CancellationToken::new(),
        leave: leave.clone(),
    };
    let clock = Clock::start();
    let setup = Setup {
        key,
        epoch: Epoch(1_000),
        config,
        feeds: Vec::new(),
        forks: Vec::new(),
        next_offset: Offset(1),
        book: Vec::new(),
        forgotten: Vec::new(),
        seed: 1,
    };
    Stage { driver: Driver::new(Mesh::new(setup, clock.now()), clock, rooms), store, jobs, leave }
}

#[tokio::test]
async fn p_07_a_driver_whose_store_has_ended_stops_and_does_not_wait_for_ever() {
    let Stage { driver, store, jobs, leave } = stage();
    // What a panic on its thread does.
    drop((store, jobs));
    let error = driver.run().await.unwrap_err();
    assert_eq!(error.to_string(), "the thread of the store has ended");
    drop(leave);
}

#[tokio::test]
async fn a_driver_with_nothing_to_do_leaves_when_it_is_told() {
    let Stage { driver, store: _store, jobs: _jobs, leave } = stage();
    leave.cancel();
    driver.run().await.unwrap();
}
