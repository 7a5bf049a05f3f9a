use super::*;

#[test]
fn w_10_unknown_types_and_fields_are_allowed() {
    let decode = |text: &'static str| Message::decode(&Bytes::from_static(text.as_bytes()));
    assert_eq!(decode(r#"{"type":"later","x":[1]}"#), Ok(Message::Unknown));
    let feed = FeedId([0; 16]);
    let gone = Message::Gone { feed, floor: Seq(3) };
    let text = format!(r#"{{"type":"gone","feed":"{feed}","floor":3,"new":{{}}}}"#);
    assert_eq!(Message::decode(&Bytes::from(text)), Ok(gone));
}
