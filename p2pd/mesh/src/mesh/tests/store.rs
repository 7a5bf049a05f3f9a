//! Append before tell, and what happens when the store does not take it.

use super::disk::Mood;
use super::kit::{
    EPOCH, Peer, ROUND_TRIP_MS, chain, content, draft, other_digest, pushed, repaired, texts, texts_said,
};
use crate::effect::Event;
use crate::id::{Offset, Seq};
use crate::wire::message::{Have, Message, Want};

#[test]
fn nothing_is_shown_or_pushed_on_before_it_is_stored() {
    let mut peer = Peer::new(1);
    let (from, to) = (peer.accept(2), peer.accept(4));
    peer.said(to);
    peer.store.mood = Mood::Waits;
    // The author is not linked, so it is pushed on to peer 4.
    peer.hear(from, &pushed(&chain(3, 7, 2, &["a"])));
    peer.run_for(1_000);
    assert!(peer.delivered().is_empty());
    assert_eq!(peer.mesh.status().posts, 0);
    assert!(!peer.said(to).iter().any(|message| matches!(message, Message::Envelopes(_) | Message::Have(_))));
    peer.store_answers(Mood::Takes);
    assert_eq!(texts(&peer.delivered()), ["a", "a"]);
    assert_eq!(texts_said(&peer.said(to)), ["a", "a"]);
    assert_eq!(peer.mesh.status().offset, Offset(2));
}

#[test]
fn what_came_in_one_frame_is_stored_together_and_in_order() {
    let mut peer = Peer::new(1);
    let link = peer.accept(2);
    peer.hear(link, &pushed(&chain(3, 7, 5, &["a", "b"])));
    let appends = peer.appends();
    let offsets: Vec<u64> = appends[0].envelopes.iter().map(|delivery| delivery.offset.0).collect();
    assert_eq!((appends.len(), offsets), (1, vec![1, 3, 5, 7, 9]));
}

#[test]
fn d_06_when_one_append_fails_all_that_build_on_it_fail_and_a_new_generation_begins() {
    let mut peer = Peer::new(1);
    let link = peer.accept(2);
    let feed = chain(3, 7, 4, &["a"]);
    peer.store.mood = Mood::Waits;
    peer.hear(link, &pushed(&feed[..1]));
    peer.publish(1, vec![draft("ours")]);
    peer.hear(link, &pushed(&feed[1..2]));
    let before: Vec<u64> = peer.appends().iter().map(|append| append.generation).collect();
    assert_eq!(before, [before[0]; 3]);
    peer.store_answers(Mood::Full);
    // The disk has room again, and yet what was built on the lost one must not be stored.
    peer.store_answers(Mood::Takes);
    peer.store_answers(Mood::Takes);
    assert!(peer.history().is_empty());
    assert!(peer.published()[0].1[0].is_err());
    let failures = peer.events().into_iter().filter(|event| matches!(event, Event::StoreFailed { .. }));
    assert_eq!(failures.count(), 1, "one story, told once");
    peer.store.mood = Mood::Takes;
    peer.publish(2, vec![draft("ours")]);
    let after = peer.appends();
    assert!(after[0].generation > before[0]);
    assert_eq!(after[0].envelopes[0].envelope.first(), Seq(1), "a number that nobody saw is free");
    assert!(peer.published()[0].1[0].is_ok());
}

#[test]
fn d_06_what_the_disk_did_not_take_is_asked_for_again_until_it_is_there() {
    let mut peer = Peer::new(1);
    let link = peer.accept(2);
    let feed = chain(3, 7, 3, &["a"]);
    peer.store.mood = Mood::Full;
    peer.hear(link, &pushed(&feed));
    assert!(peer.history().is_empty());
    let answer = |message: &Message| match message {
        Message::Want(want) if want.feed == feed[0].feed_id() => vec![repaired(&feed)],
        Message::Ping(ping) => vec![other_digest(ping)],
        _ => Vec::new(),
    };
    peer.converse(10_000, |_, message| answer(message));
    assert!(peer.count("store_failed_total") >= 3, "it goes on trying");
    assert!(peer.count("store_failed_total") <= 12, "but at leisure");
    peer.store.mood = Mood::Takes;
    peer.converse(3_000, |_, message| answer(message));
    assert_eq!(peer.history(), ["a"; 3]);
    assert_eq!(peer.ends(), Vec::<String>::new());
}

