//! The process ends at any moment.

use std::thread::sleep;
use std::time::Duration;

use p2p_tests::daemon::Network;
use p2p_tests::sim::dice::Dice;

use super::{Ended, seed};

#[test]
fn d_01_kill_9_at_any_moment_loses_nothing_acknowledged() {
    let seed = seed();
    let mut dice = Dice::new(seed);
    let network = Network::new();
    let mut ended = Ended::new(network.start("one", &[]), seed);
    for _ in 0..ended.rounds {
        let people = ended.ledger.start(&ended.peer, 4);
        people.wait_for_answers(dice.between(0, 30));
        sleep(dice.span(Duration::ZERO, Duration::from_millis(8)));
        ended.peer.kill_9();
        ended.ledger.finish(people);
        if dice.chance(0.3) {
            // A start can be killed too.
            ended.peer.launch();
            sleep(dice.span(Duration::ZERO, Duration::from_millis(12)));
        }
        ended.restart();
    }
    ended.check("kills");
}
