//! What is held of each author, what is missing, and who agrees.

use std::collections::BTreeMap;
use std::io::{self, Write};

use p2p_proto::v1::{FeedState, Hole, PeerSync, SyncStateResponse};

use super::document::{Document, Fields};
use super::names::Names;
use super::words::{are, counted, grouped, listed};
use super::{Shape, Style, escape, table};

/// Writes one line an author, or in wide one a run and one a peer; then what it all means.
pub(crate) fn render_sync(sync: &SyncStateResponse, style: &Style, out: &mut dyn Write) -> io::Result<()> {
    let names = names_of(sync);
    match style.write_data(|| document(sync), out)? {
        Shape::Data => return Ok(()),
        Shape::Text => write_authors(sync, &names, out)?,
        Shape::Wide => {
            write_feeds(sync, &names, out)?;
            write_peers(sync, &names, out)?;
        }
    }
    summary(sync, &names).iter().try_for_each(|line| writeln!(out, "{line}"))
}

/// Why this is not in sync, in words; nothing where it is. A daemon that is `alone` has nobody to be in sync with.
pub(crate) fn what_is_missing(sync: &SyncStateResponse, is_alone: bool) -> Vec<String> {
    if sync.peers.is_empty() {
        return if is_alone { Vec::new() } else { vec!["no peer is linked".to_owned()] };
    }
    if sync.synced {
        return Vec::new();
    }
    let names = names_of(sync);
    let mut missing = Vec::new();
    if sync.missing_posts > 0 {
        let from = listed(sync.peers.iter().filter(|peer| peer.ahead > 0).map(|peer| show(peer, &names)));
        let held = if from.is_empty() { String::new() } else { format!(" (held by {from})") };
        let count = sync.missing_posts;
        missing.push(format!("{} {} missing{held}", counted(count, "post"), are(count)));
    }
    let uncompared = listed(sync.peers.iter().filter(|peer| !peer.compared).map(|peer| show(peer, &names)));
    if !uncompared.is_empty() {
        missing.push(format!("not compared yet with {uncompared}"));
    }
    if missing.is_empty() {
        missing.push("it is still being compared".to_owned());
    }
    missing
}

/// All runs of one author together.
#[derive(Default)]
struct Author {
    have: u64,
    missing: u64,
    epochs: usize,
    /// Linked peers that hold all that is held of each run.
    agree: u32,
    is_forked: bool,
}

fn write_authors(sync: &SyncStateResponse, names: &Names, out: &mut dyn Write) -> io::Result<()> {
    let mut authors: BTreeMap<(&str, &str), Author> = BTreeMap::new();
    for feed in &sync.feeds {
        let author = authors.entry((&feed.name, &feed.author)).or_default();
        author.agree = if author.epochs == 0 { feed.agree } else { author.agree.min(feed.agree) };
        author.have = author.have.saturating_add(feed.have);
        author.missing = author.missing.saturating_add(missing_of(feed));
        author.epochs += 1;
        author.is_forked |= feed.forked;
    }
    let head = ["AUTHOR", "HAVE", "MISSING", "EPOCHS", "AGREE", ""].map(str::to_owned);
    let rows = authors.iter().map(|((name, id), author)| {
        [
            names.show(name, id),
            author.have.to_string(),
            author.missing.to_string(),
            author.epochs.to_string(),
            format!("{}/{}", author.agree, sync.peers.len()),
            if author.is_forked { "forked" } else { "" }.to_owned(),
        ]
    });
    table::write(&std::iter::once(head).chain(rows).collect::<Vec<_>>(), out)
}

