//! What two say to each other alone, and what the others see of it.

use p2p_mesh::envelope::Post;
use p2p_mesh::status::PeerState;
use p2p_proto::error::{Code, Error};
use p2p_proto::v1;
use p2p_proto::v1::watch_request::Start;
use p2p_proto::v1::watch_response::Item;

use super::kit::{Daemon, OWN, guarded, id, key, peer, say};
use crate::letters::Letters;

fn to(author: u8, text: &str) -> v1::Outgoing {
    v1::Outgoing { to: id(author).to_string(), ..say(text) }
}

/// A letter of one to another, as the mesh carries it.
fn letter(author: u8, to: u8, text: &str) -> Post {
    let sealed = Letters::new(&key(author)).seal(id(to), text, None).unwrap();
    Post::direct(sealed.to, &sealed.sealed)
}

async fn with_peer() -> Daemon {
    let daemon = Daemon::start().await;
    daemon.world.lock().peers = vec![peer(2, PeerState::Up)];
    daemon
}

async fn send(daemon: &Daemon, post: v1::Outgoing) -> Result<v1::SendResponse, Error> {
    let request = v1::SendRequest { post: Some(post) };
    Ok(daemon.client().await.chat().send(request).await?.into_inner())
}

async fn history(daemon: &Daemon, request: v1::HistoryRequest) -> Vec<v1::Post> {
    daemon.client().await.chat().history(request).await.unwrap().into_inner().posts
}

fn texts(posts: &[v1::Post]) -> Vec<&str> {
    posts.iter().map(|post| post.text.as_str()).collect()
}

#[tokio::test]
async fn a_direct_message_is_sealed_before_the_mesh_gets_it_and_opened_for_both_ends() {
    let daemon = with_peer().await;
    send(&daemon, to(2, "just you")).await.unwrap();
    let entry = daemon.world.lock().entries[0].clone();
    let post = &entry.envelope.body().posts[0];
    assert_eq!((&*post.kind, &*post.room, &*post.text), ("direct", "", ""));
    let there = Letters::new(&key(2)).open(&id(OWN), post.direct.as_ref().unwrap());
    assert_eq!(there, crate::letters::Opened::Text("just you".into()));
    daemon.subscribers.names().set(id(2), "bob");
    let read = &history(&daemon, v1::HistoryRequest::default()).await[0];
    assert_eq!((read.text.as_str(), read.to.as_str(), read.to_name.as_str()), ("just you", &*id(2).to_string(), "bob"));
    assert!(read.direct && !read.unsupported && !read.unreadable && read.room.is_empty());
}

#[tokio::test]
async fn what_others_say_to_each_other_alone_is_in_no_answer_and_leaves_no_gap() {
    let daemon = with_peer().await;
    let posts = vec![Post::chat("general", "a"), letter(2, 3, "hidden"), letter(2, OWN, "for me"), letter(2, 3, "too")];
    let entry = daemon.world.lock().append(2, posts);
    let request = v1::WatchRequest { start: Some(Start::After(0)), ..v1::WatchRequest::default() };
    let mut stream = daemon.client().await.chat().watch(request).await.unwrap().into_inner();
    let item = guarded(stream.message()).await.unwrap().unwrap();
    let Some(Item::Batch(batch)) = item.item else { panic!("{item:?}") };
    assert_eq!(texts(&batch.posts), ["a", "for me"]);
    assert_eq!((item.offset, item.blocked), (4, 0));
    assert!(matches!(guarded(stream.message()).await.unwrap().unwrap().item, Some(Item::CaughtUp(_))));
    assert_eq!(texts(&history(&daemon, v1::HistoryRequest::default()).await), ["a", "for me"]);
    // Live too.
    let live = daemon.world.lock().append(3, vec![letter(3, 2, "hidden"), Post::chat("general", "b")]);
    daemon.subscribers.publish(crate::api::Batch { entries: vec![entry, live] });
    let item = guarded(stream.message()).await.unwrap().unwrap();
    let Some(Item::Batch(batch)) = item.item else { panic!("{item:?}") };
    assert_eq!((texts(&batch.posts), item.offset), (vec!["b"], 6));
}

#[tokio::test]
async fn a_letter_that_was_stolen_changed_or_repeated_by_another_is_nobodys_message() {
    let daemon = with_peer().await;
    let real = letter(2, OWN, "pay me");
    let mut bent = real.clone();
    let direct = bent.direct.as_mut().unwrap();
    let last = direct.sealed.pop().unwrap();
    direct.sealed.push(if last == 'A' { 'Q' } else { 'A' });
    daemon.world.lock().append(3, vec![real]);
    daemon.world.lock().append(2, vec![bent]);
    let read = history(&daemon, v1::HistoryRequest::default()).await;
    assert_eq!(read.len(), 2);
    for post in read {
        assert!(post.unreadable && post.direct, "{post:?}");
        assert_eq!(post.text, "");
    }
}

