//! Who gets in, who does not, and what that costs.

use super::*;

/// Says something to a peer, and gives back what it answers until it closes.
async fn say(addr: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect(addr).await.unwrap();
    // A stranger may be cut off while it still talks.
    let _ = socket.write_all(bytes).await;
    read_to_end(&mut socket).await.0
}

/// All that still comes, and whether it ended in order.
async fn read_to_end(socket: &mut TcpStream) -> (Vec<u8>, bool) {
    let mut answer = Vec::new();
    let end = timeout(Duration::from_secs(60), socket.read_to_end(&mut answer)).await.expect("it is closed");
    (answer, end.is_ok())
}

/// The first message of somebody with this secret.
async fn first_message(secret: u8) -> Vec<u8> {
    let listener = bind("127.0.0.1:0").await.unwrap().remove(0);
    let mut dialing = Peer::start_with(config(9, &[secret]), |_| ()).await;
    dialing.dial(listener.local_addr().unwrap(), None);
    let mut message = vec![0; 50];
    listener.accept().await.unwrap().0.read_exact(&mut message).await.unwrap();
    message
}

#[tokio::test]
async fn h_01_strangers_get_no_byte() {
    let mut peer = Peer::start(1).await;
    let random: [u8; 64] = SmallRng::seed_from_u64(1).random();
    let tls = [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", &random[..]].concat();
    let plausible = [b"\x00\x30", &random[..]].concat();
    let http = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for first in [&http[..], &tls, b"SSH-2.0-OpenSSH_9.2p1\r\n", &random, &plausible] {
        assert_eq!(say(peer.addr, first).await, b"");
    }
    let mut member = Peer::start(2).await;
    link(&mut member, &mut peer).await;
    assert_eq!(peer.links.refused_count(), 5);
}

#[tokio::test]
async fn h_02_a_wrong_secret_is_refused_at_the_first_message_with_no_byte_of_answer() {
    let (mut near, mut far) =
        (Peer::start_with(config(1, &[8]), |_| ()).await, Peer::start_with(config(2, &[7, 9, 10]), |_| ()).await);
    let dial = near.dial(far.addr, None);
    let detail = format!("refused the network secret (ours: {})", &base32(&[8; 16])[..8]);
    assert_eq!(near.dial_failed().await, (dial, DialFailure::Refused, detail));

    let mut socket = TcpStream::connect(far.addr).await.unwrap();
    socket.write_all(&first_message(8).await).await.unwrap();
    assert_eq!(read_to_end(&mut socket).await, (Vec::new(), true));
    assert_eq!(far.links.refused_count(), 2);
    assert!(far.events.try_recv().is_err());
}

#[tokio::test]
async fn a_secret_can_be_changed_while_both_are_known() {
    let mut old = Peer::start_with(config(1, &[7]), |_| ()).await;
    let mut both = Peer::start_with(config(2, &[8, 7]), |_| ()).await;
    let mut new = Peer::start_with(config(3, &[8]), |_| ()).await;
    link(&mut old, &mut both).await;
    link(&mut new, &mut both).await;
    old.dial(new.addr, None);
    assert_eq!(old.dial_failed().await.1, DialFailure::Refused);
}

async fn hasty(seed: u8) -> Peer {
    Peer::start_with(config(seed, &[7]), |shared| shared.handshake_timeout = Duration::from_millis(50)).await
}

#[tokio::test]
async fn h_04_who_stops_within_the_handshake_is_closed_and_forgotten() {
    let mut peer = hasty(1).await;
    let first = first_message(7).await;
    // Nothing, half of the first message, a lone byte, and nothing after the answer to the first message.
    for (said, answered) in [(&first[..0], 0), (&first[..25], 0), (&first[..1], 0), (&first[..], 194)] {
        let mut socket = TcpStream::connect(peer.addr).await.unwrap();
        socket.write_all(said).await.unwrap();
        assert_eq!(read_to_end(&mut socket).await.0.len(), answered);
    }
    assert_eq!(peer.links.refused_count(), 4);
    assert_eq!(peer.links.half_open_count(), 0);
    assert!(peer.events.try_recv().is_err());
}

#[tokio::test]
async fn n_09_a_handshake_byte_by_byte_is_closed_at_its_deadline() {
    let peer = hasty(1).await;
    let first = first_message(7).await;
    let (mut read, mut write) = TcpStream::connect(peer.addr).await.unwrap().into_split();
    let drip = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(5));
        for byte in first.iter().cycle() {
            ticks.tick().await;
            if write.write_all(&[*byte]).await.is_err() {
                break;
            }
        }
    };
    let mut answer = Vec::new();
    tokio::select! {
        () = drip => (),
        _ = read.read_to_end(&mut answer) => (),
    }
    assert_eq!(answer, b"");
    while peer.links.half_open_count() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn n_08_hundreds_of_silent_connections_keep_no_peer_out() {
    let (mut near, mut far) = (Peer::start(1).await, Peer::start(2).await);
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(TcpStream::connect(far.addr).await.unwrap());
        assert!(far.links.half_open_count() <= HALF_OPEN_MAX);
    }
    let (here, _) = link(&mut near, &mut far).await;
    near.links.send(here.link, frame(b"{}"));
    assert_eq!(far.frames().await.len(), 1);
    // The oldest were reset, each without a byte: an orderly end would say that a secret was refused.
    for mut socket in silent.drain(..300 - HALF_OPEN_MAX) {
        assert_eq!(read_to_end(&mut socket).await, (Vec::new(), false));
    }
    assert_eq!(far.links.half_open_count(), HALF_OPEN_MAX - 1);
}

