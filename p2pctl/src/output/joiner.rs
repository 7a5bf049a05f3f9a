//! The two signs without width that real text needs: U+200D joins emoji to one picture, and letters of Indic scripts;
//! U+200C parts letters of Arabic and Indic scripts that would join. Anywhere else they only hide in a word.

/// ZERO WIDTH NON-JOINER.
pub(crate) const NON_JOINER: char = '\u{200c}';
/// ZERO WIDTH JOINER.
pub(crate) const JOINER: char = '\u{200d}';

/// Whether there is a joiner at `at` that stands where its scripts have it.
pub(crate) fn is_in_place(text: &str, at: usize) -> bool {
    let (before, rest) = text.split_at(at);
    let mut rest = rest.chars();
    match rest.next() {
        Some(JOINER) => joins_emoji(before, rest.clone().next()) || joins_letters(before, rest.next()),
        Some(NON_JOINER) => parts_letters(before, rest.next()),
        Some(_) | None => false,
    }
}

/// Whether what stands at `at` is drawn in one picture with the emoji before it.
pub(crate) fn is_joined(text: &str, at: usize) -> bool {
    let Some(joint) = text[..at].strip_suffix(JOINER) else { return false };
    joins_emoji(joint, text[at..].chars().next())
}

fn joins_emoji(before: &str, next: Option<char>) -> bool {
    next.is_some_and(is_emoji) && chain_len(before).is_some_and(|joiners| joiners < EMOJI_JOINERS_MAX)
}

/// Joiners of the picture that `text` ends with, counted no further than matters; none where it ends with no emoji.
fn chain_len(text: &str) -> Option<usize> {
    let mut rest = without_emoji(text)?;
    for joiners in 0..EMOJI_JOINERS_MAX {
        match rest.strip_suffix(JOINER).and_then(without_emoji) {
            Some(before) => rest = before,
            None => return Some(joiners),
        }
    }
    Some(EMOJI_JOINERS_MAX)
}

/// What stands before the emoji at the end, which may have a skin tone and be asked for in colours.
fn without_emoji(text: &str) -> Option<&str> {
    let text = text.strip_suffix('\u{fe0f}').unwrap_or(text);
    let text = text.strip_suffix(is_skin_tone).unwrap_or(text);
    text.strip_suffix(is_emoji)
}

/// An Indic letter has a half form before a joiner, which stands behind its virama; in Bengali also before it. Arabic
/// letters keep the form that they have beside others.
fn joins_letters(before: &str, next: Option<char>) -> bool {
    let Some(script) = script_before(before) else { return false };
    match script {
        Script::Arabic => next.and_then(script_of) == Some(script),
        Script::Indic(_) => {
            let is_virama_of_it = |sign: char| is_virama(sign) && block_of(sign) == script;
            before.chars().next_back().is_some_and(is_virama_of_it) || next.is_some_and(is_virama_of_it)
        }
    }
}

fn parts_letters(before: &str, next: Option<char>) -> bool {
    let script = script_before(before);
    script.is_some() && next.and_then(script_of) == script
}

/// Scripts in which letters join.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Script {
    Arabic,
    /// By the block of Unicode, of which each of them has one.
    Indic(u32),
}

/// The script of the letter that `text` ends with, whatever marks it has.
fn script_before(text: &str) -> Option<Script> {
    text.chars().rev().take(MARKS_SEEN_MAX).find(|character| !super::escape::is_mark(*character)).and_then(script_of)
}

fn script_of(letter: char) -> Option<Script> {
    match letter {
        _ if !letter.is_alphabetic() => None,
        '\u{620}'..='\u{6ff}' | '\u{750}'..='\u{77f}' | '\u{870}'..='\u{8ff}' => Some(Script::Arabic),
        '\u{900}'..='\u{dff}' => Some(block_of(letter)),
        _ => None,
    }
}

fn block_of(character: char) -> Script {
    Script::Indic(u32::from(character) / 0x80)
}

