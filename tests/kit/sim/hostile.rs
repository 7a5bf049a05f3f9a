//! A member that breaks the rules: it passed the handshake, and now does all that the wire allows.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use ed25519_dalek::SigningKey;
use p2p_mesh::effect::Effect;
use p2p_mesh::envelope::{Body, Envelope, Post, Stamp};
use p2p_mesh::id::{DialId, Epoch, FeedId, Hash, Instance, LinkId, PeerId, Seq};
use p2p_mesh::input::{Input, LinkOpened};
use p2p_mesh::membership::record::{Addr, Record};
use p2p_mesh::wire::message::{Envelopes, Have, Hello, Message, Pong, Role, Want};

use super::dice::Dice;
use super::people::ROOMS;

/// A hostile neighbour.
#[derive(Debug)]
pub struct Hostile {
    key: SigningKey,
    instance: Instance,
    own_addr: Addr,
    victims: Vec<Addr>,
    dice: Dice,
    links: BTreeMap<LinkId, bool>,
    dials: u64,
    /// The newest envelope seen of each feed.
    newest: BTreeMap<FeedId, Envelope>,
    seen: VecDeque<Bytes>,
    own: Option<(Seq, Hash)>,
    /// Where it said something lately: numbers and what came before them.
    ends: VecDeque<(Seq, Option<Hash>)>,
    said: u64,
    newest_ms: u64,
    effects: VecDeque<Effect>,
    spoken: Vec<String>,
    /// It never reads, and says just enough to be taken for alive.
    clings: bool,
}

impl Hostile {
    /// A hostile neighbour that knows some addresses.
    #[must_use]
    pub fn new(key: SigningKey, epoch: Epoch, own_addr: Addr, victims: Vec<Addr>, seed: u64) -> Self {
        let instance = Instance { id: PeerId(key.verifying_key().to_bytes()), epoch };
        Self {
            key,
            instance,
            own_addr,
            victims,
            dice: Dice::new(seed),
            links: BTreeMap::new(),
            dials: 0,
            newest: BTreeMap::new(),
            seen: VecDeque::new(),
            own: None,
            ends: VecDeque::new(),
            said: 0,
            newest_ms: 0,
            effects: VecDeque::new(),
            spoken: Vec::new(),
            clings: false,
        }
    }

    /// From now on it does nothing but hold on to its links.
    pub fn cling(&mut self) {
        self.clings = true;
    }

    /// Something happened.
    pub fn handle(&mut self, input: Input, unix_ms: u64) {
        match input {
            Input::LinkOpened(opened) => self.on_opened(&opened, unix_ms),
            Input::Frame { link, frame } => self.on_frame(link, &frame, unix_ms),
            Input::LinkClosed { link, .. } => drop(self.links.remove(&link)),
            Input::DialFailed { .. }
            | Input::Receiving(_)
            | Input::BadFrame { .. }
            | Input::Written { .. }
            | Input::Appended(_)
            | Input::AppendFailed { .. }
            | Input::ReadDone { .. }
            | Input::KeysFound { .. }
            | Input::Settled { .. }
            | Input::SettleFailed(_)
            | Input::EpochDrawn(_)
            | Input::LostFound { .. }
            | Input::Retained { .. }
            | Input::Command(_) => (),
        }
    }

