//! Text that tells where it was mistyped: base32 in blocks, each with two check characters.
//!
//! A character stands for five bits, a number of the field GF(32). The two check characters of a block make its sum 0,
//! and the sum with weights 1, a, a^2, … too (a Reed-Solomon code). So one wrong character of a block is found for
//! certain, and so is its place; of several wrong ones, all but one in a thousand are found.

/// A text that is not what `encode` made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum BlockError {
    /// A character is wrong at this place of the text, from 0, or not far from it.
    Wrong(usize),
    /// It ends too early.
    Short,
    /// So many characters behind its end.
    Long(usize),
}

/// Bytes as text. Their first two bytes tell how many they are.
pub(super) fn encode(bytes: &[u8]) -> String {
    let symbols = symbols_of(bytes);
    let blocks = symbols.chunks(DATA_LEN).flat_map(|data| data.iter().copied().chain(checks_of(data)));
    blocks.map(|symbol| char::from(ALPHABET[usize::from(symbol)])).collect()
}

/// Bytes from their text.
pub(super) fn decode(text: &str) -> Result<Vec<u8>, BlockError> {
    let symbol = |(at, letter): (usize, char)| {
        let found = ALPHABET.iter().position(|known| char::from(*known) == letter);
        found.and_then(|symbol| u8::try_from(symbol).ok()).ok_or(BlockError::Wrong(at))
    };
    let symbols: Vec<u8> = text.chars().enumerate().map(symbol).collect::<Result<_, _>>()?;
    if symbols.len() < BLOCK_LEN {
        return Err(BlockError::Short);
    }
    check(&symbols[..BLOCK_LEN], 0)?;
    let head = bytes_of(&symbols[..DATA_LEN]);
    let bytes_len = usize::from(u16::from_be_bytes([head[0], head[1]]));
    let data_len = (bytes_len * 8).div_ceil(5);
    let wanted = data_len + data_len.div_ceil(DATA_LEN) * CHECKS_LEN;
    // Where it is too long, what is too much is no block of it.
    let ours = &symbols[..symbols.len().min(wanted)];
    for (number, block) in ours.chunks(BLOCK_LEN).enumerate() {
        // The last one may be cut off.
        if block.len() == BLOCK_LEN || symbols.len() >= wanted {
            check(block, number * BLOCK_LEN)?;
        }
    }
    if symbols.len() < wanted {
        return Err(BlockError::Short);
    }
    if symbols.len() > wanted {
        return Err(BlockError::Long(symbols.len() - wanted));
    }
    let data: Vec<u8> =
        ours.chunks(BLOCK_LEN).flat_map(|block| &block[..block.len().saturating_sub(CHECKS_LEN)]).copied().collect();
    let mut bytes = bytes_of(&data);
    bytes.truncate(bytes_len);
    Ok(bytes)
}

/// Finds one wrong character of a block that begins at `start`.
fn check(block: &[u8], start: usize) -> Result<(), BlockError> {
    let (sum, weighted) = sums(block);
    if (sum, weighted) == (0, 0) {
        return Ok(());
    }
    let at = match (log(sum), log(weighted)) {
        (Some(sum), Some(weighted)) => (weighted + ORDER - sum) % ORDER,
        // More than one is wrong.
        (Some(_), None) | (None, _) => block.len() / 2,
    };
    Err(BlockError::Wrong(start + at.min(block.len().saturating_sub(1))))
}

/// The two symbols that make both sums 0.
fn checks_of(data: &[u8]) -> [u8; CHECKS_LEN] {
    let (sum, weighted) = sums(data);
    let (near, far) = (power(data.len()), power(data.len() + 1));
    // p + q = sum and p·near + q·far = weighted.
    let q = divide(weighted ^ multiply(sum, near), near ^ far);
    [sum ^ q, q]
}

fn sums(symbols: &[u8]) -> (u8, u8) {
    symbols
        .iter()
        .enumerate()
        .fold((0, 0), |(sum, weighted), (at, symbol)| (sum ^ symbol, weighted ^ multiply(*symbol, power(at))))
}

