//! Rotations as members hear them: in any order, from anybody, and with anything in them.

use std::time::Duration;

use ed25519_dalek::SigningKey;
use p2p_mesh::id::{Epoch, Instance, Offset, Seq};
use p2p_mesh::limits::TEXT_LEN_MAX;
use proptest::prelude::*;

use super::*;
use crate::letters::Letters;
use crate::network::NetworkKey;
use zeroize::Zeroizing;

const NOW_MS: u64 = 1_000_000_000;
const HOUR: Duration = Duration::from_secs(3_600);
const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;

/// A member with what it knows.
struct Member {
    id: PeerId,
    letters: Letters,
    rotations: Rotations,
    said: u64,
}

/// A post that somebody said.
#[derive(Clone, Debug, PartialEq)]
struct Word {
    by: PeerId,
    seq: u64,
    text: String,
}

fn root() -> NetworkKey {
    NetworkKey { id: [7; 16], secret: Zeroizing::new([7; 32]) }
}

fn member(seed: u8) -> Member {
    member_with(seed, &[root()])
}

fn member_with(seed: u8, keys: &[NetworkKey]) -> Member {
    let letters = Letters::new(&SigningKey::from_bytes(&[seed; 32]));
    Member { id: letters.me(), rotations: Rotations::fresh(letters.clone(), keys), letters, said: 0 }
}

fn ids(members: &[&Member]) -> BTreeSet<PeerId> {
    members.iter().map(|member| member.id).collect()
}

impl Member {
    fn plan(&mut self, plan: Plan) -> Vec<Word> {
        let texts = self.rotations.plan(&plan, NOW_MS).unwrap();
        let words = texts.into_iter().map(|text| {
            self.said += 1;
            Word { by: self.id, seq: self.said, text }
        });
        let words: Vec<Word> = words.collect();
        words.iter().for_each(|word| assert_eq!(self.hear(word), Heard::New));
        words
    }

    /// Changes the secret for these, and hears it itself.
    fn rotate(&mut self, members: BTreeSet<PeerId>) -> Vec<Word> {
        self.plan(Plan { members, shuts: BTreeSet::new(), readmits: BTreeSet::new(), grace: HOUR })
    }

    fn shut_out(&mut self, members: BTreeSet<PeerId>, shuts: BTreeSet<PeerId>) -> Vec<Word> {
        self.plan(Plan { members, shuts, readmits: BTreeSet::new(), grace: Duration::ZERO })
    }

    fn hear(&mut self, word: &Word) -> Heard {
        self.hear_at(word, NOW_MS)
    }

    fn hear_at(&mut self, word: &Word, now_ms: u64) -> Heard {
        let feed = Instance { id: word.by, epoch: Epoch(1) };
        let post = PostId { feed, seq: Seq(word.seq) };
        self.rotations.hear(Said { post, at_ms: NOW_MS, text: &word.text }, now_ms)
    }

    fn hear_all<'a>(&mut self, words: impl IntoIterator<Item = &'a Word>) {
        for word in words {
            self.hear(word);
        }
    }

    fn key(&self) -> KeyName {
        self.rotations.current()
    }

    fn names(&self) -> Vec<KeyName> {
        self.rotations.keys().iter().map(NetworkKey::name).collect()
    }
}

/// Says anything, as a program that means harm would.
fn forged(by: &Member, old: KeyName, new: KeyName, shuts: &[PeerId], parts: &[(PeerId, String)]) -> Word {
    let ids: Vec<String> = shuts.iter().map(PeerId::to_string).collect();
    let parts: Vec<(String, &str)> = parts.iter().map(|(id, sealed)| (id.to_string(), sealed.as_str())).collect();
    let text = serde_json::json!({
        "old": old.to_string(), "new": new.to_string(), "until_ms": 0, "shuts": ids, "out": ids, "parts": parts,
    });
    Word { by: by.id, seq: 99, text: text.to_string() }
}

