//! How peers are called, and who is left out.

use p2p_mesh::status::{Holder, HolderState, PeerState};
use p2p_proto::error::{Code, Error};
use p2p_proto::v1;
use p2p_proto::v1::watch_request::Start;
use p2p_proto::v1::watch_response::Item;

use super::kit::{Daemon, OWN, guarded, id, peer};

async fn update(daemon: &Daemon, author: u8, petname: Option<&str>, blocked: Option<bool>) -> Result<(), Error> {
    let petname = petname.map(str::to_owned);
    let request = v1::UpdatePeerRequest { id: id(author).to_string(), petname, blocked };
    daemon.client().await.mesh().update_peer(request).await?;
    Ok(())
}

async fn peers(daemon: &Daemon) -> Vec<v1::Peer> {
    daemon.client().await.mesh().peers(v1::PeersRequest {}).await.unwrap().into_inner().peers
}

async fn texts(daemon: &Daemon, request: v1::HistoryRequest) -> (Vec<String>, u64) {
    let history = daemon.client().await.chat().history(request).await.unwrap().into_inner();
    (history.posts.into_iter().map(|post| post.text).collect(), history.blocked)
}

#[tokio::test]
async fn x_06_everybody_who_reads_is_told_who_had_a_name_first() {
    let daemon = Daemon::start().await;
    daemon.subscribers.names().set(id(2), "alice");
    daemon.subscribers.names().set(id(3), "Alice");
    daemon.arrive(2, "general", &["it is me"]);
    daemon.arrive(3, "general", &["it is me"]);
    let posts = daemon.client().await.chat().history(v1::HistoryRequest::default()).await.unwrap().into_inner().posts;
    let owner = |author: u8| {
        let of = |post: &&v1::Post| post.id.as_ref().unwrap().author == id(author).to_string();
        posts.iter().find(of).unwrap().author_name_owner.clone()
    };
    assert_eq!((owner(2), owner(3)), (String::new(), id(2).to_string()));
    daemon.world.lock().peers = vec![peer(2, PeerState::Up), peer(3, PeerState::Up)];
    let owners: Vec<String> = peers(&daemon).await.into_iter().map(|peer| peer.name_owner).collect();
    assert_eq!(owners, [String::new(), id(2).to_string()]);
}

#[tokio::test]
async fn a_petname_is_told_wherever_a_peer_is_and_refused_where_it_would_deceive() {
    let daemon = Daemon::start().await;
    daemon.world.lock().peers = vec![peer(2, PeerState::Up)];
    update(&daemon, 2, Some("boss"), None).await.unwrap();
    daemon.arrive(2, "general", &["work"]);
    assert_eq!(peers(&daemon).await[0].petname, "boss");
    let history = daemon.client().await.chat().history(v1::HistoryRequest::default()).await.unwrap().into_inner();
    assert_eq!(history.posts[0].author_petname, "boss");
    let taken = update(&daemon, 3, Some("Boss"), None).await.unwrap_err();
    assert_eq!(
        (taken.code, taken.message),
        (Code::NameTaken, format!("petname \"Boss\" is that of the peer {}", id(2)))
    );
    let odd = update(&daemon, 3, Some("a~b"), None).await.unwrap_err();
    assert_eq!(odd.code, Code::NameInvalid);
    update(&daemon, 2, Some(""), None).await.unwrap();
    assert_eq!(peers(&daemon).await[0].petname, "");
}

#[tokio::test]
async fn who_is_noted_is_listed_though_nothing_else_is_known_of_him() {
    let daemon = Daemon::start().await;
    update(&daemon, 4, None, Some(true)).await.unwrap();
    let expected =
        v1::Peer { id: id(4).to_string(), blocked: true, state: v1::PeerState::Down.into(), ..v1::Peer::default() };
    assert_eq!(peers(&daemon).await, [expected]);
}

#[tokio::test]
async fn nobody_is_asked_who_is_blocked_and_nobody_blocks_himself() {
    let daemon = Daemon::start().await;
    daemon.world.lock().peers = vec![peer(2, PeerState::Up)];
    update(&daemon, 2, Some("pest"), Some(true)).await.unwrap();
    let ping = v1::PingRequest { id: id(2).to_string(), timeout_ms: 0 };
    let error = Error::from(daemon.client().await.mesh().ping(ping).await.unwrap_err());
    assert_eq!((error.code, error.message.as_str()), (Code::Untrusted, "pest is blocked here"));
    let reconnect = v1::ReconnectRequest { id: id(2).to_string() };
    let error = Error::from(daemon.client().await.mesh().reconnect(reconnect).await.unwrap_err());
    assert_eq!(error.code, Code::Untrusted);
    assert_eq!(update(&daemon, OWN, None, Some(true)).await.unwrap_err().code, Code::InvalidArgument);
    daemon.subscribers.names().configure([id(2)]);
    let error = update(&daemon, 2, None, Some(false)).await.unwrap_err();
    assert_eq!((error.code, error.message.as_str()), (Code::InvalidArgument, "pest is blocked by the configuration"));
}

