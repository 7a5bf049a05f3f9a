//! Frames: a length in four bytes, big endian, then that many bytes.

use crate::limits::FRAME_LEN_MAX;

/// One frame and what stands behind it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Split<'a> {
    /// The frame, without its length.
    pub frame: &'a [u8],
    /// The bytes behind it.
    pub rest: &'a [u8],
}

/// A length that no well-behaved peer sends. The link cannot be used any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FrameError {
    /// Over the limit that holds now.
    #[error("a frame of {len} bytes is over the limit of {limit}")]
    TooLong {
        /// What it claims.
        len: usize,
        /// What is allowed.
        limit: usize,
    },
    /// Too short for any message.
    #[error("a frame of {len} bytes is no message")]
    TooShort {
        /// What it claims.
        len: usize,
    },
}

/// Splits one frame off the front of `bytes`; `None` while it is still incomplete.
///
/// # Errors
///
/// The length is outside what is allowed. It is checked before the frame is here, so a hostile length cannot make
/// anybody buffer for it.
pub fn split_frame(bytes: &[u8], limit: usize) -> Result<Option<Split<'_>>, FrameError> {
    let Some((prefix, body)) = bytes.split_first_chunk::<PREFIX_LEN>() else {
        return Ok(None);
    };
    let len = u32::from_be_bytes(*prefix) as usize;
    if len > limit {
        return Err(FrameError::TooLong { len, limit });
    }
    if len < SHORTEST {
        return Err(FrameError::TooShort { len });
    }
    Ok(body.split_at_checked(len).map(|(frame, rest)| Split { frame, rest }))
}

/// Writes the length in front of a frame whose first four bytes were left free for it.
pub(crate) fn finish_frame(mut bytes: Vec<u8>) -> Vec<u8> {
    let len = bytes.len() - PREFIX_LEN;
    assert!(len <= FRAME_LEN_MAX, "frames are cut to size before they are encoded");
    bytes[..PREFIX_LEN].copy_from_slice(&(len as u32).to_be_bytes());
    bytes
}

/// Bytes of the length.
pub const PREFIX_LEN: usize = 4;
/// `{}` is the shortest object.
const SHORTEST: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], expected: Result<Option<&[u8]>, FrameError>) {
        assert_eq!(split_frame(bytes, 100).map(|split| split.map(|split| split.frame)), expected);
    }

    #[test]
    fn w_01_a_hostile_length_is_refused_before_the_frame_arrives() {
        for len in [101, 1 << 31, u32::MAX] {
            check(&len.to_be_bytes(), Err(FrameError::TooLong { len: len as usize, limit: 100 }));
        }
        check(b"\0\0\0\0", Err(FrameError::TooShort { len: 0 }));
        check(b"\0\0\0\x01", Err(FrameError::TooShort { len: 1 }));
        check(b"\0\0\0\x64", Ok(None));
    }

    #[test]
    fn w_11_a_large_text_in_a_small_schema_is_refused_by_its_length_alone() {
        let mut frame = (1_000_000u32 + 24).to_be_bytes().to_vec();
        frame.extend_from_slice(br#"{"type":"bye","code":""#);
        let expected = FrameError::TooLong { len: 1_000_024, limit: FRAME_LEN_MAX };
        assert_eq!(split_frame(&frame, FRAME_LEN_MAX), Err(expected));
    }

    #[test]
    fn w_02_a_cut_frame_is_waited_for_at_every_byte() {
        let whole = b"\0\0\0\x02{}tail";
        for cut in 0..6 {
            check(&whole[..cut], Ok(None));
        }
        assert_eq!(split_frame(whole, 100), Ok(Some(Split { frame: b"{}", rest: b"tail" })));
    }
}
