//! The board on a terminal of any size.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::Line;
use ratatui::widgets::{Cell, Row as TableRow, Table};

use p2p_proto::v1::{PeerState, StatusResponse};

use super::board::{Board, Row};
use crate::output::names::Names;
use crate::output::peers::state_name;
use crate::output::status::health_name;
use crate::output::words::{counted, grouped};
use crate::output::{escape, time};

/// One column: its head, its width, and from which width of the terminal on it is there.
struct Column {
    head: &'static str,
    columns: u16,
    from: u16,
    cell: fn(&Row) -> String,
}

pub(super) fn draw(board: &Board, frame: &mut Frame<'_>) {
    let [head, table, foot] =
        Layout::vertical([Constraint::Length(2), Constraint::Fill(1), Constraint::Length(1)]).areas(frame.area());
    frame.render_widget(Line::from(first_line(board)).bold(), head);
    let second = Rect { y: head.y.saturating_add(1), height: head.height.saturating_sub(1), ..head };
    frame.render_widget(Line::from(second_line(board)).style(state_style(board)), second);
    draw_peers(board, frame, table);
    frame.render_widget(Line::from(foot_line(board, table.height)).dim(), foot);
}

fn first_line(board: &Board) -> String {
    let Some(status) = &board.status else { return "p2pctl top".to_owned() };
    let mut names = Names::default();
    let me = names.add_and_show(&status.name, &status.id);
    format!("{me}  {}  up {}", health_name(status.health()), time::span_ms(status.uptime_ms))
}

fn second_line(board: &Board) -> String {
    match (&board.gone, &board.status) {
        // What matters most stands where a narrow terminal has it.
        (Some(why), _) => format!("waiting for it: {}", escape::line(why)),
        (None, None) => "waiting for the daemon".to_owned(),
        (None, Some(status)) => facts(status),
    }
}

fn facts(status: &StatusResponse) -> String {
    let mut facts = vec![
        format!("{} of {} peers up", status.peers_up, status.peers_known),
        counted(status.posts, "post"),
        time::bytes(status.bytes),
    ];
    if status.missing_posts > 0 {
        facts.push(format!("{} missing", grouped(status.missing_posts)));
    }
    if status.unacked_own_posts > 0 {
        facts.push(format!("{} only here", grouped(status.unacked_own_posts)));
    }
    facts.extend(status.problems.iter().map(|problem| escape::line(problem).into_owned()));
    facts.join(", ")
}

fn state_style(board: &Board) -> Style {
    let is_well = board.gone.is_none() && board.status.as_ref().is_none_or(|status| status.problems.is_empty());
    if is_well { Style::new() } else { Style::new().fg(Color::Red) }
}

fn draw_peers(board: &Board, frame: &mut Frame<'_>, area: Rect) {
    let columns: Vec<&Column> = COLUMNS.iter().filter(|column| column.from <= area.width).collect();
    let rows = board.rows();
    let mut names = Names::default();
    rows.iter().for_each(|row| names.add_peer(&row.peer));
    let name = |row: &Row| {
        if row.peer.id.is_empty() {
            escape::line(&row.peer.address).into_owned()
        } else {
            names.show(&row.peer.name, &row.peer.id)
        }
    };
    let lines = rows.iter().map(|row| {
        let cells = columns.iter().map(|column| Cell::from((column.cell)(row)));
        TableRow::new(std::iter::once(Cell::from(name(row))).chain(cells)).style(row_style(row))
    });
    let head = std::iter::once("PEER").chain(columns.iter().map(|column| column.head));
    let widths = columns.iter().map(|column| Constraint::Length(column.columns));
    let widths = std::iter::once(Constraint::Fill(1)).chain(widths);
    frame.render_widget(Table::new(lines, widths).header(TableRow::new(head).bold()), area);
}

fn row_style(row: &Row) -> Style {
    match row.peer.state() {
        PeerState::Up => Style::new(),
        PeerState::Suspect => Style::new().fg(Color::Yellow),
        PeerState::Dialing | PeerState::Waiting | PeerState::Down | PeerState::Unspecified => Style::new().dim(),
    }
}

fn foot_line(board: &Board, height: u16) -> String {
    let hidden = board.rows().len().saturating_sub(usize::from(height.saturating_sub(1)));
    if hidden > 0 { format!("q leaves; {hidden} more below") } else { "q leaves".to_owned() }
}

fn rtt(row: &Row) -> String {
    if row.is_linked() && row.peer.rtt_us > 0 { time::rtt(row.peer.rtt_us) } else { "-".to_owned() }
}

fn rate(bytes: u64) -> String {
    format!("{}/s", time::bytes(bytes))
}

/// Those that tell most come first, and the narrowest terminal has them. A name keeps 18 columns.
const COLUMNS: &[Column] = &[
    Column { head: "STATE", columns: 8, from: 0, cell: |row| state_name(row.peer.state()).to_owned() },
    Column { head: "RTT", columns: 8, from: 36, cell: rtt },
    Column { head: "", columns: 12, from: 104, cell: |row| row.rtt_us.sparkline(12) },
    Column { head: "BEHIND", columns: 8, from: 48, cell: |row| grouped(row.peer.behind) },
    Column { head: "", columns: 12, from: 128, cell: |row| row.behind.sparkline(12) },
    Column { head: "IN", columns: RATE_COLUMNS, from: 60, cell: |row| rate(row.received.last()) },
    Column { head: "", columns: 12, from: 92, cell: |row| row.received.sparkline(12) },
    Column { head: "OUT", columns: RATE_COLUMNS, from: 72, cell: |row| rate(row.sent.last()) },
    Column { head: "", columns: 12, from: 116, cell: |row| row.sent.sparkline(12) },
];
/// `1023.9 KiB/s`
const RATE_COLUMNS: u16 = 12;
