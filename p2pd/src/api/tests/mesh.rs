//! Peers, status and health.

use p2p_mesh::id::Offset;
use p2p_mesh::status::{Graph, GraphPeer, PeerState, Status};
use p2p_mesh::wire::message::Digest;
use p2p_proto::error::{Code, Error};
use p2p_proto::tonic_health::pb::HealthCheckRequest;
use p2p_proto::v1;

use super::kit::{Daemon, OWN, id, peer};
use crate::health::Stage;
use crate::invite::{Invite, InviteId};

fn all() -> v1::PeersRequest {
    v1::PeersRequest {}
}

#[tokio::test]
async fn status_tells_all_that_is_known() {
    let daemon = Daemon::start().await;
    daemon.arrive(2, "general", &["a", "b"]);
    daemon.world.lock().status = Status {
        advertise: vec!["10.0.0.1:8080".parse().unwrap()],
        peers_up: 2,
        peers_known: 3,
        addrs_configured: 1,
        digest: Digest { fingerprint: [0xab; 16], feeds: 4, holes: 7 },
        posts: 5,
        missing_posts: 6,
        unacked_own_posts: 9,
        unavailable_posts: 10,
        counters: [("dials_total", 8)].into(),
        ..Status::default()
    };
    let status = daemon.client().await.mesh().status(v1::StatusRequest {}).await.unwrap().into_inner();
    let expected = v1::StatusResponse {
        id: id(OWN).to_string(),
        name: "me".into(),
        epoch: 7,
        version: "1.2.3".into(),
        health: v1::Health::Syncing.into(),
        ready: false,
        problems: vec![],
        network: p2p_mesh::id::base32(&[7; 16]),
        open_network: false,
        listen: vec!["127.0.0.1:8080".into()],
        advertise: vec!["10.0.0.1:8080".into()],
        api: daemon.endpoints.iter().map(ToString::to_string).collect(),
        data_dir: "/data".into(),
        uptime_ms: status.uptime_ms,
        peers_up: 2,
        peers_known: 3,
        posts: 5,
        bytes: 77,
        offset: 2,
        digest: "ab".repeat(16),
        feeds: 4,
        missing_posts: 6,
        counters: [("dials_total".to_owned(), 8)].into(),
        pid: 42,
        default_room: "lobby".into(),
        unacked_own_posts: 9,
        unavailable_posts: 10,
        ..v1::StatusResponse::default()
    };
    assert_eq!(status, expected);
}

#[tokio::test]
async fn an_alarm_degrades_and_the_watch_of_the_status_shows_it_come_and_go() {
    let daemon = Daemon::start().await;
    let mut stream = daemon.client().await.mesh().watch_status(v1::StatusRequest {}).await.unwrap().into_inner();
    let first = stream.message().await.unwrap().unwrap();
    assert_eq!((first.health(), first.ready), (v1::Health::Ready, true));
    daemon.alarms.raise("store", "disk full in /data".into());
    let second = stream.message().await.unwrap().unwrap();
    assert_eq!((second.health(), second.ready), (v1::Health::Degraded, false));
    assert_eq!(second.problems, ["disk full in /data"]);
    daemon.alarms.clear("store");
    let third = stream.message().await.unwrap().unwrap();
    assert_eq!(v1::StatusResponse { uptime_ms: 0, ..third }, v1::StatusResponse { uptime_ms: 0, ..first });
}

#[tokio::test]
async fn peers_are_shown_whole_and_again_when_one_changes() {
    let daemon = Daemon::start().await;
    daemon.world.lock().peers = vec![peer(2, PeerState::Up)];
    let mut stream = daemon.client().await.mesh().watch_peers(all()).await.unwrap().into_inner();
    let first = stream.message().await.unwrap().unwrap().peers;
    let expected = v1::Peer {
        id: id(2).to_string(),
        name: "peer2".into(),
        state: v1::PeerState::Up.into(),
        rtt_us: 250,
        behind: 1,
        address: "127.0.0.1:9".into(),
        addresses: vec!["127.0.0.1:9".into()],
        since_us: 5_000,
        outbound: true,
        bytes_sent: 2,
        bytes_received: 3,
        posts_received: 4,
        posts_duplicate: 5,
        queue_bytes: 6,
        tries: 7,
        next_dial_ms: 0,
        last_error: "cable cut".into(),
        agent: "p2pd/0".into(),
        clock_offset_us: -8,
        epoch: 9,
        configured: true,
        instances: 1,
        last_seen_us: 9_000,
        forks: 3,
        ..v1::Peer::default()
    };
    assert_eq!(first, [expected]);
    // A wait that grows shorter is no news, the change behind it is.
    daemon.world.lock().peers[0].next_dial_ms = Some(70);
    daemon.world.lock().peers[0].state = PeerState::Down;
    let second = stream.message().await.unwrap().unwrap().peers;
    assert_eq!((second[0].state(), second[0].next_dial_ms), (v1::PeerState::Down, 70));
    let plain = daemon.client().await.mesh().peers(all()).await.unwrap().into_inner();
    assert_eq!(plain.peers, second);
}

