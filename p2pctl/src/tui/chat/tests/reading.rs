//! What is read: new posts, old posts, unread ones, found ones.

use p2p_proto::v1::{Conversation, Gap, Room, RoomsResponse, SearchResponse};

use super::*;
use crate::tui::chat::state::View;
use crate::tui::chat::timeline::{KEPT_POSTS_MAX, POSTS_MAX};

fn page(posts: impl IntoIterator<Item = Post>, is_more: bool) -> Page {
    Page { posts: posts.into_iter().collect(), is_more, expired: 0, newest: Some(100) }
}

fn insert(chat: &mut Chat, posts: impl Iterator<Item = Post>) {
    for post in posts {
        assert!(chat.timeline.insert(post).is_some());
    }
}

/// The line at the lower edge of the posts.
fn edge(chat: &mut Chat) -> String {
    let shown = screen(chat);
    let last = shown.lines().rev().find(|line| line.contains("number")).unwrap_or_default();
    last.trim_matches(['"', ' ']).to_owned()
}

#[test]
fn posts_are_followed_as_they_come() {
    let mut chat = chat(hundred());
    chat.handle_watched(Ok(batch([post('b', 101, 1, "number 101, at last")])));
    assert!(edge(&mut chat).contains("number 101, at last"));
    assert_eq!(chat.offset, 101);
}

#[test]
fn whoever_reads_older_posts_is_not_moved_and_told_of_new_ones() {
    let mut chat = chat(hundred());
    press(&mut chat, KeyCode::PageUp);
    let before = screen(&mut chat);
    assert!(before.contains("number 85.") && !before.contains("number 100."), "{before}");
    let posts = |shown: &str| shown.lines().take(10).map(str::to_owned).collect::<Vec<_>>();
    chat.handle_watched(Ok(batch([post('b', 101, 1, "new")])));
    // One that belongs far above, and one that belongs below.
    let late = |seq, seconds| Post { late: true, ..post('b', seq, seconds, "late") };
    chat.handle_watched(Ok(batch([late(102, -60 * 199 + 30), late(103, -60 * 101 + 30)])));
    let after = screen(&mut chat);
    assert_eq!(posts(&before)[..9], posts(&after)[..9]);
    assert!(after.contains("↓ 2 new below"), "{after}");
    press(&mut chat, KeyCode::End);
    let newest = screen(&mut chat);
    assert!(newest.contains("── new ──") && newest.contains("bob~bbbb: new"), "{newest}");
    assert_eq!((chat.view.clone(), chat.below), (View::Newest, 0));
}

#[test]
fn a_late_post_that_nobody_sees_is_told() {
    let mut chat = chat(hundred());
    chat.handle_watched(Ok(batch([Post { late: true, ..post('b', 101, -60 * 150 + 30, "late") }])));
    let shown = screen(&mut chat);
    assert!(shown.contains("late, above: bob~bbbb at 11:30:30"), "{shown}");
    assert!(!shown.contains("bob~bbbb (late): late"), "{shown}");
    for _ in 0..5 {
        press(&mut chat, KeyCode::PageUp);
    }
    assert!(screen(&mut chat).contains("bob~bbbb (late): late"));
}

#[test]
fn older_posts_are_asked_for_at_the_top_and_do_not_move_the_reader() {
    let mut chat = chat([]);
    chat.timeline.older = crate::tui::chat::timeline::Older::More;
    insert(&mut chat, hundred().skip(80));
    press(&mut chat, KeyCode::PageUp);
    let before = edge(&mut chat);
    let asked = answer(&mut chat, page(hundred().take(81), false));
    let Wanted::Older { time_us, held } = asked else { panic!("{asked:?}") };
    assert_eq!((time_us, held.len()), (post('a', 81, 60 * (81 - 200), "").time_us, 1));
    assert_eq!(edge(&mut chat), before);
    chat.handle_key(KeyEvent::new(KeyCode::Home, KeyModifiers::CONTROL));
    let top = screen(&mut chat);
    assert!(top.contains("── the beginning of general ──") && top.contains("number 1."), "{top}");
    assert_eq!(effects(&mut chat), []);
    chat.timeline.older = crate::tui::chat::timeline::Older::End { expired: 1_200 };
    assert!(screen(&mut chat).contains("1,200 older posts of all rooms are gone"));
    // Line by line is as far as page by page.
    for _ in 0..200 {
        chat.handle_key(KeyEvent::new(KeyCode::Down, KeyModifiers::CONTROL));
    }
    assert_eq!(chat.view, View::Newest);
}

