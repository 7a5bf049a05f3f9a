//! The chat on a terminal of any size.

use p2p_proto::v1::{Peer, PeerState};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::panel::{Looking, Panel, Search};
use super::panes::{PROMPT, Panes};
use super::posts::author;
use super::state::{Chat, Mode, Reach, View};
use super::talk;
use super::words::HELP;
use super::wrap;
use crate::output::status::health_name;
use crate::output::words::grouped;
use crate::output::{escape, time};
use crate::parse::TEXT_BYTES_MAX;

pub(super) fn draw(chat: &Chat, frame: &mut Frame<'_>) {
    let panes = chat.panes();
    draw_rooms(chat, frame, panes.rooms);
    draw_members(chat, frame, panes.members);
    draw_rules(frame, &panes);
    match &chat.mode {
        Mode::Typing | Mode::Choosing(_) => draw_posts(chat, frame, panes.posts),
        Mode::Looking(panel) => draw_panel(chat, panel, frame, panes.posts),
    }
    put(frame, panes.status, 0, status_line(chat, usize::from(panes.status.width)));
    if let Some(re) = &chat.re {
        put(frame, panes.answered, 0, Line::styled(format!("answers (Esc: no) {}", chat.snippet(re)), Modifier::DIM));
    }
    draw_input(chat, frame, panes.input);
}

/// One line in an area, as far as both reach.
fn put(frame: &mut Frame<'_>, area: Rect, row: usize, line: Line<'_>) {
    let Ok(row) = u16::try_from(row) else { return };
    if row < area.height {
        frame.render_widget(line, Rect { y: area.y + row, height: 1, ..area });
    }
}

fn draw_posts(chat: &Chat, frame: &mut Frame<'_>, area: Rect) {
    let shown = chat.shown();
    let lines: Vec<Line<'_>> = shown.into_iter().flat_map(|(_, lines)| lines).collect();
    if lines.is_empty() {
        let words = chat.first_words().unwrap_or_else(|| "nothing is shown".to_owned());
        return put(frame, area, 0, Line::styled(wrap::cut(&format!("── {words}"), area.width.into()), Modifier::DIM));
    }
    // A conversation that does not fill the screen yet stands at its lower edge, where the next post comes.
    let free = usize::from(area.height).saturating_sub(lines.len());
    for (row, line) in lines.into_iter().enumerate() {
        put(frame, area, free + row, line);
    }
}

fn draw_rules(frame: &mut Frame<'_>, panes: &Panes) {
    let mut xs = Vec::new();
    if panes.posts.x > 0 {
        xs.push(panes.posts.x - 1);
    }
    if panes.members.width > 0 {
        xs.push(panes.posts.right());
    }
    for x in xs {
        let area = Rect { x, width: 1, ..panes.posts };
        let rule = vec![Line::from("│"); area.height.into()];
        frame.render_widget(Paragraph::new(rule).dim(), area);
    }
}

/// A list with a head, and the number of those that do not fit.
fn draw_list(frame: &mut Frame<'_>, area: Rect, head: String, rows: Vec<Line<'static>>) {
    let columns = usize::from(area.width);
    put(frame, area, 0, Line::styled(wrap::cut(&head, columns), Modifier::BOLD));
    let fitting = usize::from(area.height).saturating_sub(1);
    let shown = if rows.len() > fitting { fitting.saturating_sub(1) } else { rows.len() };
    let rest = rows.len() - shown;
    for (at, row) in rows.into_iter().take(shown).enumerate() {
        put(frame, area, at + 1, row);
    }
    if rest > 0 {
        put(frame, area, shown + 1, Line::styled(format!("… {rest} more"), Modifier::DIM));
    }
}

fn draw_rooms(chat: &Chat, frame: &mut Frame<'_>, area: Rect) {
    if area.width == 0 || area.height == 0 {
        return;
    }
    let columns = usize::from(area.width);
    // Those with something new come first where not all fit.
    let mut rooms: Vec<_> = chat.rooms.iter().collect();
    if rooms.len() > usize::from(area.height).saturating_sub(1) {
        rooms.sort_by_key(|(name, room)| (**name != chat.room, room.unread == 0));
    }
    let rows = rooms.into_iter().map(|(name, room)| room_line(chat, name, room.unread, columns));
    draw_list(frame, area, "Rooms".to_owned(), rows.collect());
}

