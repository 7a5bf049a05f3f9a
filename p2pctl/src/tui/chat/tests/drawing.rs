//! What the screen shows, on terminals of all sizes.

use p2p_proto::v1::{Gap, SearchResponse};
use proptest::prelude::*;
use ratatui::style::Color;

use super::*;

/// A bit of everything, much of it hostile.
fn lively() -> Chat {
    let question = post('a', 3, 120, "tea or coffee?");
    let re = question.id.clone();
    let mut chat = chat([
        post('a', 1, -86_400, "the day before"),
        post(
            'b',
            2,
            60,
            "你好，世界! e\u{301} and a text that is too long for one line of a terminal with forty columns",
        ),
        question,
        Post { re, ..post('m', 4, 180, "coffee\nand a cake") },
        Post {
            author_name: "b\x1b[2J\u{202e}ob~you".to_owned(),
            ..post('z', 5, 200, "evil \x1b]0;x\u{7} \u{202e}text")
        },
    ]);
    chat.handle_watched(Ok(batch([Post { room: "kitchen".to_owned(), ..post('a', 101, 190, "x") }])));
    chat.handle_watched(Ok(WatchResponse {
        offset: 110,
        item: Some(Item::Gap(Gap { from: 102, to: 110, posts: 9 })),
        ..WatchResponse::default()
    }));
    let missing = post('b', 77, -9_999, "").id;
    let late = Post { late: true, forked: true, ..post('b', 111, 150, "I was away") };
    chat.handle_watched(Ok(batch([late, Post { re: missing, ..post('b', 112, 300, "see there") }])));
    chat.handle_receipts(&[receipt(&post('m', 4, 0, ""), &[HolderState::Holds, HolderState::Away])]);
    enter(&mut chat, "not yet there");
    write(&mut chat, "half a te");
    chat
}

#[test]
fn a_wide_terminal_shows_rooms_posts_and_members() {
    insta::assert_snapshot!("chat_on_120_columns", drawn(&mut lively(), 120, 22));
}

#[test]
fn a_terminal_of_80_columns_has_one_pane_beside_the_posts() {
    insta::assert_snapshot!("chat_on_80_columns", drawn(&mut lively(), 80, 22));
}

#[test]
fn c_06_a_small_terminal_has_posts_alone() {
    insta::assert_snapshot!("chat_on_40_columns", drawn(&mut lively(), 40, 10));
    insta::assert_snapshot!("chat_on_40_columns_and_many_rows", drawn(&mut lively(), 40, 36));
}

#[test]
fn lists_stand_in_the_place_of_the_posts() {
    let mut chat = lively();
    control(&mut chat, 'u');
    enter(&mut chat, "/help");
    insta::assert_snapshot!("chat_help", drawn(&mut chat, 120, 28));
    insta::assert_snapshot!("chat_help_on_40_columns", drawn(&mut chat, 40, 10));
    press(&mut chat, KeyCode::Esc);
    enter(&mut chat, "/who");
    insta::assert_snapshot!("chat_members_on_40_columns", drawn(&mut chat, 40, 10));
}

#[test]
fn what_was_found_is_read_on_any_terminal() {
    let mut chat = chat([]);
    enter(&mut chat, "/search tea");
    let posts = vec![post('a', 1, 1, "tea\nfor two"), post('b', 2, 70, "\u{202e}more tea than fits into a line")];
    chat.handle_found(
        "tea",
        Ok(SearchResponse { posts, next: "p2".to_owned(), searched_us: 0, ..SearchResponse::default() }),
    );
    insta::assert_snapshot!("chat_search_on_40_columns", drawn(&mut chat, 40, 5));
    insta::assert_snapshot!("chat_search_on_80_columns", drawn(&mut chat, 80, 5));
    chat.handle_found("tea", Err("search: \x1b[2J".to_owned()));
    assert!(screen(&mut chat).contains("\"tea\": search: ^[[2J"));
}

#[test]
fn k_06_no_clock_is_too_strange_to_show() {
    let times = [i64::MIN, -1, 0, 1, 253_402_300_800_000_000, i64::MAX];
    let posts = times.iter().zip(1..).map(|(time_us, seq)| Post { time_us: *time_us, ..post('a', seq, 0, "tea") });
    let mut chat = chat(posts.clone());
    assert_eq!(drawn(&mut chat, 80, 40).matches("alice~aaaa: tea").count(), 6);
    enter(&mut chat, "/search tea");
    chat.handle_found("tea", Ok(SearchResponse { posts: posts.collect(), ..SearchResponse::default() }));
    assert_eq!(drawn(&mut chat, 60, 40).matches("alice~aaaa: tea").count(), 6);
    let strange = Peer { last_seen_us: i64::MIN, ..peer('a', "alice", PeerState::Down) };
    let future = Peer { last_seen_us: i64::MAX, ..peer('b', "bob", PeerState::Down) };
    chat.handle_peers(Ok(PeersResponse { peers: vec![strange, future] }));
    drawn(&mut chat, 120, 12);
}

#[test]
fn without_colour_nothing_is_coloured_and_with_it_each_author_is() {
    let colors = |color: bool| {
        let mut chat = lively();
        chat.color = color;
        chat.handle_resize(120, 22);
        let mut terminal = Terminal::new(TestBackend::new(120, 22)).unwrap();
        terminal.draw(|frame| draw(&chat, frame)).unwrap();
        let cells = terminal.backend().buffer().content.clone();
        let mut colors: Vec<Color> = cells.iter().map(|cell| cell.fg).filter(|color| *color != Color::Reset).collect();
        colors.sort_by_key(|color| format!("{color:?}"));
        colors.dedup();
        colors.len()
    };
    assert_eq!(colors(false), 0);
    assert!(colors(true) >= 3);
}

