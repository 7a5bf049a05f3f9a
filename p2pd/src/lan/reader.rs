//! Reads the messages of DNS, byte by byte and never beyond their end.

/// A name: its labels, in lower case.
pub(super) type Name = Vec<Vec<u8>>;

/// A place in a message.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

/// What a record says, without having read its content.
#[derive(Clone, Debug)]
pub(super) struct Record<'a> {
    pub(super) name: Name,
    pub(super) kind: u16,
    pub(super) ttl_s: u32,
    pub(super) content: &'a [u8],
    /// Where the content begins: names in it may point back into the message.
    pub(super) reader: Reader<'a>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(message: &'a [u8]) -> Self {
        Self { message, at: 0 }
    }

    pub(super) fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let bytes = self.message.get(self.at..self.at.checked_add(len)?)?;
        self.at += len;
        Some(bytes)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.bytes(2)?.try_into().ok()?))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.bytes(4)?.try_into().ok()?))
    }

    /// A name, which may end with a pointer to the end of an earlier one. Each pointer goes further back than the one
    /// before, so there is an end.
    pub(super) fn name(&mut self) -> Option<Name> {
        let (mut name, mut len) = (Name::new(), 0);
        let mut here = self.clone();
        let (mut floor, mut behind) = (self.at, None);
        loop {
            let [first] = *here.bytes(1)? else { return None };
            match first {
                0 => break,
                1..=LABEL_LEN_MAX => {
                    let label = here.bytes(usize::from(first))?;
                    len += label.len() + 1;
                    if len > NAME_LEN_MAX {
                        return None;
                    }
                    name.push(label.to_ascii_lowercase());
                }
                POINTER.. => {
                    let [second] = *here.bytes(1)? else { return None };
                    let to = usize::from(first - POINTER) << 8 | usize::from(second);
                    behind.get_or_insert(here.at);
                    if to >= floor {
                        return None;
                    }
                    (floor, here.at) = (to, to);
                }
                _ => return None,
            }
        }
        self.at = behind.unwrap_or(here.at);
        Some(name)
    }

    /// The name and the kind of what is asked for.
    pub(super) fn question(&mut self) -> Option<Name> {
        let name = self.name()?;
        let _kind_and_class = self.u32()?;
        Some(name)
    }

    pub(super) fn record(&mut self) -> Option<Record<'a>> {
        let name = self.name()?;
        let kind = self.u16()?;
        let _class = self.u16()?;
        let ttl_s = self.u32()?;
        let len = usize::from(self.u16()?);
        let reader = self.clone();
        let content = self.bytes(len)?;
        Some(Record { name, kind, ttl_s, content, reader })
    }
}

/// RFC 1035, section 2.3.4.
pub(super) const LABEL_LEN_MAX: u8 = 63;
const NAME_LEN_MAX: usize = 255;
/// The two highest bits.
const POINTER: u8 = 0xc0;