fn room_line(chat: &Chat, name: &str, unread: u64, columns: usize) -> Line<'static> {
    let count = if unread == 0 { String::new() } else { format!(" {}", grouped(unread)) };
    let here = name == chat.room;
    let sign = if here { "▸" } else { " " };
    let name = wrap::cut(&chat.title(name), columns.saturating_sub(1 + count.len()));
    let style = if here || unread > 0 { Style::new().bold() } else { Style::new() };
    Line::from(vec![Span::styled(format!("{sign}{name}"), style), Span::styled(count, chat.fg(Color::Yellow).bold())])
}

fn draw_members(chat: &Chat, frame: &mut Frame<'_>, area: Rect) {
    if area.width > 0 && area.height > 0 {
        let rows = member_lines(chat, area.width.into());
        draw_list(frame, area, format!("Members {}", rows.len()), rows);
    }
}

/// This daemon, then whoever is there, then the others with the time since when they are away.
fn member_lines(chat: &Chat, columns: usize) -> Vec<Line<'static>> {
    let mut peers: Vec<&Peer> = chat.peers.iter().collect();
    peers.sort_by_key(|peer| (rank(peer.state()), &peer.name, &peer.id));
    let me = chat.name(&chat.status.name, &chat.me);
    let first = Line::from(vec![
        Span::raw("● "),
        Span::styled(wrap::cut(&me, columns.saturating_sub(2)), chat.author_style(&chat.me).bold()),
    ]);
    std::iter::once(first).chain(peers.into_iter().map(|peer| member_line(chat, peer, columns))).collect()
}

fn member_line(chat: &Chat, peer: &Peer, columns: usize) -> Line<'static> {
    let (sign, color, is_here) = match peer.state() {
        PeerState::Up => ("●", Color::Green, true),
        PeerState::Suspect => ("◐", Color::Yellow, true),
        PeerState::Dialing | PeerState::Waiting | PeerState::Down | PeerState::Unspecified => {
            ("○", Color::Reset, false)
        }
    };
    // Who is there is what the daemon knew; while it is gone nobody knows.
    let is_here = is_here && !matches!(chat.reach, Reach::Gone(_));
    let (sign, color) = if matches!(chat.reach, Reach::Gone(_)) { ("·", Color::Reset) } else { (sign, color) };
    let since = if is_here { String::new() } else { since(chat, peer) };
    let name = wrap::cut(&chat.name(&peer.name, &peer.id), columns.saturating_sub(2 + since.len()));
    let style = if is_here { chat.author_style(&peer.id) } else { Style::new().dim() };
    Line::from(vec![
        Span::styled(format!("{sign} "), chat.fg(color)),
        Span::styled(name, style),
        Span::styled(since, Modifier::DIM),
    ])
}

/// When it went away: a time of today, or a day; or that it is no member any more.
fn since(chat: &Chat, peer: &Peer) -> String {
    if peer.shut_out {
        return " out".to_owned();
    }
    let at = if peer.last_seen_us > 0 { peer.last_seen_us } else { peer.since_us };
    if at == 0 {
        return String::new();
    }
    let today = chat.zone.to_datetime(chat.now).date();
    let day = time::date(at, &chat.zone);
    if day == today { format!(" {}", &time::clock(at, &chat.zone)[..5]) } else { format!(" {}", &day.to_string()[5..]) }
}

fn rank(state: PeerState) -> u8 {
    match state {
        PeerState::Up => 0,
        PeerState::Suspect => 1,
        PeerState::Dialing | PeerState::Waiting | PeerState::Down | PeerState::Unspecified => 2,
    }
}

