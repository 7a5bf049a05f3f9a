//! Cuts stdin into messages, holding no more of it than one message may have.

use crate::exit::Problem;
use crate::parse::TEXT_BYTES_MAX;

use super::send;
use super::send_many::Cut;

/// A piece of stdin.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Item {
    /// To be sent.
    Text(String),
    /// Nothing between two cuts.
    Empty,
    /// Too long, or no text.
    Bad(Box<Problem>),
}

/// Takes bytes in pieces of any size and gives items with their number, from 1.
#[derive(Debug)]
pub(crate) struct Cutter {
    cut: Cut,
    /// The start of an item whose end has not come yet, cut off where it is surely too long.
    begun: Vec<u8>,
    /// How long it really is.
    begun_len: usize,
    number: u64,
}

impl Cutter {
    pub(crate) fn new(cut: Cut) -> Self {
        Self { cut, begun: Vec::new(), begun_len: 0, number: 0 }
    }

    /// Gives every item that `bytes` completes.
    pub(crate) fn push(&mut self, bytes: &[u8], mut give: impl FnMut(u64, Item)) {
        let end = self.cut.byte();
        let mut pieces = bytes.split(|byte| *byte == end);
        // What stands behind the last cut is the start of the next item.
        let last = pieces.next_back().unwrap_or_default();
        for piece in pieces {
            self.hold(piece);
            let (number, item) = self.complete();
            give(number, item);
        }
        self.hold(last);
    }

    /// The end of stdin also ends an item.
    pub(crate) fn finish(&mut self) -> Option<(u64, Item)> {
        if self.begun_len == 0 { None } else { Some(self.complete()) }
    }

    fn hold(&mut self, piece: &[u8]) {
        // One more than the limit, and one for a carriage return that does not count.
        let room = (TEXT_BYTES_MAX + 2).saturating_sub(self.begun.len());
        self.begun.extend_from_slice(&piece[..piece.len().min(room)]);
        self.begun_len += piece.len();
    }

    fn complete(&mut self) -> (u64, Item) {
        self.number += 1;
        let whole = self.begun_len == self.begun.len();
        if whole && self.cut == Cut::Line && self.begun.last() == Some(&b'\r') {
            self.begun.pop();
            self.begun_len -= 1;
        }
        let what = format!("{} {}", self.cut.name(), self.number);
        let item = if self.begun_len > TEXT_BYTES_MAX {
            Item::Bad(Box::new(send::too_long(&what, self.begun_len)))
        } else {
            match std::str::from_utf8(&self.begun) {
                Ok("") => Item::Empty,
                Ok(text) => Item::Text(text.to_owned()),
                Err(error) => Item::Bad(Box::new(send::not_utf8(&what, error.valid_up_to() + 1))),
            }
        };
        self.begun.clear();
        self.begun_len = 0;
        (self.number, item)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn items(cut: Cut, pieces: &[&[u8]]) -> Vec<(u64, Item)> {
        let mut cutter = Cutter::new(cut);
        let mut items = Vec::new();
        for piece in pieces {
            cutter.push(piece, |number, item| items.push((number, item)));
        }
        items.extend(cutter.finish());
        items
    }

    fn text(text: &str) -> Item {
        Item::Text(text.to_owned())
    }

    #[track_caller]
    fn message(item: &Item) -> &str {
        let Item::Bad(problem) = item else { panic!("{item:?} is good") };
        &problem.message
    }

    #[test]
    fn c_03_lines_end_in_any_of_the_usual_ways() {
        let cut = items(Cut::Line, &[b"a\r\nb\n\n  \nc"]);
        let expected = [text("a"), text("b"), Item::Empty, text("  "), text("c")];
        assert_eq!(cut, (1..).zip(expected).collect::<Vec<_>>());
        assert_eq!(items(Cut::Line, &[b""]), []);
        assert_eq!(items(Cut::Null, &[b"a\r\nb\n\0c"]), [(1, text("a\r\nb\n")), (2, text("c"))]);
    }

    #[test]
    fn c_03_a_bad_line_is_named_and_the_next_one_is_fine() {
        let long = "x".repeat(10_000_000);
        let cut = items(Cut::Line, &[b"a\n", long.as_bytes(), b"\n\xff\xfe\nb"]);
        assert_eq!(message(&cut[1].1), "line 2: text of 10000000 bytes is over the limit of 16384");
        assert_eq!(message(&cut[2].1), "line 3: byte 1 is not UTF-8 text");
        assert_eq!(cut[3], (4, text("b")));
    }

    #[test]
    fn the_longest_message_fits_with_its_line_end() {
        let longest = "x".repeat(TEXT_BYTES_MAX);
        assert_eq!(items(Cut::Line, &[longest.as_bytes(), b"\r\n"]), [(1, text(&longest))]);
        let over = items(Cut::Line, &[longest.as_bytes(), b"x\r\n"]);
        assert_eq!(message(&over[0].1), "line 1: text of 16385 bytes is over the limit of 16384");
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(bytes: Vec<u8>, at: prop::sample::Index) {
            let at = at.index(bytes.len() + 1);
            prop_assert_eq!(items(Cut::Line, &[&bytes]), items(Cut::Line, &[&bytes[..at], &bytes[at..]]));
            prop_assert_eq!(items(Cut::Null, &[&bytes]), items(Cut::Null, &[&bytes[..at], &bytes[at..]]));
        }
    }
}
