use std::collections::BTreeSet;

use ed25519_dalek::SigningKey;
use proptest::prelude::*;

use super::*;
use crate::envelope::{Body, Post};
use crate::id::{Epoch, PeerId};

fn envelope(first: u64, count: usize, prev: Option<Hash>, ms: u64) -> Envelope {
    let key = SigningKey::from_bytes(&[1; 32]);
    let body = Body {
        feed: Instance { id: PeerId(key.verifying_key().to_bytes()), epoch: Epoch(1) },
        first: Seq(first),
        prev,
        at: Stamp { ms, counter: 0 },
        posts: vec![Post::chat("general", "x"); count],
    };
    Envelope::clone(&body.sign(&key))
}

/// Envelopes of these sizes, one after the other.
fn chain(sizes: &[usize]) -> Vec<Envelope> {
    let (mut chain, mut first): (Vec<Envelope>, u64) = (Vec::new(), 1);
    for (place, size) in sizes.iter().enumerate() {
        let prev = chain.last().map(Envelope::hash);
        chain.push(envelope(first, *size, prev, place as u64 + 10));
        first += *size as u64;
    }
    chain
}

fn holding(envelopes: &[&Envelope]) -> Runs {
    let mut runs = Runs::default();
    for envelope in envelopes {
        assert!(matches!(runs.add(envelope), Fit::Extends | Fit::Beyond));
    }
    runs
}

#[test]
fn an_envelope_extends_only_the_past_it_names() {
    let chain = chain(&[2, 1, 1]);
    assert_eq!(Runs::default().fit(&chain[0]), Fit::Extends);
    assert_eq!(Runs::default().fit(&chain[1]), Fit::Beyond);
    let runs = holding(&[&chain[0]]);
    assert_eq!(runs.fit(&chain[1]), Fit::Extends);
    assert_eq!(runs.fit(&chain[0]), Fit::Held);
    assert_eq!(runs.fit(&chain[2]), Fit::Beyond);
    assert_eq!(runs.fit(&envelope(3, 1, Some(Hash([9; 32])), 11)), Fit::Conflicts);
    assert_eq!(runs.fit(&envelope(2, 2, Some(chain[0].hash()), 11)), Fit::Conflicts);
}

#[test]
fn time_never_stands_still_in_a_feed() {
    let first = envelope(1, 2, None, 10);
    let runs = holding(&[&first]);
    // The second post of the first envelope has counter 1.
    assert_eq!(runs.fit(&envelope(3, 1, Some(first.hash()), 10)), Fit::Conflicts);
    assert_eq!(runs.tip().at, Stamp { ms: 10, counter: 1 });
}

#[test]
fn a_clash_tells_which_run_cannot_be_true_beside_the_envelope() {
    let chain = chain(&[2, 2, 2, 2]);
    let runs = holding(&[&chain[0], &chain[2]]);
    let (low, top) = (*runs.iter().next().unwrap(), *runs.top().unwrap());
    let stranger = Some(Hash([9; 32]));
    assert_eq!(runs.clash(&envelope(3, 1, stranger, 11)), Some(Clash::Behind(low)));
    assert_eq!(runs.clash(&envelope(2, 1, stranger, 11)), None, "it is held, with whatever past");
    assert_eq!(runs.clash(&envelope(4, 2, stranger, 11)), Some(Clash::Overlaps(top)));
    assert_eq!(runs.clash(&envelope(4, 1, stranger, 11)), Some(Clash::Before(top)));
    assert_eq!(runs.clash(&envelope(8, 1, stranger, 11)), None, "what is between may explain it");
    assert_eq!(runs.clash(&chain[1]), None);
}

#[test]
fn what_is_cut_off_below_leaves_a_run_that_the_rest_continues() {
    let chain = chain(&[2, 3, 1, 4, 1]);
    let mut runs = holding(&[&chain[0], &chain[1], &chain[2], &chain[4]]);
    runs.cut_before(&chain[1]);
    assert_eq!(runs, holding(&[&chain[1], &chain[2], &chain[4]]));
    runs.cut_before(&chain[4]);
    assert_eq!(runs, holding(&[&chain[4]]));
    runs.cut_before(&chain[4]);
    assert_eq!(runs, holding(&[&chain[4]]));
}

#[test]
fn runs_that_touch_or_are_empty_are_none() {
    let chain = chain(&[1, 1, 1]);
    let run = |n: usize| *holding(&[&chain[n]]).top().unwrap();
    assert!(Runs::of(vec![run(0), run(2)]).is_some());
    assert_eq!(Runs::of(vec![run(0), run(1)]), None);
    assert_eq!(Runs::of(vec![run(2), run(0)]), None);
    assert_eq!(Runs::of(vec![Run { tip: Tip::default(), ..run(0) }]), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn in_whatever_order_a_feed_arrives_it_ends_the_same(sizes in prop::collection::vec(1usize..5, 1..12), order in prop::collection::vec(any::<u32>(), 12), from in 1u64..40, len in 0u64..20) {
        let chain = chain(&sizes);
        let mut shuffled: Vec<&Envelope> = chain.iter().collect();
        shuffled.sort_by_key(|envelope| order[envelope.first().0 as usize % 12]);
        let (mut runs, mut model) = (Runs::default(), BTreeSet::new());
        for envelope in &shuffled {
            prop_assert!(matches!(runs.add(envelope), Fit::Extends | Fit::Beyond));
            prop_assert_eq!(runs.add(envelope), Fit::Held);
            model.extend(envelope.first().0..=envelope.last().0);
            let to = from + len;
            prop_assert_eq!(runs.count(), model.len() as u64);
            prop_assert_eq!(runs.count_within(Seq(from), Seq(to)), model.range(from..=to).count() as u64);
            prop_assert_eq!(runs.missing_within(Seq(from), Seq(to)) == 0, runs.contains(Seq(from), Seq(to)));
            prop_assert_eq!(runs.head().0, *model.last().unwrap());
            prop_assert_eq!(runs.held().count(), model.len() as u64);
            prop_assert_eq!(runs.held().runs().count(), runs.len());
            prop_assert_eq!(Runs::of(runs.iter().copied().collect()), Some(runs.clone()));
        }
        prop_assert_eq!(runs, holding(&chain.iter().collect::<Vec<_>>()));
    }

    #[test]
    fn a_middle_that_was_forged_never_melts_two_runs(at in 1usize..5, what in 0usize..3) {
        let chain = chain(&[2; 6]);
        let others: Vec<&Envelope> = chain.iter().enumerate().filter(|(n, _)| *n != at).map(|(_, envelope)| envelope).collect();
        let mut runs = holding(&others);
        let (before, true_one) = (runs.clone(), &chain[at]);
        let forged = match what {
            0 => envelope(true_one.first().0, 2, Some(Hash([8; 32])), at as u64 + 10),
            1 => envelope(true_one.first().0, 2, true_one.body().prev, at as u64 + 1_000),
            _ => envelope(true_one.first().0, 1, true_one.body().prev, at as u64 + 10),
        };
        let fit = runs.add(&forged);
        // One that is shorter only claims the end of the lower run: what is behind it then conflicts.
        if fit == Fit::Conflicts { prop_assert_eq!(&runs, &before); }
        prop_assert_eq!(runs.len(), 2);
        prop_assert_eq!(fit == Fit::Extends, what == 2);
    }
}