/// Who we are, where we are, and how the daemon is. What does not fit is left out from the end.
fn status_line(chat: &Chat, columns: usize) -> Line<'static> {
    if let Some((words, is_bad)) = chat.notice_line() {
        return bar(&words, if is_bad { chat.fg(Color::Red).bold() } else { Style::new() }, columns);
    }
    let mut parts = vec![room_words(chat)];
    match &chat.reach {
        Reach::Gone(why) => parts.push(format!("OFFLINE, reconnecting: {}", escape::line(why))),
        Reach::CatchingUp | Reach::Back => parts.push(format!("{} catching up", state_words(chat))),
        Reach::Live => parts.push(state_words(chat)),
        Reach::Silent => parts.push("SILENT: the daemon says nothing".to_owned()),
    }
    let unsent = chat.outbox.iter().count();
    if unsent > 0 {
        parts.insert(1, format!("{unsent} not sent"));
    }
    if chat.view != View::Newest {
        let words = if chat.below > 0 {
            format!("↓ {} new below", grouped(chat.below))
        } else {
            "↓ End: newest".to_owned()
        };
        parts.insert(0, words);
    }
    let me = chat.name(&chat.status.name, &chat.me);
    parts.push(me);
    parts.extend(chat.status.problems.iter().map(|problem| escape::line(problem).into_owned()));
    let color = match &chat.reach {
        Reach::Gone(_) | Reach::Silent => Color::Red,
        Reach::CatchingUp | Reach::Back => Color::Yellow,
        Reach::Live if chat.status.problems.is_empty() => Color::Reset,
        Reach::Live => Color::Yellow,
    };
    bar(&parts.join("  "), chat.fg(color), columns)
}

/// Words on a bar over all columns.
fn bar(words: &str, style: Style, columns: usize) -> Line<'static> {
    let text = wrap::cut(&format!(" {words} "), columns);
    let fill = " ".repeat(columns.saturating_sub(wrap::width(&text)));
    Line::styled(text + &fill, style.reversed())
}

/// Where we are, and what is unread elsewhere where there is no pane with rooms that tells it.
fn room_words(chat: &Chat) -> String {
    let elsewhere: u64 = chat.rooms.values().map(|room| room.unread).sum();
    let is_told = elsewhere == 0 || chat.panes().rooms.width > 0;
    let unread = if is_told { String::new() } else { format!(" +{} other", grouped(elsewhere)) };
    let sign = if talk::peer_of(&chat.room).is_some() { "" } else { "#" };
    format!("{sign}{}{unread}", chat.title(&chat.room))
}

fn state_words(chat: &Chat) -> String {
    let status = &chat.status;
    format!("{} {}/{} up", health_name(status.health()), status.peers_up, status.peers_known)
}

fn draw_input(chat: &Chat, frame: &mut Frame<'_>, area: Rect) {
    let typed = chat.typed();
    let height = usize::from(area.height);
    // The cursor's line is always seen.
    let first = (typed.cursor.0 + 1).saturating_sub(height);
    for (row, line) in typed.lines.iter().skip(first).take(height).enumerate() {
        let prompt = if first + row == 0 { PROMPT } else { "  " };
        put(frame, area, row, Line::from(vec![Span::styled(prompt, Modifier::DIM), Span::raw(line.clone())]));
    }
    draw_limit(chat, frame, area);
    let column = u16::try_from(PROMPT.len() + typed.cursor.1).unwrap_or(u16::MAX);
    let row = u16::try_from(typed.cursor.0 - first).unwrap_or(u16::MAX);
    if matches!(chat.mode, Mode::Typing) && area.height > 0 && area.width > 0 {
        frame.set_cursor_position((area.x + column.min(area.width - 1), area.y + row.min(area.height - 1)));
    }
}

/// Told before it is reached: how much of the longest text is used.
fn draw_limit(chat: &Chat, frame: &mut Frame<'_>, area: Rect) {
    let len = chat.editor.text().len();
    if len < TEXT_BYTES_MAX / 10 * 8 {
        return;
    }
    let words = format!(" {}/{} bytes ", grouped(len as u64), grouped(TEXT_BYTES_MAX as u64));
    let color = if len > TEXT_BYTES_MAX { Color::Red } else { Color::Yellow };
    let width = u16::try_from(words.len()).unwrap_or(0).min(area.width);
    let area = Rect { x: area.right() - width, width, ..area };
    put(frame, area, 0, Line::styled(words, chat.fg(color).reversed()));
}