#[test]
fn with_whom_one_spoke_before_is_in_the_list_as_rooms_are() {
    let mut chat = chat([]);
    let room = Room { name: "kitchen".to_owned(), ..Room::default() };
    let with_bob = Conversation { peer: id('b'), ..Conversation::default() };
    chat.handle_rooms(&RoomsResponse { rooms: vec![room], conversations: vec![with_bob] });
    let shown = drawn(&mut chat, 120, 10);
    assert!(shown.contains(" kitchen ") && shown.contains(" @bob~"), "{shown}");
    control(&mut chat, 'p');
    assert!(matches!(answer(&mut chat, page([], false)), Wanted::Newest));
    assert!(screen(&mut chat).contains("@bob~"), "it is read as one");
}

#[test]
fn posts_of_other_rooms_are_counted_and_marked_when_the_room_is_entered() {
    let mut chat = chat([post('a', 1, 1, "here")]);
    let kitchen = |post: Post| Post { room: "kitchen".to_owned(), ..post };
    chat.handle_watched(Ok(batch([
        kitchen(post('a', 101, 1, "tea")),
        kitchen(post('m', 102, 2, "mine")),
        kitchen(post('b', 103, 3, "milk")),
    ])));
    assert_eq!(chat.rooms["kitchen"].unread, 2);
    assert!(drawn(&mut chat, 40, 10).contains("#general +2 other"));
    assert!(drawn(&mut chat, 120, 10).contains(" kitchen 2"));
    control(&mut chat, 'n');
    let old = kitchen(post('b', 90, -9, "old"));
    let posts = [old, kitchen(post('a', 101, 1, "tea")), kitchen(post('b', 103, 3, "milk"))];
    answer(&mut chat, page(posts, false));
    let shown = screen(&mut chat);
    let at = |text: &str| shown.find(text).unwrap();
    assert!(at("old") < at("── new") && at("── new") < at("tea"), "{shown}");
    assert_eq!(chat.rooms["kitchen"].unread, 0);
}

#[test]
fn what_was_seen_of_a_room_is_shown_while_the_daemon_is_away() {
    let kitchen = |post: Post| Post { room: "kitchen".to_owned(), ..post };
    let mut chat = chat([post('a', 1, 1, "here")]);
    enter(&mut chat, "/join kitchen");
    answer(&mut chat, page([kitchen(post('b', 90, -9, "old tea"))], false));
    enter(&mut chat, "/join general");
    chat.handle_watched(Ok(batch([kitchen(post('b', 101, 2, "fresh tea"))])));
    // It goes before it answers what was said here.
    chat.handle_watched(Err("the daemon is gone".to_owned()));
    let away = screen(&mut chat);
    assert!(away.contains("not loaded: the daemon is away") && away.contains("here"), "{away}");
    enter(&mut chat, "/join kitchen");
    let away = screen(&mut chat);
    assert!(away.contains("the daemon is away") && away.contains("OFFLINE"), "{away}");
    assert!(away.contains("old tea") && away.contains("fresh tea") && !away.contains("here"), "{away}");
    enter(&mut chat, "/join general");
    enter(&mut chat, "/join kitchen");
    assert!(screen(&mut chat).contains("old tea"), "also when it is left and entered again");
    // What it says when it is back is put where it belongs, once.
    chat.handle_watched(Ok(batch([kitchen(post('b', 102, 3, "more tea"))])));
    let newest = [post('b', 80, -99, "first tea"), post('b', 90, -9, "old tea"), post('b', 101, 2, "fresh tea")];
    answer(&mut chat, page(newest.map(kitchen), false));
    let back = screen(&mut chat);
    let teas = ["the beginning of kitchen", "first tea", "old tea", "fresh tea", "more tea"];
    assert!(teas.map(|tea| back.find(tea).unwrap()).is_sorted(), "{back}");
    assert_eq!(chat.timeline.len(), 4);
}

#[test]
fn the_end_of_a_room_can_be_shown_again_while_the_daemon_is_away() {
    let mut chat = chat(hundred());
    let hit = post('b', 1, -1_000_000, "found");
    chat.jump(&hit);
    chat.handle_watched(Ok(batch([post('b', 101, 1, "number 101, meanwhile")])));
    chat.handle_watched(Err("the daemon is gone".to_owned()));
    chat.handle_key(KeyEvent::new(KeyCode::End, KeyModifiers::CONTROL));
    let shown = screen(&mut chat);
    assert!(shown.contains("number 100.") && shown.contains("number 101, meanwhile"), "{shown}");
    assert!(!shown.contains("found"), "{shown}");
}

