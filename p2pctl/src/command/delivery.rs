//! How far posts got: what `send -w` and `wait --delivered` wait for, judged from receipts.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use p2p_proto::client::Client;
use p2p_proto::error::Code;
use p2p_proto::v1::{Holder, HolderState, PostId, Receipt, ReceiptsRequest};
use tokio::time::Instant;

use super::{Session, live};
use crate::args::Wanted;
use crate::exit::{Exit, Outcome, Problem, Stop};
use crate::output::names::Names;
use crate::output::posts::short_id;
use crate::output::receipts::{names_of, rank};
use crate::output::time;
use crate::output::words::{are, counted, listed};
use crate::progress::Spinner;

/// Who holds all of some posts. A peer counts by the post that it is farthest from.
pub(crate) struct Delivery<'a> {
    peers: Vec<&'a Holder>,
    names: Names,
}

impl<'a> Delivery<'a> {
    /// Of posts for everybody, or, where `to` is not empty, for that peer alone: others who hold those cannot read them.
    pub(crate) fn of(receipts: &'a [Receipt], to: &str) -> Self {
        let mut peers: BTreeMap<&str, &Holder> = BTreeMap::new();
        let holders = receipts.iter().flat_map(|receipt| &receipt.holders);
        for holder in holders.filter(|holder| to.is_empty() || holder.peer == to) {
            let least = peers.entry(&holder.peer).or_insert(holder);
            if rank(holder.state()) < rank(least.state()) {
                *least = holder;
            }
        }
        let peers: Vec<&Holder> = peers.into_values().collect();
        Self { names: names_of(peers.iter().copied()), peers }
    }

    /// `5 of 5`
    fn counts(&self) -> String {
        format!("{} of {}", self.holders(), self.peers.len())
    }

    /// Why this is not enough, as in `not yet held by bob~7qfd (away for 4m)`; nothing where it is.
    pub(crate) fn what_is_missing(&self, wanted: Wanted, now: Timestamp) -> String {
        if wanted == Wanted::Stored {
            return String::new();
        }
        if self.peers.is_empty() {
            return "no other peer is known".to_owned();
        }
        let is_missing = match wanted {
            Wanted::Stored => false,
            Wanted::Sent => !self.peers.iter().any(|peer| rank(peer.state()) >= rank(HolderState::Sent)),
            Wanted::Holders(count) => self.holders() < count as usize,
            Wanted::Online => self.holders() == 0 || self.open().any(is_linked),
            Wanted::Everyone => self.open().next().is_some(),
        };
        if is_missing { self.name_missing(wanted, now) } else { String::new() }
    }

    fn name_missing(&self, wanted: Wanted, now: Timestamp) -> String {
        // Where somebody is linked, those that are away are not the ones waited for.
        let only_linked = wanted == Wanted::Online && self.open().any(is_linked);
        let open = self.open().filter(|peer| !only_linked || is_linked(peer));
        let open = listed(open.map(|peer| self.show(peer, now)));
        match wanted {
            Wanted::Stored => String::new(),
            Wanted::Sent => format!("not yet sent to {open}"),
            Wanted::Holders(count) if count as usize > self.peers.len() => {
                let known = self.peers.len() as u64;
                let held = if open.is_empty() { String::new() } else { format!(", not yet held by {open}") };
                format!("only {} {} known{held}", counted(known, "other peer"), are(known))
            }
            Wanted::Holders(count) => format!("held by {} of {count}, not yet by {open}", self.holders()),
            Wanted::Online | Wanted::Everyone => format!("not yet held by {open}"),
        }
    }

    fn holders(&self) -> usize {
        self.peers.len() - self.open().count()
    }

