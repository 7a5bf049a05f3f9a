//! Members that break the rules: they know the network key, prove who they are, and then do what no daemon does.

use p2p_mesh::envelope::Envelope;
use p2p_mesh::id::{Epoch, FeedId, Hash, Instance, PeerId, Seq, base64url};
use p2p_mesh::membership::record::Record;
use p2p_mesh::wire::message::{ByeCode, Have, Head, Heads, Message, Want};
use p2p_tests::daemon::TestPeer;
use p2p_tests::member::Member;
use p2p_tests::program::{PATIENCE, eventually};

use super::attacked::Attacked;

/// The goodbye that a daemon says to this frame.
#[track_caller]
fn bye_to(attacked: &Attacked, content: &[u8]) -> Option<ByeCode> {
    let mut member = attacked.member();
    member.send_frame(content);
    member.last_words().map(|bye| bye.code)
}

/// An `envelopes` frame with one envelope, good or not.
fn envelopes_frame(body: &[u8], signature: &[u8]) -> Vec<u8> {
    let sig = base64url(signature);
    let body = String::from_utf8_lossy(body);
    format!(r#"{{"type":"envelopes","hop":0,"live":true,"items":[{{"body":{body},"sig":"{sig}"}}]}}"#).into_bytes()
}

#[test]
fn w_01_a_length_that_no_frame_has_ends_the_link_and_makes_nobody_wait_for_the_frame() {
    let mut attacked = Attacked::new();
    for len in [0u32, 1, 131_073, 1 << 31, u32::MAX] {
        let code = if len < 2 { ByeCode::Protocol } else { ByeCode::Limit };
        let mut member = attacked.member();
        member.send_plain(&len.to_be_bytes());
        // Nothing of the frame follows, and still it is over.
        assert_eq!(member.last_words().map(|bye| bye.code), Some(code));
        let mut early = attacked.silent_member();
        early.send_plain(&len.to_be_bytes());
        assert_eq!(early.last_words().map(|bye| bye.code), Some(code));
    }
    let mut early = attacked.silent_member();
    // Much more follows than anybody will read, and the goodbye is heard all the same.
    early.send_plain(&[&4_097u32.to_be_bytes()[..], &vec![b'x'; 1 << 20]].concat());
    assert_eq!(early.last_words().map(|bye| bye.code), Some(ByeCode::Limit));
    let mut again = attacked.member_again(&early);
    again.send_plain(&u32::MAX.to_be_bytes());
    assert_eq!(again.last_words().map(|bye| bye.code), Some(ByeCode::Banned), "twice is too much");
    attacked.check_unharmed();
    attacked.check_nothing_but(&[]);
}

#[test]
fn w_01_a_frame_of_the_longest_length_is_read() {
    let mut attacked = Attacked::new();
    let mut member = attacked.member();
    let wrapping = r#"{"type":"later","x":""}"#.len();
    let longest = format!(r#"{{"type":"later","x":"{}"}}"#, "y".repeat(131_072 - wrapping));
    assert_eq!(longest.len(), 131_072);
    member.send_frame(longest.as_bytes());
    assert!(member.is_heard(), "it is of a later protocol and harms nobody");
    attacked.check_unharmed();
}

#[test]
fn w_05_w_06_w_07_w_09_what_is_not_the_json_of_a_message_is_answered_with_goodbye() {
    let mut attacked = Attacked::new();
    let deep = |count: usize| format!(r#"{{"type":"later","x":{}{}}}"#, "[".repeat(count), "]".repeat(count));
    let (deep, deepest) = (deep(17), deep(60_000));
    let known = format!(r#"{{"type":"have","h":{}{}}}"#, "[".repeat(60_000), "]".repeat(60_000));
    let objects = format!(r#"{{"type":"later","x":{}1{}}}"#, r#"{"x":"#.repeat(20_000), "}".repeat(20_000));
    let garbage: [&[u8]; 24] = [
        b"no json at all",
        b"42",
        b"[]",
        br#""type""#,
        b"null",
        b"{}",
        br#"{"type":7}"#,
        br#"["ping",1,2]"#,
        br#"{"type":"ping","n":1,"t":2,"digest":["BQUFBQUFBQUFBQUFBQUFBQ",1]"#,
        br#"{"type":"ping"}"#,
        br#"{"type":"ping","type":"pong"}"#,
        br#"{"type":"have","h":[["RfALxv7sFBWd7M0CteeJxw",42]],"h":[]}"#,
        br#"{"type":"have","h":[["RfALxv7sFBWd7M0CteeJxw",42.0]]}"#,
        br#"{"type":"have","h":[["RfALxv7sFBWd7M0CteeJxw",9007199254740992]]}"#,
        br#"{"type":"have","h":[["RfALxv7sFBWd7M0CteeJxw",-1]]}"#,
        b"{\"type\":\"later\",\"x\":\"\xff\xfe\"}",
        b"{\"type\":\"later\",\"x\":\"\xc0\xaf\"}",
        br#"{"type":"later","x":"\ud800"}"#,
        b"\xef\xbb\xbf{\"type\":\"later\"}",
        b"{\"type\":\"later\"}\0",
        deep.as_bytes(),
        deepest.as_bytes(),
        known.as_bytes(),
        objects.as_bytes(),
    ];
    for content in garbage {
        let start = String::from_utf8_lossy(&content[..content.len().min(60)]);
        assert_eq!(bye_to(&attacked, content), Some(ByeCode::Protocol), "to {start}");
    }
    attacked.check_unharmed();
    attacked.check_nothing_but(&[]);
}

#[test]
fn w_11_a_text_of_a_megabyte_is_over_before_it_is_read() {
    let mut attacked = Attacked::new();
    let mut member = attacked.member();
    let content = format!(r#"{{"type":"suspect","id":"{}","epoch":1}}"#, "a".repeat(1 << 20));
    member.send_frame(content.as_bytes());
    drop(member.last_words());
    assert!(!member.is_heard());
    attacked.check_unharmed();
}

#[test]
fn w_12_w_13_what_its_author_did_not_sign_is_in_nobodys_history_and_ends_the_link() {
    let mut attacked = Attacked::new();
    let forgeries = |member: &Member, victim: Instance| {
        let good = member.write("good", None);
        let body = good.bytes().to_vec();
        let mut one_bit = *good.signature();
        one_bit[7] ^= 1;
        // The same group element with another scalar: lax verifiers take it.
        let malleated = plus_order(good.signature());
        let text = String::from_utf8(body.clone()).unwrap();
        let altered = text.replace("good", "goot").into_bytes();
        // Its own signature under another's name, far behind what the other has said.
        let ahead = member.write_at(Seq(1_000), Some(Hash([7; 32])), "I owe you a hundred");
        let swapped = String::from_utf8(ahead.bytes().to_vec()).unwrap();
        let swapped = swapped.replace(&member.instance().id.to_string(), &victim.id.to_string());
        let swapped = swapped.replace(&member.instance().epoch.0.to_string(), &victim.epoch.0.to_string());
        // The neutral element as a key: a zero scalar signs everything for it.
        let weak_key = PeerId(std::array::from_fn(|at| u8::from(at == 0)));
        let weak = text.replace(&member.instance().id.to_string(), &weak_key.to_string());
        let weak_signature: [u8; 64] = std::array::from_fn(|at| u8::from(at == 0));
        let record = Record::sign(member.key(), 1, &[], "x", Epoch(1));
        vec![
            envelopes_frame(&body, &one_bit),
            envelopes_frame(&body, &malleated),
            envelopes_frame(&altered, good.signature()),
            envelopes_frame(swapped.as_bytes(), ahead.signature()),
            envelopes_frame(weak.as_bytes(), &weak_signature),
            envelopes_frame(&body, record.signature()),
        ]
    };
    let victims = [&attacked.one, &attacked.two].map(|peer| {
        let posts = peer.posts();
        let id = posts.iter().filter_map(|post| post.id.clone()).find(|id| id.author == peer.id()).unwrap();
        Instance { id: peer.id().parse().unwrap(), epoch: Epoch(id.epoch) }
    });
    for victim in victims {
        for at in 0..6 {
            let mut member = attacked.member();
            let frame = &forgeries(&member, victim)[at];
            member.send_frame(frame);
            assert_eq!(member.last_words().map(|bye| bye.code), Some(ByeCode::Banned), "to forgery {at}");
        }
        // In place of what the victim has said already it is found out too: its bytes are not those that are held.
        let mut late = attacked.member();
        let text = String::from_utf8(late.write("I never said so", None).bytes().to_vec()).unwrap();
        let text = text.replace(&late.instance().id.to_string(), &victim.id.to_string());
        let text = text.replace(&late.instance().epoch.0.to_string(), &victim.epoch.0.to_string());
        late.send_frame(&envelopes_frame(text.as_bytes(), &[0; 64]));
        assert_eq!(late.last_words().map(|bye| bye.code), Some(ByeCode::Banned), "in place of what is held");
    }
    attacked.check_unharmed();
    attacked.check_nothing_but(&[]);
}

/// The signature with the group's order added to its scalar.
fn plus_order(signature: &[u8; 64]) -> [u8; 64] {
    let mut malleated = *signature;
    let mut carry = 0u16;
    for (byte, order) in malleated[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        *byte = sum as u8;
        carry = sum >> 8;
    }
    malleated
}

/// Of the group of Ed25519, little endian.
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

#[test]
fn w_12_a_banned_member_is_not_heard_again() {
    let mut attacked = Attacked::new();
    let mut member = attacked.member();
    let good = member.write("good", None);
    member.send_frame(&envelopes_frame(good.bytes(), &[0; 64]));
    assert_eq!(member.last_words().map(|bye| bye.code), Some(ByeCode::Banned));
    let mut again = attacked.member_again(&member);
    again.send(&Message::Hello(Box::new(again.hello())));
    again.send_envelopes(vec![good]);
    assert_eq!(again.last_words().map(|bye| bye.code), Some(ByeCode::Banned));
    attacked.check_unharmed();
    attacked.check_nothing_but(&[]);
}

#[test]
fn w_14_an_author_with_two_pasts_harms_only_its_own_feed() {
    let mut attacked = Attacked::new();
    let mut member = attacked.member();
    let (left, right) = (member.write("left", None), member.write("right", None));
    let winner = if left.hash() < right.hash() { "left" } else { "right" };
    member.send_envelopes(vec![left]);
    member.send_envelopes(vec![right]);
    assert!(member.is_heard(), "who it is that said both is for people to judge");
    attacked.check_unharmed();
    let id = member.instance().id.to_string();
    let kept = |peer: &TestPeer| {
        let posts = peer.posts().into_iter().filter(|post| !post.forked && post.id.as_ref().unwrap().author == id);
        posts.map(|post| post.text).collect::<Vec<_>>()
    };
    let is_settled = || [&attacked.one, &attacked.two].iter().all(|peer| kept(peer) == [winner]);
    eventually(PATIENCE, "both take the same one", is_settled);
}

#[test]
fn w_16_an_envelope_that_comes_thousands_of_times_is_delivered_once() {
    let mut attacked = Attacked::new();
    let mut member = attacked.member();
    let envelope = member.write("once", None);
    for _ in 0..3_000 {
        member.send_envelopes(vec![envelope.clone()]);
    }
    for _ in 0..10 {
        member.send_envelopes(vec![envelope.clone(); 100]);
    }
    assert!(member.is_heard(), "it is slowed down and not hung up");
    // What comes from elsewhere is a replay too.
    let mut parrot = attacked.member();
    parrot.send_envelopes(vec![envelope; 100]);
    assert!(parrot.is_heard());
    attacked.check_unharmed();
    let id = member.instance().id.to_string();
    attacked.check_nothing_but(&[(&id, "once")]);
}

#[test]
fn w_17_a_feed_full_of_gaps_costs_no_more_than_its_limit() {
    let mut attacked = Attacked::new();
    let mut member = attacked.member();
    let start = member.write("start", None);
    let past = Some(Hash([7; 32]));
    // Every second number, so nothing of it can ever be delivered. Written before the daemon has a question: on a busy
    // machine it takes seconds, and whoever does not answer for so long is hung up.
    let texts = "x".repeat(200);
    let gaps: Vec<Envelope> = (0..10_000).map(|at| member.write_at(Seq(4 + 2 * at), past, &texts)).collect();
    member.send_envelopes(vec![start]);
    member.send_envelopes(vec![member.write_at(Seq(1_000_000_000), past, "far ahead")]);
    member.send_envelopes(vec![member.write_at(Seq((1 << 53) - 2), past, "at the end of all numbers")]);
    for some in gaps.chunks(50) {
        member.send_envelopes(some.to_vec());
    }
    assert!(member.is_heard(), "whoever sends out of order is no enemy");
    attacked.check_unharmed();
    let id = member.instance().id.to_string();
    attacked.check_nothing_but(&[(&id, "start")]);
}

#[test]
fn w_17_a_run_that_grows_and_grows_beyond_a_gap_takes_no_room_from_others() {
    let mut attacked = Attacked::new();
    let past = Some(Hash([7; 32]));
    // Each envelope stands in place of the one before, and together they are over every limit of what may wait.
    let text = "y".repeat(200);
    for _ in 0..8 {
        let mut member = attacked.member();
        for count in 1..=128 {
            member.send_envelopes(vec![member.write_run(Seq(3), past, &vec![text.as_str(); count])]);
        }
        assert!(member.is_heard());
    }
    attacked.check_unharmed();
    attacked.check_nothing_but(&[]);
    // What waits beyond a gap waits for others still: two and three come first, and then one.
    let mut late = attacked.member();
    let first = late.write("first", None);
    let second = late.write("second", Some(&first));
    let third = late.write("third", Some(&second));
    late.send_envelopes(vec![second, third]);
    assert!(late.is_heard());
    late.send_envelopes(vec![first]);
    let id = late.instance().id.to_string();
    attacked.check_nothing_but(&[(&id, "first"), (&id, "second"), (&id, "third")]);
}

#[test]
fn w_17_feeds_and_authors_that_nobody_has_cost_no_more_than_their_limit() {
    let mut attacked = Attacked::new();
    let random_feed = || FeedId(rand::random());
    let mut announcer = attacked.member();
    for _ in 0..100 {
        let haves = (0..1_000).map(|_| Have { feed: random_feed(), head: Seq(1_000_000_000), floor: Seq(1) }).collect();
        announcer.send(&Message::Have(haves));
    }
    assert!(announcer.is_heard(), "it is not believed, and may go on");
    let mut inventor = attacked.member();
    for part in 0..100 {
        let head = |_| {
            let feed = Instance { id: PeerId(rand::random()), epoch: Epoch(1) };
            Head { feed, floor: Seq(1), head: Seq(1_000_000_000), hash: rand::random() }
        };
        inventor.send(&Message::Heads(Heads { part, of: 100, heads: (0..256).map(head).collect() }));
    }
    assert!(inventor.is_heard(), "it is not believed, and may go on");
    attacked.check_unharmed();
    attacked.check_nothing_but(&[]);
}

#[test]
fn w_18_who_announces_and_does_not_serve_keeps_nobody_from_the_real_posts() {
    let mut attacked = Attacked::new();
    let mut member = attacked.member();
    // It says it holds a thousand posts more of both honest feeds, so it is worth asking.
    for peer in [&attacked.one, &attacked.two] {
        let id = peer.posts().iter().filter_map(|post| post.id.clone()).find(|id| id.author == peer.id()).unwrap();
        let feed = Instance { id: peer.id().parse().unwrap(), epoch: Epoch(id.epoch) };
        let head = Head { feed, floor: Seq(1), head: Seq(id.seq + 1_000), hash: [1; 8] };
        member.send(&Message::Have(vec![Have { feed: feed.feed_id(), head: head.head, floor: Seq(1) }]));
        member.send(&Message::Heads(Heads { part: 0, of: 1, heads: vec![head] }));
    }
    assert!(member.is_heard());
    attacked.check_unharmed();
    let three = attacked.start("three");
    eventually(PATIENCE, "a newcomer gets everything", || three.status().posts == attacked.one.status().posts);
    attacked.check_nothing_but(&[]);
}

#[test]
fn w_22_a_flood_of_questions_is_slowed_down_and_its_answers_do_not_pile_up() {
    let mut attacked = Attacked::new();
    let lines: String = (0..200).map(|number| format!("{number} {}\n", "z".repeat(2_000))).collect();
    drop(attacked.one.p2pctl_with(&["send", "-l", "-q"], lines.as_bytes()).ok());
    let id = attacked.one.posts().iter().filter_map(|post| post.id.clone()).find(|id| id.author == attacked.one.id());
    let feed = Instance { id: attacked.one.id().parse().unwrap(), epoch: Epoch(id.unwrap().epoch) }.feed_id();
    attacked.measure();
    let mut member = attacked.member();
    for round in 0..8_000u64 {
        let from = Seq(1 + round % 150);
        let ranges = if round % 2 == 0 { vec![(from, None)] } else { vec![(from, Some(from.plus(3))); 16] };
        // None of the answers is read.
        member.send(&Message::Want(Want { feed, ranges, push: round % 3 == 0 }));
    }
    attacked.check_unharmed();
    let mut asker = attacked.member();
    for _ in 0..4_000 {
        asker.send(&Message::Want(Want { feed: FeedId(rand::random()), ranges: vec![(Seq(1), None)], push: true }));
        asker.send(&Message::Prune(vec![FeedId(rand::random())]));
    }
    assert!(asker.is_heard(), "nobody has them, and that is all");
    attacked.check_unharmed();
}

#[test]
fn w_25_a_goodbye_of_any_kind_is_a_goodbye_and_writes_no_foreign_line_into_the_log() {
    let mut attacked = Attacked::new();
    let hostile = format!("\\u001b[2J\\n{} {}", "ERROR forged_line", "w".repeat(10_000));
    let byes = [
        r#"{"type":"bye","code":"full","why":"","retry_ms":9007199254740991,"records":[]}"#.to_owned(),
        r#"{"type":"bye","code":"never heard of","why":"x"}"#.to_owned(),
        format!(r#"{{"type":"bye","code":"restart","why":"{hostile}"}}"#),
        format!(r#"{{"type":"bye","code":"{hostile}","why":"{hostile}"}}"#),
    ];
    for bye in byes {
        let mut member = attacked.member();
        member.send_frame(bye.as_bytes());
        assert_eq!(member.last_words(), None, "nobody answers a goodbye");
    }
    attacked.check_unharmed();
    let log = attacked.one.log();
    assert!(!log.contains('\u{1b}') && !log.contains(&"w".repeat(300)));
    assert!(!log.lines().any(|line| line.starts_with("ERROR")));
}

#[test]
fn what_is_said_before_the_hello_or_instead_of_it_is_answered_with_goodbye() {
    let mut attacked = Attacked::new();
    let ping = br#"{"type":"ping","n":7,"t":1,"digest":["BQUFBQUFBQUFBQUFBQUFBQ",12]}"#;
    for early in [&ping[..], br#"{"type":"later"}"#, br#"{"type":"hello"}"#, b"hello"] {
        let mut member = attacked.silent_member();
        member.send_frame(early);
        assert_eq!(member.last_words().map(|bye| bye.code), Some(ByeCode::Protocol));
    }
    let mut eager = attacked.silent_member();
    let post = eager.write("before the hello", None);
    eager.send_envelopes(vec![post]);
    assert_eq!(eager.last_words().map(|bye| bye.code), Some(ByeCode::Protocol));

    let mut twice = attacked.member();
    let hello = twice.hello();
    twice.send(&Message::Hello(Box::new(hello)));
    assert_eq!(twice.last_words().map(|bye| bye.code), Some(ByeCode::Protocol));

    let mut borrowed = attacked.silent_member();
    let mut hello = borrowed.hello();
    hello.record = attacked.silent_member().hello().record;
    borrowed.send(&Message::Hello(Box::new(hello)));
    assert_eq!(borrowed.last_words().map(|bye| bye.code), Some(ByeCode::Protocol), "the record is another's");

    let mut old = attacked.silent_member();
    let mut hello = old.hello();
    hello.proto = (0, 0);
    old.send(&Message::Hello(Box::new(hello)));
    assert_eq!(old.last_words().map(|bye| bye.code), Some(ByeCode::Version));
    attacked.check_unharmed();
    attacked.check_nothing_but(&[]);
}

#[test]
fn h_04_who_is_silent_after_the_handshake_is_hung_up() {
    let mut attacked = Attacked::new();
    let mut silent: Vec<Member> = (0..40).map(|_| attacked.silent_member()).collect();
    // They took every place of those who have said no hello, and a newcomer finds one all the same.
    let three = attacked.start("three");
    three.wait_for_peers(2);
    for member in &mut silent {
        drop(member.last_words());
    }
    drop(three);
    attacked.check_unharmed();
}
