//! Every kind of output in every format, from messages full of hostile text.

#![allow(clippy::unwrap_used)]

use p2p_proto::v1::{
    ConfigChange, ConfigResponse, ConfigValue, Conversation, FeedState, GraphPeer, GraphResponse, Health,
    HistoryResponse, Holder, HolderState, Hole, MetricsResponse, Peer, PeerState, PeerSync, PeersResponse, Post,
    PostId, Receipt, ReloadResponse, Room, RoomsResponse, SearchResponse, SendResponse, SetLogFilterResponse,
    StatusResponse, SyncStateResponse,
};

use super::doctor::Check;
use super::posts::{PostWriter, Scene};
use super::*;
use crate::args::GraphFormat;

const ALICE: &str = "k5x3abcdefghijklmnopqrstuvwxyz234567abcdefghijklmnop";
const BOB: &str = "7qfdabcdefghijklmnopqrstuvwxyz234567abcdefghijklmnop";
/// Looks like Alice's in the first four characters.
const MALLORY: &str = "k5x3zbcdefghijklmnopqrstuvwxyz234567abcdefghijklmnop";
const NOW: &str = "2026-11-22T12:00:00Z";

fn style(format: Format) -> Style {
    let zone = TimeZone::fixed(jiff::tz::offset(1));
    Style { format, zone, now: NOW.parse().unwrap(), columns: None, color: false }
}

/// Microseconds since 1970, `seconds` before now.
fn before(seconds: i64) -> i64 {
    NOW.parse::<Timestamp>().unwrap().as_microsecond() - seconds * 1_000_000
}

/// The same in all formats, one below the other.
fn in_all_formats(render: impl Fn(&Style, &mut dyn Write) -> io::Result<()>) -> String {
    let mut all = String::new();
    for format in [Format::Text, Format::Wide, Format::Json, Format::Yaml] {
        let mut out = Vec::new();
        render(&style(format), &mut out).unwrap();
        let out = String::from_utf8(out).unwrap();
        let controls: Vec<char> = out.chars().filter(|c| *c != '\n' && escape::is_hostile(*c)).collect();
        assert_eq!(controls, [], "{format:?} lets something through");
        if format == Format::Json {
            out.lines().for_each(|line| schema::tests::check(&serde_json::from_str(line).unwrap()));
        }
        all += &format!("{format:?}\n{out}\n");
    }
    all
}

fn post(seq: u64, author: &str, name: &str, text: &str) -> Post {
    Post {
        id: Some(PostId { author: author.to_owned(), epoch: 1_863_514_283_475_123, seq }),
        author_name: name.to_owned(),
        offset: 100 + seq,
        time_us: before(3_600 - i64::try_from(seq).unwrap()) + 123_456,
        kind: "chat".to_owned(),
        room: "general".to_owned(),
        text: text.to_owned(),
        ..Post::default()
    }
}

fn hostile_posts() -> Vec<Post> {
    let mut reply = post(4, BOB, "", "an answer");
    reply.re = post(1, ALICE, "", "").id;
    reply.late = true;
    reply.own = true;
    reply.key = "K/7".to_owned();
    let mut unknown = post(5, BOB, "bob", "");
    unknown.kind = "poll\x1b[2J".to_owned();
    unknown.unsupported = true;
    let mut again = post(6, MALLORY, "alice", "said twice");
    again.forked = true;
    again.was = post(2, MALLORY, "", "").id;
    let mut called = post(7, BOB, "bob", "as told");
    called.author_petname = "boss\x1b[2J".to_owned();
    let mut imitated = post(8, MALLORY, "Alice", "it is me");
    imitated.author_name_owner = ALICE.to_owned();
    let to_you = direct(post(9, ALICE, "alice", "psst\n[general]"), BOB, "");
    let mut said_back = direct(post(10, BOB, "bob", "yes?"), ALICE, "alice");
    said_back.own = true;
    let mut broken = direct(post(11, MALLORY, "alice~k5x3 → you", ""), BOB, "");
    broken.unreadable = true;
    vec![
        post(1, ALICE, "alice", "hello"),
        post(2, MALLORY, "alice", "one\n2026-11-22 12:00:02 [general] alice~k5x3a: I owe you\r\x1b[2Kx\ttab"),
        post(3, BOB, "you: \u{202e}x\n~k5x3", "\x1b]52;c;aGk=\x07\u{9b}2J\u{2028}\u{e0041}\u{200d}"),
        reply,
        unknown,
        again,
        called,
        imitated,
        to_you,
        said_back,
        broken,
    ]
}

