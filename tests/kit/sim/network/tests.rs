//! The virtual network, by hand-made calls.

#![allow(clippy::unwrap_used)]

use super::*;

const A: (Place, ProcessId) = (Place(0), ProcessId(1));
const B: (Place, ProcessId) = (Place(1), ProcessId(2));
const ID_A: PeerId = PeerId([1; 32]);
const ID_B: PeerId = PeerId([2; 32]);

fn plan() -> NetworkPlan {
    NetworkPlan {
        latency_min: Duration::from_millis(10),
        latency_max: Duration::from_millis(50),
        socket_bytes: 1_000,
        bandwidth: None,
        user_timeout: Duration::from_secs(5),
    }
}

fn network() -> Network {
    let mut network = Network::new(plan(), 7);
    network.attach(A.0, A.1, ID_A);
    network.attach(B.0, B.1, ID_B);
    network
}

/// Everything that is said until nothing happens any more, with the time; nobody loses patience with a slow reader.
fn run(network: &mut Network) -> Vec<(Mono, Signal)> {
    run_until(network, Mono(29_000_000))
}

fn run_until(network: &mut Network, end: Mono) -> Vec<(Mono, Signal)> {
    let mut said = Vec::new();
    while let Some(at) = network.next_at().filter(|at| *at <= end) {
        network.step();
        said.extend(std::iter::from_fn(|| network.poll_signal()).map(|signal| (at, signal)));
    }
    said.extend(std::iter::from_fn(|| network.poll_signal()).map(|signal| (Mono::default(), signal)));
    said
}

/// An open link from A to B: A's end.
fn linked(network: &mut Network) -> LinkId {
    network.dial(A, DialId(1), Some(B.0), Some(ID_B), Mono(0));
    let opened: Vec<(ProcessId, LinkOpened)> = run(network)
        .into_iter()
        .filter_map(|(_, signal)| match signal {
            Signal::Input(process, Input::LinkOpened(opened)) => Some((process, opened)),
            Signal::Input(..) | Signal::Readable(..) => None,
        })
        .collect();
    let [(first, dialed), (second, accepted)] = opened.as_slice() else { panic!("both are told: {opened:?}") };
    assert_eq!((*first, dialed.peer, dialed.dial, dialed.remote.port()), (A.1, ID_B, Some(DialId(1)), LISTEN_PORT));
    assert_eq!((*second, accepted.peer, accepted.dial, accepted.remote.ip()), (B.1, ID_A, None, A.0.ip()));
    dialed.link
}

fn frame(content: &[u8]) -> Bytes {
    Bytes::from([&(content.len() as u32).to_be_bytes(), content].concat())
}

fn frames(network: &mut Network, link: LinkId, now: Mono) -> Vec<Bytes> {
    network.fetch(link, usize::MAX, now);
    std::iter::from_fn(|| match network.next_frame(link) {
        NextFrame::Frame(frame) => Some(frame),
        NextFrame::Nothing | NextFrame::Closed(_) => None,
    })
    .collect()
}

fn closed(said: &[(Mono, Signal)]) -> Vec<(ProcessId, CloseReason)> {
    let reason = |signal: &Signal| match signal {
        Signal::Input(process, Input::LinkClosed { reason, .. }) => Some((*process, reason.clone())),
        Signal::Input(..) | Signal::Readable(..) => None,
    };
    said.iter().filter_map(|(_, signal)| reason(signal)).collect()
}

fn written(said: &[(Mono, Signal)]) -> usize {
    let bytes = |signal: &Signal| match signal {
        Signal::Input(_, Input::Written { bytes, .. }) => *bytes,
        Signal::Input(..) | Signal::Readable(..) => 0,
    };
    said.iter().map(|(_, signal)| bytes(signal)).sum()
}