#[tokio::test]
async fn what_the_blocked_say_is_left_out_and_counted_unless_somebody_asks_for_it() {
    let daemon = Daemon::start().await;
    for (author, text) in [(2, "tea one"), (3, "tea spam"), (3, "tea ads"), (2, "tea two")] {
        daemon.arrive(author, "general", &[text]);
    }
    update(&daemon, 3, None, Some(true)).await.unwrap();
    let all = v1::HistoryRequest::default();
    assert_eq!(texts(&daemon, all.clone()).await, (vec!["tea one".into(), "tea two".into()], 2));
    // The limit is for what is shown.
    assert_eq!(texts(&daemon, v1::HistoryRequest { limit: 2, ..all.clone() }).await.0.len(), 2);
    assert_eq!(texts(&daemon, v1::HistoryRequest { blocked: true, ..all.clone() }).await.0.len(), 4);
    assert_eq!(texts(&daemon, v1::HistoryRequest { authors: vec![id(3).to_string()], ..all }).await.0.len(), 2);
    let search = v1::SearchRequest { query: "tea".into(), ..v1::SearchRequest::default() };
    let found = daemon.client().await.chat().search(search.clone()).await.unwrap().into_inner();
    assert_eq!((found.posts.len(), found.blocked), (2, 2));
    let search = v1::SearchRequest { blocked: true, ..search };
    assert_eq!(daemon.client().await.chat().search(search).await.unwrap().into_inner().posts.len(), 4);
}

#[tokio::test]
async fn a_page_of_a_history_is_full_though_much_is_left_out_and_a_flood_ends_it() {
    let daemon = Daemon::start().await;
    daemon.arrive(2, "general", &["first"]);
    for _ in 0..120 {
        daemon.arrive(3, "general", &["spam"; 100]);
    }
    daemon.arrive(2, "general", &["second"]);
    daemon.arrive(2, "general", &["third"]);
    update(&daemon, 3, None, Some(true)).await.unwrap();
    let (mut request, mut pages, mut blocked) = (v1::HistoryRequest { limit: 1, ..Default::default() }, Vec::new(), 0);
    loop {
        let page = daemon.client().await.chat().history(request.clone()).await.unwrap().into_inner();
        blocked += page.blocked;
        pages.push(page.posts.into_iter().map(|post| post.text).collect::<Vec<_>>());
        if page.next.is_empty() {
            break;
        }
        request.page = page.next;
    }
    assert_eq!(pages.concat(), ["third", "second", "first"]);
    assert_eq!(pages[2].len(), 0, "a call looks through a part of the flood");
    assert_eq!(blocked, 12_000);
}

#[tokio::test]
async fn nobody_waits_for_the_receipt_of_somebody_who_is_blocked() {
    let daemon = Daemon::start().await;
    let holder = |author| Holder { peer: id(author), state: HolderState::Away, last_seen_ms: 0 };
    daemon.world.lock().holders = vec![holder(2), holder(3)];
    update(&daemon, 3, None, Some(true)).await.unwrap();
    let post = v1::PostId { author: id(OWN).to_string(), epoch: 7, seq: 1 };
    let request = v1::ReceiptsRequest { ids: vec![post], follow: false };
    let mut stream = daemon.client().await.chat().receipts(request).await.unwrap().into_inner();
    let holders = guarded(stream.message()).await.unwrap().unwrap().receipts.remove(0).holders;
    assert_eq!(holders.into_iter().map(|holder| holder.peer).collect::<Vec<_>>(), [id(2).to_string()]);
}

#[tokio::test]
async fn a_watch_leaves_the_blocked_out_from_the_moment_they_are_blocked() {
    let daemon = Daemon::start().await;
    for (author, text) in [(2, "one"), (3, "two"), (2, "three"), (3, "four")] {
        daemon.arrive(author, "general", &[text]);
    }
    update(&daemon, 3, None, Some(true)).await.unwrap();
    let request = v1::WatchRequest { start: Some(Start::Last(2)), ..v1::WatchRequest::default() };
    let mut stream = daemon.client().await.chat().watch(request).await.unwrap().into_inner();
    daemon.arrive(3, "general", &["five"]);
    daemon.arrive(2, "general", &["six"]);
    let (mut seen, mut blocked) = (Vec::new(), 0);
    while seen.last().is_none_or(|text| text != "six") {
        let response = guarded(stream.message()).await.unwrap().unwrap();
        blocked += response.blocked;
        if let Some(Item::Batch(batch)) = response.item {
            seen.extend(batch.posts.into_iter().map(|post| post.text));
        }
    }
    assert_eq!((seen, blocked), (vec!["one".into(), "three".into(), "six".to_owned()], 3));
}