    /// Those that are not known to hold everything.
    fn open(&self) -> impl Iterator<Item = &'a Holder> {
        self.peers.iter().copied().filter(|peer| peer.state() != HolderState::Holds)
    }

    fn show(&self, peer: &Holder, now: Timestamp) -> String {
        let name = self.names.show(&peer.name, &peer.peer);
        match (is_linked(peer), peer.last_seen_us) {
            (true, _) => name,
            (false, 0) => format!("{name} (away)"),
            (false, seen_us) => format!("{name} (away for {})", time::ago(seen_us, now)),
        }
    }
}

/// Waits until posts that are stored here have come as far as `wanted`: the first and the last of each feed stand for
/// all between them, for what a peer holds of a feed is told by its two ends. Where `to` is not empty they are for that peer
/// alone.
pub(crate) async fn wait(
    (ids, to): (Vec<PostId>, &str),
    wanted: Wanted,
    patience: Duration,
    session: &mut Session,
) -> Outcome {
    if wanted == Wanted::Stored {
        return Ok(());
    }
    let start = Instant::now();
    let spinner = Spinner::new(session.is_bar_welcome());
    let mut counts = None;
    for ids in ids.chunks(IDS_MAX) {
        let mut missing = "it is not known who holds it".to_owned();
        let following = until((ids, to), wanted, session, &spinner, &mut missing);
        let reached = match tokio::time::timeout_at(start + patience, following).await {
            Ok(Ok(reached)) => reached,
            Ok(Err(Stop::Problem(problem))) => return Err(partial(ids, &problem.message).into()),
            Ok(Err(stop)) => return Err(stop),
            Err(_) => return Err(partial(ids, &missing).into()),
        };
        counts = Some(reached);
    }
    spinner.finish();
    if let Some(counts) = counts {
        session.note(&format!("delivered to {counts} ({})", took(start.elapsed())));
    }
    Ok(())
}

/// Follows receipts until they are good enough. Gives how many hold everything.
async fn until(
    (ids, to): (&[PostId], &str),
    wanted: Wanted,
    session: &Session,
    spinner: &Spinner,
    missing: &mut String,
) -> Outcome<String> {
    let request = ReceiptsRequest { ids: ids.to_vec(), follow: true };
    let open = async |client: Client| client.chat().receipts(request.clone()).await;
    live::until("receipts", session, open, |answer| {
        let receipts = match answer {
            Ok(answer) => answer.receipts,
            Err(why) => {
                *missing = why;
                return None;
            }
        };
        let delivery = Delivery::of(&receipts, to);
        *missing = delivery.what_is_missing(wanted, (session.io.now)());
        spinner.say(&format!("delivered to {}: {missing}", delivery.counts()));
        missing.is_empty().then(|| delivery.counts())
    })
    .await
}

/// It is stored, so no other exit code may make anybody send it again.
fn partial(ids: &[PostId], missing: &str) -> Problem {
    let message = format!("send: stored here, and {missing}");
    let hint = format!("it is delivered when they link; ask with: p2pctl receipts {}", short_id(ids.last()));
    Problem::new(Exit::Partial, Code::Partial.name(), message).with_hint(hint)
}

fn is_linked(peer: &Holder) -> bool {
    match peer.state() {
        HolderState::Linked | HolderState::Sent => true,
        HolderState::Holds | HolderState::Away | HolderState::Unspecified => false,
    }
}

/// `12 ms`, `1.2 s`
fn took(span: Duration) -> String {
    if span < Duration::from_secs(1) {
        format!("{} ms", span.as_millis())
    } else {
        format!("{:.1} s", span.as_secs_f64())
    }
}

