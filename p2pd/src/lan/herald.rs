//! The task that calls out and listens, on every network that the machine is on at the moment.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::task::{Context, Poll};
use std::time::Duration;

use p2p_mesh::id::PeerId;
use p2p_mesh::limits::ADDRS_PER_RECORD_MAX;
use tokio::io::ReadBuf;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::announcement::{self, Announcement, Holds, Message, Tag};
use super::interfaces::{self, Interface};
use super::screen::{Allowance, Screen, sighting};
use super::segment::{Family, Segment};
use super::{LanConfig, Sighting};

pub(super) struct Herald {
    config: LanConfig,
    sightings: mpsc::Sender<Sighting>,
    segments: Vec<Segment>,
    /// The segment that is read first in this turn: a flood on one shall not make us deaf to the others.
    first: usize,
    allowance: Allowance,
    screen: Screen,
    tags: Vec<Tag>,
    look_due: Instant,
    /// Interfaces of which was said that they do not work.
    refused: BTreeSet<(String, Family)>,
    is_blind: bool,
    /// Peers that the log tells of already.
    logged: BTreeSet<PeerId>,
}

/// One message.
struct Heard {
    segment: usize,
    len: usize,
    sender: SocketAddr,
}

impl Herald {
    pub(super) fn new(config: LanConfig, sightings: mpsc::Sender<Sighting>) -> Self {
        let now = Instant::now();
        Self {
            tags: tags_of(&config),
            config,
            sightings,
            segments: Vec::new(),
            first: 0,
            allowance: Allowance::of_messages(now),
            screen: Screen::new(now),
            look_due: now,
            refused: BTreeSet::new(),
            is_blind: false,
            logged: BTreeSet::new(),
        }
    }

    /// Until it is told to stop; then it says goodbye.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        self.greet();
        let mut buffer = vec![0; MESSAGE_LEN_MAX];
        loop {
            let now = Instant::now();
            let rest = self.allowance.next(now);
            let due = rest.map_or(self.due(), |rest| rest.min(self.due()));
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = sleep_until(due) => self.on_due(Instant::now()),
                heard = hear(&self.segments, self.first, &mut buffer), if rest.is_none() => {
                    self.on_heard(&heard, &buffer[..heard.len], Instant::now());
                }
            }
        }
        for at in 0..self.segments.len() {
            self.announce(at, Holds::NoMore);
        }
    }

    fn greet(&self) {
        let listen = &self.config.listen;
        tracing::info!(?listen, "lan_discovery_started");
        if listen.iter().all(|addr| addr.ip().is_loopback()) {
            tracing::warn!(
                ?listen,
                "lan_discovery is on, but links are accepted from this machine only: nobody can be told of it; \
                 see listen_addr"
            );
        }
    }

    fn due(&self) -> Instant {
        self.segments.iter().map(|segment| segment.schedule.next()).fold(self.look_due, Instant::min)
    }

    fn on_due(&mut self, now: Instant) {
        if now >= self.look_due {
            self.look_due = now + LOOK_INTERVAL;
            self.look(now);
        }
        for at in 0..self.segments.len() {
            self.speak(at, now);
        }
    }

    /// What is due on one segment.
    fn speak(&mut self, at: usize, now: Instant) {
        let schedule = &mut self.segments[at].schedule;
        let (round, is_asked) = (schedule.take_round(now), schedule.take_answer(now));
        let is_told = (round.is_some() || is_asked) && self.announce(at, Holds::Now);
        if is_told {
            self.segments[at].schedule.note_told(now);
        }
        // Who has said where he is will be dialed. Who has nothing to say has to go on asking.
        if round.is_some_and(|round| round < QUESTION_ROUNDS || !is_told) {
            self.segments[at].say(&announcement::encode_question());
        }
    }

    /// Whether there is anything to say.
    fn announce(&self, at: usize, holds: Holds) -> bool {
        let segment = &self.segments[at];
        let addrs = addrs_on(&self.config.listen, &segment.interface);
        let Some(port) = self.config.listen.first().map(SocketAddr::port) else { return false };
        if addrs.is_empty() {
            return false;
        }
        let announcement = Announcement { peer: self.config.id, port, tags: self.tags.clone(), addrs };
        segment.say(&announcement.encode(holds));
        true
    }

    fn on_heard(&mut self, heard: &Heard, bytes: &[u8], now: Instant) {
        let is_read = self.allowance.take(now);
        self.first = (heard.segment + 1) % self.segments.len().max(1);
        let Some(segment) = self.segments.get_mut(heard.segment).filter(|segment| segment.is_near(heard.sender)) else {
            return;
        };
        match announcement::parse(bytes).filter(|_| is_read) {
            Some(Message::Question(names)) if announcement::is_about(&names, self.config.id) => {
                segment.schedule.ask(now);
            }
            Some(Message::Question(_)) | None => (),
            Some(Message::Answer(announcements)) => {
                self.on_announcements(heard, &announcements, now);
            }
        }
    }

    fn on_announcements(&mut self, heard: &Heard, announcements: &[Announcement], now: Instant) {
        // The first network is the one that is dialed with.
        let Some(network) = self.tags.first().copied() else { return };
        let interface = self.segments[heard.segment].interface.clone();
        for announcement in announcements {
            let Some(sighting) = sighting(announcement, self.config.id, network, &interface) else { continue };
            if self.screen.admits(heard.sender.ip(), now) {
                self.log(&sighting, &interface.name);
                // The driver has its hands full: whoever is there will be heard again.
                let _ = self.sightings.try_send(sighting);
            }
        }
    }

    fn log(&mut self, Sighting { peer, addrs }: &Sighting, interface: &str) {
        if self.logged.len() < LOGGED_MAX && self.logged.insert(*peer) {
            tracing::info!(?peer, ?addrs, ?interface, "lan_peer_heard");
        } else {
            tracing::debug!(?peer, ?addrs, ?interface, "lan_peer_heard_again");
        }
    }

    /// Interfaces come and go, and so do networks.
    fn look(&mut self, now: Instant) {
        let tags = tags_of(&self.config);
        if self.tags != tags {
            self.tags = tags;
            self.segments.iter_mut().for_each(|segment| segment.schedule.restart(now));
        }
        match interfaces::read() {
            Ok(interfaces) => self.join(&interfaces, now),
            Err(error) if !self.is_blind => {
                self.is_blind = true;
                tracing::warn!(%error, "lan_interfaces_unknown");
            }
            Err(_) => (),
        }
    }

    fn join(&mut self, interfaces: &[Interface], now: Instant) {
        self.segments.retain(|segment| interfaces.contains(&segment.interface));
        for interface in interfaces {
            for family in [Family::Four, Family::Six] {
                let is_there =
                    self.segments.iter().any(|segment| (&segment.interface, segment.family) == (interface, family));
                if !is_there && interface.nets.iter().any(|net| family.is_of(net.own)) {
                    self.open(interface, family, now);
                }
            }
        }
    }

    fn open(&mut self, interface: &Interface, family: Family, now: Instant) {
        let name = &interface.name;
        match Segment::open(interface.clone(), family, now) {
            Ok(segment) => {
                tracing::debug!(?name, ?family, nets = ?interface.nets, "lan_joined");
                self.segments.push(segment);
            }
            Err(error) => {
                if self.refused.len() < REFUSED_MAX && self.refused.insert((name.clone(), family)) {
                    tracing::warn!(?name, ?family, %error, "lan_not_joined");
                }
            }
        }
    }
}