#[test]
fn a_member_takes_the_new_key_and_accepts_the_old_one_until_the_grace_is_over() {
    let (mut alice, mut bob) = (member(1), member(2));
    let words = alice.rotate(ids(&[&bob]));
    assert_eq!(bob.hear(&words[0]), Heard::New);
    assert_eq!(bob.key(), alice.key());
    assert_ne!(bob.key(), root().name());
    assert_eq!(bob.names(), [bob.key(), root().name()]);
    assert_eq!(bob.rotations.next_end_ms(), Some(NOW_MS + HOUR_MS));
    assert!(!bob.rotations.expire(NOW_MS + HOUR_MS - 1));
    assert!(bob.rotations.expire(NOW_MS + HOUR_MS));
    assert_eq!((bob.names(), bob.rotations.next_end_ms()), (vec![bob.key()], None));
    assert_eq!(bob.rotations.keys()[0].id, root().id, "the network is the same");
    assert_eq!(bob.hear(&words[0]), Heard::Nothing);
    assert!(bob.rotations.is_replaced(&root().name()) && !bob.rotations.is_replaced(&bob.key()));
}

#[test]
fn who_is_shut_out_gets_nothing_and_the_old_key_ends_at_once() {
    let (mut alice, mut bob, mut eve) = (member(1), member(2), member(3));
    let words = alice.shut_out(ids(&[&bob, &eve]), ids(&[&eve]));
    for member in [&mut bob, &mut eve] {
        member.hear_all(&words);
    }
    assert_eq!(bob.names(), [alice.key()]);
    assert_eq!((bob.rotations.out(), bob.rotations.standing()), (ids(&[&eve]), Standing::In));
    assert_eq!(bob.rotations.may_ask(), ids(&[&alice, &bob]));
    assert_eq!((eve.names(), eve.rotations.standing()), (vec![root().name()], Standing::ShutOut(alice.id)));
    assert!(eve.rotations.may_ask().is_empty());
    let further = bob.rotate(ids(&[&alice]));
    alice.hear_all(&further);
    assert_eq!(alice.rotations.out(), ids(&[&eve]), "it stays out over later changes");
    let plan = Plan { members: ids(&[&alice, &eve]), shuts: BTreeSet::new(), readmits: ids(&[&eve]), grace: HOUR };
    let back = alice.plan(plan);
    [&mut bob, &mut eve].into_iter().for_each(|member| member.hear_all(further.iter().chain(&back)));
    assert_eq!((eve.key(), eve.rotations.standing()), (alice.key(), Standing::In));
    assert!(bob.rotations.out().is_empty());
}

#[test]
fn who_is_not_given_the_new_key_keeps_the_old_one_and_knows_it() {
    let (mut alice, mut bob) = (member(1), member(2));
    bob.hear_all(&alice.rotate(BTreeSet::new()));
    assert_eq!((bob.names(), bob.rotations.standing()), (vec![root().name()], Standing::LeftOut(alice.id)));
    assert!(!bob.rotations.expire(NOW_MS + 2 * HOUR_MS), "better an old key than none");
    // A ticket of a member brings it.
    assert!(bob.rotations.take_given(&alice.rotations.keys(), NOW_MS));
    assert_eq!((bob.key(), bob.rotations.standing()), (alice.key(), Standing::In));
}

/// Every order of what three said, two of them at once.
#[test]
fn whatever_the_order_all_who_know_the_same_rotations_choose_the_same_key() {
    let (mut alice, mut bob, mut carol) = (member(1), member(2), member(3));
    let all = ids(&[&alice, &bob, &carol]);
    let mut words = alice.rotate(all.clone());
    words.extend(bob.rotate(all.clone()));
    carol.hear_all(&words[..1]);
    words.extend(carol.rotate(all));
    words.extend(bob.rotate(ids(&[&alice, &carol])));
    let mut keys = BTreeSet::new();
    for mut number in 0..24_usize {
        let mut left: Vec<usize> = (0..4).collect();
        let mut dave = member_with(1, &[root()]);
        while !left.is_empty() {
            let count = left.len();
            dave.hear(&words[left.remove(number % count)]);
            number /= count;
        }
        keys.insert(dave.key());
        assert_eq!(dave.rotations.standing(), Standing::In);
    }
    assert_eq!(keys.len(), 1);
}