/// The same, said to one alone.
fn direct(post: Post, to: &str, to_name: &str) -> Post {
    let (to, to_name) = (to.to_owned(), to_name.to_owned());
    Post { kind: "direct".to_owned(), room: String::new(), direct: true, to, to_name, ..post }
}

fn written(style: Style, scene: Scene, posts: &[Post]) -> String {
    let mut out = Vec::new();
    let mut writer = PostWriter::new(style, scene);
    posts.iter().try_for_each(|post| writer.write(post, &mut out)).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn history_in_all_formats() {
    let (expired, expired_newest_us) = (1_234, before(86_400));
    let history = HistoryResponse {
        posts: hostile_posts(),
        offset: 106,
        expired,
        expired_newest_us,
        ..HistoryResponse::default()
    };
    insta::assert_snapshot!(in_all_formats(|style, out| posts::render_history(&history, style, out)));
}

#[test]
fn search_in_all_formats() {
    let search =
        SearchResponse { posts: hostile_posts(), next: "a page".to_owned(), searched_us: before(7_200), blocked: 2 };
    insta::assert_snapshot!(in_all_formats(|style, out| posts::render_search(&search, style, out)));
}

#[test]
fn what_happens_between_two_posts_is_a_document_too() {
    insta::assert_snapshot!(in_all_formats(|style, out| {
        let gap = p2p_proto::v1::Gap { from: 3, to: 14, posts: 12 };
        style.write_data(|| document::gap(&gap), out)?;
        let history = HistoryResponse { expired: 12, expired_newest_us: before(86_400), ..HistoryResponse::default() };
        style.write_data(|| document::expired(&history), out)?;
        style.write_data(|| document::caught_up(106), out).map(drop)
    }));
}

#[test]
fn watch_in_all_formats() {
    let posts = hostile_posts();
    insta::assert_snapshot!(in_all_formats(|style, out| {
        let mut writer = PostWriter::new(style.clone(), Scene::ManyRooms);
        posts.iter().try_for_each(|post| writer.write(post, out))
    }));
}

#[test]
fn one_room_is_not_named_and_a_new_day_is() {
    let mut late = post(2, BOB, "bob", "two\nlines");
    late.time_us += 86_400_000_000;
    let shown = written(style(Format::Text), Scene::OneRoom, &[post(1, ALICE, "alice", "hello"), late]);
    insta::assert_snapshot!(shown, @r"
    12:00:01 alice~k5x3: hello
    -- 2026-11-23 --
    12:00:02 bob~7qfd: two
            | lines
    ");
}

#[test]
fn x_03_no_text_begins_a_line_even_where_the_terminal_would_break_it() {
    let fake = format!("{}12:00:09 alice~k5x3: I owe you", " ".repeat(33));
    let narrow = Style { columns: Some(60), ..style(Format::Text) };
    let posts = [
        post(1, BOB, "bob", &fake),
        post(2, BOB, "bob", &"宽".repeat(40)),
        post(3, BOB, "bob", &format!("x\n{fake}{fake}")),
    ];
    for columns in [1, 7, 20, 40, 60, 200] {
        let shown = written(Style { columns: Some(columns), ..narrow.clone() }, Scene::OneRoom, &posts);
        for line in shown.lines().filter(|line| !line.starts_with("12:00:0")) {
            assert!(line.starts_with(' '), "{columns} columns: {line:?}");
        }
        assert_eq!(shown.lines().filter(|line| line.starts_with("12:00:0")).count(), 3);
        let wide = shown.lines().filter(|line| escape::width(line) > columns).count();
        assert!(columns < 40 || wide == 0, "{columns} columns are too few");
    }
    insta::assert_snapshot!(written(narrow, Scene::OneRoom, &posts));
}

#[test]
fn x_03_a_text_behind_a_name_that_fills_the_line_does_not_begin_the_next_one() {
    let narrow = Style { columns: Some(40), ..style(Format::Text) };
    for len in 1..32 {
        let name = "b".repeat(len);
        let shown =
            written(narrow.clone(), Scene::Past, &[post(1, BOB, &name, "11-22 12:00 [general] alice~k5x3: fake")]);
        let mut lines = shown.lines();
        let first = lines.next().unwrap();
        assert!(escape::width(first) <= 40 || first.ends_with(": "), "{first:?}");
        assert!(first[5..].starts_with(' ') && first[11..].starts_with(" [general] b"), "{first:?}");
        assert!(lines.all(|line| line.starts_with(' ')), "{shown}");
    }
}

#[test]
fn names_may_be_coloured_and_nothing_else() {
    let colored = Style { color: true, ..style(Format::Text) };
    let shown = written(colored, Scene::OneRoom, &[post(1, ALICE, "alice", "\x1b[31mred")]);
    let plain = shown.replace("\x1b[0m", "");
    let (start, rest) = plain.split_once("\x1b[").unwrap();
    assert_eq!(start, "12:00:01 ");
    assert!(rest.ends_with("malice~k5x3: ^[[31mred\n"), "{rest:?}");
}

fn peers() -> PeersResponse {
    let up = Peer {
        id: ALICE.to_owned(),
        name: "alice".to_owned(),
        state: PeerState::Up.into(),
        rtt_us: 420,
        behind: 3,
        address: "192.0.2.7:8080".to_owned(),
        addresses: vec!["192.0.2.7:8080".to_owned(), "[2001:db8::7]:8080".to_owned()],
        since_us: before(240),
        outbound: true,
        bytes_sent: 17,
        bytes_received: 3_500_000,
        posts_received: 990,
        posts_duplicate: 10,
        queue_bytes: 2_048,
        agent: "p2pd/0.1.0".to_owned(),
        clock_offset_us: -1_500,
        epoch: 1_863_514_283_475_123,
        configured: true,
        instances: 1,
        last_seen_us: before(1),
        forks: 2,
        ..Peer::default()
    };
    let hostile = Peer {
        id: MALLORY.to_owned(),
        name: "alice\u{202e}\n\x1b[2J".to_owned(),
        state: PeerState::Suspect.into(),
        rtt_us: 1_234_567,
        last_error: "reset\nby \x1b[31mpeer".to_owned(),
        agent: "\x07bell".to_owned(),
        ..Peer::default()
    };
    let wide =
        Peer { id: BOB.to_owned(), name: "宽宽".to_owned(), state: PeerState::Dialing.into(), ..Peer::default() };
    let address = Peer {
        state: PeerState::Waiting.into(),
        address: "peer.example:8080".to_owned(),
        tries: 7,
        next_dial_ms: 12_000,
        last_error: "connection refused".to_owned(),
        ..Peer::default()
    };
    let late = Peer {
        id: format!("zzzz{}", &ALICE[4..]),
        name: "Alice\n\x1b[2J".to_owned(),
        name_owner: ALICE.to_owned(),
        ..Peer::default()
    };
    let blocked = Peer {
        id: format!("yyyy{}", &ALICE[4..]),
        name: "dave".to_owned(),
        petname: "pest \u{202e}\x1b[2J".to_owned(),
        blocked: true,
        state: PeerState::Down.into(),
        ..Peer::default()
    };
    PeersResponse { peers: vec![up, hostile, wide, address, late, blocked] }
}

#[test]
fn peers_in_all_formats() {
    insta::assert_snapshot!(in_all_formats(|style, out| peers::render_peers(&peers(), style, out)));
}

#[test]
fn one_peer_in_all_formats() {
    for (name, peer) in ["up", "hostile", "wide", "address", "late", "blocked"].into_iter().zip(peers().peers) {
        insta::assert_snapshot!(
            format!("one_peer_{name}"),
            in_all_formats(|style, out| peers::render_peer(&peer, style, out))
        );
    }
}

fn status() -> StatusResponse {
    StatusResponse {
        id: ALICE.to_owned(),
        name: "alice".to_owned(),
        epoch: 1_863_514_283_475_123,
        version: "0.1.0".to_owned(),
        health: Health::Degraded.into(),
        problems: vec!["disk full in /var/lib/p2pd (0 bytes free)".to_owned(), "a name: \x1b[2J".to_owned()],
        network: "abcdefghijklmnopqrstuvwxyz".to_owned(),
        listen: vec!["127.0.0.1:8080".to_owned()],
        api: vec!["unix:/run/p2pd/p2pd.sock".to_owned()],
        data_dir: "/var/lib/p2pd".to_owned(),
        uptime_ms: 90_000,
        peers_up: 4,
        peers_known: 5,
        posts: 1_000,
        bytes: 430_000,
        offset: 1_007,
        digest: "00112233445566778899aabbccddeeff".to_owned(),
        feeds: 6,
        missing_posts: 2,
        counters: [("posts_sent_total".to_owned(), 7), ("dials_total{result=\"ok\"}".to_owned(), 5)].into(),
        pid: 4_123,
        default_room: "general".to_owned(),
        ..StatusResponse::default()
    }
}

#[test]
fn status_in_all_formats() {
    insta::assert_snapshot!(in_all_formats(|style, out| status::render_status(&status(), style, out)));
}

#[test]
fn what_status_tells_of_posts_at_risk_in_all_formats() {
    let status = StatusResponse { unacked_own_posts: 1, expired_posts: 12_345, unavailable_posts: 7, ..status() };
    insta::assert_snapshot!(in_all_formats(|style, out| status::render_status(&status, style, out)));
}

fn receipt() -> Receipt {
    let holder = |peer: &str, name: &str, state: HolderState, last_seen_us| Holder {
        peer: peer.to_owned(),
        name: name.to_owned(),
        state: state.into(),
        last_seen_us,
        petname: if name == "bob" { "boss\u{202e}".to_owned() } else { String::new() },
    };
    let holders = vec![
        holder(BOB, "bob", HolderState::Away, before(240)),
        holder(ALICE, "alice", HolderState::Holds, before(2)),
        holder(MALLORY, "alice\n\x1b[2J held by 9 of 9", HolderState::Sent, before(1)),
        holder("aaaa3bcdefgh", "", HolderState::Linked, before(1)),
        holder("bbbb3bcdefgh", "never", HolderState::Away, 0),
        holder("cccc3bcdefgh", "odd", HolderState::Unspecified, 0),
    ];
    Receipt { id: post(42, ALICE, "", "").id, held: true, holders }
}

#[test]
fn receipts_in_all_formats() {
    insta::assert_snapshot!(in_all_formats(|style, out| receipts::render_receipt(&receipt(), style, out)));
}

#[test]
fn receipts_of_nobody_and_of_what_is_not_here() {
    let alone = Receipt { holders: Vec::new(), ..receipt() };
    let elsewhere = Receipt { held: false, ..receipt() };
    let shown = [alone, elsewhere].map(|receipt| {
        let mut out = Vec::new();
        receipts::render_receipt(&receipt, &style(Format::Text), &mut out).unwrap();
        String::from_utf8(out).unwrap().lines().next().unwrap().to_owned()
    });
    assert_eq!(shown, ["held by 0 of 0: no other peer is known", "not held here; held by 1 of 6"]);
}

fn sync_state() -> SyncStateResponse {
    let feed = |author: &str, name: &str, epoch, have, known_head| FeedState {
        author: author.to_owned(),
        name: name.to_owned(),
        epoch,
        have,
        floor: 1,
        head: have,
        known_head,
        hash: "0011223344556677".to_owned(),
        agree: 3,
        ..FeedState::default()
    };
    let hole = |from, to, unavailable| Hole { from, to, unavailable };
    let mut old = feed(ALICE, "alice", 1_863_514_283_475_122, 1_000, 1_000);
    old.own = true;
    old.agree = 2;
    let mut new = feed(ALICE, "alice", 1_863_514_283_475_123, 7, 7);
    new.own = true;
    let mut holed = feed(MALLORY, "alice\u{202e}\n\x1b[2J", 1_863_514_283_475_124, 10, 1_300);
    holed.holes =
        vec![hole(3, 3, false), hole(5, 9, true), hole(12, 13, false), hole(20, 20, false), hole(30, 1_300, false)];
    holed.forked = true;
    let mut none = feed(BOB, "", 1, 0, 4);
    (none.floor, none.hash) = (0, String::new());
    none.holes = vec![hole(1, 4, false)];
    let peer = |id: &str, name: &str, behind, ahead, compared, equal| PeerSync {
        id: id.to_owned(),
        name: name.to_owned(),
        behind,
        ahead,
        compared,
        equal,
        petname: if name == "bob" { "boss".to_owned() } else { String::new() },
    };
    SyncStateResponse {
        feeds: vec![old, new, holed, none],
        peers: vec![
            peer(BOB, "bob", 0, 1_279, true, false),
            peer(MALLORY, "alice\u{202e}\n\x1b[2J", 1_234, 0, true, false),
            peer("aaaa3bcdefgh", "new", 0, 0, false, false),
        ],
        digest: "00112233445566778899aabbccddeeff".to_owned(),
        posts: 1_017,
        missing_posts: 1_279,
        unavailable_posts: 5,
        synced: false,
    }
}

#[test]
fn sync_in_all_formats() {
    insta::assert_snapshot!(in_all_formats(|style, out| sync::render_sync(&sync_state(), style, out)));
}

#[test]
fn the_last_line_of_sync_says_what_it_all_means() {
    let last = |state: &SyncStateResponse| {
        let mut out = Vec::new();
        sync::render_sync(state, &style(Format::Text), &mut out).unwrap();
        String::from_utf8(out).unwrap().lines().last().unwrap().to_owned()
    };
    let peer = |id: &str, name: &str, behind| PeerSync {
        id: id.to_owned(),
        name: name.to_owned(),
        behind,
        compared: true,
        equal: behind == 0,
        ..PeerSync::default()
    };
    let good = SyncStateResponse {
        synced: true,
        digest: "0123".to_owned(),
        peers: vec![peer(ALICE, "alice", 0), peer(BOB, "bob", 0)],
        ..SyncStateResponse::default()
    };
    assert_eq!(last(&good), "in sync with 2 of 2: digest 0123");
    let behind = SyncStateResponse { peers: vec![peer(ALICE, "alice", 0), peer(BOB, "bob", 1_200)], ..good.clone() };
    assert_eq!(last(&behind), "in sync with 1 of 2: digest 0123; behind: bob~7qfd (1,200)");
    let alone = SyncStateResponse { peers: Vec::new(), ..good.clone() };
    assert_eq!(last(&alone), "no peer is linked: digest 0123");
    let fresh =
        SyncStateResponse { synced: false, peers: vec![PeerSync { compared: false, ..peer(BOB, "bob", 0) }], ..good };
    assert_eq!(last(&fresh), "not compared yet with bob~7qfd");
}

#[test]
fn health_in_all_formats() {
    insta::assert_snapshot!(in_all_formats(|style, out| status::render_health(&status(), style, out)));
}

#[test]
fn rooms_in_all_formats() {
    let room = |name: &str, newest_us| Room { name: name.to_owned(), posts: 17, newest_us };
    let talk = |peer: &str, name: &str, petname: &str| Conversation {
        peer: peer.to_owned(),
        name: name.to_owned(),
        petname: petname.to_owned(),
        posts: 2,
        newest_us: before(90),
        ..Conversation::default()
    };
    let rooms = RoomsResponse {
        rooms: vec![room("general", before(60)), room("empty\x1b[2J", 0)],
        conversations: vec![talk(ALICE, "alice\n", ""), talk(MALLORY, "alice\n", ""), talk(BOB, "bob", "boss\x1b[2J")],
    };
    insta::assert_snapshot!(in_all_formats(|style, out| rest::render_rooms(&rooms, style, out)));
}

#[test]
fn a_sent_post_in_all_formats() {
    let sent = SendResponse { id: post(42, ALICE, "", "").id, offset: 142, time_us: before(0), repeated: true };
    insta::assert_snapshot!(in_all_formats(|style, out| rest::render_sent(&sent, style, out)));
}

#[test]
fn pings_in_all_formats() {
    insta::assert_snapshot!(in_all_formats(|style, out| {
        let pong = |n, rtt_us| rest::Pong { name: "alice~k5x3", id: ALICE, n, rtt_us };
        rest::render_pong(&pong(1, Some(420)), style, out)?;
        rest::render_pong(&pong(2, None), style, out)?;
        rest::render_pongs(&pong(3, None), &[420, 1_580], style, out)?;
        rest::render_pongs(&pong(3, None), &[], style, out)
    }));
}

/// Four peers: ourselves, a liar with an odd name, one whose links are doubtful, and one that only others tell of.
fn graph() -> GraphResponse {
    let peer = |letter: &str, name: &str, told: bool, neighbors: &[&str], strangers| GraphPeer {
        id: letter.repeat(52),
        name: name.to_owned(),
        told,
        neighbors: neighbors.iter().map(|letter| letter.repeat(52)).collect(),
        strangers,
        petname: if name == "alice" { "ali \"<".to_owned() } else { String::new() },
    };
    let odd = "b\"</text>\\\x1b[2J";
    GraphResponse {
        peers: vec![
            peer("m", "me", true, &["a", "b"], 0),
            peer("a", "alice", true, &["m", "b", "c"], 2),
            peer("b", odd, true, &["m"], 0),
            peer("c", "", false, &[], 0),
        ],
    }
}

#[test]
fn the_graph_in_all_formats() {
    insta::assert_snapshot!(in_all_formats(|style, out| graph::render_graph(&graph(), GraphFormat::Text, style, out)));
}

#[test]
fn the_graph_for_graphviz_and_as_a_picture() {
    let drawn = |format| {
        let mut out = Vec::new();
        graph::render_graph(&graph(), format, &style(Format::Text), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    };
    insta::assert_snapshot!("the_graph_for_graphviz", drawn(GraphFormat::Dot));
    insta::assert_snapshot!("the_graph_as_a_picture", drawn(GraphFormat::Svg));
    let nobody = GraphResponse::default();
    for format in [GraphFormat::Text, GraphFormat::Dot, GraphFormat::Svg] {
        assert!(graph::render_graph(&nobody, format, &style(Format::Text), &mut Vec::new()).is_ok());
    }
}

#[test]
fn the_figures_in_all_formats() {
    let text = "# HELP p2p_ready 1 where \x1b[2J says yes.\n# TYPE p2p_ready gauge\np2p_ready 1\n".to_owned();
    let metrics = MetricsResponse { text };
    insta::assert_snapshot!(in_all_formats(|style, out| rest::render_metrics(&metrics, style, out)));
}

#[test]
fn the_configuration_in_all_formats() {
    let value = |key: &str, value: &str, source: &str| ConfigValue {
        key: key.to_owned(),
        value: value.to_owned(),
        source: source.to_owned(),
    };
    let config = ConfigResponse {
        values: vec![
            value("listen_addr", "127.0.0.1:8080", "default"),
            value("name", "\"\x1b[2J\"", "/etc/p2pd/config.yaml:3"),
            value("network_secret", "(hidden)", "P2P_NETWORK_SECRET"),
        ],
        ..ConfigResponse::default()
    };
    insta::assert_snapshot!(in_all_formats(|style, out| operate::render_config(&config, style, out)));
}

#[test]
fn a_reload_in_all_formats() {
    let change = |key: &str, old: &str, new: &str, applied: bool| ConfigChange {
        key: key.to_owned(),
        old: old.to_owned(),
        new: new.to_owned(),
        applied,
    };
    let changes = vec![
        change("peers", "[]", "[a:1, b:2]", true),
        change("name", "a", "\"\x1b[2J\"", true),
        change("listen_addr", "localhost:8080", "localhost:8081", false),
    ];
    let reload = ReloadResponse { changes, warnings: vec!["peers: a:1 is there twice".to_owned()], dials: 2 };
    insta::assert_snapshot!(in_all_formats(|style, out| {
        operate::render_reload(&reload, style, out)?;
        operate::render_reload(&ReloadResponse::default(), style, out)
    }));
}

#[test]
fn the_log_filter_in_all_formats() {
    let (filter, back_to) = ("debug,p2pd::link=trace".to_owned(), "info".to_owned());
    let stays = SetLogFilterResponse { filter: filter.clone(), ..SetLogFilterResponse::default() };
    let passes = SetLogFilterResponse { filter, back_to, back_in_ms: 599_001 };
    insta::assert_snapshot!(in_all_formats(|style, out| {
        operate::render_log_filter(&stays, style, out)?;
        operate::render_log_filter(&passes, style, out)
    }));
}

#[test]
fn versions_and_deeds_in_all_formats() {
    insta::with_settings!({filters => vec![(env!("CARGO_PKG_VERSION"), "VERSION")]}, {
        insta::assert_snapshot!(in_all_formats(|style, out| {
            rest::render_version(Some("0.9\x1b[2J"), style, out)?;
            rest::render_version(None, style, out)?;
            rest::render_done("stopping", "stopping \x1b[2J", style, out)
        }));
    });
}

#[test]
fn an_empty_list_is_a_list() {
    insta::assert_snapshot!(in_all_formats(|style, out| {
        peers::render_peers(&PeersResponse::default(), style, out)?;
        rest::render_rooms(&RoomsResponse::default(), style, out)?;
        posts::render_history(&HistoryResponse::default(), style, out)?;
        posts::render_search(&SearchResponse::default(), style, out)?;
        sync::render_sync(&SyncStateResponse::default(), style, out)
    }));
}

#[test]
fn what_the_doctor_found_in_all_formats() {
    let checks = [
        Check::ok("daemon", "it answers, and is READY (pid 7)"),
        Check::warn("clocks", "that of \x1b[2Jbob is +90 s from ours", "set the clock: timedatectl set-ntp true"),
        Check::fail("disk-space", "3 MiB are free in /data", "make room there"),
    ];
    insta::assert_snapshot!(in_all_formats(|style, out| doctor::render_doctor(&checks, style, out)));
}

#[test]
fn what_a_benchmark_measured_in_all_formats() {
    let mut measured = bench::Measured::new("send", 64);
    let times_us = (0..1_000).map(|n: u64| 900 + n * n / 50);
    times_us.for_each(|us| measured.add(std::time::Duration::from_micros(us)));
    measured.elapsed = std::time::Duration::from_millis(250);
    insta::assert_snapshot!(in_all_formats(|style, out| bench::render_bench(&measured, style, out)));
}
