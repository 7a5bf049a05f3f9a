//! The process ends at any moment.

use std::thread::sleep;
use std::time::{Duration, Instant};

use p2p_tests::daemon::Network;
use p2p_tests::ledger::Ledger;
use p2p_tests::sim::dice::Dice;

use super::{rounds, seed};

#[test]
fn d_01_kill_9_at_any_moment_loses_nothing_acknowledged() {
    let seed = seed();
    let mut dice = Dice::new(seed);
    let network = Network::new();
    let mut peer = network.start("one", &[]);
    let mut ledger = Ledger::new(&peer, seed);
    let (mut seen, mut slowest) = (0, Duration::ZERO);
    let rounds = rounds(300);
    for _ in 0..rounds {
        let people = ledger.start(&peer, 4);
        people.wait_for_answers(dice.between(0, 30));
        sleep(dice.span(Duration::ZERO, Duration::from_millis(8)));
        peer.kill_9();
        ledger.finish(people);
        if dice.chance(0.3) {
            // A start can be killed too.
            peer.launch();
            sleep(dice.span(Duration::ZERO, Duration::from_millis(12)));
        }
        let begin = Instant::now();
        peer.restart();
        slowest = slowest.max(begin.elapsed());
        seen = super::look(&peer, &mut ledger, seen);
    }
    ledger.check(&[&peer]);
    let (acknowledged, unanswered) = (ledger.acknowledged(), ledger.unanswered());
    eprintln!("{rounds} kills, {acknowledged} acknowledged, {unanswered} unanswered, slowest start {slowest:?}");
    assert!(acknowledged as u64 > rounds, "hardly anything was said, so nothing was shown: {acknowledged}");
    assert!(unanswered as u64 > rounds / 10, "hardly any kill came in the middle: {unanswered}");
}