#[test]
fn later_changes_win_over_one_that_did_not_know_them_and_of_equals_the_one_that_shuts_somebody_out() {
    let (mut alice, mut bob, mut carol, eve) = (member(1), member(2), member(3), member(4));
    let all = ids(&[&alice, &bob, &carol, &eve]);
    let plain = alice.rotate(all.clone());
    let shutting = bob.shut_out(all.clone(), ids(&[&eve]));
    carol.hear_all(plain.iter().chain(&shutting));
    assert_eq!((carol.key(), carol.rotations.out()), (bob.key(), ids(&[&eve])));
    let mut dave = member_with(3, &[root()]);
    dave.hear_all(&plain);
    let second = alice.rotate(all);
    dave.hear_all(second.iter().chain(&shutting));
    bob.hear_all(plain.iter().chain(&second));
    assert_eq!(dave.key(), alice.key(), "two in a row");
    assert_eq!((bob.key(), bob.rotations.lost_shuts()), (alice.key(), ids(&[&eve])), "and bob is told what he lost");
}

#[test]
fn two_who_shut_out_each_other_at_once_are_judged_alike_and_one_who_comes_later_is_not_heard() {
    let (mut alice, mut eve, mut bob, mut carol) = (member(1), member(2), member(3), member(4));
    let all = ids(&[&alice, &eve, &bob, &carol]);
    let ours = alice.shut_out(all.clone(), ids(&[&eve]));
    let theirs = eve.shut_out(all, ids(&[&alice]));
    bob.hear_all(ours.iter().chain(&theirs));
    carol.hear_all(theirs.iter().chain(&ours));
    assert_eq!(bob.key(), carol.key());

    let mut dave = member_with(3, &[root()]);
    dave.hear_all(&ours);
    let later = NOW_MS + 11 * 60_000;
    assert_eq!(dave.hear_at(&theirs[0], later), Heard::Ignored);
    assert_eq!((dave.key(), dave.rotations.out()), (alice.key(), ids(&[&eve])));
}

#[test]
fn of_many_members_each_finds_its_part_in_one_of_several_posts() {
    let mut alice = member(1);
    let mut others: Vec<Member> = (2..=150).map(member).collect();
    let all = others.iter().map(|other| other.id).collect();
    let words = alice.rotate(all);
    assert!(words.len() > 1 && words.iter().all(|word| word.text.len() <= TEXT_LEN_MAX));
    for other in &mut others {
        other.hear_all(words.iter().rev());
        assert_eq!((other.key(), other.rotations.standing()), (alice.key(), Standing::In));
        assert_eq!(other.rotations.rotation().unwrap().members.len(), 150);
        assert_eq!(other.rotations.rotation().unwrap().posts.len(), words.len());
    }
}

