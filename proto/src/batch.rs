//! The message of posts, which a daemon may fill with bytes: what many readers get is encoded once.

use prost::bytes::{Buf, BufMut, Bytes};
use prost::encoding::{self, DecodeContext, WireType};
use prost::{DecodeError, Message};

use crate::v1::Post;

/// Posts of a stream, in their order. On the wire the encoded ones are posts like the others.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct PostBatch {
    /// What a reader finds.
    pub posts: Vec<Post>,
    /// What a writer has encoded before, with [`encode_post`]; they go before `posts`. A reader finds none.
    pub encoded: Vec<Bytes>,
}

/// The fields of a post that many have in common, for [`encode_post`].
#[must_use]
pub fn encode_head(post: &Post) -> Vec<u8> {
    post.encode_to_vec()
}

/// Appends a post to `out` as [`PostBatch::encoded`] wants it: the fields of `head` and its own. What is set in both is as
/// `post` says.
pub fn encode_post(head: &[u8], post: &Post, out: &mut Vec<u8>) {
    encoding::encode_key(POSTS, WireType::LengthDelimited, out);
    encoding::encode_varint((head.len() + post.encoded_len()) as u64, out);
    out.extend_from_slice(head);
    post.encode_raw(out);
}

impl From<Vec<Post>> for PostBatch {
    fn from(posts: Vec<Post>) -> Self {
        Self { posts, encoded: Vec::new() }
    }
}

impl Message for PostBatch {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        for bytes in &self.encoded {
            buf.put_slice(bytes);
        }
        encoding::message::encode_repeated(POSTS, &self.posts, buf);
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), DecodeError> {
        match tag {
            POSTS => encoding::message::merge_repeated(wire_type, &mut self.posts, buf, context),
            _ => encoding::skip_field(wire_type, tag, buf, context),
        }
    }

    fn encoded_len(&self) -> usize {
        let encoded: usize = self.encoded.iter().map(Bytes::len).sum();
        encoded + encoding::message::encoded_len_repeated(POSTS, &self.posts)
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

/// The field of the definition.
const POSTS: u32 = 1;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::v1::PostId;

    fn post(seq: u64) -> Post {
        let id = Some(PostId { author: "a".into(), epoch: 1, seq });
        Post { id, author_name: "alice".into(), text: format!("text {seq}"), own: true, ..Post::default() }
    }

    #[test]
    fn encoded_posts_arrive_as_posts() {
        let head = encode_head(&Post { author_name: "alice".into(), own: true, ..Post::default() });
        let mut bytes = Vec::new();
        for seq in 1..=2 {
            let own_fields = Post { author_name: String::new(), own: false, ..post(seq) };
            encode_post(&head, &own_fields, &mut bytes);
        }
        let batch = PostBatch { posts: vec![post(3)], encoded: vec![bytes.into()] };
        let sent = batch.encode_to_vec();
        assert_eq!(sent.len(), batch.encoded_len());
        let read = PostBatch::decode(sent.as_slice()).unwrap();
        assert_eq!(read, PostBatch::from(vec![post(1), post(2), post(3)]));
        assert_eq!(read.encode_to_vec(), PostBatch::from(read.posts.clone()).encode_to_vec());
    }

    #[test]
    fn fields_of_later_versions_are_left_out_and_broken_ones_are_errors() {
        let mut sent = PostBatch::from(vec![post(1)]).encode_to_vec();
        encoding::string::encode(9, &"later".to_owned(), &mut sent);
        let mut read = PostBatch::decode(sent.as_slice()).unwrap();
        assert_eq!(read.posts, [post(1)]);
        read.clear();
        assert_eq!(read, PostBatch::default());
        assert!(PostBatch::decode(&sent[..5]).is_err());
    }
}
