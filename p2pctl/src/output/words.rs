//! Counts and lists, as they stand in sentences.

/// `1 post`, `1,234 posts`
pub(crate) fn counted(count: u64, what: &str) -> String {
    format!("{} {what}{}", grouped(count), if count == 1 { "" } else { "s" })
}

/// What stands behind a count.
pub(crate) fn are(count: u64) -> &'static str {
    if count == 1 { "is" } else { "are" }
}

/// `1,234`
pub(crate) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Some names, and how many more there are.
pub(crate) fn listed(names: impl Iterator<Item = String>) -> String {
    let names: Vec<String> = names.collect();
    let shown = names.len().min(LISTED_MAX);
    let rest = names.len() - shown;
    let more = if rest == 0 { String::new() } else { format!(" and {rest} more") };
    format!("{}{more}", names[..shown].join(", "))
}

/// Names in one line.
const LISTED_MAX: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_numbers_are_read_in_threes() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0, 1, 2_000].map(|count| counted(count, "post")), ["0 posts", "1 post", "2,000 posts"]);
    }

    #[test]
    fn long_lists_of_names_end_with_a_number() {
        assert_eq!(listed((1..=3).map(|n| n.to_string())), "1, 2, 3");
        assert_eq!(listed((1..=12).map(|n| n.to_string())), "1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 2 more");
    }
}