/// The next message, from whichever segment.
async fn hear(segments: &[Segment], first: usize, buffer: &mut [u8]) -> Heard {
    poll_fn(|context| poll_hear(segments, first, buffer, context)).await
}

fn poll_hear(segments: &[Segment], first: usize, buffer: &mut [u8], context: &mut Context<'_>) -> Poll<Heard> {
    for step in 0..segments.len() {
        let segment = (first + step) % segments.len();
        let mut read = ReadBuf::new(buffer);
        match segments[segment].socket.poll_recv_from(context, &mut read) {
            Poll::Ready(Ok(sender)) => return Poll::Ready(Heard { segment, len: read.filled().len(), sender }),
            // It counts as a message, so that not even errors can come in a flood.
            Poll::Ready(Err(error)) => return Poll::Ready(Heard { segment, len: 0, sender: nobody(&error) }),
            Poll::Pending => (),
        }
    }
    Poll::Pending
}

fn nobody(error: &io::Error) -> SocketAddr {
    tracing::debug!(%error, "lan_message_not_received");
    SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0)
}

fn tags_of(config: &LanConfig) -> Vec<Tag> {
    config.networks.now().iter().map(|network| Tag::of(&network.id)).collect()
}

/// Where links are accepted on this network.
fn addrs_on(listen: &[SocketAddr], interface: &Interface) -> Vec<IpAddr> {
    let accepts = |ip: IpAddr| listen.iter().any(|addr| is_at(addr.ip(), ip));
    let own = interface.nets.iter().map(|net| net.own).filter(|own| accepts(*own));
    own.take(ADDRS_PER_RECORD_MAX).collect()
}

fn is_at(listen: IpAddr, own: IpAddr) -> bool {
    match listen {
        // `[::]` takes IPv4 as well.
        IpAddr::V6(ip) if ip.is_unspecified() => true,
        IpAddr::V4(ip) if ip.is_unspecified() => own.is_ipv4(),
        IpAddr::V4(_) | IpAddr::V6(_) => listen.to_canonical() == own,
    }
}

/// How soon an interface that came or changed is noticed. A look costs some 50 µs.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);
const QUESTION_ROUNDS: usize = 3;
/// Ours have some 500 bytes; of a longer one only the beginning is looked at.
const MESSAGE_LEN_MAX: usize = 1_500;
const LOGGED_MAX: usize = 256;
const REFUSED_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::super::interfaces::Net;
    use super::*;

    #[test]
    fn addresses_are_told_where_links_are_accepted() {
        let nets = ["10.1.2.3", "10.9.9.9", "fd00::3"].map(|ip| Net { own: ip.parse().unwrap(), prefix_len: 24 });
        let eth = Interface { name: "eth0".into(), index: 2, nets: nets.to_vec() };
        for (listen, expected) in [
            (&["0.0.0.0:1"][..], &["10.1.2.3", "10.9.9.9"][..]),
            (&["[::]:1"], &["10.1.2.3", "10.9.9.9", "fd00::3"]),
            (&["10.9.9.9:1"], &["10.9.9.9"]),
            (&["[fd00::3]:1", "10.1.2.3:1"], &["10.1.2.3", "fd00::3"]),
            (&["127.0.0.1:1", "[::1]:1"], &[]),
            (&["192.168.0.1:1"], &[]),
        ] {
            let listen: Vec<SocketAddr> = listen.iter().map(|addr| addr.parse().unwrap()).collect();
            let told: Vec<String> = addrs_on(&listen, &eth).iter().map(IpAddr::to_string).collect();
            assert_eq!(told, expected, "{listen:?}");
        }
    }
}