fn draw_panel(chat: &Chat, panel: &Panel, frame: &mut Frame<'_>, area: Rect) {
    let columns = usize::from(area.width);
    let (head, rows, chosen) = match panel {
        Panel::Help(at) => ("Help".to_owned(), help_lines(columns), Row::Top(*at)),
        Panel::Members(at) => ("Members".to_owned(), member_lines(chat, columns), Row::Top(*at)),
        Panel::Rooms(at) => {
            let rooms = chat.rooms.iter().map(|(name, room)| room_line(chat, name, room.unread, columns));
            ("Rooms (Enter: go there)".to_owned(), rooms.collect(), Row::Chosen(*at))
        }
        Panel::Search(search) => (search_words(search), hit_lines(chat, search, columns), Row::Chosen(search.chosen)),
    };
    put(frame, area, 0, Line::styled(wrap::cut(&format!("{head}, Esc: back"), columns), Modifier::BOLD));
    let fitting = usize::from(area.height).saturating_sub(1).max(1);
    let first = match chosen {
        Row::Top(at) => at.min(rows.len().saturating_sub(fitting)),
        Row::Chosen(at) => (at + 1).saturating_sub(fitting),
    };
    for (at, row) in rows.into_iter().enumerate().skip(first).take(fitting) {
        let is_chosen = matches!(chosen, Row::Chosen(chosen) if chosen == at);
        put(frame, area, at - first + 1, if is_chosen { row.reversed() } else { row });
    }
}

/// Which row has to be seen.
enum Row {
    Top(usize),
    Chosen(usize),
}

pub(super) fn help_lines(columns: usize) -> Vec<Line<'static>> {
    let keys = HELP.iter().map(|(key, _)| key.len()).max().unwrap_or(0);
    let mut lines = Vec::new();
    for (key, what) in HELP {
        if columns >= keys + 40 {
            let rest = columns - keys - 2;
            for (at, words) in wrap::words(what, rest, rest).into_iter().enumerate() {
                let key = if at == 0 { *key } else { "" };
                lines.push(Line::from(vec![format!("{key:<keys$}  ").bold(), Span::raw(words)]));
            }
        } else if key.is_empty() {
            lines.push(Line::default());
        } else {
            let words = wrap::words(&format!("{key}: {what}"), columns, columns.saturating_sub(2));
            let of = |(at, words): (usize, String)| if at == 0 { words } else { format!("  {words}") };
            lines.extend(words.into_iter().enumerate().map(of).map(Line::from));
        }
    }
    lines
}

fn search_words(search: &Search) -> String {
    let query = escape::line(&search.query);
    let count = search.hits.len();
    match &search.progress {
        Looking::Busy => format!("\"{query}\": {count} found, searching"),
        Looking::Failed(why) => format!("\"{query}\": {}", escape::line(why)),
        Looking::Done if search.is_complete() => format!("\"{query}\": {count} found (Enter: go there)"),
        Looking::Done => format!("\"{query}\": {count} found, more above (Enter: go there)"),
    }
}

fn hit_lines(chat: &Chat, search: &Search, columns: usize) -> Vec<Line<'static>> {
    let line = |post: &p2p_proto::v1::Post| {
        let when = time::date_and_clock(post.time_us, &chat.zone);
        // Neither year nor seconds where the text would have no room.
        let when = if columns < HIT_COLUMNS { when[5..16].to_owned() } else { when };
        let name = chat.name(&post.author_name, author(post));
        let style = chat.author_style(author(post));
        let left = columns.saturating_sub(when.len() + 1 + wrap::width(&name) + 2);
        let text: String = post.text.chars().take(columns).collect();
        Line::from(vec![
            Span::styled(format!("{when} "), Modifier::DIM),
            Span::styled(name, style),
            Span::raw(format!(": {}", wrap::cut(&escape::line(&text), left))),
        ])
    };
    search.hits.iter().map(line).collect()
}

/// From here on a hit has its full time.
const HIT_COLUMNS: usize = 70;
