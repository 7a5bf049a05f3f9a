#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn announcement() -> Announcement {
    Announcement {
        peer: PeerId([5; 32]),
        port: 8080,
        tags: vec![Tag::of(&[7; 16]), Tag::of(&[8; 16])],
        addrs: ["10.1.2.3", "fd00::3"].map(|ip| ip.parse().unwrap()).to_vec(),
    }
}

/// A message of records, each with its name, kind and content, that hold for two minutes.
fn answer(records: &[(Vec<u8>, u16, Vec<u8>)]) -> Vec<u8> {
    let mut message = encode_header(AUTHORITATIVE_ANSWER, 0, records.len() as u16);
    for (name, kind, content) in records {
        message.extend(name);
        message.extend(kind.to_be_bytes());
        message.extend(UNIQUE.to_be_bytes());
        message.extend(TTL_S.to_be_bytes());
        message.extend((content.len() as u16).to_be_bytes());
        message.extend(content);
    }
    message
}

/// The records that make an announcement, with another text.
fn with_text(text: &[u8]) -> Vec<u8> {
    let peer = PeerId([5; 32]);
    let (instance, host) = (encode_name(&instance_of(peer)), encode_name(&host_of(peer)));
    let srv = [&[0, 0, 0, 0, 0, 80], &host[..]].concat();
    answer(&[(instance.clone(), SRV, srv), (instance, TXT, text.to_vec()), (host, A, vec![10, 0, 0, 1])])
}

fn said(message: Option<Message>) -> Vec<Announcement> {
    match message {
        Some(Message::Answer(announcements)) => announcements,
        Some(Message::Question(_)) | None => Vec::new(),
    }
}

#[test]
fn what_is_called_out_is_understood() {
    let announcement = announcement();
    let bytes = announcement.encode(Holds::Now);
    assert!(bytes.len() < 700, "{} bytes", bytes.len());
    assert_eq!(said(parse(&bytes)), [announcement]);
}

#[test]
fn who_says_goodbye_is_not_there() {
    assert_eq!(parse(&announcement().encode(Holds::NoMore)), None);
}

#[test]
fn neither_the_id_nor_the_secret_of_a_network_is_called_out() {
    let id: [u8; 16] = *b"an id of 16 byte";
    let bytes = Announcement { tags: vec![Tag::of(&id)], ..announcement() }.encode(Holds::Now);
    assert!(!bytes.windows(16).any(|window| window == id));
    assert!(!bytes.windows(26).any(|window| window == base32(&id).as_bytes()));
    assert_eq!(Tag::of(&id), Tag::of(&id));
    assert_ne!(Tag::of(&id), Tag::of(&[0; 16]));
}

#[test]
fn a_question_is_about_us_if_it_names_our_service_or_ourselves() {
    let about = |names: &[Name]| is_about(names, PeerId([5; 32]));
    let Some(Message::Question(names)) = parse(&encode_question()) else { panic!("it is a question") };
    assert!(about(&names));
    assert!(about(&[instance_of(PeerId([5; 32]))]));
    assert!(!about(&[instance_of(PeerId([6; 32]))]));
    assert!(!about(&[vec![b"_ipp".to_vec(), b"_tcp".to_vec(), b"local".to_vec()]]));
    let shouted = encode_question().to_ascii_uppercase();
    // The header has no letters.
    let Some(Message::Question(names)) = parse(&shouted) else { panic!("it is a question") };
    assert!(about(&names), "names are the same in capitals");
}

#[test]
fn names_that_point_back_are_followed() {
    let peer = PeerId([5; 32]);
    let label = peer.to_string();
    let mut message = encode_header(AUTHORITATIVE_ANSWER, 0, 3);
    // At 12: the instance; its service begins behind the label.
    let instance_at = message.len();
    message.push(label.len() as u8);
    message.extend(label.bytes());
    message.extend(encode_name(&service()));
    message.extend([0, 33, 0x80, 1, 0, 0, 0, 120, 0, 9, 0, 0, 0, 0, 0, 80]);
    let host_at = message.len() as u8;
    message.extend([1, b'h', 0]);
    message.extend([0xc0, instance_at as u8, 0, 16, 0x80, 1, 0, 0, 0, 120, 0, 9]);
    message.extend(b"\x03v=1\x04net=");
    message.extend([0xc0, host_at, 0, 1, 0x80, 1, 0, 0, 0, 120, 0, 4, 10, 0, 0, 1]);
    let expected = Announcement { peer, port: 80, tags: Vec::new(), addrs: vec![[10, 0, 0, 1].into()] };
    assert_eq!(said(parse(&message)), [expected]);
}

