//! What is handed to somebody who shall join: one line of text.

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use p2p_mesh::id::{PeerId, base32};
use p2p_mesh::limits::ADDRS_PER_RECORD_MAX;
use p2p_mesh::membership::record::Addr;
use zeroize::Zeroizing;

use super::InviteId;
use super::blocks::{self, BlockError};
use crate::network::NetworkKey;

/// A ticket whose signature is valid.
#[derive(Clone, PartialEq, Eq)]
pub struct Ticket {
    /// The network's public id.
    pub network: [u8; 16],
    /// Who made it, and who is dialed for it.
    pub issuer: PeerId,
    /// Where the issuer can be reached.
    pub addrs: Vec<Addr>,
    /// What it lets in by.
    pub pass: Pass,
}

/// What a ticket holds for getting in.
#[derive(Clone, PartialEq, Eq)]
pub enum Pass {
    /// The key of an invite: the issuer gives the network's key for it.
    Invite {
        /// Which.
        id: InviteId,
        /// Known to whoever has the ticket.
        key: Zeroizing<[u8; 32]>,
        /// From then on it is worth nothing, seconds since 1970.
        expires_s: u64,
    },
    /// The network's secret itself.
    Bearer(Zeroizing<[u8; 32]>),
}

/// A text that is no ticket. It never repeats the text.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TicketError {
    /// Something else.
    #[error("this is no ticket: a ticket begins with {PREFIX}")]
    Other,
    /// In capitals.
    #[error("a ticket is in lower case, and character {at} of this one is not")]
    Case {
        /// Counted from 1, without white space.
        at: usize,
    },
    /// A character is another one, missing, or there twice.
    #[error("the ticket is mistyped near character {at}")]
    Mistyped {
        /// Counted from 1, without white space.
        at: usize,
    },
    /// The end is missing.
    #[error("the ticket is cut off: its end is missing behind character {len}")]
    CutOff {
        /// Characters that are there.
        len: usize,
    },
    /// There is more behind it.
    #[error("the ticket has {extra} characters too many at its end")]
    TooLong {
        /// How many.
        extra: usize,
    },
    /// Well-typed, and still nothing that its issuer made.
    #[error("the ticket is not what its issuer made: {0}")]
    Forged(&'static str),
}

impl Ticket {
    /// One line, signed by its issuer.
    ///
    /// # Panics
    ///
    /// It has more than four addresses, or `key` is not the issuer's.
    #[must_use]
    pub fn to_text(&self, key: &SigningKey) -> Zeroizing<String> {
        assert!(self.addrs.len() <= ADDRS_PER_RECORD_MAX, "the caller takes the best four");
        assert!(key.verifying_key().to_bytes() == self.issuer.0, "nobody signs for somebody else");
        let (form, id, secret, expires_s) = match &self.pass {
            Pass::Invite { id, key, expires_s } => (FORM_INVITE, id.0, key, *expires_s),
            Pass::Bearer(secret) => (FORM_BEARER, [0; InviteId::LEN], secret, 0),
        };
        let mut bytes = Zeroizing::new(vec![0, 0, form]);
        for part in [&self.network[..], &id, &**secret, &self.issuer.0, &expires_s.to_be_bytes()] {
            bytes.extend_from_slice(part);
        }
        bytes.push(byte(self.addrs.len()));
        for addr in self.addrs.iter().map(ToString::to_string) {
            bytes.push(byte(addr.len()));
            bytes.extend_from_slice(addr.as_bytes());
        }
        let len = u16::try_from(bytes.len() + SIGNATURE_LEN).expect("four addresses are short");
        bytes[..2].copy_from_slice(&len.to_be_bytes());
        let signature = key.sign(&signed_text(&bytes)).to_bytes();
        bytes.extend_from_slice(&signature);
        Zeroizing::new(format!("{PREFIX}{}", *Zeroizing::new(blocks::encode(&bytes))))
    }