#[test]
fn nothing_that_a_stranger_makes_up_changes_a_key_or_panics() {
    let (mut bob, alice, eve) = (member(2), member(1), member(3));
    let (root, other) = (root(), NetworkKey { id: [7; 16], secret: Zeroizing::new([9; 32]) });
    let secret = p2p_mesh::id::base32(&*other.secret);
    let sealed = alice.letters.seal_key(bob.id, &secret).unwrap();
    let id = bob.id;
    let part = |sealed: &str| vec![(id, sealed.to_owned())];
    let wrong_name = KeyName([1; 16]);
    for word in [
        // Copied from somebody else's, for another key, no seal, sealed rubbish.
        forged(&eve, root.name(), other.name(), &[], &part(&sealed)),
        forged(&alice, root.name(), wrong_name, &[], &part(&sealed)),
        forged(&alice, root.name(), other.name(), &[], &part("AAAA")),
        forged(&alice, root.name(), other.name(), &[], &part(&alice.letters.seal_key(bob.id, "x").unwrap())),
        // Of nothing that is known.
        forged(&alice, wrong_name, other.name(), &[], &part(&sealed)),
    ] {
        let mut bob = member(2);
        bob.hear(&word);
        assert_eq!(bob.names(), [root.name()], "{word:?}");
    }
    for text in ["", "{}", "[]", "null", "{\"old\":1}", "\u{0}", &"[".repeat(10_000), &"x".repeat(20_000)] {
        assert_eq!(bob.hear(&Word { by: alice.id, seq: 1, text: text.to_owned() }), Heard::Nothing);
    }
    let crowd: Vec<PeerId> = (0..=OUT_MAX).map(|n| PeerId([u8::try_from(n).unwrap(); 32])).collect();
    assert_eq!(bob.hear(&forged(&alice, root.name(), other.name(), &crowd, &[])), Heard::Nothing);
    assert_eq!(bob.hear(&forged(&alice, root.name(), root.name(), &[], &[])), Heard::Nothing, "no circle");
    // Who names himself among those that are out is in still.
    bob.hear(&forged(&alice, root.name(), other.name(), &[alice.id, eve.id], &part(&sealed)));
    assert_eq!(bob.rotations.out(), [eve.id].into());
    assert_eq!(bob.key(), other.name());
}

#[test]
fn somebody_who_says_ever_new_ones_pushes_out_his_own_and_no_chain_is_longer_than_it_must_be() {
    let (mut alice, mut bob, eve) = (member(1), member(2), member(3));
    for n in 0..200_u8 {
        bob.hear(&forged(&eve, KeyName([n; 16]), KeyName([n.wrapping_add(100); 16]), &[], &[]));
    }
    let loose = bob.rotations.known_len();
    assert!(loose <= 4, "{loose}");
    let all = ids(&[&bob]);
    let words: Vec<Word> = (0..30).flat_map(|_| alice.rotate(all.clone())).collect();
    bob.hear_all(&words);
    assert_eq!(bob.key(), alice.key());
    assert!(bob.rotations.known_len() < 20, "{}", bob.rotations.known_len());
    assert!(bob.rotations.keys().len() <= 3);
    assert!(bob.rotations.is_replaced(&root().name()), "also what is long ago");
}

#[test]
fn a_key_from_a_hatch_opens_links_and_holds_when_a_rotation_brings_it() {
    let (mut alice, mut bob) = (member(1), member(2));
    let missed = alice.shut_out(ids(&[&bob]), BTreeSet::new());
    let last = alice.rotate(ids(&[&bob]));
    drop(missed);
    assert!(bob.rotations.take_given(&alice.rotations.keys(), NOW_MS));
    assert!(!bob.rotations.take_given(&alice.rotations.keys(), NOW_MS));
    assert_eq!(bob.names(), [root().name(), alice.key()], "both are tried");
    assert_eq!(bob.rotations.next_end_ms(), None, "nothing ends before it is known what holds");
    bob.hear_all(&last);
    assert_eq!(bob.names(), [alice.key(), root().name()], "what lies between is not held by anybody any more");
    assert_eq!(bob.rotations.next_end_ms(), Some(NOW_MS + HOUR_MS));
    assert_eq!(bob.rotations.rotation().map(|one| one.author), Some(alice.id));
    // A key of another network is none of ours, and one that nothing confirms ends where ours goes on.
    let foreign = NetworkKey::generate();
    assert!(!bob.rotations.take_given(&[foreign], NOW_MS));
    let liar = NetworkKey { id: root().id, secret: Zeroizing::new([5; 32]) };
    assert!(bob.rotations.take_given(std::slice::from_ref(&liar), NOW_MS));
    let next = alice.rotate(ids(&[&bob]));
    bob.hear_all(&next);
    assert_eq!(bob.key(), alice.key());
    assert!(bob.names().contains(&liar.name()));
    assert!(bob.rotations.next_end_ms().is_some_and(|end_ms| end_ms > NOW_MS), "nobody waits for what is over");
    assert!(bob.rotations.expire(NOW_MS + DAY_MS));
    assert_eq!(bob.names(), [alice.key()]);
    // Of two that were given the later one is held.
    let mut carol = member(3);
    let first = NetworkKey { id: root().id, secret: Zeroizing::new([6; 32]) };
    assert!(carol.rotations.take_given(&[first], NOW_MS));
    assert!(carol.rotations.take_given(std::slice::from_ref(&liar), NOW_MS));
    assert_eq!(carol.names(), [root().name(), liar.name()]);
}