#[test]
fn names_without_an_end_are_refused() {
    for name in [&[0xc0, 12][..], &[0xc0, 14, 0xc0, 12], &[1, b'a', 0xc0, 12], &[0xc0, 200], &[0x80, 1], &[5, b'a']] {
        let mut message = encode_header(0, 1, 0);
        message.extend(name);
        message.extend([0, 12, 0, 1]);
        assert_eq!(parse(&message), None, "{name:?}");
    }
    let long: Vec<u8> = (0..5).flat_map(|_| std::iter::once(63).chain([b'a'; 63])).chain([0]).collect();
    let message = [encode_header(0, 1, 0), long, vec![0, 12, 0, 1]].concat();
    assert_eq!(parse(&message), None, "a name of 320 bytes");
}

#[test]
fn a_text_that_is_broken_or_of_another_version_is_nothing() {
    assert_eq!(said(parse(&with_text(b"\x03v=1\x04net="))).len(), 1);
    for text in [
        &b""[..],
        b"\x00",
        b"\x03v=2\x04net=",
        b"\x04net=",
        b"\x03v=1",
        b"\xffv=1",
        b"\x03v=1\x09net=",
        b"\x03",
        b"\x03v=1\x06net=\xff\xfe",
    ] {
        assert_eq!(parse(&with_text(text)), None, "{text:?}");
    }
}

#[test]
fn tags_that_are_none_are_left_out_and_of_many_some_are_taken() {
    let tag = Tag::of(&[1; 16]).to_string();
    let text = |networks: String| {
        let strings = ["v=1".to_owned(), format!("net={networks}")];
        strings.iter().flat_map(|text| std::iter::once(text.len() as u8).chain(text.bytes())).collect::<Vec<u8>>()
    };
    let tags = |networks: String| said(parse(&with_text(&text(networks))))[0].tags.len();
    assert_eq!(tags(format!("x,{tag},{}", "a".repeat(40))), 1);
    assert_eq!(tags(vec![tag; 17].join(",")), TAGS_MAX);
}

#[test]
fn of_a_message_that_calls_out_hundreds_a_few_are_heard() {
    let records = (0..100_u8).flat_map(|n| {
        let peer = PeerId([n; 32]);
        let (instance, host) = (encode_name(&instance_of(peer)), encode_name(&host_of(peer)));
        let srv = [&[0, 0, 0, 0, 0, 80], &host[..]].concat();
        [(instance.clone(), SRV, srv), (instance, TXT, b"\x03v=1\x04net=".to_vec())]
    });
    assert_eq!(said(parse(&answer(&records.collect::<Vec<_>>()))).len(), ANNOUNCEMENTS_MAX);
    let mut many = announcement();
    many.addrs = (0..60).map(|n| [10, 0, 0, n].into()).collect();
    assert_eq!(said(parse(&many.encode(Holds::Now)))[0].addrs.len(), ADDRS_MAX);
}

#[test]
fn services_of_others_are_not_ours() {
    let other = vec![b"printer".to_vec(), b"_ipp".to_vec(), b"_tcp".to_vec(), b"local".to_vec()];
    let no_id = [b"printer".to_vec()].into_iter().chain(service()).collect::<Name>();
    for name in [other, no_id, service(), Name::new()] {
        let srv = (encode_name(&name), SRV, [&[0, 0, 0, 0, 0, 80], &encode_name(&service())[..]].concat());
        assert_eq!(parse(&answer(&[srv, (encode_name(&name), TXT, b"\x03v=1\x04net=".to_vec())])), None, "{name:?}");
    }
}

#[test]
fn a_refusal_and_another_kind_of_message_are_nothing() {
    let good = announcement().encode(Holds::Now);
    for flags in [0x8403_u16, 0xa800, 0x8c00] {
        let mut bad = good.clone();
        bad[2..4].copy_from_slice(&flags.to_be_bytes());
        assert_eq!(parse(&bad), None);
    }
    let asked = [encode_header(0, 1_000, 0), vec![0; 4_000]].concat();
    assert_eq!(parse(&asked), None, "a thousand questions");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = parse(&bytes);
    }

    #[test]
    fn no_damage_makes_it_panic(at in 0_usize..600, with in any::<u8>(), len in 0_usize..700) {
        let mut bytes = announcement().encode(Holds::Now);
        let place = at % bytes.len();
        bytes[place] = with;
        bytes.truncate(len);
        let _ = parse(&bytes);
    }
}
