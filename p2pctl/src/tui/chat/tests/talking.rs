//! What two say to each other alone.

use super::*;

/// Something that `letter` says to us alone, or that we say to alice.
fn direct(letter: char, seq: u64, seconds: i64, text: &str) -> Post {
    let to = if letter == 'm' { id('a') } else { id('m') };
    Post { room: String::new(), kind: "direct".to_owned(), direct: true, to, ..post(letter, seq, seconds, text) }
}

fn outgoing(chat: &mut Chat) -> Vec<(String, String, String)> {
    let sent = effects(chat).into_iter().filter_map(|effect| match effect {
        Effect::Send(post) => Some((post.to, post.room, post.text)),
        _ => None,
    });
    sent.collect()
}

#[test]
fn what_a_member_says_to_us_alone_is_a_talk_of_its_own_and_counted_there() {
    let mut chat = chat([post('b', 99, 0, "to all")]);
    chat.handle_watched(Ok(batch([direct('a', 101, 1, "just you")])));
    assert!(!screen(&mut chat).contains("just you"));
    assert!(drawn(&mut chat, 120, 12).contains("@alice~aaaa 1"), "{}", screen(&mut chat));
    enter(&mut chat, "/msg alice");
    answer(&mut chat, Page { posts: vec![direct('a', 101, 1, "just you")], newest: Some(101), ..Page::default() });
    chat.handle_watched(Ok(batch([direct('m', 102, 2, "yes?"), direct('b', 103, 3, "not here")])));
    let shown = screen(&mut chat);
    assert!(shown.contains("@alice~aaaa") && shown.contains("just you") && shown.contains("yes?"), "{shown}");
    assert!(!shown.contains("not here") && !shown.contains("to all"), "{shown}");
}

#[test]
fn what_is_for_one_member_has_arrived_when_that_one_holds_it() {
    let mut chat = chat([]);
    enter(&mut chat, "/msg alice");
    let own = direct('m', 102, 2, "psst");
    answer(&mut chat, Page { posts: vec![own.clone()], newest: Some(102), ..Page::default() });
    let receipt = |alice: HolderState, bob: HolderState| {
        let holder =
            |peer: char, state: HolderState| Holder { peer: id(peer), state: state.into(), ..Holder::default() };
        Receipt { id: own.id.clone(), held: true, holders: vec![holder('a', alice), holder('b', bob)] }
    };
    chat.handle_receipts(&[receipt(HolderState::Away, HolderState::Holds)]);
    assert!(screen(&mut chat).contains("psst [stored]"), "{}", screen(&mut chat));
    chat.handle_receipts(&[receipt(HolderState::Holds, HolderState::Away)]);
    assert!(screen(&mut chat).contains("psst [arrived]"), "{}", screen(&mut chat));
}

#[test]
fn what_is_pasted_with_its_last_line_break_is_said_without_it() {
    let mut chat = chat([]);
    chat.handle_paste("one\ntwo\n\r\n");
    press(&mut chat, KeyCode::Enter);
    let said = effects(&mut chat).into_iter().find_map(|effect| match effect {
        Effect::Send(post) => Some(post.text),
        _ => None,
    });
    assert_eq!(said.as_deref(), Some("one\ntwo"));
}

#[test]
fn what_was_there_before_the_chat_is_not_called_late() {
    let late = |letter, seq, text: &str| Post { late: true, ..post(letter, seq, 1, text) };
    let mut chat = chat([late('a', 90, "old")]);
    chat.handle_watched(Ok(batch([late('b', 101, "new")])));
    let shown = screen(&mut chat);
    assert!(shown.contains("alice~aaaa: old") && shown.contains("bob~bbbb (late): new"), "{shown}");
}

#[test]
fn a_message_goes_to_the_member_it_is_for_and_to_no_room() {
    let mut chat = chat([]);
    write(&mut chat, "half a thought");
    control(&mut chat, 'u');
    enter(&mut chat, "/msg alice hello you");
    assert_eq!(outgoing(&mut chat), [(id('a'), String::new(), "hello you".to_owned())]);
    assert!(screen(&mut chat).contains("hello you [sending]"), "{}", screen(&mut chat));
    chat.handle_sent("key/1", sent(101, 1));
    assert!(screen(&mut chat).contains("hello you"));
    enter(&mut chat, "more");
    assert_eq!(outgoing(&mut chat), [(id('a'), String::new(), "more".to_owned())]);
    assert_eq!(chat.unsent(), [("@alice~aaaa".to_owned(), "more".to_owned())]);
    enter(&mut chat, "/join general");
    assert!(!screen(&mut chat).contains("hello you"));
}

#[test]
fn a_name_may_have_several_words_and_a_wrong_one_leaves_the_message_typed() {
    let mut chat = chat([]);
    let peers = vec![peer('a', "bob smith", PeerState::Up), peer('b', "carol", PeerState::Up)];
    chat.handle_peers(Ok(PeersResponse { peers }));
    enter(&mut chat, "/msg bob smith~aaaa see you");
    assert_eq!(outgoing(&mut chat), [(id('a'), String::new(), "see you".to_owned())]);
    enter(&mut chat, "/msg @carol~bbbb");
    assert!(outgoing(&mut chat).is_empty());
    assert!(screen(&mut chat).contains("@carol~bbbb"));
    enter(&mut chat, "/msg nobody psst");
    assert!(outgoing(&mut chat).is_empty());
    let shown = screen(&mut chat);
    assert!(shown.contains("nobody is called so") && shown.contains("> /msg nobody psst"), "{shown}");
}

#[test]
fn two_who_are_called_the_same_are_told_and_nothing_is_sent() {
    let mut chat = chat([]);
    let peers = vec![peer('a', "bob", PeerState::Up), peer('b', "bob", PeerState::Up)];
    chat.handle_peers(Ok(PeersResponse { peers }));
    enter(&mut chat, "/msg bob psst");
    assert!(outgoing(&mut chat).is_empty());
    assert!(screen(&mut chat).contains("2 are called so"), "{}", screen(&mut chat));
}

#[test]
fn a_room_that_is_named_like_a_talk_is_none() {
    let mut chat = chat([]);
    let fake = Post { room: format!("@{}", id('a')), ..post('b', 101, 1, "I am alice") };
    chat.handle_watched(Ok(batch([fake])));
    enter(&mut chat, "/msg alice");
    answer(&mut chat, Page { newest: Some(101), ..Page::default() });
    assert!(!screen(&mut chat).contains("I am alice"));
}

#[test]
fn what_cannot_be_opened_says_so_and_what_is_sealed_is_not_searched() {
    let mut chat = chat([]);
    enter(&mut chat, "/msg alice");
    let broken = Post { unreadable: true, ..direct('a', 101, 1, "") };
    answer(&mut chat, Page { posts: vec![broken], newest: Some(101), ..Page::default() });
    assert!(screen(&mut chat).contains("(cannot be read)"), "{}", screen(&mut chat));
    enter(&mut chat, "/search coffee");
    assert!(screen(&mut chat).contains("not searched"), "{}", screen(&mut chat));
    assert!(effects(&mut chat).iter().all(|effect| !matches!(effect, Effect::Search { .. })));
}

#[test]
fn tab_behind_msg_goes_through_the_members() {
    let mut chat = chat([]);
    write(&mut chat, "/ms");
    press(&mut chat, KeyCode::Tab);
    press(&mut chat, KeyCode::Tab);
    assert!(screen(&mut chat).contains("> /msg alice~aaaa"), "{}", screen(&mut chat));
}