fn write_feeds(sync: &SyncStateResponse, names: &Names, out: &mut dyn Write) -> io::Result<()> {
    let head = ["AUTHOR", "EPOCH", "HAVE", "FLOOR", "HEAD", "KNOWN", "HOLES", "HASH", "AGREE", "MARKS", "ID"];
    let rows = sync.feeds.iter().map(|feed| {
        [
            names.show(&feed.name, &feed.author),
            feed.epoch.to_string(),
            feed.have.to_string(),
            feed.floor.to_string(),
            feed.head.to_string(),
            feed.known_head.to_string(),
            holes(feed),
            or_dash(&feed.hash),
            format!("{}/{}", feed.agree, sync.peers.len()),
            marks(feed).to_owned(),
            or_dash(&feed.author),
        ]
    });
    table::write(&std::iter::once(head.map(str::to_owned)).chain(rows).collect::<Vec<_>>(), out)
}

fn write_peers(sync: &SyncStateResponse, names: &Names, out: &mut dyn Write) -> io::Result<()> {
    if sync.peers.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    let head = ["PEER", "BEHIND", "AHEAD", "COMPARED", "EQUAL"].map(str::to_owned);
    let yes = |is: bool| if is { "yes" } else { "no" }.to_owned();
    let rows = sync.peers.iter().map(|peer| {
        let counts = [peer.behind.to_string(), peer.ahead.to_string()];
        let [behind, ahead] = counts;
        [show(peer, names), behind, ahead, yes(peer.compared), yes(peer.equal)]
    });
    table::write(&std::iter::once(head).chain(rows).collect::<Vec<_>>(), out)?;
    writeln!(out)
}

/// What a person wants to know, in one line or two.
fn summary(sync: &SyncStateResponse, names: &Names) -> Vec<String> {
    // Digests were compared a while ago: what a peer fetched since then is known from what it told.
    let is_even = |peer: &&PeerSync| peer.equal || (peer.compared && peer.ahead == 0 && peer.behind == 0);
    let even = sync.peers.iter().filter(is_even).count();
    let digest = escape::line(&sync.digest);
    let mut parts = match what_is_missing(sync, true) {
        parts if !parts.is_empty() => parts,
        _ if sync.peers.is_empty() => vec![format!("no peer is linked: digest {digest}")],
        _ => vec![format!("in sync with {even} of {}: digest {digest}", sync.peers.len())],
    };
    let behind = sync.peers.iter().filter(|peer| peer.behind > 0);
    let behind = listed(behind.map(|peer| format!("{} ({})", show(peer, names), grouped(peer.behind))));
    if !behind.is_empty() {
        parts.push(format!("behind: {behind}"));
    }
    let mut lines = vec![parts.join("; ")];
    if sync.unavailable_posts > 0 {
        let count = sync.unavailable_posts;
        lines.push(format!("{} {} held by no linked peer any more", counted(count, "post"), are(count)));
    }
    lines
}

/// Posts of a feed that somebody holds and that are not here.
fn missing_of(feed: &FeedState) -> u64 {
    let holes =
        feed.holes.iter().filter(|hole| !hole.unavailable).fold(0u64, |sum, hole| sum.saturating_add(len(hole)));
    if feed.holes.len() < HOLES_LISTED_MAX {
        return holes;
    }
    // Not all are listed: all numbers from the first one held on, but for those that are here.
    let from_floor = feed.known_head.saturating_sub(feed.floor.max(1)).saturating_add(1);
    from_floor.saturating_sub(feed.have).max(holes)
}

fn len(hole: &Hole) -> u64 {
    hole.to.saturating_sub(hole.from).saturating_add(1)
}

fn holes(feed: &FeedState) -> String {
    if feed.holes.is_empty() {
        return "-".to_owned();
    }
    let shown = feed.holes.len().min(HOLES_SHOWN_MAX);
    let mut ranges: Vec<String> = feed.holes[..shown].iter().map(range).collect();
    if shown < feed.holes.len() {
        ranges.push(format!("+{}", feed.holes.len() - shown));
    }
    ranges.join(",")
}

/// `3`, `3-14`, or `3-14(gone)` where nobody holds it any more.
fn range(hole: &Hole) -> String {
    let gone = if hole.unavailable { "(gone)" } else { "" };
    if hole.from == hole.to { format!("{}{gone}", hole.from) } else { format!("{}-{}{gone}", hole.from, hole.to) }
}

