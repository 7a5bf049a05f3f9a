//! A chat without terminal and daemon: what happens goes in, and what it shows and wants is looked at.

#![allow(clippy::unwrap_used)]

mod drawing;
mod reading;
mod talking;
mod typing;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use p2p_proto::v1::watch_response::Item;
use p2p_proto::v1::{
    Health, Holder, HolderState, Peer, PeerState, PeersResponse, Post, PostBatch, PostId, Receipt, SendResponse,
    StatusResponse, WatchResponse,
};
use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::draw::draw;
use super::state::{Chat, Effect, Page, Wanted};

/// 2026-11-23 14:00:00 UTC, when all of this happens.
const NOON_S: i64 = 1_795_442_400;

fn id(letter: char) -> String {
    letter.to_string().repeat(52)
}

fn status() -> StatusResponse {
    StatusResponse {
        id: id('m'),
        name: "me".to_owned(),
        health: Health::Ready.into(),
        peers_up: 1,
        peers_known: 2,
        default_room: "general".to_owned(),
        ..StatusResponse::default()
    }
}

/// The post with this number, said so many seconds after noon. Numbers are offsets too.
fn post(letter: char, seq: u64, seconds: i64, text: &str) -> Post {
    let names = [('a', "alice"), ('b', "bob"), ('m', "me")];
    let name = names.iter().find(|(known, _)| *known == letter).map_or("", |(_, name)| name);
    Post {
        id: Some(PostId { author: id(letter), epoch: 7, seq }),
        author_name: name.to_owned(),
        offset: seq,
        time_us: (NOON_S + seconds) * 1_000_000,
        kind: "chat".to_owned(),
        room: "general".to_owned(),
        text: text.to_owned(),
        own: letter == 'm',
        ..Post::default()
    }
}

fn batch(posts: impl IntoIterator<Item = Post>) -> WatchResponse {
    let posts: Vec<Post> = posts.into_iter().collect();
    let offset = posts.iter().map(|post| post.offset).max().unwrap_or(0);
    WatchResponse { offset, item: Some(Item::Batch(PostBatch::from(posts))), ..WatchResponse::default() }
}

fn caught_up(offset: u64) -> WatchResponse {
    WatchResponse { offset, item: Some(Item::CaughtUp(true)), ..WatchResponse::default() }
}

fn peer(letter: char, name: &str, state: PeerState) -> Peer {
    let last_seen_us = (NOON_S - 3_600) * 1_000_000;
    Peer { id: id(letter), name: name.to_owned(), state: state.into(), last_seen_us, ..Peer::default() }
}

fn receipt(post: &Post, states: &[HolderState]) -> Receipt {
    let holders = states.iter().map(|state| Holder { state: (*state).into(), ..Holder::default() });
    Receipt { id: post.id.clone(), held: true, holders: holders.collect() }
}

/// A chat that stands behind offset 100, in a room that holds these posts, on a terminal of 80 columns and 12 rows.
fn chat(posts: impl IntoIterator<Item = Post>) -> Chat {
    let mut chat = Chat::new(status(), "general".to_owned(), "key".to_owned(), 100);
    chat.now = jiff::Timestamp::from_second(NOON_S).unwrap();
    chat.handle_resize(80, 12);
    let peers = vec![peer('a', "alice", PeerState::Up), peer('b', "bob", PeerState::Down)];
    chat.handle_peers(Ok(PeersResponse { peers }));
    answer(&mut chat, Page { posts: posts.into_iter().collect(), newest: Some(100), ..Page::default() });
    chat.handle_watched(Ok(caught_up(100)));
    effects(&mut chat);
    chat
}

/// Everything that is wanted now.
fn effects(chat: &mut Chat) -> Vec<Effect> {
    std::iter::from_fn(|| chat.poll_effect()).collect()
}

/// Answers the load that was asked for last, and says what was wanted.
#[track_caller]
fn answer(chat: &mut Chat, page: Page) -> Wanted {
    let load = effects(chat).into_iter().rev().find_map(|effect| match effect {
        Effect::Load { load, what, .. } => Some((load, what)),
        _ => None,
    });
    let (load, what) = load.expect("something was asked for");
    chat.handle_page(load, &what, Ok(page));
    what
}

fn press(chat: &mut Chat, code: KeyCode) {
    chat.handle_key(KeyEvent::new(code, KeyModifiers::NONE));
}

fn control(chat: &mut Chat, letter: char) {
    chat.handle_key(KeyEvent::new(KeyCode::Char(letter), KeyModifiers::CONTROL));
}

fn write(chat: &mut Chat, text: &str) {
    text.chars().for_each(|letter| press(chat, KeyCode::Char(letter)));
}

/// Types a line, with Enter.
fn enter(chat: &mut Chat, text: &str) {
    write(chat, text);
    press(chat, KeyCode::Enter);
}

/// What is to be sent.
fn sends(chat: &mut Chat) -> Vec<(String, String)> {
    let sent = effects(chat).into_iter().filter_map(|effect| match effect {
        Effect::Send(post) => Some((post.key, post.text)),
        _ => None,
    });
    sent.collect()
}

fn sent(seq: u64, seconds: i64) -> SendResponse {
    let post = post('m', seq, seconds, "");
    SendResponse { id: post.id, offset: post.offset, time_us: post.time_us, repeated: false }
}

/// The screen, whatever its size.
fn drawn(chat: &mut Chat, columns: u16, rows: u16) -> String {
    chat.handle_resize(columns, rows);
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
    terminal.draw(|frame| draw(chat, frame)).unwrap();
    let shown = terminal.backend().to_string();
    assert!(!shown.contains(['\x1b', '\u{202e}', '\u{7}']), "{shown}");
    shown
}

fn screen(chat: &mut Chat) -> String {
    drawn(chat, 80, 12)
}

/// A hundred posts, one a minute.
fn hundred() -> impl Iterator<Item = Post> {
    (1..=100).map(|seq| post('a', seq, 60 * (seq as i64 - 200), &format!("number {seq}.")))
}