async fn ping(daemon: &Daemon, id: &str, timeout_ms: u32) -> Result<u32, Error> {
    let request = v1::PingRequest { id: id.into(), timeout_ms };
    Ok(daemon.client().await.mesh().ping(request).await?.into_inner().rtt_us)
}

#[tokio::test]
async fn a_ping_ends_with_a_time_or_with_the_reason_why_not() {
    let daemon = Daemon::start().await;
    daemon.world.lock().peers = vec![peer(2, PeerState::Up), peer(3, PeerState::Waiting)];
    let (up, away) = (id(2).to_string(), id(3).to_string());

    daemon.world.lock().pong = Some(Some(420));
    assert_eq!(ping(&daemon, &up, 0).await, Ok(420));

    daemon.world.lock().pong = Some(None);
    let error = ping(&daemon, &up, 0).await.unwrap_err();
    assert_eq!((error.code, error.message), (Code::PeerOffline, format!("peer {up} is not linked: cable cut")));
    assert_eq!(ping(&daemon, &away, 0).await.unwrap_err().code, Code::PeerOffline);

    daemon.world.lock().peers[1].met_other = true;
    daemon.world.lock().peers[1].last_error = "expected k5x3abcd…, got 7qfdabcd…".into();
    let error = ping(&daemon, &away, 0).await.unwrap_err();
    let where_it_was = "somebody else is where it was: expected k5x3abcd…, got 7qfdabcd…";
    assert_eq!(
        (error.code, error.message),
        (Code::Untrusted, format!("peer {away} is not linked, and {where_it_was}"))
    );

    daemon.world.lock().pong = None;
    let error = ping(&daemon, &up, 20).await.unwrap_err();
    assert_eq!((error.code, error.message), (Code::Timeout, format!("peer {up} did not answer within 20ms")));

    let unknown = id(9).to_string();
    let error = ping(&daemon, &unknown, 0).await.unwrap_err();
    assert_eq!((error.code, error.message), (Code::NotFound, format!("no peer {unknown} is known here")));
    assert_eq!(ping(&daemon, "alice", 0).await.unwrap_err().code, Code::InvalidArgument);
    let myself = ping(&daemon, &id(OWN).to_string(), 0).await.unwrap_err();
    assert_eq!(myself.message, "this daemon cannot ping itself");
}

#[tokio::test]
async fn peers_are_added_and_forgotten_by_address_and_by_id() {
    let daemon = Daemon::start().await;
    daemon.world.lock().peers = vec![peer(2, PeerState::Up)];
    let mut mesh = daemon.client().await.mesh();
    let add = |address: &str| v1::AddPeerRequest { address: address.into() };
    mesh.add_peer(add("example.org:8080")).await.unwrap();
    assert_eq!(daemon.world.lock().added, ["example.org:8080"]);
    let error = Error::from(mesh.add_peer(add("example.org")).await.unwrap_err());
    assert_eq!(error.code, Code::InvalidArgument);
    assert_eq!(error.message, "\"example.org\": a port is missing: HOST:PORT is needed");

    let forget = |peer: &str| v1::ForgetPeerRequest { peer: peer.into() };
    mesh.forget_peer(forget("example.org:8080")).await.unwrap();
    let linked = Error::from(mesh.forget_peer(forget(&id(2).to_string())).await.unwrap_err());
    assert!(linked.message.ends_with("is linked, and would be known again at once"), "{}", linked.message);
    daemon.world.lock().peers = vec![peer(2, PeerState::Down)];
    mesh.forget_peer(forget(&id(2).to_string())).await.unwrap();
    assert!(daemon.world.lock().peers.is_empty());
    for gone in ["example.org:8080".to_owned(), id(2).to_string()] {
        let error = Error::from(mesh.forget_peer(forget(&gone)).await.unwrap_err());
        assert_eq!((error.code, error.message), (Code::NotFound, format!("no peer {gone} is known here")));
    }
    let error = Error::from(mesh.forget_peer(forget("\u{1b}[2J")).await.unwrap_err());
    assert_eq!(error.message, "\"\\u{1b}[2J\" is neither a peer id nor an address");
}