fn marks(feed: &FeedState) -> &'static str {
    match (feed.own, feed.forked) {
        (true, true) => "own,forked",
        (true, false) => "own",
        (false, true) => "forked",
        (false, false) => "-",
    }
}

fn names_of(sync: &SyncStateResponse) -> Names {
    let mut names = Names::default();
    for feed in &sync.feeds {
        names.add(&feed.name, &feed.author);
        names.call(&feed.author, &feed.petname);
    }
    for peer in &sync.peers {
        names.add(&peer.name, &peer.id);
        names.call(&peer.id, &peer.petname);
    }
    names
}

fn show(peer: &PeerSync, names: &Names) -> String {
    names.show(&peer.name, &peer.id)
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { escape::line(text).into_owned() }
}

fn document(sync: &SyncStateResponse) -> Document<'_> {
    Fields::document("sync")
        .add("synced", sync.synced)
        .add("digest", sync.digest.as_str())
        .add("posts", sync.posts)
        .add("missing_posts", sync.missing_posts)
        .add("unavailable_posts", sync.unavailable_posts)
        .add("feeds", Document::List(sync.feeds.iter().map(feed_document).collect()))
        .add("peers", Document::List(sync.peers.iter().map(peer_document).collect()))
        .done()
}

fn feed_document(feed: &FeedState) -> Document<'_> {
    let holes = feed.holes.iter().map(|hole| {
        Fields::new().add("from", hole.from).add("to", hole.to).add("unavailable", hole.unavailable).done()
    });
    Fields::new()
        .add("author", feed.author.as_str())
        .add("name", Document::filled(&feed.name))
        .add("petname", Document::filled(&feed.petname))
        .add("epoch", feed.epoch)
        .add("have", feed.have)
        .add("floor", feed.floor)
        .add("head", feed.head)
        .add("known_head", feed.known_head)
        .add("missing", missing_of(feed))
        .add("holes", Document::List(holes.collect()))
        .add("hash", Document::filled(&feed.hash))
        .add("agree", u64::from(feed.agree))
        .add("forked", feed.forked)
        .add("own", feed.own)
        .done()
}

fn peer_document(peer: &PeerSync) -> Document<'_> {
    Fields::new()
        .add("id", peer.id.as_str())
        .add("name", Document::filled(&peer.name))
        .add("petname", Document::filled(&peer.petname))
        .add("behind", peer.behind)
        .add("ahead", peer.ahead)
        .add("compared", peer.compared)
        .add("equal", peer.equal)
        .done()
}

/// The API lists no more runs of a feed.
const HOLES_LISTED_MAX: usize = 64;
/// More would push everything else off the line.
const HOLES_SHOWN_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_the_same_is_in_sync_before_digests_are_compared_again() {
        let peer = |behind, equal| PeerSync { behind, equal, compared: true, ..PeerSync::default() };
        let peers = vec![peer(0, false), peer(0, true), peer(3, false)];
        let sync = SyncStateResponse { peers, synced: true, digest: "0123".to_owned(), ..SyncStateResponse::default() };
        let lines = summary(&sync, &names_of(&sync));
        assert!(lines[0].starts_with("in sync with 2 of 3: digest 0123; behind: "), "{lines:?}");
    }

    #[test]
    fn holes_beyond_those_listed_are_counted() {
        let listed: Vec<Hole> = (0..64).map(|n| Hole { from: 2 * n + 2, to: 2 * n + 2, unavailable: false }).collect();
        let feed =
            FeedState { floor: 1, have: 100, head: 500, known_head: 1_000, holes: listed, ..FeedState::default() };
        assert_eq!(missing_of(&feed), 900);
        let few = FeedState { holes: vec![Hole { from: 501, to: 1_000, unavailable: true }], ..feed };
        assert_eq!(missing_of(&few), 0, "nobody holds it");
    }
}
