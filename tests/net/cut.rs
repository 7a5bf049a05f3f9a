//! Links that are reset, swallowed, forgotten by a box between, or slow.

use std::collections::BTreeSet;

use p2p_proto::v1::PeerState;
use p2p_tests::chaos::netns::Netns;
use p2p_tests::chaos::ways::{Way, Ways};
use p2p_tests::program::{PATIENCE, eventually};

use super::Field;

#[test]
fn n_05_a_link_that_the_kernel_resets_while_posts_travel_is_back_and_nothing_is_lost() {
    let Some(mut field) = Field::with(2) else { return };
    let lines: String = (0..POSTS).map(|number| format!("post {number}\n")).collect();
    let sending = field.peers[0].p2pctl_start(&["send", "-l"], lines.into_bytes());
    let mut links = BTreeSet::new();
    for round in 1..=5 {
        eventually(PATIENCE, "there is a new link", || field.link(0, 1).is_some_and(|link| links.insert(link)));
        eventually(PATIENCE, "posts travel", || field.peers[1].status().posts >= round * 20);
        field.netns.reset(0, 1).unwrap();
    }
    drop(sending.wait(PATIENCE).ok());
    field.check_equal(POSTS);

    // What answers with a reset, instead of silence, is no different.
    field.apply(&Ways::alone(1, Way::Refuse));
    eventually(PATIENCE, "the link is gone", || {
        field.say(0, "is anybody there?");
        field.state(0, 1) != PeerState::Up
    });
    field.apply(&Ways::default());
    let said = field.peers[0].status().posts as usize;
    field.check_equal(said);
}

#[test]
fn n_06_a_black_hole_is_found_while_we_send_and_nothing_is_lost_when_it_closes() {
    let Some(mut field) = Field::with(2) else { return };
    field.apply(&Ways::alone(1, Way::Hole));
    field.say(0, "into the hole");
    field.say(1, "out of the hole");
    // The heartbeat of an idle link comes after 30 s: this is found because something was said.
    eventually(PATIENCE, "the hole is seen from both sides", || {
        field.state(0, 1) != PeerState::Up && field.state(1, 0) != PeerState::Up
    });
    field.apply(&Ways::default());
    field.check_equal(2);
}

#[test]
fn n_06_a_hole_that_closes_soon_costs_no_link() {
    let Some(mut field) = Field::with(2) else { return };
    let mut said = 0;
    // On a busy machine a hole that was meant to be short may be long, and then it does cost the link.
    eventually(PATIENCE, "TCP bridged a hole", || {
        let link = field.link(0, 1);
        field.apply(&Ways::alone(1, Way::Hole));
        field.say(0, "into the hole");
        field.apply(&Ways::default());
        said += 1;
        field.check_equal(said);
        link.is_some() && field.link(0, 1) == link
    });
}

#[test]
fn n_06_an_idle_link_with_a_one_way_hole_is_found_by_the_heartbeat() {
    let Some(mut field) = Field::open() else { return };
    let env = [("P2P_HEARTBEAT_INTERVAL", "1s"), ("P2P_HEARTBEAT_TIMEOUT", "2s")];
    field.add(vec![], "0.0.0.0:8080", &env);
    field.add(vec![Netns::addr(0)], "0.0.0.0:8080", &env);
    field.wait_for_links();
    field.apply(&Ways::default().one_way(0, 1, Way::Hole));
    eventually(PATIENCE, "the hole is seen from both sides", || {
        field.state(0, 1) != PeerState::Up && field.state(1, 0) != PeerState::Up
    });
    field.apply(&Ways::default());
    field.wait_for_links();
}

#[test]
fn n_14_a_link_that_a_box_between_forgot_is_found_and_replaced() {
    let Some(mut field) = Field::open() else { return };
    let env = [("P2P_HEARTBEAT_INTERVAL", "1s"), ("P2P_HEARTBEAT_TIMEOUT", "2s")];
    field.add(vec![], "0.0.0.0:8080", &env);
    field.add(vec![Netns::addr(0)], "0.0.0.0:8080", &env);
    field.wait_for_links();
    let link = field.link(1, 0);
    // The one connection there is: its bytes are dropped at both ends, and new ones are free to come.
    let sockets = field.run(1, "ss -tnH state established");
    let local = sockets.split_whitespace().nth(2).unwrap().rsplit_once(':').unwrap().1.to_owned();
    let port =
        if local == "8080" { sockets.split_whitespace().nth(3).unwrap().rsplit_once(':').unwrap().1 } else { &local };
    for place in 0..2 {
        for direction in ["--sport", "--dport"] {
            field.run(place, &format!("iptables -A INPUT -p tcp {direction} {port} -j DROP"));
        }
    }
    eventually(PATIENCE, "there is a new link", || field.link(1, 0).is_some_and(|now| Some(now) != link));
    field.say(0, "on the new link");
    field.check_equal(1);
}

const POSTS: usize = 20_000;
