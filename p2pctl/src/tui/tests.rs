#![allow(clippy::unwrap_used)]

use p2p_proto::v1::{Health, Peer, PeerState, PeersResponse, StatusResponse};
use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::board::Board;
use super::draw::draw;
use super::{KeyCode, KeyEvent, KeyModifiers, Wish, wish};

fn peer(letter: &str, name: &str, state: PeerState, seconds: u64) -> Peer {
    Peer {
        id: letter.repeat(52),
        name: name.to_owned(),
        state: state.into(),
        rtt_us: 250 + 50 * u32::try_from(seconds % 4).unwrap(),
        behind: 7 * seconds,
        bytes_received: 1_000 * seconds * seconds,
        bytes_sent: 500 * seconds,
        ..Peer::default()
    }
}

/// A quarter of a minute of three peers, one with a name that would like to draw itself.
fn board() -> Board {
    let mut board = Board::default();
    board.take_status(Ok(StatusResponse {
        id: "m".repeat(52),
        name: "me".to_owned(),
        health: Health::Ready.into(),
        uptime_ms: 90_000,
        peers_up: 2,
        peers_known: 3,
        posts: 12_345,
        bytes: 2_000_000,
        unacked_own_posts: 3,
        ..StatusResponse::default()
    }));
    for second in 0..15 {
        let silent = Peer { address: "box:8080".to_owned(), state: PeerState::Waiting.into(), ..Peer::default() };
        let peers = vec![
            peer("b", "b\x1b[2J\u{202e}ob", PeerState::Suspect, second),
            peer("a", "alice", PeerState::Up, second),
            silent,
        ];
        board.take_peers(Ok(PeersResponse { peers }));
        board.tick();
    }
    board
}

fn drawn(board: &Board, columns: u16, rows: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
    terminal.draw(|frame| draw(board, frame)).unwrap();
    let shown = terminal.backend().to_string();
    assert!(!shown.contains(['\x1b', '\u{202e}']), "{shown}");
    shown
}

#[test]
fn peers_and_their_last_minute_at_a_glance() {
    insta::assert_snapshot!("top_wide", drawn(&board(), 140, 8));
    let usual = drawn(&board(), 80, 8);
    assert!(usual.contains(" IN ") && usual.contains(" OUT "), "{usual}");
    insta::assert_snapshot!("top_on_80_columns", usual);
}

#[test]
fn c_06_a_small_terminal_has_what_matters_most() {
    insta::assert_snapshot!("top_on_40_columns", drawn(&board(), 40, 8));
    let few_rows = drawn(&board(), 40, 5);
    assert!(few_rows.contains("2 more below"), "{few_rows}");
    for (columns, rows) in [(1, 1), (2, 40), (200, 1), (20, 3)] {
        drawn(&board(), columns, rows);
    }
    drawn(&Board::default(), 40, 8);
}

#[test]
fn a_daemon_that_is_gone_is_told_and_what_it_told_last_stays() {
    let mut board = board();
    board.take_status(Err("the daemon is gone (\x1b[2J)".to_owned()));
    board.take_peers(Err("the same".to_owned()));
    let shown = drawn(&board, 80, 8);
    assert!(shown.contains("waiting for it: the daemon is gone (^[[2J)") && shown.contains("alice~aaaa"), "{shown}");
}

#[test]
fn a_link_that_is_new_counts_from_nothing() {
    let mut board = Board::default();
    for bytes in [9_000, 9_500, 100] {
        let peers = vec![Peer { bytes_received: bytes, ..peer("a", "alice", PeerState::Up, 0) }];
        board.take_peers(Ok(PeersResponse { peers }));
        board.tick();
    }
    let rows = board.rows();
    assert_eq!(rows[0].received.last(), 100);
    assert_eq!(rows[0].received.sparkline(3), " █▂");
    assert_eq!(rows[0].behind.sparkline(3), "   ");
}

#[test]
fn a_rate_is_shown_with_its_unit_however_high_it_is() {
    let mut board = Board::default();
    for seconds in 0..2 {
        let bytes_received = seconds * 1_048_500;
        board.take_peers(Ok(PeersResponse {
            peers: vec![Peer { bytes_received, ..peer("a", "alice", PeerState::Up, 0) }],
        }));
        board.tick();
    }
    let shown = drawn(&board, 80, 8);
    assert!(shown.contains("1023.9 KiB/s"), "{shown}");
}

#[test]
fn q_leaves_and_control_c_interrupts() {
    let press = |code, modifiers| wish(KeyEvent::new(code, modifiers));
    assert!(matches!(press(KeyCode::Char('q'), KeyModifiers::NONE), Wish::Leave));
    assert!(matches!(press(KeyCode::Esc, KeyModifiers::NONE), Wish::Leave));
    assert!(matches!(press(KeyCode::Char('c'), KeyModifiers::CONTROL), Wish::Interrupt));
    assert!(matches!(press(KeyCode::Char('c'), KeyModifiers::NONE), Wish::Nothing));
}
