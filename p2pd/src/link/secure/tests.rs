#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use tokio::io::{DuplexStream, duplex};

use super::*;
use crate::letters::Letters;

fn network(seed: u8) -> NetworkKey {
    NetworkKey { id: [seed; 16], secret: Zeroizing::new([seed; 32]) }
}

fn identity(seed: u8, networks: &[u8]) -> Identity {
    let networks = Ring::new(networks.iter().map(|seed| network(*seed)).collect());
    let key = SigningKey::from_bytes(&[seed; 32]);
    let hatches = Hatches::new(Letters::new(&key), tokio::sync::mpsc::channel(1).0);
    Identity::new(key, networks, (Invites::default(), hatches))
}

fn id(seed: u8) -> PeerId {
    PeerId(SigningKey::from_bytes(&[seed; 32]).verifying_key().to_bytes())
}

type Both = (Result<Secured, HandshakeError>, Result<Secured, HandshakeError>);

/// The results of the dialing and of the accepting side. A side that failed closes.
async fn shake(dialing: &Identity, accepting: &Identity, expected: Option<PeerId>) -> Both {
    let (mut near, mut far) = duplex(1024);
    let network = dialing.networks.now()[0].clone();
    tokio::join!(async move { initiate(&mut near, dialing, &network, expected).await }, async move {
        respond(&mut far, accepting, || ()).await
    },)
}

/// Both ends of a link, for tests of what is behind the handshake.
pub(in crate::link) async fn pair() -> (Secured, Secured) {
    let (dialing, accepting) = shake(&identity(1, &[7]), &identity(2, &[7]), None).await;
    (dialing.unwrap(), accepting.unwrap())
}

#[tokio::test]
async fn both_sides_learn_who_is_there() {
    let (dialing, accepting) = pair().await;
    assert_eq!(dialing.peer, id(2));
    assert_eq!(accepting.peer, id(1));
}

#[tokio::test]
async fn any_of_three_secrets_is_accepted_and_the_first_is_used_to_dial() {
    for secret in [7, 8, 9] {
        let (dialing, accepting) = shake(&identity(1, &[secret]), &identity(2, &[7, 8, 9]), None).await;
        assert_eq!(dialing.unwrap().peer, id(2));
        assert_eq!(accepting.unwrap().peer, id(1));
    }
    let (dialing, _) = shake(&identity(1, &[8, 7]), &identity(2, &[7]), None).await;
    assert!(matches!(dialing, Err(HandshakeError::Refused { .. })));
}

#[tokio::test]
async fn h_02_a_wrong_secret_is_refused_at_the_first_message_and_names_our_network() {
    let (dialing, accepting) = shake(&identity(1, &[7]), &identity(2, &[8]), None).await;
    assert!(matches!(accepting, Err(HandshakeError::WrongSecret)));
    let ours = &base32(&[7; 16])[..8];
    assert_eq!(dialing.err().unwrap().to_string(), format!("refused the network secret (ours: {ours})"));
}

#[tokio::test]
async fn the_secret_alone_does_not_help_into_a_network_of_another_id() {
    let other = identity(2, &[7]);
    other.networks.set(vec![NetworkKey { id: [9; 16], ..network(7) }]);
    let (dialing, accepting) = shake(&identity(1, &[7]), &other, None).await;
    assert!(matches!(accepting, Err(HandshakeError::WrongSecret)));
    assert!(dialing.is_err());
}

#[tokio::test]
async fn h_06_somebody_else_than_expected_never_learns_who_dialed() {
    let (dialing, accepting) = shake(&identity(1, &[7]), &identity(2, &[7]), Some(id(3))).await;
    let text = format!("expected {}…, got {}…", id(3).short(), id(2).short());
    assert_eq!(dialing.err().unwrap().to_string(), text);
    assert!(matches!(accepting, Err(HandshakeError::Ended)));
    let (dialing, _) = shake(&identity(1, &[7]), &identity(2, &[7]), Some(id(2))).await;
    assert!(dialing.is_ok());
}

