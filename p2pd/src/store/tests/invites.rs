//! Invites: used as often as they may be, also over restarts.

use zeroize::Zeroizing;

use super::kit::*;
use crate::invite::{INVITES_MAX, Invite, InviteChange, InviteError, InviteId, Refusal};
use crate::store::Job;

fn invite(number: u16, uses_max: u32) -> Invite {
    let mut id = [0; 8];
    id[..2].copy_from_slice(&number.to_be_bytes());
    let key = Zeroizing::new([7; 32]);
    Invite {
        id: InviteId(id),
        key,
        made_s: 100 + u64::from(number),
        expires_s: 1_000,
        uses_max,
        uses: 0,
        is_revoked: false,
    }
}

fn change(store: &Store, change: InviteChange) -> Result<(), Refusal> {
    let answer = store.ask(|reply| Job::ChangeInvites { change, reply });
    answer.map_err(|error| match error {
        InviteError::Refused(refusal) => refusal,
        InviteError::NotKept(why) => panic!("{why}"),
    })
}

fn used(store: &Store, number: u16, by: u8, now_s: u64) -> Result<(), Refusal> {
    change(store, InviteChange::Use { id: invite(number, 1).id, peer: identity(by), now_s })
}

fn kept(store: &Store) -> Vec<Invite> {
    store.ask(|reply| Job::Invites { reply }).unwrap()
}

#[test]
fn h_13_a_use_is_noted_before_it_is_answered_and_belongs_to_who_had_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path());
    change(&store, InviteChange::Add(invite(1, 2))).unwrap();
    assert_eq!(used(&store, 1, 2, 500), Ok(()));
    let store = store.reopen(dir.path());
    assert_eq!(store.opened.invites, [Invite { uses: 1, ..invite(1, 2) }]);
    assert_eq!(used(&store, 1, 3, 500), Ok(()));
    assert_eq!(used(&store, 1, 4, 500), Err(Refusal::Used));
    // He may have missed the answer.
    assert_eq!(used(&store, 1, 2, 500), Ok(()));
    assert_eq!(kept(&store)[0].uses, 2);
    store.close();
}

#[test]
fn many_that_want_one_use_at_once_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path());
    change(&store, InviteChange::Add(invite(1, 1))).unwrap();
    let asked: Vec<_> = (2..40)
        .map(|seed| {
            let (reply, answer) = tokio::sync::oneshot::channel();
            let change = InviteChange::Use { id: invite(1, 1).id, peer: identity(seed), now_s: 500 };
            store.send(Job::ChangeInvites { change, reply });
            answer
        })
        .collect();
    let answers: Vec<_> = asked.into_iter().map(|answer| answer.blocking_recv().unwrap()).collect();
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    assert!(answers[1..].iter().all(|answer| *answer == Err(InviteError::Refused(Refusal::Used))));
    store.close();
}

#[test]
fn what_is_over_or_taken_back_or_unknown_lets_nobody_in() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path());
    for number in 1..=3 {
        change(&store, InviteChange::Add(invite(number, 5))).unwrap();
    }
    assert_eq!(used(&store, 1, 2, 1_000), Err(Refusal::Expired));
    assert_eq!(used(&store, 9, 2, 500), Err(Refusal::Unknown));
    assert_eq!(used(&store, 2, 2, 500), Ok(()));
    assert_eq!(change(&store, InviteChange::Revoke(invite(2, 1).id)), Ok(()));
    assert_eq!(change(&store, InviteChange::Revoke(invite(9, 1).id)), Err(Refusal::Unknown));
    // Who was in by it does not get in by it again.
    assert_eq!(used(&store, 2, 2, 500), Err(Refusal::Revoked));
    assert_eq!(used(&store, 3, 2, 500), Ok(()));
    change(&store, InviteChange::RevokeAll).unwrap();
    assert_eq!(used(&store, 3, 3, 500), Err(Refusal::Revoked));
    assert!(kept(&store).iter().all(|invite| invite.is_revoked));
    store.close();
}

#[test]
fn of_too_many_those_go_first_that_let_nobody_in_any_more() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path());
    change(&store, InviteChange::Add(invite(0, 1))).unwrap();
    for number in 1..=u16::try_from(INVITES_MAX).unwrap() {
        change(&store, InviteChange::Add(invite(number, 1))).unwrap();
        change(&store, InviteChange::Revoke(invite(number, 1).id)).unwrap();
    }
    let kept = kept(&store);
    assert_eq!(kept.len(), INVITES_MAX);
    assert!(kept.contains(&invite(0, 1)), "the oldest of all may still be used");
    assert!(!kept.iter().any(|kept| kept.id == invite(1, 1).id));
    store.close();
}