#[test]
fn a_key_that_somebody_gave_before_he_was_shut_out_lets_nobody_in() {
    let (mut alice, mut bob, eve) = (member(1), member(2), member(3));
    let back_door = NetworkKey { id: root().id, secret: Zeroizing::new([5; 32]) };
    assert!(bob.rotations.take_given(&[back_door], NOW_MS));
    bob.hear_all(&alice.shut_out(ids(&[&bob]), ids(&[&eve])));
    assert_eq!(bob.names(), [alice.key()]);
    // Who gets the key itself at a hatch before its part is here, keeps it.
    let mut carol = member(4);
    let words = alice.shut_out(BTreeSet::new(), ids(&[&bob]));
    carol.hear_all(&words);
    assert!(carol.rotations.take_given(&alice.rotations.keys(), NOW_MS));
    assert_eq!(carol.key(), alice.key());
}

#[test]
fn a_newcomer_with_the_new_key_learns_who_is_out_and_what_he_got_by_his_ticket_ends() {
    let (mut alice, eve) = (member(1), member(3));
    let words = alice.shut_out(BTreeSet::new(), ids(&[&eve]));
    let mut bob = member_with(2, &[alice.rotations.keys()[0].clone(), root()]);
    bob.hear_all(&words);
    assert_eq!((bob.rotations.out(), bob.rotations.standing()), (ids(&[&eve]), Standing::In));
    assert_eq!(bob.key(), alice.key());
    assert_eq!(bob.names(), [alice.key()], "the old one came with the ticket");
}

#[test]
fn a_restart_finds_the_new_key_whatever_is_configured() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(KEPT_FILE);
    let (mut alice, mut bob) = (member(1), member(2));
    bob.hear_all(&alice.shut_out(ids(&[&bob]), BTreeSet::new()));
    bob.rotations.note_seen(Offset(42));
    bob.rotations.save(&path).unwrap();
    let load = |configured: &[NetworkKey], rotated: &[NetworkKey]| {
        Rotations::load(bob.letters.clone(), &path, (configured, rotated), NOW_MS).0
    };
    let names = |rotations: &Rotations| rotations.keys().iter().map(NetworkKey::name).collect::<Vec<_>>();
    let new = bob.rotations.keys();
    for rotations in [load(&[root()], &new), load(&[root()], &[]), load(&new, &[])] {
        assert_eq!(names(&rotations), [alice.key()]);
        assert_eq!((rotations.seen(), rotations.standing()), (Offset(42), Standing::In));
    }
    // Another key of the same network was put there by hand, or one of another network.
    let by_hand = NetworkKey { id: root().id, secret: Zeroizing::new([8; 32]) };
    let rotations = load(&[by_hand.clone(), root()], &new);
    assert_eq!(names(&rotations).len(), 2);
    assert_eq!((rotations.current(), rotations.rotation()), (by_hand.name(), None));
    let elsewhere = NetworkKey::generate();
    assert_eq!(names(&load(std::slice::from_ref(&elsewhere), &new)), [elsewhere.name()]);
}