#[test]
fn the_cursor_stands_where_the_next_letter_comes() {
    let cursor = |chat: &mut Chat| {
        let mut terminal = Terminal::new(TestBackend::new(40, 10)).unwrap();
        chat.handle_resize(40, 10);
        terminal.draw(|frame| draw(chat, frame)).unwrap();
        terminal.backend().cursor_position()
    };
    let mut chat = chat([]);
    write(&mut chat, "宽e\u{301}");
    assert_eq!((cursor(&mut chat).x, cursor(&mut chat).y), (5, 9));
    press(&mut chat, KeyCode::Left);
    assert_eq!(cursor(&mut chat).x, 4);
    press(&mut chat, KeyCode::End);
    write(&mut chat, &"x".repeat(35));
    assert_eq!((cursor(&mut chat).x, cursor(&mut chat).y), (2, 9), "behind a full line comes the next");
}

/// Anything that can happen, in any order.
#[derive(Clone, Debug)]
enum Happening {
    Key(KeyCode, KeyModifiers),
    Paste(String),
    Post(u8, i16, bool, String),
    Page(u8, bool),
    Screen(u16, u16),
    Gone,
    Stored,
}

fn happening() -> impl Strategy<Value = Happening> {
    let codes = proptest::sample::select(vec![
        KeyCode::Enter,
        KeyCode::Esc,
        KeyCode::Tab,
        KeyCode::Up,
        KeyCode::Down,
        KeyCode::Left,
        KeyCode::Right,
        KeyCode::Home,
        KeyCode::End,
        KeyCode::PageUp,
        KeyCode::PageDown,
        KeyCode::Backspace,
        KeyCode::Delete,
        KeyCode::F(1),
        KeyCode::Char('c'),
        KeyCode::Char('k'),
        KeyCode::Char('n'),
        KeyCode::Char('r'),
        KeyCode::Char('w'),
        KeyCode::Char('宽'),
        KeyCode::Char('\u{301}'),
    ]);
    let modifiers = proptest::sample::select(vec![KeyModifiers::NONE, KeyModifiers::CONTROL, KeyModifiers::ALT]);
    let pasted =
        proptest::sample::select(vec!["/join ", "/reply\n", "/search x", "/who", "/rooms", "two\nlines", "\u{202e}"]);
    prop_oneof![
        6 => (codes, modifiers).prop_map(|(code, modifiers)| Happening::Key(code, modifiers)),
        1 => pasted.prop_map(|text| Happening::Paste(text.to_owned())),
        4 => (any::<u8>(), any::<i16>(), any::<bool>(), "\\PC{0,60}|[a\\n\u{7}\u{202e}宽]{0,80}")
            .prop_map(|(seq, seconds, late, text)| Happening::Post(seq, seconds, late, text)),
        2 => (any::<u8>(), any::<bool>()).prop_map(|(count, is_more)| Happening::Page(count, is_more)),
        1 => (1_u16..130, 1_u16..40).prop_map(|(columns, rows)| Happening::Screen(columns, rows)),
        1 => Just(Happening::Gone),
        1 => Just(Happening::Stored),
    ]
}

/// What a daemon and a terminal would do with what is wanted.
fn happen(chat: &mut Chat, happening: Happening, pending: &mut Vec<Effect>) {
    match happening {
        Happening::Key(code, modifiers) => chat.handle_key(KeyEvent::new(code, modifiers)),
        Happening::Paste(text) => chat.handle_paste(&text),
        Happening::Post(seq, seconds, late, text) => {
            let letter = ['a', 'b', 'm'][usize::from(seq % 3)];
            chat.handle_watched(Ok(batch([Post {
                late,
                ..post(letter, 101 + u64::from(seq), seconds.into(), &text)
            }])));
        }
        Happening::Page(count, is_more) => {
            let posts = (0..u64::from(count)).map(|seq| post('a', seq, -(seq as i64) * 60, "old"));
            let page = Page { posts: posts.collect(), is_more, expired: 0, newest: is_more.then_some(400) };
            let load = pending.iter().rev().find_map(|effect| match effect {
                Effect::Load { load, what, .. } => Some((*load, what.clone())),
                _ => None,
            });
            load.into_iter().for_each(|(load, what)| chat.handle_page(load, &what, Ok(page.clone())));
        }
        Happening::Screen(columns, rows) => chat.handle_resize(columns, rows),
        Happening::Gone => chat.handle_watched(Err("gone".to_owned())),
        Happening::Stored => {
            let send = pending.iter().position(|effect| matches!(effect, Effect::Send(_)));
            if let Some(Effect::Send(post)) = send.map(|at| pending.remove(at)) {
                chat.handle_sent(&post.key, sent(500, 9));
            }
        }
    }
    pending.extend(effects(chat));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_is_drawn_and_nothing_that_was_typed_is_lost(
        happenings in proptest::collection::vec(happening(), 0..60),
    ) {
        let mut chat = chat(hundred());
        let mut pending = Vec::new();
        for happening in happenings {
            happen(&mut chat, happening, &mut pending);
            let (columns, rows) = chat.screen;
            drawn(&mut chat, columns, rows);
            let waiting = chat.outbox.iter().count();
            let asked = pending.iter().filter(|effect| matches!(effect, Effect::Send(_))).count();
            prop_assert_eq!(waiting.min(1), asked, "whatever waits is being sent, one at a time");
        }
    }
}