    /// A ticket from its text. White space and line breaks in it are left out.
    ///
    /// # Errors
    ///
    /// It was not copied as it is, or nobody made it.
    pub fn parse(text: &str) -> Result<Self, TicketError> {
        let kept = text.chars().filter(|letter| !letter.is_whitespace()).take(TEXT_LEN_MAX + 1);
        let text = Zeroizing::new(kept.collect::<String>());
        let head: String = text.chars().take(PREFIX.len()).collect();
        if !head.eq_ignore_ascii_case(PREFIX) {
            return Err(TicketError::Other);
        }
        if let Some(at) = text.chars().position(|letter| letter.is_ascii_uppercase()) {
            return Err(TicketError::Case { at: at + 1 });
        }
        let bytes = blocks::decode(&text[PREFIX.len()..]).map_err(|error| match error {
            BlockError::Wrong(at) => TicketError::Mistyped { at: PREFIX.len() + at + 1 },
            BlockError::Short => TicketError::CutOff { len: text.len() },
            BlockError::Long(extra) => TicketError::TooLong { extra },
        })?;
        Self::from_bytes(&Zeroizing::new(bytes)).ok_or(TicketError::Forged("what it says makes no sense"))?
    }

    fn from_bytes(bytes: &[u8]) -> Option<Result<Self, TicketError>> {
        let (signed, signature) = bytes.split_last_chunk::<SIGNATURE_LEN>()?;
        let mut rest = Rest(signed);
        let _len = rest.array::<2>()?;
        let [form] = rest.array()?;
        let network = rest.array()?;
        let id = InviteId(rest.array()?);
        let key = Zeroizing::new(rest.array()?);
        let issuer = PeerId(rest.array()?);
        let expires_s = u64::from_be_bytes(rest.array()?);
        let [count] = rest.array()?;
        let addrs: Option<Vec<Addr>> = (0..count).map(|_| rest.addr()).collect();
        let pass = match form {
            FORM_INVITE => Pass::Invite { id, key, expires_s },
            FORM_BEARER => Pass::Bearer(key),
            _ => return Some(Err(TicketError::Forged("its form is not known to this version"))),
        };
        let ticket = Self { network, issuer, addrs: addrs?, pass };
        if !rest.0.is_empty() || ticket.addrs.len() > ADDRS_PER_RECORD_MAX {
            return None;
        }
        let verified = VerifyingKey::from_bytes(&issuer.0)
            .and_then(|key| key.verify_strict(&signed_text(signed), &Signature::from_bytes(signature)));
        Some(verified.map(|()| ticket).map_err(|_| TicketError::Forged("its signature is wrong")))
    }

    /// The network's id as people see it.
    #[must_use]
    pub fn network_text(&self) -> String {
        base32(&self.network)
    }

    /// The network's key, where the ticket holds it.
    #[must_use]
    pub fn network_key(&self) -> Option<NetworkKey> {
        match &self.pass {
            Pass::Bearer(secret) => Some(NetworkKey { id: self.network, secret: secret.clone() }),
            Pass::Invite { .. } => None,
        }
    }
}

impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ticket(of {:?}, {:?}, key hidden)", self.issuer, self.addrs)
    }
}

/// Bytes that are still to be read.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*array)
    }

    fn addr(&mut self) -> Option<Addr> {
        let [len] = self.array()?;
        let (addr, rest) = self.0.split_at_checked(usize::from(len))?;
        self.0 = rest;
        std::str::from_utf8(addr).ok()?.parse().ok()
    }
}

fn signed_text(bytes: &[u8]) -> Zeroizing<Vec<u8>> {
    Zeroizing::new([CONTEXT, bytes].concat())
}

fn byte(len: usize) -> u8 {
    u8::try_from(len).expect("a host has at most 253 characters, and a port at most 5: addresses are shorter than 256")
}