/// Plays the accepting side and proves with whatever `proof` makes of the right hash. Gives the socket back, open.
async fn answer_with(mut socket: DuplexStream, accepting: &Identity, proof: impl Fn(&[u8]) -> Vec<u8>) -> DuplexStream {
    let mut state = accepting.start(&accepting.networks.now()[0], Role::Responder);
    let first = read_message(&mut socket).await.unwrap();
    open_payload(&mut state, &first).unwrap();
    let payload = proof(state.get_handshake_hash());
    write_message(&mut socket, &mut state, &payload).await.unwrap();
    socket
}

async fn dial_answered_with(proof: impl Fn(&[u8]) -> Vec<u8>) -> Result<Secured, HandshakeError> {
    let (dialing, accepting) = (identity(1, &[7]), identity(2, &[7]));
    let (mut near, far) = duplex(1024);
    let key = network(7);
    let (result, _far) = tokio::join!(initiate(&mut near, &dialing, &key, None), answer_with(far, &accepting, proof));
    result
}

fn proof_of(seed: u8, role: Role, hash: &[u8]) -> Vec<u8> {
    let key = SigningKey::from_bytes(&[seed; 32]);
    let signature = key.sign(&signed_text(role, hash)).to_bytes();
    [&key.verifying_key().to_bytes()[..], &signature].concat()
}

#[tokio::test]
async fn h_05_a_proof_made_for_another_handshake_is_refused() {
    assert!(dial_answered_with(|hash| proof_of(2, Role::Responder, hash)).await.is_ok());
    let replayed = dial_answered_with(|_| proof_of(2, Role::Responder, &[1; 32])).await;
    assert!(matches!(replayed, Err(HandshakeError::Identity)));
}

#[tokio::test]
async fn h_05_a_proof_of_the_other_role_or_of_another_key_is_refused() {
    let reflected = dial_answered_with(|hash| proof_of(2, Role::Initiator, hash)).await;
    assert!(matches!(reflected, Err(HandshakeError::Identity)));
    let swapped = dial_answered_with(|hash| {
        let mut proof = proof_of(2, Role::Responder, hash);
        proof[..KEY_LEN].copy_from_slice(&id(3).0);
        proof
    });
    assert!(matches!(swapped.await, Err(HandshakeError::Identity)));
    for len in [0, KEY_LEN, PROOF_LEN - 1, PROOF_LEN + 1] {
        let cut = dial_answered_with(|_| vec![0; len]).await;
        assert!(matches!(cut, Err(HandshakeError::Identity)), "{len}");
    }
}

#[tokio::test]
async fn h_05_a_small_order_key_proves_nothing() {
    // The identity point with s = 0 verifies for every text where the check is not strict.
    let weak = dial_answered_with(|_| {
        let mut proof = vec![0; PROOF_LEN];
        (proof[0], proof[KEY_LEN]) = (1, 1);
        proof
    });
    assert!(matches!(weak.await, Err(HandshakeError::Identity)));
}

#[tokio::test]
async fn h_05_the_accepting_side_refuses_a_replayed_proof_too() {
    let (dialing, accepting) = (identity(1, &[7]), identity(2, &[7]));
    let (mut near, mut far) = duplex(1024);
    let dial = async {
        let mut state = dialing.start(&dialing.networks.now()[0], Role::Initiator);
        write_message(&mut near, &mut state, &[]).await.unwrap();
        let answer = read_message(&mut near).await.unwrap();
        open_payload(&mut state, &answer).unwrap();
        write_message(&mut near, &mut state, &proof_of(1, Role::Initiator, &[1; 32])).await.unwrap();
    };
    let (accepted, ()) = tokio::join!(respond(&mut far, &accepting, || ()), dial);
    assert!(matches!(accepted, Err(HandshakeError::Identity)));
}

#[tokio::test]
async fn h_01_what_strangers_say_first_is_not_answered() {
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    for first in [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", &hello[..], b"SSH-2.0-OpenSSH_9.2\r\n", b"\0\0", b"\0\x2f"] {
        let (mut near, mut far) = duplex(1024);
        near.write_all(first).await.unwrap();
        let result = respond(&mut far, &identity(2, &[7]), || panic!("a stranger knows nothing")).await;
        assert!(matches!(result, Err(HandshakeError::NotP2pd)), "{first:?}");
        drop(far);
        let mut answer = Vec::new();
        near.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"");
    }
}

