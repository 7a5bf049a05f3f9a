//! What is typed: texts, commands, and what becomes of them.

use super::*;
use crate::exit::Exit;
use crate::parse::TEXT_BYTES_MAX;
use crate::tui::chat::panel::Panel;
use crate::tui::chat::state::{Mode, Notice};

#[test]
fn a_text_is_marked_until_it_is_stored_and_then_shown_once() {
    let mut chat = chat([]);
    enter(&mut chat, "hello");
    assert!(screen(&mut chat).contains("me~mmmm: hello [sending]"));
    assert_eq!(sends(&mut chat), [("key/1".to_owned(), "hello".to_owned())]);
    chat.handle_sent("key/1", sent(101, 1));
    let shown = screen(&mut chat);
    assert!(shown.contains("14:00 me~mmmm: hello ") && !shown.contains("sending"), "{shown}");
    // The stream of posts brings it too.
    chat.handle_watched(Ok(batch([Post { key: "key/1".to_owned(), ..post('m', 101, 1, "hello") }])));
    assert_eq!(screen(&mut chat).matches("hello").count(), 1);
}

#[test]
fn a_text_that_comes_back_before_its_answer_is_shown_once() {
    let mut chat = chat([]);
    enter(&mut chat, "hello");
    chat.handle_watched(Ok(batch([Post { key: "key/1".to_owned(), ..post('m', 101, 1, "hello") }])));
    assert_eq!(screen(&mut chat).matches("hello").count(), 1);
    chat.handle_delayed("key/1", "the connection broke".to_owned());
    chat.handle_sent("key/1", sent(101, 1));
    assert_eq!(screen(&mut chat).matches("hello").count(), 1);
    assert!(chat.outbox.is_empty());
}

#[test]
fn texts_typed_while_the_daemon_is_gone_wait_in_order_and_are_not_lost() {
    let mut chat = chat([]);
    chat.handle_watched(Err("the daemon is gone (the connection broke)".to_owned()));
    enter(&mut chat, "one");
    enter(&mut chat, "two");
    assert_eq!(sends(&mut chat), [("key/1".to_owned(), "one".to_owned())], "one at a time, so they stay in order");
    chat.handle_delayed("key/1", "the connection broke".to_owned());
    let shown = screen(&mut chat);
    assert!(shown.contains("one [not sent]") && shown.contains("two [not sent]"), "{shown}");
    assert!(shown.contains("2 not sent  OFFLINE, reconnecting: the daemon is gone"), "{shown}");
    // Leaving takes two attempts, and tells what is lost.
    enter(&mut chat, "/quit");
    assert!(screen(&mut chat).contains("2 not sent: again to leave"));
    assert_eq!(chat.unsent(), [("general", "one"), ("general", "two")].map(|(a, b)| (a.to_owned(), b.to_owned())));
    enter(&mut chat, "x");
    chat.handle_sent("key/1", sent(101, 1));
    chat.handle_watched(Ok(caught_up(101)));
    assert_eq!(sends(&mut chat), [("key/2".to_owned(), "two".to_owned())]);
    assert!(screen(&mut chat).contains("the daemon is back"));
}

#[test]
fn a_warning_goes_when_all_is_sent_after_all() {
    let mut chat = chat([]);
    enter(&mut chat, "hello");
    control(&mut chat, 'd');
    assert!(screen(&mut chat).contains("1 not sent: again to leave"));
    chat.handle_sent("key/1", sent(101, 1));
    assert!(screen(&mut chat).contains("READY"));
    control(&mut chat, 'd');
    assert!(effects(&mut chat).contains(&Effect::Leave(Exit::Ok)));
}

