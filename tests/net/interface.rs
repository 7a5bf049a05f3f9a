//! Interfaces that go, come back, change their address, carry little at once, or speak IPv6 only.

use p2p_proto::v1::PeerState;
use p2p_tests::chaos::netns::Netns;
use p2p_tests::program::{PATIENCE, eventually};

use super::Field;

#[test]
fn n_12_an_interface_that_goes_down_and_comes_back_heals() {
    let Some(field) = Field::with(3) else { return };
    field.run(1, "ip link set eth0 down");
    for place in 0..3 {
        field.say(place, "meanwhile");
    }
    eventually(PATIENCE, "the others see it", || field.state(0, 1) != PeerState::Up);
    field.run(1, "ip link set eth0 up");
    field.check_equal(3);
}

#[test]
fn n_12_a_peer_whose_address_changes_is_linked_again() {
    let Some(field) = Field::with(3) else { return };
    field.run(2, "ip addr del 10.77.0.3/24 dev eth0");
    field.run(2, "ip addr add 10.77.0.33/24 dev eth0");
    for place in 0..3 {
        field.say(place, "after the move");
    }
    // The others know the old address only: it is the one that moved that dials.
    field.check_equal(3);
}

#[test]
fn n_12_frames_pass_where_only_small_packets_do() {
    let Some(field) = Field::with(2) else { return };
    for place in 0..2 {
        field.run(place, "ip link set eth0 mtu 576");
    }
    let long = "x".repeat(16_000);
    for _ in 0..20 {
        field.say(0, &long);
    }
    field.check_equal(20);
}

#[test]
fn n_12_peers_that_speak_ipv6_only_are_linked() {
    let Some(mut field) = Field::open() else { return };
    for place in 0..3 {
        field.run(place, "ip -4 addr flush dev eth0");
        field.run(place, &format!("ip -6 addr add fd77::{}/64 dev eth0 nodad", place + 1));
        let dials = (0..place).map(|other| format!("[fd77::{}]:8080", other + 1)).collect();
        field.add(dials, "[::]:8080", &[]);
    }
    field.say(0, "over six");
    field.check_equal(1);
}

#[test]
fn n_12_of_two_addresses_one_of_which_is_dead_the_other_is_used() {
    let Some(mut field) = Field::open() else { return };
    field.add(vec![], "0.0.0.0:8080", &[]);
    // Nobody is there, and nobody says so.
    field.run(1, "ip route add 192.0.2.0/24 dev eth0");
    field.add(vec!["192.0.2.1:8080".into(), Netns::addr(0)], "0.0.0.0:8080", &[]);
    field.say(0, "still found");
    field.check_equal(1);
}
