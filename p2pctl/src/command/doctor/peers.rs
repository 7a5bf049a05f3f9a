//! The others: who is linked, and why not.

use std::collections::BTreeSet;

use p2p_proto::v1::{Health, Peer};

use super::facts::{Facts, listed};
use crate::output::doctor::Check;
use crate::output::peers;
use crate::output::words::{are, counted};

/// What a dial fails with, by words of the daemon and of the system.
const SECRET: &[&str] = &["network secret"];
const NAMES: &[&str] = &["cannot be resolved", "has no address", "was not resolved"];
const REFUSED: &[&str] = &["refused (", "Connection refused"];
const SILENT: &[&str] = &["no answer", "timed out", "No route", "unreachable"];

fn is_any(words: &'static [&'static str]) -> impl Fn(&str) -> bool {
    move |error| words.iter().any(|word| error.contains(word))
}

fn called(peer: &Peer) -> &str {
    if peer.address.is_empty() { &peer.id } else { &peer.address }
}

/// One kind of failing dials.
fn dials(facts: &Facts, id: &'static str, failing: &[&Peer], what: &str, hint: impl Into<String>) -> Check {
    if failing.is_empty() {
        return Check::ok(id, "no configured peer fails so");
    }
    let finding = format!("{} {what}", listed(failing.iter().map(|peer| called(peer))));
    let is_alone = facts.linked().next().is_none();
    if is_alone { Check::fail(id, finding, hint) } else { Check::warn(id, finding, hint) }
}

pub(super) fn configured(facts: &Facts) -> Check {
    let count = facts.configured().count() as u64;
    if count > 0 {
        return Check::ok("peers", format!("{} {} configured", counted(count, "peer"), are(count)));
    }
    if facts.status.peers_known > 0 {
        return Check::ok("peers", "none is configured; others are known");
    }
    let hint =
        "name one: p2pctl peers add HOST:PORT for now, or `peers` in the configuration; others may dial this one";
    Check::warn("peers", "none is configured or known: this daemon is alone", hint)
}

pub(super) fn linked(facts: &Facts) -> Check {
    let (up, known) = (facts.status.peers_up, facts.status.peers_known);
    if facts.status.health() == Health::Isolated {
        let finding = format!("none of {} is linked", counted(u64::from(known.max(1)), "peer"));
        return Check::fail("links", finding, "see why: p2pctl peers -a; dial at once: p2pctl peers reconnect");
    }
    Check::ok("links", format!("{up} of {known} peers are linked"))
}

pub(super) fn secret(facts: &Facts) -> Check {
    if facts.network.shut_out {
        let hint = "a member can let it in again, there: p2pctl network rotate --readmit PEER";
        return Check::fail("secret", "this daemon was shut out of its network", hint);
    }
    if facts.network.left_out {
        let hint = "join again by a ticket of a member: p2pctl invite there, and p2pctl join here";
        return Check::fail("secret", "this daemon was not given the network's new secret", hint);
    }
    let failing = facts.failing(is_any(SECRET));
    let file = facts.value("network_secret_file");
    let hint = format!("give both the same key, with a restart: scp THERE:network.key {file}");
    dials(facts, "secret", &failing, "has another network secret", hint)
}

pub(super) fn names(facts: &Facts) -> Check {
    let failing = facts.failing(is_any(NAMES));
    let hint = "see whether the name is right: getent hosts NAME; an IP address works without";
    dials(facts, "names", &failing, "is a name without an address", hint)
}

pub(super) fn refused(facts: &Facts) -> Check {
    let failing = facts.failing(|error| is_any(REFUSED)(error) && !is_any(SECRET)(error));
    let hint = "see whether p2pd runs there, and listens on that address and port: p2pctl status, there";
    dials(facts, "refused", &failing, "refuses connections: nobody listens there", hint)
}

pub(super) fn silent(facts: &Facts) -> Check {
    let failing = facts.failing(is_any(SILENT));
    let hint = "see whether the machine is on, and no firewall stands between: ping HOST, nc -vz HOST PORT";
    dials(facts, "silent", &failing, "gives no answer", hint)
}

pub(super) fn blocked(facts: &Facts) -> Check {
    let blocked: Vec<&Peer> = facts.configured().filter(|peer| peer.blocked).collect();
    let Some(first) = blocked.first() else { return Check::ok("blocked", "no configured peer is blocked") };
    let finding = format!("{} is configured and blocked", listed(blocked.iter().map(|peer| called(peer))));
    Check::warn("blocked", finding, format!("p2pctl peers unblock {}, or take it out of `peers`", first.id))
}

pub(super) fn versions(facts: &Facts) -> Check {
    let ours = format!("p2pd/{}", facts.status.version);
    let others: BTreeSet<&str> =
        facts.linked().map(|peer| peer.agent.as_str()).filter(|agent| !agent.is_empty() && *agent != ours).collect();
    if others.is_empty() {
        return Check::ok("versions", "all linked peers run the same");
    }
    let finding = format!("this is {ours}, others run {}", listed(others));
    Check::warn("versions", finding, "they work together; update the older ones when you can")
}

pub(super) fn clocks(facts: &Facts) -> Check {
    let known = peers::names_of(&facts.peers);
    let off: Vec<&Peer> = facts.linked().filter(|peer| peer.clock_offset_us.abs() > CLOCK_US_WARN).collect();
    let linked = facts.linked().count();
    let Some(worst) = off.iter().max_by_key(|peer| peer.clock_offset_us.abs()) else {
        return Check::ok("clocks", "those of linked peers are like ours");
    };
    let hint = "set the clock: timedatectl set-ntp true";
    if off.len() * 2 > linked && linked > 1 {
        let finding = format!("ours differs from those of {} of {linked} linked peers", off.len());
        return Check::warn("clocks", finding, format!("{hint}, here"));
    }
    let (seconds, who) = (worst.clock_offset_us / 1_000_000, peers::show(worst, &known));
    Check::warn("clocks", format!("that of {who} is {seconds:+} s from ours"), format!("{hint}, here or there"))
}

pub(super) fn unacked(facts: &Facts) -> Check {
    let posts = facts.status.unacked_own_posts;
    if posts == 0 {
        return Check::ok("own-posts", "others hold all that was said here");
    }
    let (count, are) = (counted(posts, "own post"), are(posts));
    let finding = format!("{count} {are} held by nobody else: if this disk is lost, so is that");
    Check::warn("own-posts", finding, "bring a peer up, then: p2pctl wait --synced")
}

pub(super) fn missing(facts: &Facts) -> Check {
    let (missing, gone) = (facts.status.missing_posts, facts.status.unavailable_posts);
    match (missing, gone) {
        (0, 0) => Check::ok("history", "nothing is missing"),
        (0, gone) => {
            let finding = format!("{} cannot be had: no linked peer holds it any more", counted(gone, "post"));
            Check::warn("history", finding, "see of whom: p2pctl sync; a peer that is away may have it")
        }
        (missing, _) => {
            let finding = format!("{} {} on the way here", counted(missing, "post"), are(missing));
            Check::warn("history", finding, "p2pctl sync --now")
        }
    }
}

/// From here on an order by clocks looks wrong to people.
const CLOCK_US_WARN: i64 = 2_000_000;
