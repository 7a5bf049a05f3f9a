//! The power goes at any moment.

use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use p2p_tests::daemon::{Network, Options, TestPeer};
use p2p_tests::ledger::Ledger;
use p2p_tests::program::{PATIENCE, eventually};
use p2p_tests::sim::dice::Dice;
use p2p_tests::skip::or_skip;
use p2p_tests::volume::{Cut, Volume};

use super::{Ended, data_dir, rounds, seed};

/// A file system whose power can be cut.
#[track_caller]
fn volume(at: &Path) -> Option<Volume> {
    let made = Volume::ext4(at, 256).and_then(|mut volume| {
        volume.cut_power(Cut::Journal)?;
        volume.restore_power()?;
        Ok(volume)
    });
    or_skip(made)
}

/// Cuts the power under a daemon, and brings it back.
#[track_caller]
fn cut(volume: &mut Volume, peer: &mut TestPeer, dice: &mut Dice) {
    // A flush that is under way while ext4 shuts down is answered with success although nothing is written: a race of
    // the kernel that no real power cut has. So every call ends first, and the cut falls between two of them.
    peer.freeze();
    volume.cut_power(dice.pick(&[Cut::Journal, Cut::Data])).unwrap();
    peer.kill_9();
    volume.restore_power().unwrap();
}

#[test]
fn d_02_a_power_cut_at_any_moment_loses_nothing_acknowledged() {
    let seed = seed();
    let mut dice = Dice::new(seed);
    let network = Network::new();
    let Some(mut volume) = volume(&data_dir(&network, "one")) else { return };
    let mut ended = Ended::new(network.start("one", &[]), seed);
    for _ in 0..ended.rounds {
        let people = ended.ledger.start(&ended.peer, 4);
        people.wait_for_answers(dice.between(0, 30));
        sleep(dice.span(Duration::ZERO, Duration::from_millis(8)));
        cut(&mut volume, &mut ended.peer, &mut dice);
        ended.ledger.finish(people);
        if dice.chance(0.3) {
            // A start can lose its power too.
            ended.peer.launch();
            sleep(dice.span(Duration::ZERO, Duration::from_millis(12)));
            cut(&mut volume, &mut ended.peer, &mut dice);
        }
        ended.restart();
    }
    ended.check("cuts");
}

#[test]
fn d_02_what_was_received_and_lost_at_a_power_cut_comes_back_from_peers() {
    let seed = seed();
    let mut dice = Dice::new(seed);
    let network = Network::new();
    let Some(mut volume) = volume(&data_dir(&network, "one")) else { return };
    let mut one = network.start("one", &[]);
    let mut ledger = Ledger::new(&one, seed);
    let two = network.start("two", &[]);
    let mut others = Ledger::new(&two, seed + 1);
    let mut lost = 0;
    for _ in 0..rounds(300) / 10 {
        drop(two.p2pctl(&["peers", "add", &one.addr()]).ok());
        one.wait_for_peers(1);
        // What its own people say is flushed, and takes along what came before.
        let ours = dice.chance(0.5).then(|| ledger.start(&one, 2));
        let theirs = others.start(&two, 2);
        theirs.wait_for_answers(dice.between(0, 40));
        let held = one.status().posts;
        cut(&mut volume, &mut one, &mut dice);
        theirs.stop();
        others.finish(theirs);
        ours.into_iter().for_each(|ours| ledger.finish(ours));
        drop(two.p2pctl(&["peers", "forget", &one.addr()]));
        one.restart();
        lost += held.saturating_sub(one.status().posts);
    }
    drop(two.p2pctl(&["peers", "add", &one.addr()]).ok());
    eventually(PATIENCE, "both hold the same", || one.status().digest == two.status().digest);
    ledger.check_with(&others, &[&one, &two]);
    eprintln!("{lost} received posts were lost and came back");
}

#[test]
fn d_02_durability_never_may_lose_what_was_said_and_shows_nothing_half() {
    let seed = seed();
    let mut dice = Dice::new(seed);
    let network = Network::new();
    let Some(mut volume) = volume(&data_dir(&network, "one")) else { return };
    let env = vec![("P2P_DURABILITY".to_owned(), "never".to_owned())];
    let mut peer = network.start_with(Options { name: "one".into(), env, ..Options::default() });
    let mut ledger = Ledger::new(&peer, seed);
    for _ in 0..rounds(300) / 10 {
        let people = ledger.start(&peer, 4);
        people.wait_for_answers(dice.between(0, 30));
        sleep(dice.span(Duration::ZERO, Duration::from_millis(8)));
        cut(&mut volume, &mut peer, &mut dice);
        ledger.finish(people);
        peer.restart();
        ledger.check_shown(&peer);
    }
    drop(peer.p2pctl(&["send", "it goes on"]).ok());
    assert!(ledger.acknowledged() > 0);
}