/// a^n, where a is the root of x^5 + x^2 + 1.
fn power(n: usize) -> u8 {
    (0..n % ORDER).fold(1, |value, _| {
        let doubled = value << 1;
        if doubled & 0b10_0000 == 0 { doubled } else { doubled ^ 0b10_0101 }
    })
}

/// The n of a^n; none of 0.
fn log(value: u8) -> Option<usize> {
    (0..ORDER).find(|n| power(*n) == value)
}

fn multiply(one: u8, other: u8) -> u8 {
    match (log(one), log(other)) {
        (Some(one), Some(other)) => power(one + other),
        (None, _) | (_, None) => 0,
    }
}

fn divide(one: u8, other: u8) -> u8 {
    match (log(one), log(other)) {
        (Some(one), Some(other)) => power(one + ORDER - other),
        (None, _) | (_, None) => 0,
    }
}

fn symbols_of(bytes: &[u8]) -> Vec<u8> {
    let bit = |at: usize| bytes.get(at / 8).map_or(0, |byte| byte >> (7 - at % 8) & 1);
    (0..(bytes.len() * 8).div_ceil(5)).map(|at| (0..5).fold(0, |symbol, n| symbol << 1 | bit(at * 5 + n))).collect()
}

/// Bits that are left over at the end are dropped.
fn bytes_of(symbols: &[u8]) -> Vec<u8> {
    let bit = |at: usize| symbols[at / 5] >> (4 - at % 5) & 1;
    (0..symbols.len() * 5 / 8).map(|at| (0..8).fold(0, |byte, n| byte << 1 | bit(at * 8 + n))).collect()
}

/// RFC 4648, lower case.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
/// The powers of a come back after so many, so that is how long a block may be.
const ORDER: usize = 31;
const BLOCK_LEN: usize = ORDER;
const CHECKS_LEN: usize = 2;
const DATA_LEN: usize = BLOCK_LEN - CHECKS_LEN;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn sample(len: u16) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..len).map(|at| (at * 37 % 251) as u8).collect();
        bytes[..2].copy_from_slice(&len.to_be_bytes());
        bytes
    }

    #[test]
    fn one_wrong_character_is_found_at_its_place_wherever_it_is() {
        let text = encode(&sample(150));
        assert_eq!(decode(&text), Ok(sample(150)));
        for at in 0..text.len() {
            for other in [b'a', b'k', b'7', b'0'] {
                let mut wrong = text.clone().into_bytes();
                if wrong[at] == other {
                    continue;
                }
                wrong[at] = other;
                assert_eq!(decode(std::str::from_utf8(&wrong).unwrap()), Err(BlockError::Wrong(at)));
            }
        }
    }

    #[test]
    fn a_text_that_is_cut_off_or_goes_on_is_told_apart_from_a_mistyped_one() {
        let text = encode(&sample(90));
        for len in 0..text.len() {
            assert_eq!(decode(&text[..len]), Err(BlockError::Short), "{len}");
        }
        assert_eq!(decode(&format!("{text}abc")), Err(BlockError::Long(3)));
    }

    proptest! {
        #[test]
        fn whatever_is_read_nothing_panics(text in "[a-z2-7 é]{0,200}") {
            let _ = decode(&text);
        }

        #[test]
        fn what_is_encoded_comes_back(bytes in proptest::collection::vec(any::<u8>(), 20..300)) {
            let mut bytes = bytes;
            let len = u16::try_from(bytes.len()).unwrap().to_be_bytes();
            bytes[..2].copy_from_slice(&len);
            prop_assert_eq!(decode(&encode(&bytes)), Ok(bytes));
        }

        #[test]
        fn a_character_that_is_missing_or_doubled_is_found_near_its_place(at in 0usize..150, doubled: bool) {
            let mut text = encode(&sample(150));
            if doubled {
                text.insert(at, char::from(text.as_bytes()[at]));
            } else {
                text.remove(at);
            }
            match decode(&text) {
                Err(BlockError::Wrong(found)) => prop_assert!(found / BLOCK_LEN >= at / BLOCK_LEN && found < at + 3 * BLOCK_LEN),
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }
}