#[test]
fn a_file_that_is_damaged_or_missing_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(KEPT_FILE);
    let load = |path: &std::path::Path| Rotations::load(member(2).letters, path, (&[root()], &[]), NOW_MS);
    assert!(load(&path).1.is_none());
    std::fs::write(&path, "{\"v\":1").unwrap();
    let (rotations, error) = load(&path);
    assert_eq!((rotations.current(), rotations.seen()), (root().name(), Offset(0)));
    assert!(error.is_some_and(|error| error.to_string().ends_with("rotation.json\" is damaged")));
    assert!(load(dir.path()).1.is_some_and(|error| error.to_string().contains("cannot be read")));
}

#[test]
fn keys_of_other_networks_are_left_alone_and_those_put_beside_by_hand_end_with_the_old_one() {
    let (beside, foreign) = (NetworkKey { id: root().id, secret: Zeroizing::new([8; 32]) }, NetworkKey::generate());
    let mut bob = member_with(2, &[root(), beside, foreign.clone()]);
    let mut alice = member(1);
    bob.hear_all(&alice.shut_out(ids(&[&bob]), BTreeSet::new()));
    assert_eq!(bob.names(), [alice.key(), foreign.name()]);
    assert_eq!(bob.rotations.held().len(), 1);
}

#[test]
fn more_than_can_be_told_cannot_be_shut_out() {
    let mut alice = member(1);
    let shuts: BTreeSet<PeerId> = (0..=OUT_MAX).map(|n| PeerId([u8::try_from(n).unwrap(); 32])).collect();
    let plan = Plan { members: BTreeSet::new(), shuts, readmits: BTreeSet::new(), grace: HOUR };
    assert_eq!(alice.rotations.plan(&plan, NOW_MS), Err(PlanError::TooMany(65)));
    // An id that is no key gets no part, and hinders nobody.
    let words = alice.rotate([PeerId([2; 32])].into());
    assert_eq!(words.len(), 1);
    assert_eq!(alice.rotations.rotation().unwrap().members, [alice.id].into());
}

#[test]
fn a_hatch_is_found_by_its_two_members_and_by_nobody_else() {
    let hatches = |seed: u8| Hatches::new(member(seed).letters, tokio::sync::mpsc::channel(1).0);
    let (ours, theirs) = (hatches(1), hatches(2));
    let (me, bob, eve) = (member(1).id, member(2).id, member(3).id);
    ours.set([7; 16], [bob].into(), vec![bob, eve]);
    let asked = theirs.at(&[7; 16], Some(me));
    let found = ours.ours(asked[0].id).unwrap();
    assert_eq!((found.peer, &found.psk), (bob, &asked[0].psk));
    assert!(ours.ours(theirs.at(&[8; 16], Some(me))[0].id).is_none(), "in another network it is another");
    assert!(ours.ours(hatches(3).at(&[7; 16], Some(me))[0].id).is_none(), "who is no member has none");
    assert!(ours.ours(ours.at(&[7; 16], Some(bob))[0].id).is_none(), "and it opens in one direction");
    assert!(!format!("{found:?} {ours:?}").contains(&format!("{:?}", found.psk)));
    ours.set([7; 16], BTreeSet::new(), Vec::new());
    assert!(ours.ours(asked[0].id).is_none());
}

#[test]
fn where_anybody_may_be_some_hatches_are_tried_and_others_the_next_time() {
    let hatches = Hatches::new(member(1).letters, tokio::sync::mpsc::channel(1).0);
    let others: Vec<PeerId> = (2..=7).map(|seed| member(seed).id).collect();
    hatches.set([7; 16], BTreeSet::new(), others.clone());
    let tried: BTreeSet<PeerId> = (0..2).flat_map(|_| hatches.at(&[7; 16], None)).map(|hatch| hatch.peer).collect();
    assert_eq!(tried, others.into_iter().collect());
}