#[test]
fn of_rooms_where_nobody_looks_a_little_is_kept() {
    let mut chat = chat([]);
    let busy = (101..=400).map(|seq| Post { room: "busy".to_owned(), ..post('a', seq, seq as i64, "x") });
    chat.handle_watched(Ok(batch(busy)));
    assert_eq!(chat.rooms["busy"].kept.len(), KEPT_POSTS_MAX);
    chat.handle_watched(Ok(WatchResponse {
        offset: 410,
        item: Some(Item::Gap(Gap { from: 401, to: 410, posts: 9 })),
        ..WatchResponse::default()
    }));
    chat.handle_watched(Err("the daemon is gone".to_owned()));
    enter(&mut chat, "/join busy");
    assert!(screen(&mut chat).contains("9 posts are gone"));
}

#[test]
fn a_key_goes_from_room_to_room_with_something_new() {
    let mut chat = chat([]);
    let posts = ["ant", "bee", "yak"].into_iter().zip(101..);
    chat.handle_watched(Ok(batch(posts.map(|(room, seq)| Post { room: room.to_owned(), ..post('a', seq, 1, "x") }))));
    for room in ["yak", "ant", "bee", "bee"] {
        chat.handle_key(KeyEvent::new(KeyCode::Char('a'), KeyModifiers::ALT));
        assert_eq!(chat.room, room);
    }
    assert!(screen(&mut chat).contains("nothing is unread"));
}

#[test]
fn an_answer_for_a_room_that_was_left_is_not_shown() {
    let mut chat = chat([]);
    chat.join("kitchen");
    let first = effects(&mut chat);
    let Some(Effect::Load { load, what, .. }) = first.first() else { panic!("{first:?}") };
    chat.join("ops");
    chat.handle_page(*load, what, Ok(page([post('a', 1, 1, "kitchen talk")], false)));
    assert!(!screen(&mut chat).contains("kitchen talk"));
    chat.join("kitchen");
    answer(&mut chat, page([], false));
    assert!(screen(&mut chat).contains("the beginning of kitchen"));
}

#[test]
fn members_are_called_as_this_user_calls_them() {
    let mut chat =
        chat([post('a', 99, 0, "by alice"), Post { author_petname: "rob".into(), ..post('b', 100, 0, "hi") }]);
    let row = |chat: &mut Chat, text: &str| screen(chat).lines().find(|line| line.contains(text)).unwrap().to_owned();
    assert!(row(&mut chat, "by alice").contains("alice~aaaa:"));
    assert!(row(&mut chat, "hi").contains("rob: hi"));
    let called = Peer { petname: "al".into(), ..peer('a', "alice", PeerState::Up) };
    chat.handle_peers(Ok(PeersResponse { peers: vec![called] }));
    assert!(row(&mut chat, "by alice").contains("al: by alice"));
}

#[test]
fn gaps_are_shown_where_they_are() {
    let mut chat = chat([post('a', 1, 1, "before")]);
    let gap = Gap { from: 101, to: 120, posts: 12 };
    chat.handle_watched(Ok(WatchResponse { offset: 120, item: Some(Item::Gap(gap)), ..WatchResponse::default() }));
    chat.handle_watched(Ok(batch([post('a', 121, 9, "behind")])));
    let shown = screen(&mut chat);
    assert!(shown.contains("12 posts are gone of all rooms"), "{shown}");
    let at = |text: &str| shown.find(text).unwrap();
    assert!(at("before") < at("── 12 posts are gone ──") && at("── 12 posts") < at("behind"), "{shown}");
}