#[tokio::test]
async fn h_04_links_without_a_hello_are_half_open_and_the_oldest_goes() {
    let (mut near, mut far) = (Peer::start(1).await, Peer::start(2).await);
    let mut links = Vec::new();
    for _ in 0..HALF_OPEN_MAX {
        near.dial(far.addr, None);
        links.push((near.opened().await.link, far.opened().await.link));
    }
    assert_eq!(far.links.half_open_count(), HALF_OPEN_MAX);
    // One said hello, so it is not the oldest any more.
    far.links.raise_frame_limit(links[0].1);
    near.dial(far.addr, None);
    near.opened().await;
    far.opened().await;
    assert_eq!(far.links.half_open_count(), HALF_OPEN_MAX);
    near.dial(far.addr, None);
    near.opened().await;
    let (closed, reason) = match far.next_input().await {
        Input::LinkClosed { link, reason } => (link, reason),
        // The order of these two is not fixed.
        Input::LinkOpened(_) => far.closed().await,
        other => panic!("{other:?}"),
    };
    assert_eq!(closed, links[1].1);
    assert!(matches!(reason, CloseReason::Failed(why) if why.starts_with("half_open")));
    assert_eq!(near.closed().await.0, links[1].0);
}

#[tokio::test]
async fn h_06_another_peer_than_expected_is_refused_and_named() {
    let (mut near, mut far) = (Peer::start(1).await, Peer::start(2).await);
    let other = PeerId([9; 32]);
    let dial = near.dial(far.addr, Some(other));
    let detail = format!("expected {}…, got {}…", other.short(), far.id.short());
    assert_eq!(near.dial_failed().await, (dial, DialFailure::WrongPeer, detail));
    link(&mut near, &mut far).await;
}

#[tokio::test]
async fn a_peer_that_dials_itself_proves_to_be_itself() {
    let mut peer = Peer::start(1).await;
    peer.dial(peer.addr, None);
    let (one, other) = (peer.opened().await, peer.opened().await);
    assert_eq!((one.peer, other.peer), (peer.id, peer.id));
    assert_ne!(one.link, other.link);
    assert_ne!(one.dial.is_some(), other.dial.is_some());
}

/// What a dial says about a program that does this with the connection.
async fn dial_program<F: Future<Output = ()> + Send>(act: impl FnOnce(TcpStream) -> F) -> (DialFailure, String) {
    let listener = bind("127.0.0.1:0").await.unwrap().remove(0);
    let mut near = hasty(1).await;
    near.dial(listener.local_addr().unwrap(), None);
    let (socket, _) = listener.accept().await.unwrap();
    let (_, (_, reason, detail)) = tokio::join!(act(socket), near.dial_failed());
    (reason, detail)
}

#[tokio::test]
async fn programs_that_are_not_p2pd_are_told_apart_from_networks_that_are_not_ours() {
    let (reason, detail) = dial_program(|mut socket| async move {
        socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        read_to_end(&mut socket).await;
    })
    .await;
    assert_eq!((reason, detail.as_str()), (DialFailure::Refused, "what came is not p2pd"));

    let (reason, detail) = dial_program(|mut socket| async move {
        socket.write_all(&[&b"\x00\xc0"[..], &[1; 192]].concat()).await.unwrap();
        read_to_end(&mut socket).await;
    })
    .await;
    assert_eq!((reason, detail.as_str()), (DialFailure::Refused, "a handshake message is damaged"));

    let (reason, detail) = dial_program(|mut socket| async move {
        read_to_end(&mut socket).await;
    })
    .await;
    assert_eq!((reason, detail.as_str()), (DialFailure::Unreachable, "no answer to the handshake within 50ms"));

    // A reset: no room for one more link, which says nothing about the secret.
    let (reason, _) = dial_program(|socket| async move { socket::reset_on_close(&socket) }).await;
    assert_eq!(reason, DialFailure::Unreachable);
}
