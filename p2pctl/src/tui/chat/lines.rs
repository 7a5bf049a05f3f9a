//! A post, and what stands between posts, as lines of a terminal.

use p2p_proto::v1::{Post, PostId};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};

use super::outbox::{Progress, Unsent};
use super::panes::{PROMPT, Panes, Typed};
use super::posts::author;
use super::state::{Chat, Mode, Notice, Reach};
use super::timeline::{Entry, Older, Place};
use super::wrap;
use crate::output::words::{are, counted};
use crate::output::{escape, posts, time};

impl Chat {
    pub(super) fn panes(&self) -> Panes {
        Panes::of(self.screen, self.typed().lines.len(), self.re.is_some(), self.rooms.len())
    }

    pub(super) fn typed(&self) -> Typed {
        let columns = usize::from(self.screen.0).saturating_sub(PROMPT.len());
        Typed::of(self.editor.text(), self.editor.before_cursor(), columns)
    }

    /// Entries, and behind them what was typed here and is not among them yet.
    pub(super) fn slots(&self) -> usize {
        self.timeline.len() + if self.timeline.is_live() { self.outbox.of(&self.room).count() } else { 0 }
    }

    /// The lines of one slot, with what stands between it and the one before.
    pub(super) fn lines(&self, slot: usize) -> Vec<Line<'static>> {
        // What is typed changes the height alone.
        let columns = usize::from(Panes::of(self.screen, 1, false, 0).posts.width).max(1);
        let Some((place, entry)) = self.timeline.entry(slot) else {
            let unsent = self.outbox.of(&self.room).nth(slot - self.timeline.len());
            return unsent.map(|unsent| self.unsent_lines(unsent, columns)).unwrap_or_default();
        };
        let mut lines = self.lines_between(slot, place, columns);
        match entry {
            Entry::Gap(count) => lines.push(self.rule(&gap_words(*count), Color::Red, columns)),
            Entry::Post(post) => lines.extend(self.post_lines(post, columns)),
        }
        if self.mode == Mode::Choosing(place.clone()) || self.found.as_ref() == Some(place) {
            lines = lines.into_iter().map(|line| line.patch_style(Modifier::REVERSED)).collect();
        }
        lines
    }

    fn lines_between(&self, slot: usize, place: &Place, columns: usize) -> Vec<Line<'static>> {
        let mut lines = Vec::new();
        if slot == 0 {
            lines.extend(self.first_words().map(|words| self.rule(&words, Color::Reset, columns)));
        }
        let day = time::date(place.time_us, &self.zone);
        let before = slot.checked_sub(1).and_then(|slot| self.timeline.entry(slot));
        if before.is_none_or(|(before, _)| time::date(before.time_us, &self.zone) != day) {
            lines.push(self.rule(&day.to_string(), Color::Reset, columns));
        }
        if self.unread.as_ref() == Some(place) {
            lines.push(self.rule("new", Color::Yellow, columns));
        }
        lines
    }

    /// What is known of the time before the first post.
    pub(super) fn first_words(&self) -> Option<String> {
        match self.timeline.older {
            Older::More => None,
            Older::Loading if self.is_away() => Some("not loaded: the daemon is away".to_owned()),
            Older::Loading => Some("loading".to_owned()),
            Older::End { expired: 0 } => Some(format!("the beginning of {}", self.title(&self.room))),
            Older::End { expired } => {
                Some(format!("{} of all rooms {} gone", counted(expired, "older post"), are(expired)))
            }
        }
    }

    /// A line over all columns with words in it: never the start of anybody's post, which begins with a time.
    fn rule(&self, words: &str, color: Color, columns: usize) -> Line<'static> {
        let mut text = wrap::cut(&format!("── {words} "), columns);
        text.push_str(&"─".repeat(columns.saturating_sub(wrap::width(&text))));
        Line::styled(text, self.fg(color).add_modifier(Modifier::DIM))
    }

    fn post_lines(&self, post: &Post, columns: usize) -> Vec<Line<'static>> {
        let name = self.name(&post.author_name, author(post));
        let mut style = self.author_style(author(post));
        if post.own {
            style = style.add_modifier(Modifier::BOLD);
        }
        let clock = time::clock(post.time_us, &self.zone);
        // What was there before does not come late, it was fetched late.
        let tail = posts::marks(post, post.offset > self.began);
        let head = vec![
            Span::styled(format!("{} ", &clock[..CLOCK_COLUMNS.min(clock.len())]), DIM),
            Span::styled(name, style),
            Span::raw(format!("{tail}: ")),
        ];
        let mark = self.mark(post);
        let mut lines: Vec<Line<'static>> = post.re.iter().map(|re| self.re_line(re, columns)).collect();
        lines.extend(text_lines(head, &post.text, mark, columns));
        lines
    }

    fn unsent_lines(&self, unsent: &Unsent, columns: usize) -> Vec<Line<'static>> {
        let head = vec![
            Span::styled("--:-- ", DIM),
            Span::styled(
                self.name(&self.status.name, &self.me),
                self.author_style(&self.me).add_modifier(Modifier::BOLD),
            ),
            Span::raw(": "),
        ];
        let (words, color) = match &unsent.progress {
            Progress::Sending if !matches!(self.reach, Reach::Gone(_)) => ("sending".to_owned(), Color::Reset),
            Progress::Waiting | Progress::Sending => ("not sent".to_owned(), Color::Yellow),
            // Why the daemon cannot be reached is told once for all.
            Progress::Delayed(_) if matches!(self.reach, Reach::Gone(_)) => ("not sent".to_owned(), Color::Yellow),
            Progress::Delayed(why) => (format!("not sent: {}", escape::line(why)), Color::Yellow),
            Progress::Refused(why) => (format!("refused: {}", escape::line(why)), Color::Red),
        };
        let mark = Some((format!("[{words}]"), self.fg(color)));
        let mut lines: Vec<Line<'static>> = unsent.post.re.iter().map(|re| self.re_line(re, columns)).collect();
        lines.extend(text_lines(head, &unsent.post.text, mark, columns));
        lines
    }

    /// How far an own post came.
    fn mark(&self, post: &Post) -> Option<(String, Style)> {
        let id = post.id.as_ref().filter(|_| post.own)?;
        let words = match self.holders.get(&(id.epoch, id.seq)) {
            None => return None,
            Some((0, _)) => "[stored]".to_owned(),
            Some(_) if post.direct => "[arrived]".to_owned(),
            Some((holders, known)) if holders == known => "[everyone]".to_owned(),
            Some((holders, known)) => format!("[{holders}/{known}]"),
        };
        Some((words, DIM))
    }

    /// What a post answers, in one line above it.
    fn re_line(&self, re: &PostId, columns: usize) -> Line<'static> {
        let words = match self.timeline.named(re) {
            Some(post) => self.snippet(post),
            None => format!("{} (not in view)", posts::short_id(Some(re))),
        };
        Line::styled(wrap::cut(&format!("{}╭ {words}", gutter(columns)), columns), DIM)
    }

    /// The start of a post in one line.
    pub(super) fn snippet(&self, post: &Post) -> String {
        let start: String = post.text.chars().take(SNIPPET_MAX).collect();
        format!("{}: {}", self.name(&post.author_name, author(post)), escape::line(&start))
    }

    /// What is told in place of the status, and whether it is bad.
    pub(super) fn notice_line(&self) -> Option<(String, bool)> {
        match (&self.notice, &self.mode) {
            (Some(Notice::Wrong(words)), _) => Some((escape::line(words).into_owned(), true)),
            (Some(Notice::Told(words)), _) => Some((escape::line(words).into_owned(), false)),
            (None, Mode::Choosing(_)) => Some(("Up, Down: choose; Enter: answer it; Esc: do not".to_owned(), false)),
            (None, Mode::Typing | Mode::Looking(_)) => None,
        }
    }

    /// One colour a key, as in the other commands.
    pub(super) fn author_style(&self, id: &str) -> Style {
        const COLORS: [Color; 6] = [Color::Red, Color::Green, Color::Yellow, Color::Blue, Color::Magenta, Color::Cyan];
        self.fg(COLORS[posts::color_of(id) % COLORS.len()])
    }

    pub(super) fn fg(&self, color: Color) -> Style {
        if self.color { Style::new().fg(color) } else { Style::new() }
    }
}