#[tokio::test]
async fn a_conversation_is_read_by_its_other_end() {
    let daemon = with_peer().await;
    daemon.world.lock().append(2, vec![letter(2, OWN, "hi"), Post::chat("general", "hello all")]);
    daemon.world.lock().append(3, vec![letter(3, OWN, "psst")]);
    send(&daemon, to(2, "hi back")).await.unwrap();
    let with = id(2).to_string();
    let read = history(&daemon, v1::HistoryRequest { with: with.clone(), ..v1::HistoryRequest::default() }).await;
    assert_eq!(texts(&read), ["hi", "hi back"]);
    let request = v1::WatchRequest { start: Some(Start::After(0)), with: with.clone(), ..v1::WatchRequest::default() };
    let mut stream = daemon.client().await.chat().watch(request).await.unwrap().into_inner();
    let Some(Item::Batch(batch)) = guarded(stream.message()).await.unwrap().unwrap().item else { panic!("no batch") };
    assert_eq!(texts(&batch.posts), ["hi", "hi back"]);
    let request = v1::HistoryRequest { with, room: "general".into(), ..v1::HistoryRequest::default() };
    let error = Error::from(daemon.client().await.chat().history(request).await.unwrap_err());
    assert_eq!((error.code, error.message.as_str()), (Code::InvalidArgument, "direct messages are in no room"));
}

#[tokio::test]
async fn the_same_key_sends_a_direct_message_once_and_no_other() {
    let daemon = with_peer().await;
    let keyed = |text| v1::Outgoing { key: "k".into(), ..to(2, text) };
    let first = send(&daemon, keyed("once")).await.unwrap();
    let again = send(&daemon, keyed("once")).await.unwrap();
    assert_eq!((again.id, again.repeated), (first.id, true));
    assert_eq!(send(&daemon, keyed("other")).await.unwrap_err().code, Code::KeyReused);
}

#[tokio::test]
async fn a_direct_message_to_nobody_to_oneself_to_the_blocked_or_in_a_room_is_refused() {
    let daemon = with_peer().await;
    let code = |result: Result<_, Error>| result.unwrap_err().code;
    assert_eq!(code(send(&daemon, to(3, "x")).await), Code::NotFound);
    assert_eq!(code(send(&daemon, to(OWN, "x")).await), Code::InvalidArgument);
    assert_eq!(code(send(&daemon, v1::Outgoing { room: "general".into(), ..to(2, "x") }).await), Code::InvalidArgument);
    assert_eq!(code(send(&daemon, to(2, " ")).await), Code::TextEmpty);
    assert_eq!(code(send(&daemon, to(2, &"x".repeat(16_385))).await), Code::TextTooLong);
    assert!(send(&daemon, to(2, &"x".repeat(16_384))).await.is_ok());
    let weak = v1::Outgoing { to: p2p_mesh::id::PeerId([0; 32]).to_string(), ..say("x") };
    let change = crate::names::NoteChange { petname: Some("odd".into()), is_blocked: None };
    daemon.subscribers.names().note(p2p_mesh::id::PeerId([0; 32]), change).unwrap();
    assert_eq!(code(send(&daemon, weak).await), Code::InvalidArgument);
    let change = crate::names::NoteChange { petname: None, is_blocked: Some(true) };
    daemon.subscribers.names().note(id(2), change).unwrap();
    let error = send(&daemon, to(2, "x")).await.unwrap_err();
    assert_eq!(error.code, Code::Untrusted);
    assert!(error.hint.contains("peers unblock"), "{error:?}");
    assert_eq!(daemon.world.lock().entries.len(), 1);
}

#[tokio::test]
async fn many_direct_messages_go_in_one_stream() {
    let daemon = with_peer().await;
    let posts = vec![to(2, "a"), to(3, "nobody"), to(2, "b"), say("all")];
    let request = tokio_stream::iter([v1::SendStreamRequest { posts }]);
    let mut stream = daemon.client().await.chat().send_stream(request).await.unwrap().into_inner();
    let answer = guarded(stream.message()).await.unwrap().unwrap();
    let sent = |result: &v1::SendResult| matches!(result.result, Some(v1::send_result::Result::Sent(_)));
    assert_eq!(answer.results.iter().map(sent).collect::<Vec<_>>(), [true, false, true, true]);
    assert_eq!(texts(&history(&daemon, v1::HistoryRequest::default()).await), ["a", "b", "all"]);
}