#[test]
fn d_06_many_feeds_that_the_disk_did_not_take_are_all_repaired() {
    // A question whose answer was lost to the disk must not count as open for ever: so many may be open, no more.
    let feeds: Vec<_> = (0..20).map(|n| chain(3, 1_000 + n, 2, &["a"])).collect();
    let mut peer = Peer::new(1);
    let link = peer.accept(2);
    peer.hear(link, &super::kit::heads(&feeds));
    peer.store.mood = Mood::Full;
    for message in peer.said(link) {
        let Message::Want(Want { feed, .. }) = message else { continue };
        let asked = feeds.iter().find(|envelopes| envelopes[0].feed_id() == feed).unwrap();
        // Half of the answer.
        peer.hear(link, &repaired(&asked[..1]));
    }
    peer.store.mood = Mood::Takes;
    peer.converse(60_000, |_, message| match message {
        Message::Want(want) => vec![repaired(feeds.iter().find(|held| held[0].feed_id() == want.feed).unwrap())],
        Message::Heads(_) => vec![super::kit::heads(&feeds)],
        Message::Ping(ping) => vec![other_digest(ping)],
        _ => Vec::new(),
    });
    let status = peer.mesh.status();
    assert_eq!((status.posts, status.missing_posts), (40, 0));
}

#[test]
fn d_06_posts_of_the_same_moment_follow_a_failure_in_order() {
    let mut peer = Peer::new(1);
    peer.store.mood = Mood::Waits;
    peer.publish(1, vec![draft("lost")]);
    peer.publish(2, vec![draft("kept")]);
    peer.store_answers(Mood::Full);
    peer.store_answers(Mood::Takes);
    let published = peer.published();
    assert!(published[0].1[0].is_err());
    assert_eq!(published[1].1[0].as_ref().unwrap().id.seq, Seq(1));
    assert_eq!(peer.history(), ["kept"]);
}

#[test]
fn d_13_own_posts_that_come_back_from_peers_are_told_of_once() {
    let mut peer = Peer::new(1);
    let link = peer.accept(2);
    let returned = |peer: &mut Peer| {
        let events = peer.events().into_iter();
        events.filter(|event| matches!(event, Event::OwnPostsReturned { feed } if feed.epoch.0 == 7)).count()
    };
    peer.hear(link, &pushed(&chain(3, 7, 1, &["somebody's"])));
    assert_eq!(returned(&mut peer), 0);
    peer.hear(link, &pushed(&chain(1, 7, 2, &["ours, from a run that is not on this disk"])));
    peer.hear(link, &pushed(&chain(1, 8, 1, &["another one"])));
    assert_eq!((returned(&mut peer), peer.count("own_posts_returned_total")), (1, 3));
    assert_eq!(peer.history().len(), 4, "they are taken like any others");
}

#[test]
fn a_store_that_hangs_stops_the_reading_and_nothing_is_lost() {
    let mut peer = Peer::new(1);
    let link = peer.accept(2);
    let text = "x".repeat(16_000);
    let feed = chain(3, 7, 300, &[text.as_str(); 4]);
    peer.store.mood = Mood::Waits;
    let mut heard = 0;
    while !peer.mesh.is_saturated() {
        peer.hear(link, &pushed(&feed[heard..=heard]));
        heard += 1;
    }
    assert!((250..300).contains(&heard), "16 MiB may wait, not {heard} times 64 KB");
    while peer.store.waiting() > 0 {
        peer.store_answers(Mood::Takes);
    }
    assert!(!peer.mesh.is_saturated());
    assert_eq!(peer.mesh.status().posts, heard as u64 * 4);
}

#[test]
fn whoever_brought_something_hears_that_it_is_stored() {
    let mut peer = Peer::new(1);
    let link = peer.accept(2);
    peer.converse(1_000, |_, message| content(message));
    let feed = chain(2, EPOCH.0, 1, &["a"]);
    peer.hear(link, &pushed(&feed));
    assert!(!peer.said(link).iter().any(|message| matches!(message, Message::Have(_))));
    peer.run_for(ROUND_TRIP_MS);
    let have = Message::Have(vec![Have { feed: feed[0].feed_id(), head: Seq(1), floor: Seq(1) }]);
    assert_eq!(peer.said(link), [have]);
}