pub(super) fn gap_words(count: u64) -> String {
    match count {
        0 => "some posts are gone".to_owned(),
        _ => format!("{} {} gone", counted(count, "post"), are(count)),
    }
}

/// A text behind its head. Every further line begins with a space, and so is no post of its own.
fn text_lines(
    head: Vec<Span<'static>>,
    text: &str,
    mark: Option<(String, Style)>,
    columns: usize,
) -> Vec<Line<'static>> {
    let gutter = gutter(columns);
    let rest = columns.saturating_sub(gutter.len() + 2).max(1);
    let head_columns: usize = head.iter().map(|span| wrap::width(&span.content)).sum();
    let mut lines = vec![Line::from(head)];
    for (number, text) in escape::lines(text).enumerate() {
        let first = if number == 0 { columns.saturating_sub(head_columns) } else { rest };
        for (at, piece) in wrap::words(&text, first, rest).into_iter().enumerate() {
            match (number, at) {
                (0, 0) => lines[0].push_span(piece),
                (_, 0) => lines.push(Line::from(vec![Span::styled(format!("{gutter}│ "), DIM), Span::raw(piece)])),
                _ => lines.push(Line::from(format!("{gutter}  {piece}"))),
            }
        }
    }
    if let Some((words, style)) = mark {
        push_mark(&mut lines, &words, style, &gutter, columns);
    }
    lines
}

/// Behind the text where it fits, else on lines of its own.
fn push_mark(lines: &mut Vec<Line<'static>>, words: &str, style: Style, gutter: &str, columns: usize) {
    let used = lines.last().map_or(0, |line| line.spans.iter().map(|span| wrap::width(&span.content)).sum());
    if used + 1 + wrap::width(words) <= columns {
        let last = lines.last_mut().expect("a text has a line");
        last.push_span(Span::styled(format!(" {words}"), style));
        return;
    }
    let rest = columns.saturating_sub(gutter.len() + 2).max(1);
    let more = wrap::words(words, rest, rest).into_iter();
    lines.extend(more.map(|piece| Line::styled(format!("{gutter}  {piece}"), style)));
}

/// What stands left of a line that goes on.
fn gutter(columns: usize) -> String {
    " ".repeat(if columns < NARROW_COLUMNS { 1 } else { CLOCK_COLUMNS + 1 })
}

const DIM: Style = Style::new().add_modifier(Modifier::DIM);
/// `14:03`
const CLOCK_COLUMNS: usize = 5;
/// Below this the gutter would eat the text.
const NARROW_COLUMNS: usize = 48;
/// No terminal shows more of a post in a line.
const SNIPPET_MAX: usize = 400;