#[test]
fn a_hit_is_jumped_to_and_what_is_newer_follows_from_there() {
    let mut chat = chat(hundred());
    enter(&mut chat, "/search tea");
    let wanted = effects(&mut chat);
    let search =
        |page: &str| Effect::Search { query: "tea".to_owned(), room: "general".to_owned(), page: page.to_owned() };
    assert_eq!(wanted, [search("")]);
    let hit = post('b', 5, -90_000, "tea \x1b[2J");
    chat.handle_found(
        "tea",
        Ok(SearchResponse { posts: vec![], next: "p2".to_owned(), searched_us: 0, ..SearchResponse::default() }),
    );
    assert_eq!(effects(&mut chat), [search("p2")]);
    chat.handle_found("tea", Ok(SearchResponse { posts: vec![hit.clone()], ..SearchResponse::default() }));
    assert!(screen(&mut chat).contains("\"tea\": 1 found"));
    press(&mut chat, KeyCode::Enter);
    let near = (0..40).map(|n| post('b', 6 + n, -89_999 + n as i64, &format!("near {n}.")));
    let around =
        Page { posts: std::iter::once(hit.clone()).chain(near).collect(), newest: None, is_more: true, expired: 0 };
    assert_eq!(answer(&mut chat, around), Wanted::Around { time_us: hit.time_us });
    let shown = screen(&mut chat);
    assert!(shown.contains("tea ^[[2J") && shown.contains("near 2."), "{shown}");
    // What is said meanwhile is not among these posts, and is not lost.
    chat.handle_watched(Ok(batch([post('a', 101, 1, "number 101.")])));
    assert!(screen(&mut chat).contains("↓ 1 new below"));
    for _ in 0..4 {
        press(&mut chat, KeyCode::PageDown);
    }
    let next = Page { posts: hundred().collect(), newest: Some(100), is_more: true, expired: 0 };
    assert!(matches!(answer(&mut chat, next), Wanted::Newer { .. }));
    let rest = Page { posts: vec![post('a', 101, 1, "number 101.")], newest: Some(101), is_more: true, expired: 0 };
    assert!(matches!(answer(&mut chat, rest), Wanted::Newer { .. }), "101 was said after 100 was read");
    chat.handle_watched(Ok(batch([post('a', 102, 2, "number 102.")])));
    for _ in 0..20 {
        press(&mut chat, KeyCode::PageDown);
    }
    assert!(edge(&mut chat).contains("number 102.") && chat.view == View::Newest);
}

#[test]
fn end_goes_from_a_hit_to_the_newest() {
    let mut chat = chat(hundred());
    chat.jump(&post('b', 5, -90_000, "old tea"));
    assert!(matches!(answer(&mut chat, page([], true)), Wanted::Around { .. }));
    chat.jump(&post('b', 5, -90_000, "old tea"));
    press(&mut chat, KeyCode::End);
    assert_eq!(chat.view, View::Newest);
}

#[test]
fn posts_in_memory_are_limited_wherever_the_reader_is() {
    let mut chat = chat(hundred());
    let flood = |from: u64| (from..from + 3_000).map(|seq| post('a', seq, seq as i64, "x"));
    chat.handle_watched(Ok(batch(flood(101))));
    assert_eq!(chat.timeline.len(), POSTS_MAX);
    press(&mut chat, KeyCode::PageUp);
    let before = screen(&mut chat);
    chat.handle_watched(Ok(batch(flood(3_101))));
    assert_eq!(chat.timeline.len(), POSTS_MAX);
    assert_eq!(screen(&mut chat).lines().next(), before.lines().next());
    press(&mut chat, KeyCode::End);
    let newest = page([post('a', 6_100, 6_100, "number last")], true);
    assert_eq!(answer(&mut chat, newest), Wanted::Newest);
    assert!(edge(&mut chat).contains("number last"));
}

#[test]
fn marks_of_delivery_are_asked_for_only_where_they_are_seen() {
    let own: Vec<Post> = (1..=40).map(|seq| post('m', seq, seq as i64, &format!("mine {seq}."))).collect();
    let mut chat = chat([]);
    insert(&mut chat, own.iter().cloned());
    let wanted = effects(&mut chat);
    let [Effect::Receipts(ids)] = &wanted[..] else { panic!("{wanted:?}") };
    assert_eq!(ids.first(), own[39].id.as_ref());
    assert!(ids.len() <= 12, "{}", ids.len());
    use HolderState::{Away, Holds, Linked};
    chat.handle_receipts(&[
        receipt(&own[39], &[Linked, Away]),
        receipt(&own[38], &[Holds, Away]),
        receipt(&own[37], &[Holds, Holds]),
    ]);
    let shown = screen(&mut chat);
    for mark in ["mine 40. [stored]", "mine 39. [1/2]", "mine 38. [everyone]", "mine 37. "] {
        assert!(shown.contains(mark), "{mark}: {shown}");
    }
    assert_eq!(effects(&mut chat), [], "the same stream goes on");
    chat.handle_key(KeyEvent::new(KeyCode::Home, KeyModifiers::CONTROL));
    let wanted = effects(&mut chat);
    let [Effect::Receipts(ids)] = &wanted[..] else { panic!("{wanted:?}") };
    assert!(ids.contains(own[0].id.as_ref().unwrap()) && !ids.contains(own[39].id.as_ref().unwrap()));
    chat.join("kitchen");
    assert!(effects(&mut chat).contains(&Effect::Receipts(vec![])), "none is seen: the stream is closed");
}

