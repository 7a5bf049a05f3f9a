//! Who does not belong here gets no byte, and harms nothing.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use p2p_proto::v1::PeerState;
use p2p_tests::daemon::{Network, Options, TestPeer};
use p2p_tests::program::{PATIENCE, eventually};
use socket2::{Domain, Socket, Type};

use super::check_equal;

/// Everything that a peer answers until it closes.
#[track_caller]
fn answer(stream: &mut TcpStream) -> Vec<u8> {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => bytes,
        // It closed with our bytes unread.
        Err(error) if error.kind() == ErrorKind::ConnectionReset => bytes,
        Err(error) => panic!("it did not close: {error}"),
    }
}

/// Two peers that are linked, and can say so.
fn pair(network: &Network) -> (TestPeer, TestPeer) {
    let one = network.start("one", &[]);
    let two = network.start("two", &[&one]);
    one.wait_for_peers(1);
    (one, two)
}

/// The link that was there is the link that is there, and it works.
#[track_caller]
fn check_unharmed(one: &TestPeer, two: &TestPeer, since_us: i64) {
    assert_eq!(one.state_of(two), PeerState::Up);
    assert_eq!(one.peers()[0].since_us, since_us, "the link was not lost meanwhile");
    let posts = one.status().posts;
    drop(one.p2pctl(&["send", "still here"]).ok());
    check_equal(&[one, two], posts + 1);
}

#[test]
fn an_open_network_lets_everybody_in_and_says_so() {
    let network = Network::new();
    let open = |name: &str, dials: Vec<String>| {
        let env = [("P2P_OPEN_NETWORK", "true"), ("P2P_NETWORK_SECRET_FILE", "")];
        let env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        network.start_with(Options { name: name.into(), dials, env, ..Options::default() })
    };
    let one = open("one", Vec::new());
    let two = open("two", vec![one.addr()]);
    drop(two.p2pctl(&["send", "-w", "1", "let in"]).ok());
    assert!(one.log().contains("open_network is set"), "{}", one.log());
    let closed = network.start("closed", &[&one]);
    eventually(PATIENCE, "who has a key is not in it", || closed.peers().iter().any(|peer| peer.tries > 0));
    assert_eq!(one.peers().len(), 1);
}

#[test]
fn h_01_who_speaks_another_protocol_gets_no_byte() {
    let network = Network::new();
    let (one, two) = pair(&network);
    let since_us = one.peers()[0].since_us;
    let noise: Vec<u8> = (0u32..64).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let zeros = vec![0; 70_000];
    let ones = vec![0xff; 70_000];
    // The beginning of a TLS 1.2 ClientHello record.
    let tls = [&[0x16, 3, 1, 0, 0xc8, 1, 0, 0, 0xc4, 3, 3][..], &[7; 194]].concat();
    let greetings: [&[u8]; 7] = [
        b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        &tls,
        &noise,
        &zeros,
        &ones,
    ];
    for greeting in greetings {
        let mut stream = TcpStream::connect(one.addr()).unwrap();
        // It may be closed before all is written.
        drop(stream.write_all(greeting));
        drop(stream.shutdown(Shutdown::Write));
        assert_eq!(answer(&mut stream), b"", "to {:?}", String::from_utf8_lossy(&greeting[..greeting.len().min(24)]));
    }
    check_unharmed(&one, &two, since_us);
}

#[test]
fn h_02_who_has_another_key_is_refused_and_told_which_it_has() {
    let network = Network::new();
    let (one, two) = pair(&network);
    let since_us = one.peers()[0].since_us;
    let other_key = network.keygen("other.key");
    let stranger = network.start_with(Options {
        name: "stranger".into(),
        dials: vec![one.addr()],
        network_key: Some(other_key),
        ..Options::default()
    });
    let why = || stranger.peers().iter().map(|peer| peer.last_error.clone()).collect::<String>();
    eventually(PATIENCE, "the stranger was refused", || !why().is_empty());
    assert!(why().contains("network secret"), "{}", why());
    assert_eq!(stranger.status().peers_up, 0);
    assert!(one.peers().iter().all(|peer| peer.id != stranger.id()), "the stranger's name is not learned");
    check_unharmed(&one, &two, since_us);
}

#[test]
fn h_04_who_says_nothing_or_half_of_it_is_closed_and_gets_no_byte() {
    let network = Network::new();
    let (one, two) = pair(&network);
    let since_us = one.peers()[0].since_us;
    // A length that a first message could have, and half of what it announces.
    let half = [&[0, 48][..], &[9; 24]].concat();
    let mut silent: Vec<TcpStream> = (0..40).map(|_| TcpStream::connect(one.addr()).unwrap()).collect();
    for stream in silent.iter_mut().step_by(2) {
        drop(stream.write_all(&half));
    }
    // They hold every place for strangers, and a member comes in all the same.
    let three = network.start("three", &[&one]);
    one.wait_for_peers(2);
    for stream in &mut silent {
        assert_eq!(answer(stream), b"");
    }
    drop(three);
    check_unharmed_among_three(&one, &two, since_us);
}

/// As `check_unharmed`, where somebody else was there for a while.
#[track_caller]
fn check_unharmed_among_three(one: &TestPeer, two: &TestPeer, since_us: i64) {
    let peers = one.peers();
    let link = peers.iter().find(|peer| peer.id == two.id()).unwrap();
    assert_eq!((link.state(), link.since_us), (PeerState::Up, since_us));
    drop(one.p2pctl(&["send", "still here"]).ok());
    check_equal(&[one, two], 1);
}

#[test]
fn strangers_from_everywhere_cannot_fill_the_log() {
    let network = Network::new();
    let mut one = network.start_with(Options { listen: Some("0.0.0.0:0".into()), name: "one".into(), ..info() });
    let port = one.addr().rsplit(':').next().unwrap().parse().unwrap();
    let to = SocketAddr::from(([127, 0, 0, 1], port));
    // Each address of its own has an allowance of its own, and all of loopback is ours to come from.
    let before = one.log().lines().count();
    for n in 0..1_500_u32 {
        let from = SocketAddr::from(((0x7f01_0000 + n).to_be_bytes(), 0));
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&from.into()).unwrap();
        socket.connect(&to.into()).unwrap();
        let mut stream = TcpStream::from(socket);
        drop(stream.write_all(b"GET / HTTP/1.1\r\n\r\n"));
        assert_eq!(answer(&mut stream), b"");
    }
    assert!(one.status().counters["links_refused_total"] >= 1_500);
    let lines = one.log().lines().count() - before;
    assert!((1..320).contains(&lines), "{lines} lines for 1500 strangers");
    assert_eq!(one.stop().code(), Some(0));
    assert!(one.log().contains("log_lines_suppressed"), "it says that there were more");
}

/// What an operator has in his log.
fn info() -> Options {
    Options { env: vec![("P2P_LOG_LEVEL".into(), "info".into())], ..Options::default() }
}
