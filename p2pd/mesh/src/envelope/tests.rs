use super::*;

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn id(seed: u8) -> PeerId {
    PeerId(key(seed).verifying_key().to_bytes())
}

fn body(texts: &[&str]) -> Body {
    Body {
        feed: Instance { id: id(1), epoch: Epoch(7) },
        first: Seq(1),
        prev: None,
        at: Stamp { ms: 1_763_792_485_123, counter: 0 },
        posts: texts.iter().map(|text| Post::chat("general", text)).collect(),
    }
}

#[test]
fn a_word_of_what_a_post_was_that_is_no_post_is_left_out_and_harms_nothing() {
    let valid = String::from_utf8(body(&["hi"]).encode()).unwrap();
    for odd in ["1", "[]", r#"["x",1,2]"#, r#"{"a":1}"#] {
        let bytes = Bytes::from(valid.replace(r#""text":"hi""#, &format!(r#""text":"hi","was":{odd}"#)));
        let read = Envelope::parse(bytes, [0; 64]).unwrap();
        assert_eq!(read.body().posts[0].was, None, "{odd}");
    }
}

#[track_caller]
fn refuses(from: &str, to: &str, expected: &EnvelopeError) {
    let valid = String::from_utf8(body(&["hi"]).encode()).unwrap();
    assert!(valid.contains(from), "{valid}");
    let bytes = Bytes::from(valid.replace(from, to));
    assert_eq!(Envelope::parse(bytes, [0; 64]).as_ref(), Err(expected), "{from} -> {to}");
}

#[test]
fn what_an_author_signs_comes_back_and_verifies() {
    let mut said = body(&["héllo \u{202e}", "two\nlines"]);
    said.posts[1].re = Some(Box::new(PostId { feed: said.feed, seq: Seq(1) }));
    said.posts[1].key = Some("k".into());
    said.posts[1].was = Some(Box::new(PostId { feed: said.feed, seq: Seq(7) }));
    let signed = said.clone().sign(&key(1));
    let read = Envelope::parse(signed.bytes().clone(), *signed.signature()).unwrap();
    assert_eq!(read.body(), &said);
    assert_eq!(read.last(), Seq(2));
    assert_eq!(read.verify(&AuthorKey::new(&id(1)).unwrap()), Ok(signed));
}

#[test]
fn a_body_has_the_text_the_protocol_shows() {
    let text = String::from_utf8(body(&["hello"]).encode()).unwrap();
    let author = id(1);
    assert_eq!(
        text,
        format!(
            r#"{{"v":1,"author":"{author}","epoch":7,"first":1,"prev":null,"at":[1763792485123,0],"posts":[{{"kind":"chat","room":"general","text":"hello"}}]}}"#
        )
    );
}

#[test]
fn w_08_numbers_out_of_range_are_refused_with_their_field() {
    let integer = |field| EnvelopeError::Json(JsonError::Field { field, want: "an integer from 0 to 2^53 - 1" });
    refuses("\"first\":1", "\"first\":0", &EnvelopeError::Range { field: "first" });
    refuses("\"first\":1", "\"first\":-1", &integer("first"));
    refuses("\"first\":1", "\"first\":\"1\"", &integer("first"));
    refuses("\"first\":1", "\"first\":9007199254740991", &EnvelopeError::Range { field: "first" });
    refuses("\"v\":1", "\"v\":2", &EnvelopeError::Version(2));
    refuses("\"prev\":null", "\"prev\":\"x\"", &EnvelopeError::Json(field("prev", "a hash")));
    refuses("\"first\":1", "\"first\":2", &EnvelopeError::Prev);
}

#[test]
fn w_05_lists_do_not_pass_for_objects() {
    refuses(
        r#"{"kind":"chat","room":"general","text":"hi"}"#,
        r#"["chat","general","hi"]"#,
        &EnvelopeError::Json(JsonError::Field { field: "posts", want: "an object" }),
    );
    refuses(r#"[{"kind":"chat","room":"general","text":"hi"}]"#, "[]", &EnvelopeError::Range { field: "posts" });
}

#[test]
fn w_24_a_text_of_exactly_the_limit_is_valid_and_one_byte_more_is_not() {
    let parse = |len| {
        let signed = body(&[&"x".repeat(len)]).sign(&key(1));
        Envelope::parse(signed.bytes().clone(), *signed.signature()).map(|_| ())
    };
    assert_eq!(parse(TEXT_LEN_MAX), Ok(()));
    assert_eq!(parse(TEXT_LEN_MAX + 1), Err(EnvelopeError::Range { field: "text" }));
}

#[test]
fn a_body_over_the_limit_is_refused_unread() {
    let bytes = Bytes::from(vec![b'{'; BODY_LEN_MAX + 1]);
    assert_eq!(Envelope::parse(bytes, [0; 64]), Err(EnvelopeError::TooLong { len: BODY_LEN_MAX + 1 }));
}

#[test]
fn w_12_one_changed_bit_and_another_author_are_refused() {
    let author = AuthorKey::new(&id(1)).unwrap();
    let signed = body(&["hi"]).sign(&key(1));
    let (bytes, signature) = (signed.bytes().clone(), *signed.signature());
    let verify = |bytes: Bytes, signature| Envelope::parse(bytes, signature).unwrap().verify(&author);

    let mut bent = signature;
    bent[5] ^= 1;
    assert_eq!(verify(bytes.clone(), bent), Err(EnvelopeError::Signature));

    let other = Bytes::from(String::from_utf8(bytes.to_vec()).unwrap().replace("hi", "ho"));
    assert_eq!(verify(other, signature), Err(EnvelopeError::Signature));

    let mut swapped = body(&["hi"]);
    swapped.feed.id = id(2);
    let swapped = Bytes::from(swapped.encode());
    assert_eq!(verify(swapped, signature), Err(EnvelopeError::Author));
}

#[test]
fn w_12_a_signature_over_another_kind_of_object_does_not_count() {
    let bytes = Bytes::from(body(&["hi"]).encode());
    let signature = sign_hashed(&key(1), b"p2pd record v1\n", &bytes);
    let read = Envelope::parse(bytes, signature).unwrap();
    assert_eq!(read.verify(&AuthorKey::new(&id(1)).unwrap()), Err(EnvelopeError::Signature));
}

#[test]
fn w_13_weak_keys_and_malleated_signatures_are_refused() {
    let mut identity = [0; 32];
    identity[0] = 1;
    assert_eq!(AuthorKey::new(&PeerId(identity)).unwrap_err(), EnvelopeError::Author);

    let signed = body(&["hi"]).sign(&key(1));
    let mut malleated = *signed.signature();
    add_group_order(&mut malleated[32..]);
    let read = Envelope::parse(signed.bytes().clone(), malleated).unwrap();
    assert_eq!(read.verify(&AuthorKey::new(&id(1)).unwrap()), Err(EnvelopeError::Signature));
}

/// `s + L`: the same signature to a verifier that does not check the range of `s`.
fn add_group_order(s: &mut [u8]) {
    const L: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut carry = 0;
    for (byte, add) in s.iter_mut().zip(L) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        *byte = sum as u8;
        carry = sum >> 8;
    }
}

#[test]
fn unknown_kinds_and_unknown_fields_are_kept() {
    let text = String::from_utf8(body(&["hi"]).encode()).unwrap();
    let text = text.replace(r#""kind":"chat""#, r#""kind":"poll","options":[1,{"a":null}]"#);
    let read = Envelope::parse(Bytes::from(text.clone()), [0; 64]).unwrap();
    assert_eq!(read.body().posts[0].kind, "poll");
    assert_eq!(read.bytes(), text.as_bytes());
}

#[test]
fn a_direct_post_has_its_recipient_and_its_sealed_text_and_nothing_else() {
    let mut said = body(&[]);
    said.posts = vec![Post::direct(id(2), "c2VhbGVk")];
    let text = String::from_utf8(said.encode()).unwrap();
    let to = id(2);
    assert!(text.ends_with(&format!(r#""posts":[{{"kind":"direct","to":"{to}","sealed":"c2VhbGVk"}}]}}"#)), "{text}");
    let read = Envelope::parse(Bytes::from(text), [0; 64]).unwrap();
    assert_eq!(read.body(), &said);
}

#[test]
fn a_direct_post_whose_fields_say_nothing_is_taken_as_versions_take_it_that_do_not_know_the_kind() {
    let mut said = body(&[]);
    said.posts = vec![Post::direct(id(2), "c2VhbGVk")];
    let valid = String::from_utf8(said.encode()).unwrap();
    let to = format!(r#""{}""#, id(2));
    for (from, odd) in [(to.as_str(), "1"), (&to, r#""x""#), (r#""c2VhbGVk""#, "[]"), (r#""c2VhbGVk""#, "null")] {
        let read = Envelope::parse(Bytes::from(valid.replace(from, odd)), [0; 64]).unwrap();
        assert_eq!(read.body().posts[0].direct, None, "{odd}");
    }
    let chat = valid.replace("\"direct\"", "\"chat\"");
    assert_eq!(Envelope::parse(Bytes::from(chat), [0; 64]).unwrap().body().posts[0].direct, None);
}