#[test]
fn what_the_daemon_refuses_is_kept_until_it_is_sent_again_or_given_up() {
    let mut chat = chat([]);
    enter(&mut chat, "one");
    enter(&mut chat, "two");
    sends(&mut chat);
    chat.handle_refused("key/1", "send: not like that".to_owned());
    assert_eq!(sends(&mut chat), [("key/2".to_owned(), "two".to_owned())]);
    chat.handle_sent("key/2", sent(101, 1));
    assert!(screen(&mut chat).contains("one [refused: send: not like that]"));
    enter(&mut chat, "/retry");
    assert_eq!(sends(&mut chat), [("key/1".to_owned(), "one".to_owned())]);
    chat.handle_refused("key/1", "send: not like that".to_owned());
    enter(&mut chat, "/drop");
    assert!(!screen(&mut chat).contains("refused"));
}

#[test]
fn a_command_that_is_unknown_stays_in_the_line_and_is_never_sent() {
    let mut chat = chat([]);
    enter(&mut chat, "/nick bob");
    assert_eq!(sends(&mut chat), []);
    assert!(screen(&mut chat).contains("there is no /nick"));
    assert_eq!(chat.editor.text(), "/nick bob");
    control(&mut chat, 'u');
    enter(&mut chat, "//nick bob");
    assert_eq!(sends(&mut chat), [("key/1".to_owned(), "/nick bob".to_owned())]);
    enter(&mut chat, "   ");
    assert_eq!(sends(&mut chat), []);
}

#[test]
fn a_paste_of_many_lines_is_one_text() {
    let mut chat = chat([]);
    chat.handle_paste("one\r\ntwo\rthree\n");
    chat.handle_key(KeyEvent::new(KeyCode::Enter, KeyModifiers::ALT));
    control(&mut chat, 'j');
    write(&mut chat, "end");
    assert_eq!(sends(&mut chat), []);
    let shown = screen(&mut chat);
    assert!(shown.contains("  three") && shown.contains("  end"), "{shown}");
    press(&mut chat, KeyCode::Enter);
    assert_eq!(sends(&mut chat)[0].1, "one\ntwo\nthree\n\n\nend");
}

#[test]
fn the_limit_of_a_text_is_told_before_it_is_reached_and_nothing_is_cut_off() {
    let mut chat = chat([]);
    chat.handle_paste(&"x".repeat(13_000));
    assert!(!screen(&mut chat).contains("bytes"));
    chat.handle_paste(&"x".repeat(3_000));
    assert!(screen(&mut chat).contains("16,000/16,384 bytes"));
    chat.handle_paste(&"x".repeat(1_000));
    press(&mut chat, KeyCode::Enter);
    assert_eq!((sends(&mut chat), chat.editor.text().len()), (vec![], 17_000));
    assert!(screen(&mut chat).contains("17000 bytes are over the limit of 16384"));
    for _ in 0..17_000 - TEXT_BYTES_MAX {
        press(&mut chat, KeyCode::Backspace);
    }
    press(&mut chat, KeyCode::Enter);
    assert_eq!(sends(&mut chat).len(), 1);
    chat.handle_paste(&"x".repeat(100_000));
    assert!(matches!(chat.notice, Some(Notice::Wrong(_))) && chat.editor.is_empty());
}

#[test]
fn tab_completes_commands_rooms_and_names() {
    let mut chat = chat([]);
    chat.handle_watched(Ok(batch([Post { room: "kitchen".to_owned(), ..post('c', 101, 1, "x") }])));
    write(&mut chat, "/jo");
    press(&mut chat, KeyCode::Tab);
    write(&mut chat, "k");
    press(&mut chat, KeyCode::Tab);
    assert_eq!(chat.editor.text(), "/join kitchen");
    control(&mut chat, 'u');
    write(&mut chat, "yes AL");
    press(&mut chat, KeyCode::Tab);
    assert_eq!(chat.editor.text(), "yes alice~aaaa ");
    press(&mut chat, KeyCode::Tab);
    assert_eq!(chat.editor.text(), "yes alice~aaaa ", "an empty word is nobody");
    control(&mut chat, 'u');
    write(&mut chat, "/r");
    for expected in ["/reply ", "/retry ", "/rooms ", "/reply "] {
        press(&mut chat, KeyCode::Tab);
        assert_eq!(chat.editor.text(), expected);
    }
    control(&mut chat, 'u');
    write(&mut chat, "zzz");
    press(&mut chat, KeyCode::Tab);
    assert!(screen(&mut chat).contains("nothing begins like that"));
}