#[tokio::test]
async fn reconnect_is_for_all_or_for_one_that_is_known() {
    let daemon = Daemon::start().await;
    daemon.world.lock().peers = vec![peer(2, PeerState::Waiting)];
    let mut mesh = daemon.client().await.mesh();
    let reconnect = |id: String| v1::ReconnectRequest { id };
    assert_eq!(mesh.reconnect(reconnect(String::new())).await.unwrap().into_inner().dials, 9);
    assert_eq!(mesh.reconnect(reconnect(id(2).to_string())).await.unwrap().into_inner().dials, 1);
    let error = Error::from(mesh.reconnect(reconnect(id(3).to_string())).await.unwrap_err());
    assert_eq!(error.code, Code::NotFound);
}

#[tokio::test]
async fn the_configuration_is_shown_with_its_sources() {
    let daemon = Daemon::start().await;
    let config = daemon.client().await.daemon().config(v1::ConfigRequest::default()).await.unwrap().into_inner();
    let row = v1::ConfigValue { key: "name".into(), value: "me".into(), source: "default".into() };
    assert_eq!(config.values, [row]);
}

#[tokio::test]
async fn serving_means_ready() {
    let daemon = Daemon::start().await;
    let mut health = daemon.client().await.health();
    let check = |service: &str| HealthCheckRequest { service: service.into() };
    for service in ["", "p2p.v1.Chat", "p2p.v1.Mesh", "p2p.v1.Daemon"] {
        assert_eq!(health.check(check(service)).await.unwrap().into_inner().status, 1, "serving: {service}");
    }
    let mut changes = health.watch(check("")).await.unwrap().into_inner();
    assert_eq!(changes.message().await.unwrap().unwrap().status, 1);
    daemon.world.lock().status.addrs_configured = 1;
    assert_eq!(changes.message().await.unwrap().unwrap().status, 2);
    assert_eq!(health.check(check("")).await.unwrap().into_inner().status, 2, "isolated");
    let error = health.check(check("p2p.v1.Nothing")).await.unwrap_err();
    assert_eq!((error.code(), error.message()), (tonic::Code::NotFound, "there is no service \"p2p.v1.Nothing\" here"));
    assert_eq!(daemon.world.lock().end(), Offset(0));
}

#[tokio::test]
async fn the_graph_comes_with_names() {
    let daemon = Daemon::start().await;
    daemon.subscribers.names().set(id(2), "alice");
    let told = GraphPeer { id: id(2), neighbors: Some([id(3)].into()), strangers: 4 };
    let silent = GraphPeer { id: id(3), neighbors: None, strangers: 0 };
    daemon.world.lock().graph = Graph { peers: vec![told, silent] };
    let graph = daemon.client().await.mesh().graph(v1::GraphRequest {}).await.unwrap().into_inner();
    let alice = v1::GraphPeer {
        id: id(2).to_string(),
        name: "alice".into(),
        told: true,
        neighbors: vec![id(3).to_string()],
        strangers: 4,
        petname: String::new(),
    };
    let silent = v1::GraphPeer { id: id(3).to_string(), ..v1::GraphPeer::default() };
    assert_eq!(graph.peers, [alice, silent]);
}

#[tokio::test]
async fn before_the_store_is_open_the_state_is_told_and_nothing_else_is_asked() {
    let daemon = Daemon::start().await;
    daemon.progress.reach(Stage::Recovering);
    let status = daemon.client().await.mesh().status(v1::StatusRequest {}).await.unwrap().into_inner();
    assert_eq!((status.health(), status.ready), (v1::Health::Recovering, false));
    assert_eq!((status.name.as_str(), status.version.as_str()), ("me", "1.2.3"));
    let metrics = daemon.client().await.daemon().metrics(v1::MetricsRequest {}).await.unwrap().into_inner();
    assert!(metrics.text.contains("p2p_health{state=\"RECOVERING\"} 1\n"), "{}", metrics.text);
    daemon.progress.reach(Stage::Running);
    let metrics = daemon.client().await.daemon().metrics(v1::MetricsRequest {}).await.unwrap().into_inner();
    assert!(metrics.text.contains("p2p_health{state=\"READY\"} 1\n"), "{}", metrics.text);
}

#[tokio::test]
async fn invites_are_told_in_the_order_of_the_store_the_newest_first() {
    let daemon = Daemon::start().await;
    let made = |made_s: u64| Invite {
        id: InviteId::generate(),
        key: [7; 32].into(),
        made_s,
        expires_s: u64::MAX,
        uses_max: 1,
        uses: 0,
        is_revoked: false,
    };
    daemon.world.lock().invites = vec![made(30), made(20), made(10)];
    let told = daemon.client().await.mesh().invites(v1::InvitesRequest {}).await.unwrap().into_inner();
    let made_us: Vec<i64> = told.invites.iter().map(|invite| invite.made_us).collect();
    assert_eq!(made_us, [30_000_000, 20_000_000, 10_000_000]);
}
