//! Frames of the yardsticks: a length in four bytes, and so many bytes.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Appends one.
pub(super) fn put(out: &mut BytesMut, body: &[u8]) {
    let len = u32::try_from(body.len()).expect("a yardstick's frame is some kilobytes");
    out.put_u32(len);
    out.put_slice(body);
}

/// Takes all whole frames off the front of what was read.
pub(super) fn split_whole(read: &mut BytesMut) -> Bytes {
    let mut end = 0;
    while let Some(len) = read[end..].first_chunk::<4>() {
        let next = end + 4 + u32::from_be_bytes(*len) as usize;
        if next > read.len() {
            break;
        }
        end = next;
    }
    read.split_to(end).freeze()
}

/// The bodies of whole frames.
pub(super) fn bodies(mut frames: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || {
        (frames.len() >= 4).then(|| {
            let len = frames.get_u32() as usize;
            frames.split_to(len)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_whole_however_they_are_cut() {
        let mut sent = BytesMut::new();
        for body in [b"one".as_slice(), b"", b"three"] {
            put(&mut sent, body);
        }
        for cut in 0..=sent.len() {
            let mut read = BytesMut::from(&sent[..cut]);
            let mut got: Vec<Bytes> = bodies(split_whole(&mut read)).collect();
            read.extend_from_slice(&sent[cut..]);
            got.extend(bodies(split_whole(&mut read)));
            assert_eq!(got, ["one", "", "three"]);
            assert!(read.is_empty());
        }
    }
}
