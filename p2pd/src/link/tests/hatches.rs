//! A member that was away when the secret changed: what it is told, and what nobody else is.

use super::*;
use crate::link::secure::{Entry, Identity, initiate_entry};
use crate::rotation::Given;

/// Another secret of network 7.
fn newer() -> NetworkKey {
    NetworkKey { id: [7; 16], secret: Zeroizing::new([99; 32]) }
}

/// A member that has the newer key, and the older one only where it is given.
async fn with_newer(seed: u8, keys: Vec<NetworkKey>, members: &[PeerId]) -> Peer {
    let config = config(seed, &[7]);
    config.networks.set(keys);
    config.hatches.set([7; 16], members.iter().copied().collect(), Vec::new());
    Peer::start_with(config, |_| ()).await
}

/// One that was away, and what it is given.
async fn away(seed: u8, others: &[PeerId]) -> (Peer, mpsc::Receiver<Given>) {
    let (give, given) = mpsc::channel(8);
    let mut config = config(seed, &[7]);
    config.hatches = Hatches::new(Letters::new(&config.key), give);
    config.hatches.set([7; 16], Default::default(), others.to_vec());
    (Peer::start_with(config, |_| ()).await, given)
}

fn dial(from: &Peer, to: SocketAddr, expected: Option<PeerId>) {
    from.links.dial(DialId(1), to.to_string().parse().unwrap(), expected);
}

async fn failure(peer: &mut Peer) -> DialFailure {
    match peer.next().await {
        LinkEvent::Input(Input::DialFailed { reason, .. }) => reason,
        other @ (LinkEvent::Input(_) | LinkEvent::Entry { .. } | LinkEvent::Frames { .. }) => panic!("{other:?}"),
    }
}

fn id_of(seed: u8) -> PeerId {
    PeerId(SigningKey::from_bytes(&[seed; 32]).verifying_key().to_bytes())
}

#[tokio::test]
async fn who_was_away_is_given_the_new_key_and_no_link() {
    for expected in [true, false] {
        let mut near = with_newer(1, vec![newer()], &[id_of(2)]).await;
        let (mut far, mut given) = away(2, &[id_of(3), near.id]).await;
        dial(&far, near.addr, expected.then_some(near.id));
        assert_eq!(failure(&mut far).await, DialFailure::Refused);
        let given = given.recv().await.unwrap();
        assert_eq!(given.by, near.id);
        assert_eq!((given.keys.len(), &given.keys[0].secret), (1, &newer().secret));
        assert_eq!(near.links.keys_given_count(), 1);
        assert!(near.events.try_recv().is_err(), "nothing was opened");
    }
}

#[tokio::test]
async fn who_is_no_member_any_more_gets_no_byte() {
    let near = with_newer(1, vec![newer()], &[id_of(3)]).await;
    let (mut far, mut given) = away(2, &[near.id]).await;
    dial(&far, near.addr, Some(near.id));
    assert_eq!(failure(&mut far).await, DialFailure::Refused);
    assert!(given.try_recv().is_err());
    assert_eq!((near.links.keys_given_count(), near.links.refused_count()), (0, 2));
}

#[tokio::test]
async fn who_dials_with_the_new_key_falls_back_to_the_old_one_while_it_has_it() {
    let mut near = Peer::start(1).await;
    let mut far = with_newer(2, vec![newer(), network(7)], &[]).await;
    dial(&far, near.addr, Some(near.id));
    assert_eq!(far.opened().await.peer, near.id);
    assert_eq!(near.opened().await.peer, far.id);
}

#[tokio::test]
async fn a_stranger_is_asked_for_no_key() {
    let near = Peer::start_with(config(1, &[8]), |_| ()).await;
    let (mut far, mut given) = away(2, &[]).await;
    dial(&far, near.addr, None);
    assert_eq!(failure(&mut far).await, DialFailure::Refused);
    assert!(given.try_recv().is_err());
    assert_eq!(near.links.refused_count(), 1, "it was dialed once");
}

/// Reads what is answered to somebody whose last message of the handshake waits until `before_last` was done.
async fn answer_to_a_slow_one(near: &Peer, seed: u8, before_last: impl FnOnce()) -> Vec<u8> {
    let config = config(seed, &[7]);
    let hatch = config.hatches.at(&[7; 16], Some(near.id)).remove(0);
    let identity = Identity::new(config.key, config.networks, (config.invites, config.hatches));
    let (mut own, mut relayed) = tokio::io::duplex(4_096);
    let shaking = tokio::spawn(async move {
        let entry = Entry { network: &[7; 16], name: hatch.id.0, psk: hatch.psk, peer: hatch.peer };
        initiate_entry(&mut own, &identity, &entry).await.unwrap();
        let mut answer = Vec::new();
        own.read_to_end(&mut answer).await.unwrap();
        answer
    });
    let mut socket = TcpStream::connect(near.addr).await.unwrap();
    let (mut first, mut second) = ([0; 2 + 8 + 48], [0; 2 + 192]);
    relayed.read_exact(&mut first).await.unwrap();
    socket.write_all(&first).await.unwrap();
    socket.read_exact(&mut second).await.unwrap();
    before_last();
    relayed.write_all(&second).await.unwrap();
    let mut third = [0; 2 + 160];
    relayed.read_exact(&mut third).await.unwrap();
    socket.write_all(&third).await.unwrap();
    tokio::io::copy(&mut socket, &mut relayed).await.unwrap();
    drop(relayed);
    shaking.await.unwrap()
}

#[tokio::test]
async fn who_is_shut_out_in_the_middle_of_its_handshake_is_not_given_the_key() {
    let config = config(1, &[7]);
    let (networks, hatches) = (config.networks.clone(), config.hatches.clone());
    hatches.set([7; 16], [id_of(2), id_of(3)].into(), Vec::new());
    let near = Peer::start_with(config, |_| ()).await;
    let rotate = || {
        hatches.close_but_to(&[id_of(3)].into());
        networks.set(vec![newer()]);
    };
    assert!(answer_to_a_slow_one(&near, 2, rotate).await.is_empty());
    assert_eq!(near.links.keys_given_count(), 0);
    assert!(!answer_to_a_slow_one(&near, 3, || ()).await.is_empty());
    assert_eq!(near.links.keys_given_count(), 1);
}
