//! Peers: a table, or everything about one.

use std::io::{self, Write};

use p2p_proto::v1::{Peer, PeerState, PeersResponse};

use super::document::{self, Document, Fields};
use super::names::{self, Names};
use super::{Shape, Style, escape, table, time};

/// Writes all peers.
pub(crate) fn render_peers(peers: &PeersResponse, style: &Style, out: &mut dyn Write) -> io::Result<()> {
    let document = || {
        let peers = peers.peers.iter().map(|peer| document::peer(Fields::new(), peer)).collect();
        Fields::document("peers").add("peers", Document::List(peers)).done()
    };
    let names = names_of(&peers.peers);
    match style.write_data(document, out)? {
        Shape::Data => Ok(()),
        Shape::Text => {
            let head = ["NAME", "STATE", "RTT", "BEHIND", "ADDRESS", "SINCE"].map(str::to_owned);
            let rows = peers.peers.iter().map(|peer| short_row(peer, &names, style));
            table::write(&std::iter::once(head).chain(rows).collect::<Vec<_>>(), out)
        }
        Shape::Wide => {
            let head = WIDE_COLUMNS.map(str::to_owned);
            let rows = peers.peers.iter().map(|peer| wide_row(peer, &names, style));
            table::write(&std::iter::once(head).chain(rows).collect::<Vec<_>>(), out)
        }
    }
}

/// Writes one peer, a field a line.
pub(crate) fn render_peer(peer: &Peer, style: &Style, out: &mut dyn Write) -> io::Result<()> {
    let document = || document::peer(Fields::document("peer"), peer);
    match style.write_data(document, out)? {
        Shape::Data => Ok(()),
        Shape::Text | Shape::Wide => table::write(&facts(peer, style), out),
    }
}

/// The names of these peers, told apart from each other.
pub(crate) fn names_of(peers: &[Peer]) -> Names {
    let mut names = Names::default();
    for peer in peers {
        names.add_peer(peer);
    }
    names
}

/// Others that call themselves as this user calls the peer `id`, and are shown so.
pub(crate) fn namesakes<'a>(peers: &'a [Peer], id: &str, petname: &str) -> impl Iterator<Item = &'a Peer> {
    let (id, petname) = (id.to_owned(), names::fold(petname));
    let is_namesake = move |peer: &&Peer| names::fold(&peer.name) == petname && peer.id != id;
    peers.iter().filter(|peer| peer.petname.is_empty() && !peer.name.is_empty()).filter(is_namesake)
}

/// How a peer is called in a list: a configured address that never answered has nothing but the address.
pub(crate) fn show(peer: &Peer, names: &Names) -> String {
    if peer.id.is_empty() { "-".to_owned() } else { names.show(&peer.name, &peer.id) }
}

/// The state in one word.
pub(crate) fn state_name(state: PeerState) -> &'static str {
    match state {
        PeerState::Unspecified => "unknown",
        PeerState::Up => "up",
        PeerState::Suspect => "suspect",
        PeerState::Dialing => "dialing",
        PeerState::Waiting => "waiting",
        PeerState::Down => "down",
    }
}

/// The state as a table shows it: who is shut out or blocked is down for that reason.
fn state_word(peer: &Peer) -> &'static str {
    if peer.shut_out {
        "out"
    } else if peer.blocked {
        "blocked"
    } else {
        state_name(peer.state())
    }
}

/// Who had the name of this peer before it, for people.
pub(crate) fn owner_note(peer: &Peer) -> Option<String> {
    let mut names = Names::default();
    names.add(&peer.name, &peer.name_owner);
    let owner = || names.show(&peer.name, &peer.name_owner);
    (!peer.name_owner.is_empty()).then(|| format!("this name was first used by {} ({})", owner(), peer.name_owner))
}

fn calls_itself(peer: &Peer) -> String {
    let name = or_dash(&peer.name);
    match owner_note(peer) {
        Some(note) => format!("{name}: {}", escape::line(&note)),
        None => name,
    }
}

fn short_row(peer: &Peer, names: &Names, style: &Style) -> [String; 6] {
    [
        show(peer, names),
        state_word(peer).to_owned(),
        time::rtt(peer.rtt_us),
        peer.behind.to_string(),
        or_dash(&peer.address),
        time::ago(peer.since_us, style.now),
    ]
}

