//! What a line means that was typed: a text to be sent, or a command.

/// One line, understood.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Line {
    Text(String),
    Join(String),
    /// Go to a member, and say the rest to it alone.
    Message(String),
    /// Choose a post to answer; the text is the answer's beginning.
    Reply(String),
    Search(String),
    Rooms,
    Members,
    /// Send again what was refused.
    Retry,
    /// Give up what was refused.
    Drop,
    Help,
    Quit,
    /// Not understood, and why.
    Wrong(String),
}

/// Reads what was typed. Nothing that begins with one slash is ever sent.
pub(super) fn read(typed: &str) -> Line {
    let Some(command) = typed.strip_prefix('/') else { return Line::Text(typed.to_owned()) };
    if command.starts_with('/') {
        return Line::Text(command.to_owned());
    }
    let (name, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
    let (name, rest) = (name.to_lowercase(), rest.trim());
    match name.as_str() {
        "join" if rest.is_empty() => Line::Wrong("/join needs a room: /join kitchen".to_owned()),
        "join" => Line::Join(rest.trim_start_matches('#').to_owned()),
        "msg" if rest.is_empty() => Line::Wrong("/msg needs a member: /msg alice hi".to_owned()),
        "msg" => Line::Message(rest.trim_start_matches('@').to_owned()),
        "reply" => Line::Reply(rest.to_owned()),
        "search" if rest.is_empty() => Line::Wrong("/search needs words: /search coffee".to_owned()),
        "search" => Line::Search(rest.to_owned()),
        "rooms" => Line::Rooms,
        "who" => Line::Members,
        "retry" => Line::Retry,
        "drop" => Line::Drop,
        "help" => Line::Help,
        "quit" => Line::Quit,
        _ => Line::Wrong(format!("there is no /{name}: see /help")),
    }
}

/// The commands, as they are completed.
pub(super) const COMMANDS: &[&str] =
    &["/drop", "/help", "/join", "/msg", "/quit", "/reply", "/retry", "/rooms", "/search", "/who"];

/// What `/help` shows.
pub(super) const HELP: &[(&str, &str)] = &[
    ("Enter", "send; Alt-Enter or Ctrl-J begins a new line"),
    ("Tab", "complete a command, a room or a name"),
    ("Up Down", "what was typed before"),
    ("PageUp PageDown", "older and newer posts; Ctrl-Up, Ctrl-Down: by a line"),
    ("End", "back to the newest post (Ctrl-End: at once)"),
    ("Ctrl-N Ctrl-P", "next and previous room; Alt-A: the next one with something new"),
    ("Ctrl-R", "choose a post to answer, as /reply"),
    ("Ctrl-W Ctrl-U Ctrl-K", "cut a word, to the start, to the end; Ctrl-Y pastes"),
    ("Ctrl-Z Ctrl-L", "suspend; draw anew"),
    ("Ctrl-C Ctrl-D", "leave; with text typed, Ctrl-C drops that first"),
    ("", ""),
    ("/join ROOM", "go to a room; it begins to exist with its first post"),
    ("/msg MEMBER [TEXT]", "go to a member, and say it to that one alone"),
    ("/reply [TEXT]", "choose a post with Up and Down, answer it with Enter"),
    ("/search WORDS", "find posts of this room; Enter jumps there"),
    ("/rooms /who", "the rooms; the members"),
    ("/retry /drop", "send again what was refused; give up that and what waits"),
    ("/quit", "leave"),
    ("//TEXT", "send a text that begins with a slash"),
    ("", ""),
    ("+3 other", "3 unread posts in other rooms"),
    ("@alice~k5x3", "what only you and that member can read"),
    ("[stored]", "your post is on this daemon's disk alone"),
    ("[2/5]", "2 of 5 other members are known to hold it"),
    ("[everyone]", "all of them do"),
    ("[arrived]", "the one member whom it is for holds it"),
    ("[not sent]", "typed and not acknowledged: sent as soon as the daemon is back"),
    ("(late)", "it arrived long after it was said"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slash_is_a_command_or_an_error_and_never_a_text() {
        assert_eq!(read("hello /join"), Line::Text("hello /join".to_owned()));
        assert_eq!(read("//etc/passwd"), Line::Text("/etc/passwd".to_owned()));
        assert_eq!(read("/join #ops "), Line::Join("ops".to_owned()));
        assert_eq!(read("/reply  yes, I do"), Line::Reply("yes, I do".to_owned()));
        assert_eq!(read("/QUIT"), Line::Quit);
        for wrong in ["/", "/ hello", "/etc/passwd", "/nick bob", "/me waves", "/join", "/search  "] {
            assert!(matches!(read(wrong), Line::Wrong(_)), "{wrong}");
        }
        for command in COMMANDS {
            assert!(!matches!(read(&format!("{command} x")), Line::Wrong(_) | Line::Text(_)), "{command}");
        }
    }
}