#[tokio::test]
async fn a_link_goes_on_over_many_changes_of_its_keys() {
    let (mut dialing, mut accepting) = pair().await;
    for direction in [&mut dialing.sealer.0, &mut dialing.opener.0, &mut accepting.sealer.0, &mut accepting.opener.0] {
        direction.rekey_every = 3;
    }
    // The directions count for themselves: one says much more than the other.
    for round in 0..20u8 {
        exchange(&mut dialing.sealer, &mut accepting.opener, &[round; 100]);
        exchange(&mut dialing.sealer, &mut accepting.opener, &[round; 1]);
        if round % 4 == 0 {
            exchange(&mut accepting.sealer, &mut dialing.opener, b"answer");
        }
    }
}

#[tokio::test]
async fn the_key_really_changes() {
    let (mut dialing, mut accepting) = pair().await;
    dialing.sealer.0.rekey_every = 1;
    exchange(&mut dialing.sealer, &mut accepting.opener, b"under the first key");
    let mut sealed = BytesMut::new();
    dialing.sealer.seal(b"under the second", &mut sealed);
    assert!(accepting.opener.open(split_message(&sealed).unwrap(), &mut BytesMut::new()).is_err());
}

#[track_caller]
fn exchange(sealer: &mut Sealer, opener: &mut Opener, plain: &[u8]) {
    let (mut sealed, mut opened) = (BytesMut::new(), BytesMut::new());
    sealer.seal(plain, &mut sealed);
    assert_eq!(missing_bytes(&sealed), 0);
    opener.open(split_message(&sealed).unwrap(), &mut opened).unwrap();
    assert_eq!(opened, plain);
}

#[tokio::test]
async fn replayed_reordered_altered_and_cut_messages_do_not_open() {
    let (mut dialing, mut accepting) = pair().await;
    let (mut first, mut second) = (BytesMut::new(), BytesMut::new());
    dialing.sealer.seal(b"first", &mut first);
    dialing.sealer.seal(b"second", &mut second);
    let (first, second) = (split_message(&first).unwrap(), split_message(&second).unwrap());
    let mut plain = BytesMut::from(&b"before"[..]);
    let mut refuse = |sealed: &[u8], opener: &mut Opener| {
        assert_eq!(opener.open(sealed, &mut plain), Err(OpenError { len: sealed.len() }));
        assert_eq!(plain, b"before"[..]);
    };
    refuse(second, &mut accepting.opener);
    for at in 0..first.len() {
        let mut altered = first.to_vec();
        altered[at] ^= 1;
        refuse(&altered, &mut accepting.opener);
        refuse(&first[..at], &mut accepting.opener);
    }
    accepting.opener.open(first, &mut BytesMut::new()).unwrap();
    refuse(first, &mut accepting.opener);
}

#[tokio::test]
async fn the_largest_message_fits() {
    let (mut dialing, mut accepting) = pair().await;
    exchange(&mut dialing.sealer, &mut accepting.opener, &vec![5; PLAIN_LEN_MAX]);
}

#[test]
fn what_is_missing_of_a_message_is_known() {
    assert_eq!(missing_bytes(b""), 2);
    assert_eq!(missing_bytes(b"\0"), 1);
    assert_eq!(missing_bytes(b"\0\x05ab"), 3);
    assert_eq!(missing_bytes(b"\0\x02abc"), 0);
    assert_eq!(split_message(b"\0\x05ab"), None);
    assert_eq!(split_message(b"\0\x02abc"), Some(&b"ab"[..]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn h_01_no_bytes_of_a_stranger_get_an_answer_or_cause_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (mut near, mut far) = duplex(2048);
            near.write_all(&bytes).await.unwrap();
            near.shutdown().await.unwrap();
            let result = respond(&mut far, &identity(2, &[7, 8, 9]), || panic!("a stranger knows nothing")).await;
            assert!(result.is_err());
            drop(far);
            let mut answer = Vec::new();
            near.read_to_end(&mut answer).await.unwrap();
            assert_eq!(answer, b"");
        });
    }
}