/// What every ticket begins with.
const PREFIX: &str = "p2p1";
const CONTEXT: &[u8] = b"p2pd ticket v1\n";
const FORM_INVITE: u8 = 1;
const FORM_BEARER: u8 = 2;
const SIGNATURE_LEN: usize = 64;
/// The longest, with four addresses of the longest names, has some 2,200 characters.
const TEXT_LEN_MAX: usize = 4_096;

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[7; 32])
    }

    pub(in crate::invite) fn ticket(pass: Pass) -> Ticket {
        let issuer = PeerId(key().verifying_key().to_bytes());
        let addrs = ["192.0.2.7:8080", "alice.example:9000"].map(|addr| addr.parse().unwrap()).to_vec();
        Ticket { network: [3; 16], issuer, addrs, pass }
    }

    fn invite() -> Ticket {
        ticket(Pass::Invite { id: InviteId([5; 8]), key: Zeroizing::new([9; 32]), expires_s: 1_795_348_800 })
    }

    #[test]
    fn a_ticket_comes_back_from_its_text_also_with_white_space_in_it() {
        for ticket in [invite(), ticket(Pass::Bearer(Zeroizing::new([4; 32])))] {
            let text = ticket.to_text(&key());
            assert!(text.starts_with("p2p1") && text.len() < 400, "{}", text.len());
            assert_eq!(Ticket::parse(&text).unwrap(), ticket);
            let broken: Vec<String> =
                text.as_bytes().chunks(40).map(|line| format!(" {}\r\n", String::from_utf8_lossy(line))).collect();
            assert_eq!(Ticket::parse(&broken.concat()).unwrap(), ticket);
        }
    }

    #[test]
    fn h_12_every_damage_has_a_message_of_its_own() {
        let text = invite().to_text(&key());
        let mut mistyped = text.to_string();
        let other = if &text[30..31] == "x" { "y" } else { "x" };
        mistyped.replace_range(30..31, other);
        let mut zero = text.to_string();
        zero.replace_range(50..51, "0");
        let says = |text: &str| Ticket::parse(text).unwrap_err().to_string();
        assert_eq!(says(&mistyped), "the ticket is mistyped near character 31");
        assert_eq!(says(&zero), "the ticket is mistyped near character 51");
        assert_eq!(says(&text[..100]), "the ticket is cut off: its end is missing behind character 100");
        assert_eq!(says(&text.to_uppercase()), "a ticket is in lower case, and character 1 of this one is not");
        assert_eq!(says(&format!("{}aaaa", *text)), "the ticket has 4 characters too many at its end");
        for other in ["", "hello", "p2p2abc", "p2pd-network-v1 a b"] {
            assert_eq!(says(other), "this is no ticket: a ticket begins with p2p1");
        }
    }

    #[test]
    fn what_somebody_else_changed_and_typed_well_is_still_found() {
        let text = invite().to_text(&key());
        let bytes = blocks::decode(&text[PREFIX.len()..]).unwrap();
        let retyped = |change: fn(&mut Vec<u8>)| {
            let mut bytes = bytes.clone();
            change(&mut bytes);
            let len = u16::try_from(bytes.len()).unwrap().to_be_bytes();
            bytes[..2].copy_from_slice(&len);
            Ticket::parse(&format!("{PREFIX}{}", blocks::encode(&bytes))).unwrap_err().to_string()
        };
        let forged = |why: &str| format!("the ticket is not what its issuer made: {why}");
        assert_eq!(retyped(|bytes| bytes[10] ^= 1), forged("its signature is wrong"));
        assert_eq!(retyped(|bytes| bytes[2] = 9), forged("its form is not known to this version"));
        assert_eq!(retyped(|bytes| bytes[99] = 5), forged("what it says makes no sense"));
        assert_eq!(retyped(|bytes| bytes.truncate(70)), forged("what it says makes no sense"));
        assert_eq!(retyped(|bytes| bytes.insert(100, 1)), forged("what it says makes no sense"));
    }

    #[test]
    fn nothing_shows_the_key_of_a_ticket() {
        let shown = format!("{:?}", invite());
        assert!(shown.ends_with("key hidden)"), "{shown}");
    }

    proptest! {
        #[test]
        fn whatever_is_read_nothing_panics(text in "(p2p1)?[a-z2-7A-Z \n0é]{0,500}") {
            prop_assert!(Ticket::parse(&text).is_err());
        }

        #[test]
        fn whatever_bytes_are_typed_well_nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 20..300)) {
            let mut bytes = bytes;
            let len = u16::try_from(bytes.len()).unwrap().to_be_bytes();
            bytes[..2].copy_from_slice(&len);
            let text = [PREFIX, &blocks::encode(&bytes)].concat();
            prop_assert!(Ticket::parse(&text).is_err());
        }
    }
}
