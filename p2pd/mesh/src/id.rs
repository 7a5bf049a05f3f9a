//! Names of things: peers, runs, feeds, posts, links.

use std::fmt;
use std::str::FromStr;

/// A peer: its Ed25519 public key. Shown as 52 lowercase base32 characters (RFC 4648, no padding).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub [u8; 32]);

/// One run of a daemon, drawn at its start: `unix seconds << 20 | 20 random bits`. Below 2^53.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Epoch(pub u64);

/// A post's number in its feed, from 1. 0 stands for "none yet" where a head is meant.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Seq(pub u64);

/// One run of one peer. Also the long name of the feed that this run writes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instance {
    /// Who.
    pub id: PeerId,
    /// Which run.
    pub epoch: Epoch,
}

/// The short name of a feed on the wire: 128 bits of BLAKE3 over author and epoch, 22 base64url characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FeedId(pub [u8; 16]);

/// A BLAKE3-256 hash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub [u8; 32]);

/// One post, for ever. In text: `author short form`-`epoch`-`seq`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PostId {
    /// Author and epoch.
    pub feed: Instance,
    /// The number in that feed.
    pub seq: Seq,
}

/// One TCP connection to a peer, in this process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LinkId(pub u64);

/// One attempt to open a link.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DialId(pub u64);

/// A post's place in the local order of arrival, from 1. Grows, may skip numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Offset(pub u64);

/// Integers on the wire are below this, so that every JSON reader holds them exactly.
pub const INTEGER_END: u64 = 1 << 53;

/// A text that is not the id it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Too long or too short.
    #[error("{got} characters where {want} are needed")]
    Length {
        /// How many there are.
        got: usize,
        /// How many there must be.
        want: usize,
    },
    /// A character outside the alphabet.
    #[error("character {at} is not allowed here")]
    Character {
        /// Its place, from 1.
        at: usize,
    },
    /// Bits behind the end are not zero, so two texts would name one id.
    #[error("the last character is not one that an id can end with")]
    Tail,
}

impl PeerId {
    /// The first eight characters, for people.
    #[must_use]
    pub fn short(&self) -> String {
        let mut text = self.to_string();
        text.truncate(SHORT_LEN);
        text
    }
}

impl Instance {
    /// The wire's short name for the feed of this run.
    #[must_use]
    pub fn feed_id(&self) -> FeedId {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.id.0);
        hasher.update(&self.epoch.0.to_be_bytes());
        let mut id = [0; 16];
        hasher.finalize_xof().fill(&mut id);
        FeedId(id)
    }
}

impl Seq {
    /// The number after this one.
    #[must_use]
    pub fn next(self) -> Self {
        self.plus(1)
    }

    /// The number `count` further on.
    #[must_use]
    pub fn plus(self, count: u64) -> Self {
        Self(self.0.saturating_add(count))
    }
}

impl Hash {
    /// The hash of some bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&base32(&self.0))
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

impl FromStr for PeerId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Ok(Self(from_base(text, &BASE32)?))
    }
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}-{}", self.id, self.epoch.0)
    }
}

impl fmt::Display for FeedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&base64url(&self.0))
    }
}

impl fmt::Debug for FeedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for FeedId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Ok(Self(from_base(text, &BASE64URL)?))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&base64url(&self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base64url(&self.0[..6]))
    }
}

impl FromStr for Hash {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Ok(Self(from_base(text, &BASE64URL)?))
    }
}

impl fmt::Display for PostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.feed.id.short(), self.feed.epoch.0, self.seq.0)
    }
}

impl fmt::Display for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Bytes as lowercase base32 without padding (RFC 4648).
#[must_use]
pub fn base32(bytes: &[u8]) -> String {
    to_base(bytes, &BASE32)
}

/// Bytes from their lowercase base32 text without padding (RFC 4648).
///
/// # Errors
///
/// The text is not exactly what [`base32`] makes of `N` bytes. The error does not repeat the text, which may be a secret.
pub fn from_base32<const N: usize>(text: &str) -> Result<[u8; N], IdError> {
    from_base(text, &BASE32)
}

/// Bytes as base64url without padding (RFC 4648).
#[must_use]
pub fn base64url(bytes: &[u8]) -> String {
    to_base(bytes, &BASE64URL)
}

/// Any number of bytes from their base64url text.
///
/// # Errors
///
/// The text is no base64url of anything.
pub fn bytes_from_base64url(text: &str) -> Result<Vec<u8>, IdError> {
    let mut bytes = vec![0; text.len() * 6 / 8];
    fill_from_base(text, &BASE64URL, &mut bytes)?;
    Ok(bytes)
}

/// Bytes from their base64url text without padding (RFC 4648).
///
/// # Errors
///
/// The text is not exactly what [`base64url`] makes of `N` bytes.
pub fn from_base64url<const N: usize>(text: &str) -> Result<[u8; N], IdError> {
    from_base(text, &BASE64URL)
}

/// Letters that stand for so many bits each.
struct Alphabet {
    letters: &'static [u8],
    bits: u32,
    /// What each byte stands for; `NO_LETTER` for nothing.
    values: [u8; 256],
}