    /// It does something.
    pub fn act(&mut self, unix_ms: u64) {
        let ready: Vec<LinkId> = self.links.iter().filter(|(_, ready)| **ready).map(|(link, _)| *link).collect();
        if ready.is_empty() || self.dice.chance(0.05) {
            return self.dial();
        }
        let link = self.dice.pick(&ready);
        if self.clings {
            return self.linger(&ready);
        }
        match self.dice.below(13) {
            0 => self.send_raw(link, br#"{"type":"have","h":"#),
            1 => self.send_prefix(link, u32::MAX),
            2 => self.send_prefix(link, 131_073),
            3 | 4 => self.forge(link, unix_ms),
            5 | 6 => self.replay(link),
            7 => self.flood_wants(link),
            8 => self.announce_nothing(link),
            9 => self.speak(link, unix_ms),
            10 | 11 => self.fork(link, unix_ms),
            _ => self.send_raw(link, br#"{"type":"from_the_future","a":[[[[1]]]]}"#),
        }
    }

    fn linger(&mut self, links: &[LinkId]) {
        if links.len() < self.victims.len() {
            self.dial();
        }
        for link in links {
            self.send_raw(*link, br#"{"type":"from_the_future"}"#);
        }
    }

    /// What shall be done next.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Texts that it said since this was asked last.
    pub fn take_spoken(&mut self) -> Vec<String> {
        std::mem::take(&mut self.spoken)
    }

    fn on_opened(&mut self, opened: &LinkOpened, unix_ms: u64) {
        self.links.insert(opened.link, self.clings);
        let addrs = [self.own_addr.clone()];
        let hello = Hello {
            proto: (1, 1),
            epoch: self.instance.epoch,
            agent: "hostile".to_owned(),
            observed: opened.remote.to_string(),
            caps: Vec::new(),
            dial: opened.dial.map_or(0, |dial| dial.0),
            role: Role::Peer,
            time: unix_ms,
            record: Record::sign(&self.key, unix_ms, &addrs, "friendly", self.instance.epoch),
        };
        self.send(opened.link, &Message::Hello(Box::new(hello)));
    }

    fn on_frame(&mut self, link: LinkId, frame: &Bytes, unix_ms: u64) {
        match Message::decode(frame) {
            Ok(Message::Hello(_)) => {
                self.links.insert(link, true);
                self.effects.push_back(Effect::RaiseFrameLimit(link));
            }
            Ok(Message::Ping(ping)) => {
                self.send(link, &Message::Pong(Pong { n: ping.n, t: ping.t, r: unix_ms, digest: ping.digest }));
            }
            Ok(Message::Envelopes(envelopes)) => {
                for envelope in envelopes.items {
                    self.newest.insert(envelope.feed_id(), envelope);
                }
                self.seen.push_front(frame.clone());
                self.seen.truncate(SEEN_MAX);
            }
            Ok(Message::Bye(_)) => {
                self.links.insert(link, false);
            }
            Ok(_) | Err(_) => (),
        }
    }

    fn dial(&mut self) {
        if self.victims.is_empty() {
            return;
        }
        self.dials += 1;
        let addr = self.dice.pick(&self.victims);
        self.effects.push_back(Effect::Dial { dial: DialId(self.dials), addr, expected: None });
    }

    /// The next envelope of somebody's feed, with words that its author never said.
    fn forge(&mut self, link: LinkId, unix_ms: u64) {
        let newest: Vec<Envelope> = self.newest.values().cloned().collect();
        if newest.is_empty() {
            return;
        }
        let victim = self.dice.pick(&newest);
        let at = Stamp { ms: victim.body().last_at().ms.max(unix_ms) + 1, counter: 0 };
        let posts = vec![Post::chat(ROOMS[0], "I owe you a hundred")];
        let body = Body { feed: victim.feed(), first: victim.last().next(), prev: Some(victim.hash()), at, posts };
        // Its own signature under another's name.
        let forged = body.sign(&self.key);
        self.send_envelopes(link, Envelope::clone(&forged));
    }

    fn replay(&mut self, link: LinkId) {
        let seen: Vec<Bytes> = self.seen.iter().cloned().collect();
        if !seen.is_empty() {
            let frame = self.dice.pick(&seen);
            for _ in 0..5 {
                self.send_raw(link, &frame);
            }
        }
    }

    fn flood_wants(&mut self, link: LinkId) {
        for _ in 0..100 {
            let known: Vec<FeedId> = self.newest.keys().copied().collect();
            let feed = if known.is_empty() { self.random_feed() } else { self.dice.pick(&known) };
            let push = self.dice.chance(0.5);
            self.send(link, &Message::Want(Want { feed, ranges: vec![(Seq(1), None)], push }));
        }
    }

    fn announce_nothing(&mut self, link: LinkId) {
        let mut haves: Vec<Have> = Vec::new();
        for _ in 0..20 {
            haves.push(Have { feed: self.random_feed(), head: Seq(1_000_000_000), floor: Seq(1) });
        }
        let known = self.newest.values().map(|envelope| (envelope.feed_id(), envelope.last()));
        haves.extend(known.map(|(feed, last)| Have { feed, head: last.plus(1_000), floor: Seq(1) }));
        self.send(link, &Message::Have(haves));
    }

    /// Something that is quite in order, to one neighbour alone.
    fn speak(&mut self, link: LinkId, unix_ms: u64) {
        self.said += 1;
        let text = format!("hostile {} {}", self.instance.epoch.0, self.said);
        let (first, prev) = self.own.map_or((Seq(1), None), |(last, hash)| (last.next(), Some(hash)));
        // Later than all it ever said, whichever of it this continues.
        let at = Stamp { ms: unix_ms.max(self.newest_ms), counter: self.said };
        self.newest_ms = at.ms;
        let posts = vec![Post::chat(ROOMS[0], &text)];
        let envelope = Body { feed: self.instance, first, prev, at, posts }.sign(&self.key);
        self.ends.push_front((first, prev));
        self.ends.truncate(SEEN_MAX);
        self.own = Some((envelope.last(), envelope.hash()));
        self.spoken.push(text);
        self.send_envelopes(link, Envelope::clone(&envelope));
    }

    /// Something else in place of what it said a while ago, to one neighbour alone, and perhaps more behind that.
    fn fork(&mut self, link: LinkId, unix_ms: u64) {
        let known: Vec<(Seq, Option<Hash>)> = self.ends.iter().copied().collect();
        if known.is_empty() {
            return self.speak(link, unix_ms);
        }
        let (first, prev) = self.dice.pick(&known);
        self.own = if first == Seq(1) { None } else { prev.map(|hash| (Seq(first.0 - 1), hash)) };
        for _ in 0..self.dice.between(1, 4) {
            self.speak(link, unix_ms);
        }
    }

    fn random_feed(&mut self) -> FeedId {
        let (a, b) = (self.dice.seed().to_le_bytes(), self.dice.seed().to_le_bytes());
        let mut id = [0; 16];
        id[..8].copy_from_slice(&a);
        id[8..].copy_from_slice(&b);
        FeedId(id)
    }

    fn send_envelopes(&mut self, link: LinkId, envelope: Envelope) {
        self.send(link, &Message::Envelopes(Envelopes { items: vec![envelope], hop: 1, live: true, more: false }));
    }

    fn send(&mut self, link: LinkId, message: &Message) {
        self.effects.push_back(Effect::Send { link, bytes: message.encode() });
    }

    fn send_raw(&mut self, link: LinkId, content: &[u8]) {
        let bytes = [&(content.len() as u32).to_be_bytes(), content].concat();
        self.effects.push_back(Effect::Send { link, bytes: Bytes::from(bytes) });
    }

    fn send_prefix(&mut self, link: LinkId, len: u32) {
        self.effects.push_back(Effect::Send { link, bytes: Bytes::copy_from_slice(&len.to_be_bytes()) });
    }
}

/// Frames kept for replays.
const SEEN_MAX: usize = 32;