fn wide_row(peer: &Peer, names: &Names, style: &Style) -> [String; 18] {
    let [name, state, rtt, behind, address, since] = short_row(peer, names, style);
    let next = if peer.next_dial_ms == 0 { "-".to_owned() } else { time::span_ms(peer.next_dial_ms.into()) };
    [
        name,
        state,
        rtt,
        behind,
        address,
        since,
        or_dash(&peer.id),
        direction(peer).to_owned(),
        time::bytes(peer.bytes_sent),
        time::bytes(peer.bytes_received),
        duplicates(peer),
        time::bytes(peer.queue_bytes),
        peer.tries.to_string(),
        next,
        or_dash(&peer.last_error),
        or_dash(&peer.agent),
        clock_offset(peer),
        peer.forks.to_string(),
    ]
}

fn facts(peer: &Peer, style: &Style) -> Vec<[String; 2]> {
    let names = names_of(std::slice::from_ref(peer));
    let addresses: Vec<_> = peer.addresses.iter().map(|address| escape::line(address)).collect();
    let next =
        if peer.next_dial_ms == 0 { "-".to_owned() } else { format!("in {}", time::span_ms(peer.next_dial_ms.into())) };
    let facts = [
        ("name", show(peer, &names)),
        ("id", or_dash(&peer.id)),
        ("petname", or_dash(&peer.petname)),
        ("calls itself", calls_itself(peer)),
        ("blocked", if peer.blocked { "yes" } else { "no" }.to_owned()),
        ("shut out", if peer.shut_out { "yes" } else { "no" }.to_owned()),
        ("state", state_name(peer.state()).to_owned()),
        ("since", time::ago(peer.since_us, style.now)),
        ("rtt", time::rtt(peer.rtt_us)),
        ("behind", format!("{} posts", peer.behind)),
        ("address", or_dash(&peer.address)),
        ("addresses", if addresses.is_empty() { "-".to_owned() } else { addresses.join(" ") }),
        ("direction", direction(peer).to_owned()),
        ("configured", if peer.configured { "yes" } else { "no" }.to_owned()),
        ("sent", time::bytes(peer.bytes_sent)),
        ("received", time::bytes(peer.bytes_received)),
        ("posts", format!("{} new, {} that we had", peer.posts_received, peer.posts_duplicate)),
        ("queue", time::bytes(peer.queue_bytes)),
        ("failed dials", peer.tries.to_string()),
        ("next dial", next),
        ("last error", or_dash(&peer.last_error)),
        ("last seen", time::ago(peer.last_seen_us, style.now)),
        ("agent", or_dash(&peer.agent)),
        ("clock", clock_offset(peer)),
        ("epoch", peer.epoch.to_string()),
        ("instances", peer.instances.to_string()),
        ("forks", peer.forks.to_string()),
    ];
    facts.map(|(key, value)| [key.to_owned(), value]).to_vec()
}

fn direction(peer: &Peer) -> &'static str {
    match peer.state() {
        PeerState::Up | PeerState::Suspect if peer.outbound => "out",
        PeerState::Up | PeerState::Suspect => "in",
        PeerState::Unspecified | PeerState::Dialing | PeerState::Waiting | PeerState::Down => "-",
    }
}

/// Of what it sent us, how much we had already.
fn duplicates(peer: &Peer) -> String {
    let all = peer.posts_received.saturating_add(peer.posts_duplicate);
    if all == 0 {
        return "-".to_owned();
    }
    format!("{:.1}", peer.posts_duplicate as f64 * 100.0 / all as f64)
}

/// How far its clock is ahead of ours; nothing is known before the first answer to a heartbeat.
fn clock_offset(peer: &Peer) -> String {
    if peer.rtt_us == 0 && peer.clock_offset_us == 0 {
        return "-".to_owned();
    }
    let sign = if peer.clock_offset_us < 0 { '-' } else { '+' };
    let us = peer.clock_offset_us.unsigned_abs();
    match u32::try_from(us) {
        Ok(us @ 1..1_000_000) => format!("{sign}{}", time::rtt(us)),
        Ok(_) | Err(_) => format!("{sign}{}", time::span_ms(us / 1_000)),
    }
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { escape::line(text).into_owned() }
}

const WIDE_COLUMNS: [&str; 18] = [
    "NAME",
    "STATE",
    "RTT",
    "BEHIND",
    "ADDRESS",
    "SINCE",
    "ID",
    "DIR",
    "TX",
    "RX",
    "DUP%",
    "QUEUE",
    "TRIES",
    "NEXT",
    "LAST-ERROR",
    "VERSION",
    "CLOCK",
    "FORKS",
];