/// Indic_Syllabic_Category=Virama and Pure_Killer of the blocks from Devanagari to Sinhala (IndicSyllabicCategory.txt).
fn is_virama(sign: char) -> bool {
    matches!(
        sign,
        '\u{94d}'
            | '\u{9cd}'
            | '\u{a4d}'
            | '\u{acd}'
            | '\u{b4d}'
            | '\u{bcd}'
            | '\u{c4d}'
            | '\u{ccd}'
            | '\u{d3b}'
            | '\u{d3c}'
            | '\u{d4d}'
            | '\u{dca}'
    )
}

/// What is joined by emoji-zwj-sequences.txt of Unicode 16: the blocks of pictographs, and the older signs in it.
fn is_emoji(character: char) -> bool {
    let is_pictograph = matches!(
        character,
        '\u{1f300}'..='\u{1f64f}' | '\u{1f680}'..='\u{1f6ff}' | '\u{1f900}'..='\u{1f9ff}' | '\u{1fa70}'..='\u{1faff}'
    );
    let is_older = matches!(
        character,
        '\u{2194}'
            | '\u{2195}'
            | '\u{2620}'
            | '\u{2640}'
            | '\u{2642}'
            | '\u{2695}'
            | '\u{2696}'
            | '\u{26a7}'
            | '\u{26d3}'
            | '\u{26f9}'
            | '\u{2708}'
            | '\u{2744}'
            | '\u{2764}'
            | '\u{27a1}'
            | '\u{2b1b}'
    );
    is_older || is_pictograph && !is_skin_tone(character)
}

fn is_skin_tone(character: char) -> bool {
    matches!(character, '\u{1f3fb}'..='\u{1f3ff}')
}

/// A family of four, or a kiss, has three.
const EMOJI_JOINERS_MAX: usize = 3;
/// More marks on a letter than are shown, so that a heap of them costs little.
const MARKS_SEEN_MAX: usize = 10;

#[cfg(test)]
mod tests {
    use crate::output::escape::line;

    #[test]
    fn emoji_that_are_one_picture_are_shown_as_one() {
        for text in ["👨‍👩‍👧", "👩🏽‍❤️‍💋‍👨🏿", "🏳️‍🌈", "🏴‍☠️", "🧑🏽‍⚕️ ok", "🐻‍❄️", "⛹🏿‍♀️", "👨‍👩‍👧‍👦👨‍👩‍👧‍👦"]
        {
            assert_eq!(line(text), text);
        }
    }

    #[test]
    fn words_that_need_a_joiner_are_shown_as_they_are_written() {
        for text in ["می‌خواهم", "خانه‌ای", "क्‍ष क्‌ष", "ශ්‍රී ලංකා", "র‍্যাব", "ന്‍", "ل‍ه"]
        {
            assert_eq!(line(text), text);
        }
    }

    #[test]
    fn x_04_a_joiner_that_joins_nothing_is_seen() {
        assert_eq!(line("adm\u{200d}in \u{200c}ad\u{200c}min"), "adm<U+200D>in <U+200C>ad<U+200C>min");
        assert_eq!(line("👨\u{200d}"), "👨<U+200D>");
        assert_eq!(line("\u{200d}👨"), "<U+200D>👨");
        assert_eq!(line("👨\u{200d}\u{200d}👩"), "👨<U+200D><U+200D>👩");
        assert_eq!(line("👨\u{200c}👩 1\u{200d}2"), "👨<U+200C>👩 1<U+200D>2");
        assert_eq!(line("می\u{200c} می\u{200c}a"), "می<U+200C> می<U+200C>a");
        assert_eq!(line("क\u{200d}ष क\u{94d}a\u{200d}"), "क<U+200D>ष क\u{94d}a<U+200D>");
        assert_eq!(line("क\u{200c}ব a\u{94d}\u{200d}b"), "क<U+200C>ব a\u{94d}<U+200D>b");
        assert_eq!(line("ی\u{200c}\u{200c}ی"), "ی<U+200C><U+200C>ی");
    }

    #[test]
    fn a_chain_of_emoji_that_no_picture_has_is_seen() {
        let chain = ["👨"; 6].join("\u{200d}");
        assert_eq!(line(&chain), "👨\u{200d}👨\u{200d}👨\u{200d}👨<U+200D>👨<U+200D>👨");
    }
}
