//! Who has an invite: what he gets, and what he does not.

use super::*;
use crate::invite::{Invite, Pass, Refusal};

fn invite(seed: u8) -> Invite {
    let key = Zeroizing::new([seed; 32]);
    Invite { id: InviteId([seed; 8]), key, made_s: 1, expires_s: u64::MAX, uses_max: 1, uses: 0, is_revoked: false }
}

/// A ticket of `issuer`, who is thought to be at `addr`.
fn ticket(seed: u8, issuer: PeerId, addr: SocketAddr) -> Box<Ticket> {
    let Invite { id, key, expires_s, .. } = invite(seed);
    let pass = Pass::Invite { id, key, expires_s };
    Box::new(Ticket { network: network(7).id, issuer, addrs: vec![addr.to_string().parse().unwrap()], pass })
}

async fn issuer(invites: impl IntoIterator<Item = Invite>) -> Peer {
    let config = config(1, &[7, 8]);
    config.invites.set(invites);
    Peer::start_with(config, |_| ()).await
}

type Entered = oneshot::Receiver<Result<Vec<NetworkKey>, AdmissionError>>;

fn enter(peer: &Peer, ticket: Box<Ticket>) -> Entered {
    let (reply, entered) = oneshot::channel();
    peer.links.enter(ticket, reply);
    entered
}

/// Answers whoever asks next, as the store would.
async fn note(peer: &mut Peer, noted: Result<(), InviteError>) -> (InviteId, PeerId) {
    match peer.next().await {
        LinkEvent::Entry { invite, peer, reply } => {
            reply.send(noted).unwrap();
            (invite, peer)
        }
        other @ (LinkEvent::Input(_) | LinkEvent::Frames { .. }) => panic!("{other:?}"),
    }
}

async fn issuer_of_one_network() -> Peer {
    let config = config(1, &[7]);
    config.invites.set([invite(5)]);
    Peer::start_with(config, |_| ()).await
}

#[tokio::test]
async fn who_has_an_invite_gets_the_networks_key_and_no_link() {
    let (mut issuer, joiner) = (issuer_of_one_network().await, Peer::start_with(config(2, &[9]), |_| ()).await);
    let entered = enter(&joiner, ticket(5, issuer.id, issuer.addr));
    assert_eq!(note(&mut issuer, Ok(())).await, (InviteId([5; 8]), joiner.id));
    let keys = entered.await.unwrap().unwrap();
    assert_eq!((keys.len(), keys[0].id, &keys[0].secret), (1, network(7).id, &network(7).secret));
    assert!(issuer.events.try_recv().is_err(), "nothing was opened");
    let freed = async {
        while issuer.links.half_open_count() > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(60), freed).await.expect("its place is free again");
}

#[tokio::test]
async fn h_13_whom_the_store_does_not_note_gets_no_key() {
    let (mut issuer, joiner) = (issuer_of_one_network().await, Peer::start_with(config(2, &[9]), |_| ()).await);
    for refusal in [Refusal::Used, Refusal::Expired, Refusal::Revoked] {
        let entered = enter(&joiner, ticket(5, issuer.id, issuer.addr));
        note(&mut issuer, Err(InviteError::Refused(refusal))).await;
        assert_eq!(entered.await.unwrap().unwrap_err(), AdmissionError::Refused(refusal));
    }
    let entered = enter(&joiner, ticket(5, issuer.id, issuer.addr));
    note(&mut issuer, Err(InviteError::NotKept("disk full".into()))).await;
    assert!(matches!(entered.await.unwrap(), Err(AdmissionError::Unreachable(_))));
}

#[tokio::test]
async fn h_06_somebody_else_at_the_issuers_place_learns_nothing() {
    let (mut issuer, joiner) = (issuer_of_one_network().await, Peer::start_with(config(2, &[9]), |_| ()).await);
    let expected = PeerId([3; 32]);
    let entered = enter(&joiner, ticket(5, expected, issuer.addr)).await.unwrap();
    assert_eq!(entered.unwrap_err(), AdmissionError::WrongIssuer { expected, got: issuer.id });
    assert!(issuer.events.try_recv().is_err());
}

#[tokio::test]
async fn a_ticket_with_another_key_or_to_another_network_is_not_answered() {
    let (mut issuer, joiner) = (issuer([invite(5)]).await, Peer::start_with(config(2, &[9]), |_| ()).await);
    let unknown = Err(AdmissionError::Refused(Refusal::Unknown));
    let shown = |result: Result<Vec<NetworkKey>, AdmissionError>| result.map(drop);
    for seed in [6, 0] {
        let entered = enter(&joiner, ticket(seed, issuer.id, issuer.addr)).await.unwrap();
        assert_eq!(shown(entered), unknown);
    }
    let other = Pass::Invite { id: InviteId([5; 8]), key: Zeroizing::new([6; 32]), expires_s: 1 };
    let wrong_key = Box::new(Ticket { pass: other, ..*ticket(5, issuer.id, issuer.addr) });
    let elsewhere = Box::new(Ticket { network: [8; 16], ..*ticket(5, issuer.id, issuer.addr) });
    for wrong in [wrong_key, elsewhere] {
        assert_eq!(shown(enter(&joiner, wrong).await.unwrap()), unknown);
    }
    assert_eq!(issuer.links.refused_count(), 4);
    assert!(issuer.events.try_recv().is_err());
}

#[tokio::test]
async fn an_issuer_of_two_networks_gives_only_what_the_ticket_is_for() {
    let (mut issuer, joiner) = (issuer([invite(5)]).await, Peer::start_with(config(2, &[9]), |_| ()).await);
    let entered = enter(&joiner, ticket(5, issuer.id, issuer.addr));
    note(&mut issuer, Ok(())).await;
    let keys = entered.await.unwrap().unwrap();
    assert_eq!(keys.iter().map(|key| key.id).collect::<Vec<_>>(), [network(7).id]);
}

#[tokio::test]
async fn a_ticket_whose_issuer_is_gone_says_so() {
    let joiner = Peer::start_with(config(2, &[9]), |_| ()).await;
    let gone = bind("127.0.0.1:0").await.unwrap().remove(0).local_addr().unwrap();
    let entered = enter(&joiner, ticket(5, PeerId([3; 32]), gone)).await.unwrap();
    assert!(matches!(entered, Err(AdmissionError::Unreachable(_))), "{entered:?}");
    let nowhere = Box::new(Ticket { addrs: Vec::new(), ..*ticket(5, PeerId([3; 32]), gone) });
    let why = enter(&joiner, nowhere).await.unwrap().unwrap_err().to_string();
    assert_eq!(why, "no address is in the ticket");
}

#[tokio::test]
async fn n_08_a_flood_with_wrong_keys_holds_no_place_and_members_come_in() {
    let (mut issuer, joiner) = (issuer_of_one_network().await, Peer::start_with(config(2, &[9]), |_| ()).await);
    let wrong = || {
        let pass = Pass::Invite { id: InviteId([5; 8]), key: Zeroizing::new([6; 32]), expires_s: 1 };
        Box::new(Ticket { pass, ..*ticket(5, issuer.id, issuer.addr) })
    };
    let flood: Vec<Entered> = (0..100).map(|_| enter(&joiner, wrong())).collect();
    let mut member = Peer::start(3).await;
    link(&mut member, &mut issuer).await;
    for entered in flood {
        assert!(entered.await.unwrap().is_err());
    }
    assert!(issuer.links.half_open_count() <= HALF_OPEN_MAX);
}