/// The API takes no more in one request.
const IDS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_US: i64 = 1_795_348_800_000_000;

    fn receipt(states: &[(&str, HolderState)]) -> Receipt {
        let holder = |(name, state): &(&str, HolderState)| Holder {
            peer: format!("{name}xxxxxxxx"),
            name: (*name).to_owned(),
            state: (*state).into(),
            last_seen_us: NOW_US - 240_000_000,
            ..Holder::default()
        };
        Receipt { id: None, held: true, holders: states.iter().map(holder).collect() }
    }

    #[track_caller]
    fn check(wanted: Wanted, receipts: &[Receipt], expected: &str) {
        let now = Timestamp::from_microsecond(NOW_US).expect("a time of today");
        assert_eq!(Delivery::of(receipts, "").what_is_missing(wanted, now), expected, "{wanted:?}");
    }

    use HolderState::{Away, Holds, Linked, Sent};

    #[test]
    fn everyone_is_everyone_that_is_known() {
        check(Wanted::Everyone, &[receipt(&[("bob", Holds), ("carol", Holds)])], "");
        let some = receipt(&[("alice", Holds), ("bob", Away), ("carol", Sent), ("dave", Linked)]);
        check(Wanted::Everyone, &[some], "not yet held by bob~bobx (away for 4m), carol~caro, dave~dave");
        check(Wanted::Everyone, &[receipt(&[])], "no other peer is known");
    }

    #[test]
    fn online_is_whoever_is_linked_and_one_at_least() {
        check(Wanted::Online, &[receipt(&[("bob", Holds), ("carol", Away)])], "");
        check(
            Wanted::Online,
            &[receipt(&[("bob", Holds), ("carol", Sent), ("dave", Away)])],
            "not yet held by carol~caro",
        );
        check(Wanted::Online, &[receipt(&[("bob", Away)])], "not yet held by bob~bobx (away for 4m)");
        check(Wanted::Online, &[receipt(&[])], "no other peer is known");
    }

    #[test]
    fn a_number_counts_holders_and_sent_is_content_with_one_that_was_handed_it() {
        let some = || [receipt(&[("bob", Holds), ("carol", Sent), ("dave", Away)])];
        check(Wanted::Holders(1), &some(), "");
        check(Wanted::Holders(2), &some(), "held by 1 of 2, not yet by carol~caro, dave~dave (away for 4m)");
        check(
            Wanted::Holders(4),
            &some(),
            "only 3 other peers are known, not yet held by carol~caro, dave~dave (away for 4m)",
        );
        check(Wanted::Sent, &some(), "");
        check(
            Wanted::Sent,
            &[receipt(&[("bob", Linked), ("carol", Away)])],
            "not yet sent to bob~bobx, carol~caro (away for 4m)",
        );
    }

    #[test]
    fn a_peer_that_lacks_one_of_them_does_not_hold_them() {
        let first = receipt(&[("bob", Holds), ("carol", Away)]);
        let last = receipt(&[("bob", Sent), ("carol", Holds)]);
        let both = [first, last];
        assert_eq!(Delivery::of(&both, "").counts(), "0 of 2");
        check(Wanted::Everyone, &both, "not yet held by bob~bobx, carol~caro (away for 4m)");
        check(Wanted::Sent, &both, "");
    }

    #[test]
    fn what_is_for_one_peer_has_arrived_when_that_one_holds_it() {
        let held = [receipt(&[("bob", Holds), ("carol", Away)])];
        let now = Timestamp::from_microsecond(NOW_US).expect("a time of today");
        let missing = |to: &str, wanted| Delivery::of(&held, to).what_is_missing(wanted, now);
        assert_eq!(missing("bobxxxxxxxx", Wanted::Everyone), "");
        assert_eq!(missing("carolxxxxxxxx", Wanted::Holders(1)), "held by 0 of 1, not yet by carol~caro (away for 4m)");
        assert_eq!(missing("carolxxxxxxxx", Wanted::Online), "not yet held by carol~caro (away for 4m)");
        assert_eq!(missing("nobody", Wanted::Sent), "no other peer is known");
    }

    #[test]
    fn times_are_read_at_a_glance() {
        assert_eq!([12, 999, 1_240].map(|ms| took(Duration::from_millis(ms))), ["12 ms", "999 ms", "1.2 s"]);
    }
}