#[test]
fn frames_arrive_whole_in_order_and_within_the_latency() {
    let mut network = network();
    let link = linked(&mut network);
    let sent: Vec<Bytes> = (0..20).map(|n| Bytes::from(format!("{{\"n\":{n}}}"))).collect();
    for content in &sent {
        network.send(link, frame(content), Mono(1_000_000));
    }
    let said = run(&mut network);
    let last = said.last().unwrap().0;
    assert!(last.since(Mono(1_000_000)) <= Duration::from_millis(50));
    assert_eq!(frames(&mut network, other(link), last), sent);
    assert_eq!(written(&said), sent.iter().map(|content| content.len() + 4).sum::<usize>());
}

#[test]
fn a_process_that_does_not_read_holds_the_other_back() {
    let mut network = network();
    let link = linked(&mut network);
    network.raise_frame_limit(other(link));
    network.send(link, frame(&[b'x'; 2_500]), Mono(0));
    assert_eq!(written(&run(&mut network)), 1_000);
    assert_eq!(network.unsent_bytes(link), 1_504);
    for _ in 0..2 {
        assert_eq!(frames(&mut network, other(link), Mono(0)), Vec::<Bytes>::new());
        run(&mut network);
    }
    assert_eq!(frames(&mut network, other(link), Mono(0)), [Bytes::from(vec![b'x'; 2_500])]);
    assert_eq!(network.unsent_bytes(link), 0);
}

#[test]
fn a_frame_over_the_limit_of_the_moment_closes_the_link() {
    let mut network = network();
    let link = linked(&mut network);
    network.send(link, Bytes::from_static(&[0, 0, 0x10, 1, b'{']), Mono(0));
    run(&mut network);
    network.fetch(other(link), usize::MAX, Mono(0));
    assert!(matches!(network.next_frame(other(link)), NextFrame::Closed(CloseReason::BadFrame(_))));
}

#[test]
fn a_blocked_way_delays_and_then_the_bytes_arrive() {
    let mut network = network();
    let link = linked(&mut network);
    network.block(A.0, B.0, Mono(0));
    network.send(link, frame(b"{}"), Mono(0));
    while network.next_at().is_some_and(|at| at < Mono(3_000_000)) {
        network.step();
    }
    assert!(frames(&mut network, other(link), Mono(0)).is_empty());
    network.unblock(A.0, B.0, Mono(3_000_000));
    assert_eq!(closed(&run(&mut network)), []);
    assert_eq!(frames(&mut network, other(link), Mono(0)), [Bytes::from_static(b"{}")]);
}

#[test]
fn a_kernel_gives_up_after_its_timeout_and_tells_only_its_own_side() {
    let mut network = network();
    let link = linked(&mut network);
    network.block(A.0, B.0, Mono(0));
    network.send(link, frame(b"{}"), Mono(1_000_000));
    let said = run(&mut network);
    let timed_out = CloseReason::Failed("connection timed out".into());
    let first = said.iter().find(|(_, signal)| matches!(signal, Signal::Input(_, Input::LinkClosed { .. }))).unwrap();
    assert_eq!(first.0, Mono(6_000_000));
    // The other end sent nothing, so only its keepalive finds out, ten seconds later.
    assert_eq!(closed(&said), [(A.1, timed_out.clone()), (B.1, timed_out)]);
}

#[test]
fn a_half_open_link_is_reset_by_the_first_byte() {
    let mut network = network();
    let link = linked(&mut network);
    network.power_off(B.0, Mono(0));
    network.attach(B.0, ProcessId(3), ID_B);
    network.send(link, frame(b"{}"), Mono(0));
    assert_eq!(closed(&run(&mut network)), [(A.1, CloseReason::Failed("connection reset".into()))]);
}

#[test]
fn a_crash_resets_every_link() {
    let mut network = network();
    linked(&mut network);
    network.detach(B.0, Mono(0));
    assert_eq!(closed(&run(&mut network)), [(A.1, CloseReason::Failed("connection reset".into()))]);
}