#[test]
fn of_a_rotation_that_never_ends_not_more_is_kept_than_of_one_for_a_thousand() {
    let (mut bob, eve) = (member(2), member(3));
    let mut number = 0_u32;
    for seq in 1..=200 {
        let parts: Vec<(PeerId, String)> = (0..200)
            .map(|_| {
                number += 1;
                (PeerId(*blake3::hash(&number.to_be_bytes()).as_bytes()), String::new())
            })
            .collect();
        let word = forged(&eve, root().name(), KeyName([9; 16]), &[], &parts);
        bob.hear(&Word { seq, ..word });
    }
    let kept = bob.rotations.rotation().unwrap();
    assert!((1_000..1_300).contains(&kept.members.len()), "{}", kept.members.len());
    assert!(kept.posts.len() <= 64);
    let long = vec![(bob.id, "A".repeat(300))];
    assert_eq!(
        bob.hear(&forged(&eve, root().name(), KeyName([8; 16]), &[], &long)),
        Heard::Nothing,
        "no seal is so long"
    );
}

#[test]
fn one_who_gives_a_key_to_nobody_does_not_keep_the_others_from_changing_it() {
    let (mut alice, mut bob, eve) = (member(1), member(2), member(3));
    let harm: Vec<Word> = (0..3_u8)
        .map(|n| {
            let old = if n == 0 { root().name() } else { KeyName([n; 16]) };
            Word { seq: u64::from(n) + 1, ..forged(&eve, old, KeyName([n + 1; 16]), &[], &[]) }
        })
        .collect();
    alice.hear_all(&harm);
    bob.hear_all(&harm);
    assert_eq!(alice.rotations.standing(), Standing::LeftOut(eve.id));
    let words = alice.shut_out(ids(&[&bob]), ids(&[&eve]));
    bob.hear_all(&words);
    assert_eq!((bob.names(), bob.rotations.standing()), (vec![alice.key()], Standing::In));
    assert_eq!(bob.rotations.out(), ids(&[&eve]));
}

#[test]
fn a_clock_that_is_set_back_after_somebody_was_shut_out_lets_nobody_in() {
    let (mut alice, mut eve, mut bob) = (member(1), member(2), member(3));
    let all = ids(&[&alice, &eve, &bob]);
    let theirs = eve.shut_out(all.clone(), ids(&[&alice]));
    bob.hear_all(&alice.shut_out(all, ids(&[&eve])));
    assert_eq!(bob.hear_at(&theirs[0], NOW_MS - DAY_MS), Heard::Ignored);
    assert_eq!(bob.key(), alice.key());
}

#[test]
fn where_what_was_kept_is_damaged_the_keys_that_came_by_rotation_still_open_links() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(KEPT_FILE);
    std::fs::write(&path, "{").unwrap();
    let (mut alice, mut bob) = (member(1), member(2));
    let words = alice.shut_out(ids(&[&bob]), BTreeSet::new());
    let rotated = [alice.rotations.keys()[0].clone(), NetworkKey::generate()];
    bob.rotations = Rotations::load(bob.letters.clone(), &path, (&[root()], &rotated), NOW_MS).0;
    assert_eq!(bob.names(), [root().name(), alice.key()], "and none of another network");
    bob.hear_all(&words);
    assert_eq!(bob.names(), [alice.key()]);
}

proptest! {
    #[test]
    fn no_text_panics_and_what_is_read_is_said_again_alike(text in ".{0,60}", fields in any::<[u8; 32]>()) {
        prop_assert!(post::Notice::parse(&text).is_none());
        let notice = post::Notice {
            old: KeyName(std::array::from_fn(|at| fields[at])),
            new: KeyName(std::array::from_fn(|at| fields[at + 16])),
            until_ms: u64::from(fields[0]),
            shuts: [member(1).id].into(),
            out: [member(1).id, member(2).id].into(),
            parts: vec![(member(3).id, text)],
        };
        if notice.old != notice.new {
            prop_assert_eq!(post::Notice::parse(&notice.texts()[0]), Some(notice));
        }
    }
}