#[test]
fn an_answer_names_the_post_that_was_chosen() {
    let mut chat = chat([post('a', 1, 1, "tea or\ncoffee?"), post('b', 2, 2, "what?"), post('b', 3, 3, "hm")]);
    enter(&mut chat, "/reply both");
    press(&mut chat, KeyCode::Up);
    press(&mut chat, KeyCode::Up);
    // Somebody speaks meanwhile.
    chat.handle_watched(Ok(batch([post('b', 101, 10, "hello?")])));
    press(&mut chat, KeyCode::Enter);
    assert!(screen(&mut chat).contains("answers (Esc: no) alice~aaaa: tea or^Jcoffee?"));
    press(&mut chat, KeyCode::Enter);
    let wanted = effects(&mut chat).into_iter().find_map(|effect| match effect {
        Effect::Send(post) => Some(post),
        _ => None,
    });
    let outgoing = wanted.unwrap();
    assert_eq!((outgoing.text.as_str(), outgoing.re), ("both", post('a', 1, 1, "").id));
    control(&mut chat, 'r');
    press(&mut chat, KeyCode::Enter);
    press(&mut chat, KeyCode::Esc);
    enter(&mut chat, "no answer");
    assert_eq!(chat.re, None);
}

#[test]
fn each_room_keeps_what_was_typed_there() {
    let mut chat = chat([post('a', 1, 1, "hello")]);
    control(&mut chat, 'r');
    press(&mut chat, KeyCode::Enter);
    write(&mut chat, "not for the kitchen");
    chat.join("kitchen");
    assert_eq!((chat.editor.text(), &chat.re), ("", &None));
    enter(&mut chat, "/join Kitchen!");
    assert_eq!(chat.room, "kitchen");
    control(&mut chat, 'u');
    control(&mut chat, 'p');
    assert_eq!((chat.room.as_str(), chat.editor.text()), ("general", "not for the kitchen"));
    assert!(chat.re.is_some());
}

#[test]
fn control_c_takes_the_text_away_first_and_then_leaves() {
    let mut chat = chat([]);
    write(&mut chat, "half a text");
    control(&mut chat, 'c');
    assert_eq!(effects(&mut chat), []);
    assert!(chat.editor.is_empty());
    press(&mut chat, KeyCode::Up);
    assert_eq!(chat.editor.text(), "half a text");
    control(&mut chat, 'c');
    control(&mut chat, 'c');
    assert_eq!(effects(&mut chat), [Effect::Leave(Exit::Interrupted)]);
    control(&mut chat, 'd');
    assert_eq!(effects(&mut chat), [Effect::Leave(Exit::Ok)]);
    enter(&mut chat, "/quit");
    assert_eq!(effects(&mut chat), [Effect::Leave(Exit::Ok)]);
    control(&mut chat, 'z');
    control(&mut chat, 'l');
    assert_eq!(effects(&mut chat), [Effect::Suspend, Effect::Redraw]);
}

#[test]
fn lists_are_opened_and_closed_and_a_room_is_chosen() {
    let mut chat = chat([]);
    chat.handle_watched(Ok(batch([Post { room: "kitchen".to_owned(), ..post('c', 101, 1, "x") }])));
    enter(&mut chat, "/help");
    assert!(screen(&mut chat).contains("Enter"));
    press(&mut chat, KeyCode::End);
    assert!(screen(&mut chat).contains("it arrived long after"));
    let mut small = |key| {
        drawn(&mut chat, 40, 10);
        press(&mut chat, key);
        drawn(&mut chat, 40, 10)
    };
    assert!(small(KeyCode::End).contains("(late): it arrived"), "on a small terminal too");
    assert!(!small(KeyCode::PageUp).contains("(late): it arrived"));
    press(&mut chat, KeyCode::Esc);
    enter(&mut chat, "/who");
    assert_eq!(chat.mode, Mode::Looking(Panel::Members(0)));
    control(&mut chat, 'c');
    enter(&mut chat, "/rooms");
    press(&mut chat, KeyCode::Down);
    press(&mut chat, KeyCode::Enter);
    assert_eq!((chat.room.as_str(), &chat.mode), ("kitchen", &Mode::Typing));
}

