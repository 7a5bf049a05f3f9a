//! Reads what almost all bodies are: exactly what `Body::encode` writes, of posts without escapes and rare fields.
//!
//! In a flood reading bodies is what costs most, and most of that is what any JSON might be. What is read here is read
//! the same by the reader of all JSON, which reads whatever is not: a property test compares the two.

use bytestring::ByteString;

use super::{Body, DIRECT, Post, Stamp};
use crate::id::{Epoch, INTEGER_END, Instance, Seq};
use crate::limits::{KEY_LEN_MAX, KIND_LEN_MAX, POSTS_PER_ENVELOPE_MAX, TEXT_LEN_MAX};

/// The body, unless something in it needs a closer look. Its numbers are not checked against each other.
pub(super) fn read(whole: &ByteString) -> Option<Body> {
    let mut rest = Rest { whole, text: whole };
    rest.skip(r#"{"v":1,"author":"#)?;
    let id = rest.text()?.parse().ok()?;
    rest.skip(r#","epoch":"#)?;
    let epoch = Epoch(rest.integer()?);
    rest.skip(r#","first":"#)?;
    let first = Seq(rest.integer()?);
    rest.skip(r#","prev":"#)?;
    let prev = if rest.skip("null").is_some() { None } else { Some(rest.text()?.parse().ok()?) };
    rest.skip(r#","at":["#)?;
    let ms = rest.integer()?;
    rest.skip(",")?;
    let at = Stamp { ms, counter: rest.integer()? };
    rest.skip(r#"],"posts":["#)?;
    let posts = rest.posts()?;
    rest.text.is_empty().then_some(Body { feed: Instance { id, epoch }, first, prev, at, posts })
}

/// What is not read yet.
struct Rest<'a> {
    whole: &'a ByteString,
    text: &'a str,
}

impl<'a> Rest<'a> {
    fn skip(&mut self, token: &str) -> Option<()> {
        self.text = self.text.strip_prefix(token)?;
        Some(())
    }

    fn integer(&mut self) -> Option<u64> {
        let len = self.text.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, rest) = self.text.split_at(len);
        if len > DIGITS_MAX || (len > 1 && digits.starts_with('0')) {
            return None;
        }
        self.text = rest;
        digits.parse().ok().filter(|number| *number < INTEGER_END)
    }

    /// A text in quotes that means what it looks like.
    fn text(&mut self) -> Option<&'a str> {
        self.skip("\"")?;
        let (text, rest) = self.text.split_at(plain_len(self.text.as_bytes()));
        self.text = rest;
        self.skip("\"")?;
        Some(text)
    }

    fn field(&mut self, name: &str, len_max: usize) -> Option<Option<ByteString>> {
        if self.skip(name).is_none() {
            return Some(None);
        }
        let text = self.text()?;
        (text.len() <= len_max).then(|| Some(self.whole.slice_ref(text)))
    }

    /// Up to the end of the body.
    fn posts(&mut self) -> Option<Vec<Post>> {
        let mut posts = Vec::new();
        loop {
            posts.push(self.post()?);
            if self.skip("]}").is_some() {
                return Some(posts);
            }
            self.skip(",")?;
            if posts.len() == POSTS_PER_ENVELOPE_MAX {
                return None;
            }
        }
    }

    fn post(&mut self) -> Option<Post> {
        let kind = self.field(r#"{"kind":"#, KIND_LEN_MAX)??;
        let room = self.field(r#","room":"#, usize::MAX)?.unwrap_or_default();
        let text = self.field(r#","text":"#, TEXT_LEN_MAX)?.unwrap_or_default();
        let key = self.field(r#","key":"#, KEY_LEN_MAX)?;
        self.skip("}")?;
        (kind != DIRECT).then_some(Post { kind, room, text, re: None, key, was: None, direct: None })
    }
}

/// Bytes before the first that ends a text, escapes something or must not be there.
fn plain_len(bytes: &[u8]) -> usize {
    let is_special = |byte: u8| byte == b'"' || byte == b'\\' || byte < b' ';
    // Whole blocks without a branch in them, which the compiler does with wide registers.
    let blocks = bytes.chunks_exact(BLOCK_LEN);
    let plain = blocks.take_while(|block| !block.iter().fold(false, |any, byte| any | is_special(*byte)));
    let begin = plain.count() * BLOCK_LEN;
    bytes[begin..].iter().position(|byte| is_special(*byte)).map_or(bytes.len(), |at| begin + at)
}

/// Of `INTEGER_END`.
const DIGITS_MAX: usize = 16;
const BLOCK_LEN: usize = 32;

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;
    use proptest::sample::{Index, select};

    use super::super::{parse_any_body, parse_body};
    use super::*;
    use crate::id::{Hash, PeerId};

    fn any_text() -> impl Strategy<Value = String> {
        let words =
            vec(select(vec!["a", "general", " ", "é", "\u{202e}", "👋", "{", ",", "\"", "\\", "\n", "\u{7f}"]), 0..60);
        words.prop_map(|words| words.concat())
    }

    fn any_post() -> impl Strategy<Value = Post> {
        let kind = select(vec!["chat", "network", "direct", "later"]);
        (kind, "[a-z ]{0,40}", any_text(), option::of(any_text())).prop_map(|(kind, room, text, key)| Post {
            kind: kind.into(),
            key: key.map(ByteString::from),
            ..Post::chat(&room, &text)
        })
    }

    fn any_body() -> impl Strategy<Value = Body> {
        let number = || prop_oneof![0..INTEGER_END, INTEGER_END - 2..INTEGER_END];
        let prev = option::of(any::<[u8; 32]>().prop_map(Hash));
        let feed = (any::<[u8; 32]>(), number());
        (feed, number(), prev, (number(), number()), vec(any_post(), 0..5)).prop_map(
            |((id, epoch), first, prev, (ms, counter), posts)| Body {
                feed: Instance { id: PeerId(id), epoch: Epoch(epoch) },
                first: Seq(first),
                prev,
                at: Stamp { ms, counter },
                posts,
            },
        )
    }

    fn text_of(bytes: Vec<u8>) -> Option<ByteString> {
        ByteString::try_from(Bytes::from(bytes)).ok()
    }

    /// Places where a change hits the form, and not one of the many characters that mean nothing.
    fn change(bytes: &mut Vec<u8>, at: Index, kind: u8) {
        let special: Vec<usize> = (0..bytes.len()).filter(|at| b"\"\\{}[],:0123456789".contains(&bytes[*at])).collect();
        let at = special[at.index(special.len())];
        match kind {
            0 => drop(bytes.remove(at)),
            1 => bytes.insert(at, b' '),
            2 => bytes.insert(at, b'0'),
            3 => bytes.insert(at, b'"'),
            4 => bytes.truncate(at),
            5 => bytes[at] = 0,
            6 => bytes.insert(at, bytes[at]),
            _ => bytes[at] = b'-',
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn what_is_read_here_is_read_the_same_by_the_reader_of_all_json(body in any_body()) {
            let text = text_of(body.encode()).unwrap();
            if let Some(read) = read(&text) {
                prop_assert_eq!(&read, &parse_any_body(&text).unwrap());
                prop_assert_eq!(read, body);
            }
        }

        #[test]
        fn what_is_changed_is_read_the_same_or_not_here(body in any_body(), at: Index, kind in 0u8..8) {
            let mut bytes = body.encode();
            change(&mut bytes, at, kind);
            let Some(text) = text_of(bytes) else { return Ok(()) };
            if let Some(read) = read(&text) {
                prop_assert_eq!(Ok(read), parse_any_body(&text));
            }
        }
    }

    fn plain_body(texts: &[&str]) -> Body {
        Body {
            feed: Instance { id: PeerId([7; 32]), epoch: Epoch(INTEGER_END - 1) },
            first: Seq(1),
            prev: None,
            at: Stamp { ms: 1_763_792_485_123, counter: 0 },
            posts: texts.iter().map(|text| Post::chat("general", text)).collect(),
        }
    }

    #[test]
    fn what_people_say_is_read_here() {
        let mut body = plain_body(&["hello", "", "héllo 👋 \u{202e}", &"long ".repeat(2_000)]);
        body.posts[1].key = Some("k-1".into());
        body.posts[2].room = ByteString::new();
        assert_eq!(read(&text_of(body.encode()).unwrap()), Some(body.clone()));
        body.prev = Some(Hash([3; 32]));
        assert_eq!(read(&text_of(body.encode()).unwrap()), Some(body));
    }

    #[test]
    fn what_needs_a_closer_look_gets_it() {
        for text in ["two\nlines", "\"", "\\", "\u{1b}[31m"] {
            let body = plain_body(&[text]);
            let encoded = text_of(body.encode()).unwrap();
            assert_eq!(read(&encoded), None, "{text:?}");
            assert_eq!(parse_body(&encoded), Ok(body), "{text:?}");
        }
        let text = String::from_utf8(plain_body(&["x"]).encode()).unwrap();
        let too_high = text.replace(&(INTEGER_END - 1).to_string(), &INTEGER_END.to_string());
        assert_eq!(read(&too_high.into()), None);
        let too_many = text_of(plain_body(&["x"; POSTS_PER_ENVELOPE_MAX + 1]).encode()).unwrap();
        assert_eq!(read(&too_many), None);
        let too_long = text_of(plain_body(&[&"x".repeat(TEXT_LEN_MAX + 1)]).encode()).unwrap();
        assert_eq!(read(&too_long), None);
    }
}