#[test]
fn hanging_up_writes_the_rest_first() {
    let mut network = network();
    let link = linked(&mut network);
    network.send(link, frame(b"{}"), Mono(0));
    network.hang_up(link, Mono(0));
    assert_eq!(closed(&run(&mut network)), [(A.1, CloseReason::HungUp)]);
    assert_eq!(frames(&mut network, other(link), Mono(0)), [Bytes::from_static(b"{}")]);
    assert!(network.sockets.is_empty(), "what both sides have closed is forgotten");
}

#[test]
fn hanging_up_waits_a_second_for_who_does_not_read() {
    let mut network = network();
    let link = linked(&mut network);
    network.send(link, frame(&[b'x'; 2_000]), Mono(0));
    network.hang_up(link, Mono(0));
    let said = run(&mut network);
    assert_eq!(closed(&said), [(A.1, CloseReason::HungUp)]);
    assert!(said.iter().any(|(at, _)| *at == Mono(1_000_000)));
}

#[test]
fn w_02_a_link_can_be_cut_at_every_byte() {
    for cut in 0..6 {
        let mut network = network();
        let link = linked(&mut network);
        network.cut_after(link, cut);
        network.send(link, frame(b"{}"), Mono(0));
        assert_eq!(closed(&run(&mut network)), [(A.1, CloseReason::Failed("connection reset".into()))]);
        network.fetch(other(link), usize::MAX, Mono(0));
        assert!(matches!(network.next_frame(other(link)), NextFrame::Closed(CloseReason::Failed(_))), "cut at {cut}");
    }
}

#[test]
fn dials_fail_for_every_reason() {
    let failure = |network: &mut Network| {
        run(network).into_iter().find_map(|(at, signal)| match signal {
            Signal::Input(_, Input::DialFailed { reason, .. }) => Some((at, reason)),
            Signal::Input(..) | Signal::Readable(..) => None,
        })
    };
    let mut network = network();
    network.dial(A, DialId(1), None, None, Mono(0));
    assert_eq!(failure(&mut network).unwrap().1, DialFailure::Unreachable);
    network.dial(A, DialId(2), Some(B.0), Some(ID_A), Mono(0));
    assert_eq!(failure(&mut network).unwrap().1, DialFailure::WrongPeer);
    network.dial(A, DialId(3), Some(Place(5)), None, Mono(0));
    assert_eq!(failure(&mut network).unwrap().1, DialFailure::Unreachable);
    network.block(B.0, A.0, Mono(0));
    network.dial(A, DialId(4), Some(B.0), None, Mono(0));
    assert_eq!(failure(&mut network), Some((Mono(10_000_000), DialFailure::Unreachable)));
}

#[test]
fn places_have_addresses_and_back() {
    let network = network();
    for place in [Place(0), Place(249), Place(250), Place(999)] {
        assert_eq!(network.place_at(place.ip(), 1_000), Some(place));
    }
    assert_eq!(network.place_at(Place(999).ip(), 999), None, "there is no such machine");
}

#[test]
fn who_moved_is_where_it_moved_to_and_nowhere_else() {
    let mut network = network();
    network.move_away(B.0);
    assert_eq!(network.place_at(B.0.ip(), 2), None);
    assert_eq!(network.place_at(network.ip(B.0), 2), Some(B.0));
    network.swap(A.0, B.0);
    assert_eq!(network.place_at(A.0.ip(), 2), Some(B.0));
}

#[test]
fn a_link_that_takes_no_byte_for_thirty_seconds_is_ended_on_both_sides() {
    let mut network = network();
    let link = linked(&mut network);
    network.send(link, frame(&[1; 5_000]), Mono(0));
    let ends: Vec<(Mono, LinkId, CloseReason)> = run_until(&mut network, Mono(60_000_000))
        .into_iter()
        .filter_map(|(at, signal)| match signal {
            Signal::Input(_, Input::LinkClosed { link, reason }) => Some((at, link, reason)),
            Signal::Input(..) | Signal::Readable(..) => None,
        })
        .collect();
    let slow = CloseReason::Failed(WRITE_STALLED.to_owned());
    assert_eq!(ends[0], (Mono(30_000_000), link, slow));
    assert_eq!(ends[1].1, other(link));
}