#[test]
fn no_more_messages_wait_than_are_remembered_and_the_next_one_stays_in_the_line() {
    let mut chat = chat([]);
    for number in 0..=crate::tui::chat::outbox::UNSENT_MAX {
        enter(&mut chat, &format!("{number}"));
    }
    assert_eq!(chat.editor.text(), "100");
    assert!(screen(&mut chat).contains("too many messages wait"));
}

#[test]
fn the_usual_keys_edit_a_line() {
    let mut chat = chat([]);
    let alt = |chat: &mut Chat, code| chat.handle_key(KeyEvent::new(code, KeyModifiers::ALT));
    write(&mut chat, "one two three");
    control(&mut chat, 'a');
    press(&mut chat, KeyCode::Delete);
    control(&mut chat, 'd');
    control(&mut chat, 'f');
    control(&mut chat, 'b');
    control(&mut chat, 'k');
    assert_eq!(chat.editor.text(), "");
    control(&mut chat, 'y');
    control(&mut chat, 'y');
    assert_eq!(chat.editor.text(), "e two threee two three");
    alt(&mut chat, KeyCode::Char('b'));
    alt(&mut chat, KeyCode::Backspace);
    assert_eq!(chat.editor.text(), "e two threee three");
    alt(&mut chat, KeyCode::Left);
    alt(&mut chat, KeyCode::Char('f'));
    control(&mut chat, 'h');
    alt(&mut chat, KeyCode::Right);
    control(&mut chat, 'e');
    control(&mut chat, 'w');
    assert_eq!(chat.editor.text(), "e two three ");
    press(&mut chat, KeyCode::Home);
    press(&mut chat, KeyCode::Right);
    press(&mut chat, KeyCode::Right);
    press(&mut chat, KeyCode::Left);
    press(&mut chat, KeyCode::Backspace);
    press(&mut chat, KeyCode::End);
    assert_eq!((chat.editor.text(), chat.editor.is_at_end()), (" two three ", true));
    press(&mut chat, KeyCode::F(1));
    press(&mut chat, KeyCode::Char('x'));
    assert_eq!(chat.mode, Mode::Looking(Panel::Help(0)));
    let released = KeyEvent { kind: crossterm::event::KeyEventKind::Release, ..KeyCode::Esc.into() };
    chat.handle_key(released);
    assert_eq!(chat.mode, Mode::Looking(Panel::Help(0)), "a key that is let go means nothing");
}

#[test]
fn a_post_far_above_can_be_answered() {
    let mut chat = chat(hundred());
    control(&mut chat, 'r');
    for _ in 0..4 {
        press(&mut chat, KeyCode::PageUp);
    }
    for _ in 0..5 {
        press(&mut chat, KeyCode::Up);
    }
    for _ in 0..2 {
        press(&mut chat, KeyCode::PageDown);
        press(&mut chat, KeyCode::Down);
    }
    let at = screen(&mut chat);
    press(&mut chat, KeyCode::Enter);
    let chosen = chat.re.clone().unwrap().text;
    assert!(at.contains(&chosen) && chosen != "number 100.", "{chosen}: {at}");
    control(&mut chat, 'r');
    press(&mut chat, KeyCode::Esc);
    assert_eq!(chat.mode, Mode::Typing);
    let mut empty = super::chat([]);
    control(&mut empty, 'r');
    assert!(screen(&mut empty).contains("nothing to answer"));
}
