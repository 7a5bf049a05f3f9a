//! Stopping.

use p2p_proto::v1::PeerState;
use p2p_tests::daemon::{AT_ONCE, Network};
use p2p_tests::program::{PATIENCE, eventually};
use rustix::process::Signal;

#[test]
fn p_04_term_and_int_stop_cleanly_and_remove_the_socket() {
    for signal in [Signal::TERM, Signal::INT] {
        let network = Network::new();
        let mut one = network.start("one", &[]);
        let two = network.start("two", &[&one]);
        one.wait_for_peers(1);
        one.signal(signal);
        assert_eq!(one.wait_exit().code(), Some(0));
        assert!(!one.socket().exists(), "the socket is gone");
        eventually(AT_ONCE, "the other one was told", || two.state_of(&one) != PeerState::Up);
    }
}

#[test]
fn g_15_a_stop_ends_watching_and_keeps_what_was_acknowledged() {
    let network = Network::new();
    let mut one = network.start("one", &[]);
    // The daemon's own stream: `p2pctl watch` would wait for it to come back.
    let watched = std::thread::scope(|scope| {
        let peer = &one;
        let watching = scope.spawn(move || {
            peer.ask(async |client| {
                let start = Some(p2p_proto::v1::watch_request::Start::After(0));
                let request = p2p_proto::v1::WatchRequest { start, ..Default::default() };
                let mut stream = client.chat().watch(request).await.unwrap().into_inner();
                while let Ok(Some(_)) = stream.message().await {}
            });
        });
        let sending = peer.p2pctl_start(&["send", "-l"], super::lines("one", 5_000));
        eventually(PATIENCE, "some posts are there", || peer.status().posts > 0);
        peer.signal(Signal::TERM);
        watching.join().unwrap();
        sending.wait(PATIENCE)
    });
    assert_eq!(one.wait_exit().code(), Some(0));
    let acknowledged = watched.stdout.lines().count();
    one.restart();
    assert!(one.posts().len() >= acknowledged, "{acknowledged} were acknowledged, {} are there", one.posts().len());
}

#[test]
fn the_api_can_stop_the_daemon() {
    let network = Network::new();
    let mut one = network.start("one", &[]);
    drop(one.p2pctl(&["daemon", "stop"]).ok());
    assert_eq!(one.wait_exit().code(), Some(0));
}

#[test]
fn a_socket_left_by_a_kill_is_taken_over() {
    let network = Network::new();
    let mut one = network.start("one", &[]);
    one.kill_9();
    assert!(one.socket().exists());
    let output = one.p2pctl(&["status"]);
    assert_eq!(output.code, Some(3), "{output:?}");
    one.restart();
    drop(one.p2pctl(&["status"]).ok());
}

#[test]
fn p_04_a_hangup_signal_ends_waiting_and_not_the_daemon() {
    let network = Network::new();
    let one = network.start("one", &[]);
    let mut two = network.start("two", &[&one]);
    two.signal(Signal::HUP);
    eventually(PATIENCE, "it says that it dials again", || two.log().contains("reloaded by=\"HUP\""));
    drop(two.p2pctl(&["send", "still here"]).ok());
    assert_eq!(two.stop().code(), Some(0));
}