#[test]
fn a_change_of_the_secret_is_told_and_who_is_shut_out_is_shown_so() {
    let mut chat = chat([]);
    let counted =
        |rotations| StatusResponse { counters: [("network_rotations_total".to_owned(), rotations)].into(), ..status() };
    for (rotations, is_told) in [(3, false), (3, false), (4, true)] {
        chat.handle_status(Ok(counted(rotations)));
        assert_eq!(screen(&mut chat).contains("the network's secret was changed"), is_told, "{rotations}");
    }
    let out = Peer { shut_out: true, ..peer('b', "bob", PeerState::Down) };
    chat.handle_peers(Ok(PeersResponse { peers: vec![out] }));
    assert!(drawn(&mut chat, 120, 10).contains("○ bob~bbbb out"));
}

#[test]
fn a_daemon_that_is_gone_is_told_and_followed_again_from_its_offset() {
    let mut chat = chat(hundred());
    chat.handle_watched(Ok(batch([post('b', 105, 1, "number 105.")])));
    chat.handle_watched(Err("the daemon is gone (\x1b[2J)".to_owned()));
    // A stream that is slower to see it, or to come back, says nothing new.
    chat.handle_status(Err("the daemon is gone (again)".to_owned()));
    chat.handle_peers(Err("the daemon is gone (again)".to_owned()));
    assert!(screen(&mut chat).contains("OFFLINE, reconnecting: the daemon is gone (^[[2J)"));
    assert!(drawn(&mut chat, 120, 10).contains("· alice~aaaa"), "nobody knows who is there");
    assert_eq!(chat.offset, 105);
    chat.handle_watched(Ok(batch([post('b', 106, 2, "number 106.")])));
    assert!(screen(&mut chat).contains("READY 1/2 up catching up"));
    assert!(effects(&mut chat).contains(&Effect::Rooms));
    chat.handle_watched(Ok(caught_up(106)));
    let shown = screen(&mut chat);
    assert!(shown.contains("the daemon is back: caught up") && shown.contains("number 106."), "{shown}");
}

#[test]
fn a_daemon_that_says_nothing_is_told_until_it_does() {
    let mut chat = chat([]);
    chat.handle_silence();
    assert!(screen(&mut chat).contains("SILENT"));
    chat.handle_watched(Ok(WatchResponse {
        offset: 100,
        item: Some(Item::Heartbeat(true)),
        ..WatchResponse::default()
    }));
    assert!(screen(&mut chat).contains("READY 1/2 up  me~mmmm"));
}

#[test]
fn a_search_goes_on_above_the_first_hit_and_says_what_went_wrong() {
    let mut chat = chat([]);
    enter(&mut chat, "/search tea");
    effects(&mut chat);
    let hits = |from: u64| (from..from + 60).map(|seq| post('a', seq, seq as i64, &format!("tea {seq}.")));
    let found = SearchResponse {
        posts: hits(100).collect(),
        next: "p2".to_owned(),
        searched_us: 0,
        ..SearchResponse::default()
    };
    chat.handle_found("tea", Ok(found));
    assert_eq!(effects(&mut chat), [], "a screen is full");
    assert!(screen(&mut chat).contains("60 found, more above") && screen(&mut chat).contains("tea 159."));
    press(&mut chat, KeyCode::Home);
    press(&mut chat, KeyCode::Up);
    assert_eq!(effects(&mut chat).len(), 1);
    press(&mut chat, KeyCode::Up);
    assert_eq!(effects(&mut chat), [], "it is on its way");
    chat.handle_found("tea", Ok(SearchResponse { posts: hits(40).collect(), ..SearchResponse::default() }));
    assert!(screen(&mut chat).contains("120 found (Enter: go there)") && screen(&mut chat).contains("tea 100."));
    chat.handle_found("coffee", Err("another search".to_owned()));
    assert!(!screen(&mut chat).contains("another search"));
    press(&mut chat, KeyCode::Esc);
    chat.handle_found("tea", Err("too late".to_owned()));
    enter(&mut chat, &format!("/search {}", "x".repeat(257)));
    assert!(screen(&mut chat).contains("at most 256 bytes"));
}

#[test]
fn a_history_that_cannot_be_read_is_told_and_asked_for_again() {
    let mut chat = chat([]);
    chat.join("kitchen");
    let load = |chat: &mut Chat| match &effects(chat)[..] {
        [Effect::Load { load, what, .. }, ..] => (*load, what.clone()),
        other => panic!("{other:?}"),
    };
    let (number, what) = load(&mut chat);
    chat.handle_page(number, &what, Err("history: no \x1b[2J".to_owned()));
    assert!(screen(&mut chat).contains("history: no ^[[2J"));
    chat.want_older();
    let (number, what) = load(&mut chat);
    assert_eq!(what, Wanted::Newest);
    chat.handle_page(number, &what, Ok(page([post('a', 1, 1, "here it is")], false)));
    assert!(screen(&mut chat).contains("here it is"));
}
