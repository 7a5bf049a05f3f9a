//! What is said while measuring: texts of one length that carry their run, their sender and their number.

/// Says which post a text is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Tag {
    /// Which load of this measuring; from 1.
    pub(crate) run: u32,
    /// The place of its sender among the six.
    pub(crate) sender: usize,
    /// Its place among what this sender says in this run; from 0.
    pub(crate) number: usize,
}

impl Tag {
    /// A text of exactly `bytes`.
    pub(crate) fn encode(self, bytes: usize) -> String {
        let Self { run, sender, number } = self;
        let mut text = String::with_capacity(bytes);
        text.push_str(&format!("{run}.{sender}.{number}."));
        assert!(text.len() <= bytes, "{bytes} bytes do not hold {text}");
        text.extend(std::iter::repeat_n(PADDING, bytes - text.len()));
        text
    }

    /// `None` for a text that is not of exactly this form and length.
    pub(crate) fn decode(text: &str, bytes: usize) -> Option<Self> {
        let mut parts = text.splitn(4, '.');
        let run = parts.next()?.parse().ok()?;
        let sender = parts.next()?.parse().ok()?;
        let number = parts.next()?.parse().ok()?;
        let is_whole = parts.next()?.bytes().all(|byte| byte == PADDING as u8) && text.len() == bytes;
        is_whole.then_some(Self { run, sender, number })
    }
}

const PADDING: char = 'x';

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_tells_which_post_it_is() {
        let tag = Tag { run: 3, sender: 5, number: 1_234_567 };
        let text = tag.encode(64);
        assert_eq!(text.len(), 64);
        assert_eq!(Tag::decode(&text, 64), Some(tag));
    }

    #[test]
    fn a_text_that_was_changed_is_none_of_ours() {
        let text = Tag { run: 1, sender: 0, number: 7 }.encode(64);
        assert_eq!(Tag::decode(&text, 65), None);
        assert_eq!(Tag::decode(&text[..63], 64), None);
        assert_eq!(Tag::decode(&text.replacen("xx", "xy", 1), 64), None);
        assert_eq!(Tag::decode("hello", 5), None);
    }
}
