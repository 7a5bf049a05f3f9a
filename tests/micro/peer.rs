//! A real mesh without anything around it: links that others opened, a store that has stored whatever it is given, and
//! a clock that stands still.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use p2p_mesh::config::{Config, Setup};
use p2p_mesh::effect::Effect;
use p2p_mesh::id::{LinkId, Offset};
use p2p_mesh::input::{Command, Draft, Input, LinkOpened};
use p2p_mesh::limits::NEWEST_FIRST_POSTS;
use p2p_mesh::membership::record::{Addr, Record};
use p2p_mesh::mesh::Mesh;
use p2p_mesh::time::{Mono, Now};
use p2p_mesh::wire::frame::PREFIX_LEN;
use p2p_mesh::wire::message::{Hello, Message, Role};

use crate::author::{BEGIN_MS, EPOCH, id, key};

/// One mesh.
#[derive(Clone)]
pub(crate) struct Peer {
    mesh: Mesh,
    /// How many envelopes were delivered, and how many frames sent.
    pub(crate) delivered: usize,
    pub(crate) sent: usize,
}

impl Peer {
    /// Peer 1, linked to so many others, which are 2 and so on; `LinkId` is their number.
    pub(crate) fn linked_to(others: u8) -> Self {
        let setup = Setup {
            key: key(1),
            epoch: EPOCH,
            config: config(),
            feeds: Vec::new(),
            forks: Vec::new(),
            next_offset: Offset(1),
            book: Vec::new(),
            forgotten: Vec::new(),
            seed: 1,
        };
        let mut peer = Self { mesh: Mesh::new(setup, NOW), delivered: 0, sent: 0 };
        (2..others + 2).for_each(|number| peer.welcome(number));
        assert_eq!(peer.mesh.status().peers_up, usize::from(others));
        (peer.delivered, peer.sent) = (0, 0);
        peer
    }

    /// A frame comes from peer 2, and everything that follows from it is done.
    pub(crate) fn hear(&mut self, frame: Bytes) {
        self.handle(Input::Frame { link: LinkId(2), frame });
    }

    /// Says something, and does everything that follows from it.
    pub(crate) fn say(&mut self, text: &str) {
        let draft =
            Draft { room: "general".into(), text: text.into(), re: None, key: None, direct: None, is_network: false };
        self.handle(Input::Command(Command::Publish { token: 1, posts: vec![draft] }));
    }

    fn welcome(&mut self, number: u8) {
        let remote = format!("10.0.0.{number}:50000").parse().expect("an address");
        let local = "10.0.0.1".parse().expect("an address");
        let link = LinkId(number.into());
        self.handle(Input::LinkOpened(LinkOpened { link, dial: None, peer: id(number), remote, local }));
        let hello = Message::Hello(Box::new(hello(number))).encode();
        self.handle(Input::Frame { link, frame: hello.slice(PREFIX_LEN..) });
    }

    fn handle(&mut self, input: Input) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            self.mesh.handle(input, NOW);
            while let Some(effect) = self.mesh.poll_effect() {
                inputs.extend(self.execute(effect));
            }
        }
    }

    fn execute(&mut self, effect: Effect) -> Option<Input> {
        match effect {
            Effect::Send { link, bytes } => {
                self.sent += 1;
                Some(Input::Written { link, bytes: bytes.len() })
            }
            Effect::Append(append) => Some(Input::Appended(append.ticket)),
            Effect::Deliver(_) => {
                self.delivered += 1;
                None
            }
            Effect::Hangup(link) => panic!("{link:?} was hung up"),
            Effect::RaiseFrameLimit(_)
            | Effect::Dial { .. }
            | Effect::Read { .. }
            | Effect::FindKeys { .. }
            | Effect::Settle(_)
            | Effect::DrawEpoch
            | Effect::FindLost { .. }
            | Effect::SaveRecord { .. }
            | Effect::ForgetRecord(_)
            | Effect::Published { .. }
            | Effect::Ponged { .. }
            | Effect::Event(_)
            | Effect::Rest => None,
        }
    }
}

fn config() -> Config {
    Config {
        name: "one".into(),
        agent: "micro/1".into(),
        listen_port: 8080,
        listens_on_loopback: false,
        advertise: vec![addr(1)],
        peers: Vec::new(),
        max_connections: 50,
        heartbeat_interval: Duration::from_secs(30),
        heartbeat_timeout: Duration::from_secs(5),
        full_mesh_max: 32,
        reorder_posts_max: 256,
        newest_first_posts: NEWEST_FIRST_POSTS,
        allow: BTreeSet::new(),
        block: BTreeSet::new(),
    }
}

fn hello(number: u8) -> Hello {
    Hello {
        proto: (1, 1),
        epoch: EPOCH,
        agent: "micro/1".into(),
        observed: "10.0.0.1:8080".into(),
        caps: Vec::new(),
        dial: 1,
        role: Role::Peer,
        time: NOW.unix_ms,
        record: Record::sign(&key(number), 1, &[addr(number)], &format!("peer{number}"), EPOCH),
    }
}

fn addr(number: u8) -> Addr {
    format!("10.0.0.{number}:8080").parse().expect("an address")
}

const NOW: Now = Now { mono: Mono(1_000_000), unix_ms: BEGIN_MS };