impl Alphabet {
    const fn new(letters: &'static [u8], bits: u32) -> Self {
        let mut values = [NO_LETTER; 256];
        let mut value = 0;
        while value < letters.len() {
            values[letters[value] as usize] = value as u8;
            value += 1;
        }
        Self { letters, bits, values }
    }

    fn text_len(&self, bytes: usize) -> usize {
        (bytes * 8).div_ceil(self.bits as usize)
    }
}

fn to_base(bytes: &[u8], alphabet: &Alphabet) -> String {
    let Alphabet { letters, bits, .. } = *alphabet;
    let mut text = Vec::with_capacity(alphabet.text_len(bytes.len()));
    let (mut buffer, mut held) = (0u32, 0u32);
    let mask = (1 << bits) - 1;
    for byte in bytes {
        // Only the lowest `held` bits count; the others are shifted out.
        buffer = buffer << 8 | u32::from(*byte);
        held += 8;
        while held >= bits {
            held -= bits;
            text.push(letters[(buffer >> held & mask) as usize]);
        }
    }
    if held > 0 {
        text.push(letters[(buffer << (bits - held) & mask) as usize]);
    }
    String::from_utf8(text).expect("the letters are ASCII")
}

fn from_base<const N: usize>(text: &str, alphabet: &Alphabet) -> Result<[u8; N], IdError> {
    let mut bytes = [0; N];
    fill_from_base(text, alphabet, &mut bytes)?;
    Ok(bytes)
}

fn fill_from_base(text: &str, alphabet: &Alphabet, bytes: &mut [u8]) -> Result<(), IdError> {
    let want = alphabet.text_len(bytes.len());
    if text.len() != want || !text.is_ascii() {
        return Err(what_is_wrong(text, alphabet, want));
    }
    let (mut buffer, mut held, mut filled) = (0u32, 0u32, 0);
    for letter in text.bytes() {
        let value = alphabet.values[letter as usize];
        if value == NO_LETTER {
            return Err(what_is_wrong(text, alphabet, want));
        }
        buffer = buffer << alphabet.bits | u32::from(value);
        held += alphabet.bits;
        if held >= 8 {
            held -= 8;
            bytes[filled] = (buffer >> held) as u8;
            filled += 1;
            buffer &= (1 << held) - 1;
        }
    }
    if buffer != 0 { Err(IdError::Tail) } else { Ok(()) }
}

/// In characters, as people count.
fn what_is_wrong(text: &str, alphabet: &Alphabet, want: usize) -> IdError {
    let got = text.chars().count();
    let is_letter =
        |character: char| u8::try_from(character).is_ok_and(|byte| alphabet.values[byte as usize] != NO_LETTER);
    match text.chars().position(|character| !is_letter(character)) {
        Some(at) if got == want => IdError::Character { at: at + 1 },
        Some(_) | None => IdError::Length { got, want },
    }
}

const SHORT_LEN: usize = 8;
static BASE32: Alphabet = Alphabet::new(b"abcdefghijklmnopqrstuvwxyz234567", 5);
static BASE64URL: Alphabet = Alphabet::new(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", 6);
const NO_LETTER: u8 = u8::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_id_is_52_characters_and_comes_back() {
        let id = PeerId([0xa7; 32]);
        let text = id.to_string();
        assert_eq!(text.len(), 52);
        assert_eq!(text.parse(), Ok(id));
        assert_eq!(id.short(), text[..8]);
    }

    #[test]
    fn one_id_has_one_text() {
        let zero = PeerId([0; 32]).to_string();
        let other = format!("{}b", &zero[..51]);
        assert_eq!(other.parse::<PeerId>(), Err(IdError::Tail));
        assert_eq!("A".repeat(52).parse::<PeerId>(), Err(IdError::Character { at: 1 }));
        assert_eq!("a".parse::<PeerId>(), Err(IdError::Length { got: 1, want: 52 }));
    }

    #[test]
    fn base64url_is_the_one_of_the_standard() {
        assert_eq!(base64url(b"foobar"), "Zm9vYmFy");
        assert_eq!(base64url(&[0xff, 0xfe]), "__4");
        assert_eq!(base32(b"foobar"), "mzxw6ytboi");
    }

    #[test]
    fn bytes_of_every_length_come_back_from_base64url_and_other_texts_do_not() {
        for len in 0..9 {
            let bytes = vec![0xa7; len];
            assert_eq!(bytes_from_base64url(&base64url(&bytes)), Ok(bytes));
        }
        for odd in ["A", "AAAAA", "AB", "A=", "éé"] {
            assert!(bytes_from_base64url(odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn runs_of_one_peer_have_different_feeds() {
        let at = |epoch| Instance { id: PeerId([1; 32]), epoch: Epoch(epoch) }.feed_id();
        assert_ne!(at(1), at(2));
        assert_eq!(at(1).to_string().len(), 22);
        assert_eq!(at(1).to_string().parse(), Ok(at(1)));
    }
}
