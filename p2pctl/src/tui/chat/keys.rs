//! What keys mean, and what a line does that was typed.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use p2p_proto::v1::PostId;

use super::draw::help_lines;
use super::panel::{Move, Panel, Search};
use super::state::{Chat, Effect, Mode, View};
use super::talk;
use super::timeline::Place;
use super::words::{self, Line};
use crate::exit::Exit;
use crate::parse::{self, TEXT_BYTES_MAX};

impl Chat {
    pub(super) fn handle_key(&mut self, key: KeyEvent) {
        if key.kind == KeyEventKind::Release {
            return;
        }
        (self.notice, self.found) = (None, None);
        if key.code != KeyCode::Tab {
            self.completion = None;
        }
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        let is_leaving = control && matches!(key.code, KeyCode::Char('c' | 'd'));
        if !is_leaving {
            self.is_warned = false;
        }
        if self.on_key_everywhere(key.code, control) {
            return;
        }
        match self.mode.clone() {
            Mode::Typing => self.on_key_typing(key),
            Mode::Choosing(place) => self.on_key_choosing(key.code, &place),
            Mode::Looking(panel) => self.on_key_looking(key.code, panel),
        }
    }

    /// A text from the clipboard: a line break in it sends nothing.
    pub(super) fn handle_paste(&mut self, text: &str) {
        self.notice = None;
        self.completion = None;
        self.mode = Mode::Typing;
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        if self.editor.text().len() + text.len() > TYPED_BYTES_MAX {
            return self.complain(format!("{} bytes are too much to paste: a text has {TEXT_BYTES_MAX}", text.len()));
        }
        self.editor.insert(&text);
    }

    /// Gives whether the key means the same whatever is shown.
    fn on_key_everywhere(&mut self, code: KeyCode, control: bool) -> bool {
        match code {
            KeyCode::Char('c') if control => self.interrupt(),
            KeyCode::Char('z') if control => self.push(Effect::Suspend),
            KeyCode::Char('l') if control => self.push(Effect::Redraw),
            KeyCode::Char('n') if control => self.join_beside(1),
            KeyCode::Char('p') if control => self.join_beside(-1),
            KeyCode::F(1) => self.mode = Mode::Looking(Panel::Help(0)),
            _ => return false,
        }
        true
    }

    fn on_key_typing(&mut self, key: KeyEvent) {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        let alt = key.modifiers.contains(KeyModifiers::ALT);
        match key.code {
            KeyCode::Enter if alt => self.type_in("\n"),
            KeyCode::Enter => self.submit(),
            KeyCode::Tab => self.complete(),
            KeyCode::Esc => self.re = None,
            KeyCode::PageUp => self.scroll_up(self.page()),
            KeyCode::PageDown => self.scroll_down(self.page()),
            KeyCode::Up if control || alt => self.scroll_up(1),
            KeyCode::Down if control || alt => self.scroll_down(1),
            KeyCode::Home if control => self.scroll_to_top(),
            KeyCode::End if control || (self.editor.is_at_end() && self.view != View::Newest) => self.go_to_newest(),
            KeyCode::Char(letter) if control => self.on_control(letter),
            KeyCode::Char(letter) if alt => self.on_alt(letter),
            KeyCode::Char(letter) => self.type_in(letter.encode_utf8(&mut [0; 4])),
            code => self.on_key_editing(code, control || alt),
        }
    }

    fn on_control(&mut self, letter: char) {
        match letter {
            'j' => self.type_in("\n"),
            'r' => self.choose(String::new()),
            'd' if self.editor.is_empty() => self.leave(Exit::Ok),
            'd' => self.editor.delete(),
            'w' => self.editor.cut_word(),
            'u' => self.editor.cut_to_start(),
            'k' => self.editor.cut_to_end(),
            'y' => self.editor.paste_cut(),
            'a' => self.editor.home(),
            'e' => self.editor.end(),
            'b' => self.editor.left(),
            'f' => self.editor.right(),
            // What the Backspace key of some terminals sends.
            'h' => self.editor.backspace(),
            _ => (),
        }
    }

    fn on_alt(&mut self, letter: char) {
        match letter {
            'a' => self.join_unread(),
            'b' => self.editor.word_left(),
            'f' => self.editor.word_right(),
            _ => (),
        }
    }

    fn on_key_editing(&mut self, code: KeyCode, by_word: bool) {
        match code {
            KeyCode::Left if by_word => self.editor.word_left(),
            KeyCode::Right if by_word => self.editor.word_right(),
            KeyCode::Backspace if by_word => self.editor.cut_word(),
            KeyCode::Left => self.editor.left(),
            KeyCode::Right => self.editor.right(),
            KeyCode::Up => self.editor.up(),
            KeyCode::Down => self.editor.down(),
            KeyCode::Home => self.editor.home(),
            KeyCode::End => self.editor.end(),
            KeyCode::Backspace => self.editor.backspace(),
            KeyCode::Delete => self.editor.delete(),
            _ => (),
        }
    }

    fn type_in(&mut self, text: &str) {
        if self.editor.text().len() + text.len() <= TYPED_BYTES_MAX {
            self.editor.insert(text);
        }
    }

    /// Does what was typed. What cannot be done stays there.
    fn submit(&mut self) {
        if self.editor.text().trim().is_empty() {
            return;
        }
        match words::read(self.editor.text()) {
            // What is pasted often ends with the end of its last line.
            Line::Text(text) => self.send(text.trim_end_matches(['\n', '\r']).to_owned()),
            Line::Wrong(why) => self.complain(why),
            command => {
                self.editor.take();
                self.obey(command);
            }
        }
    }

    fn send(&mut self, text: String) {
        if let Some(why) = self.why_not(&text) {
            return self.complain(why);
        }
        self.editor.take();
        let re = self.re.take().and_then(|post| post.id);
        self.say(text, re);
    }

    /// Why a text cannot be sent.
    fn why_not(&self, text: &str) -> Option<String> {
        if text.len() > TEXT_BYTES_MAX {
            return Some(format!("{} bytes are over the limit of {TEXT_BYTES_MAX}: send it in parts", text.len()));
        }
        self.outbox.is_full().then(|| "too many messages wait for the daemon: this one is kept here".to_owned())
    }

    fn say(&mut self, text: String, re: Option<PostId>) {
        self.outbox.push(self.room.clone(), text, re);
        self.unread = None;
        self.go_to_newest();
        self.send_next();
    }

    fn obey(&mut self, command: Line) {
        match command {
            Line::Join(room) => match parse::room(&room) {
                Ok(room) => self.join(&room),
                Err(problem) => self.complain(problem.message),
            },
            Line::Message(typed) => self.message(&typed),
            Line::Reply(text) => self.choose(text),
            Line::Search(query) => self.search(query),
            Line::Rooms => self.mode = Mode::Looking(Panel::Rooms(self.room_at())),
            Line::Members => self.mode = Mode::Looking(Panel::Members(0)),
            Line::Help => self.mode = Mode::Looking(Panel::Help(0)),
            Line::Retry => self.retry(),
            Line::Drop => {
                let count = self.outbox.give_up();
                let stays = if self.outbox.is_empty() { "" } else { ", one is on its way" };
                self.tell(format!("{count} given up{stays}"));
            }
            Line::Quit => self.leave(Exit::Ok),
            Line::Text(_) | Line::Wrong(_) => (),
        }
    }

    /// Goes to a member, and says the rest there. What cannot be sent stays typed.
    fn message(&mut self, typed: &str) {
        let addressed = self.addressed(typed).and_then(|(id, text)| match self.why_not(&text) {
            Some(why) => Err(why),
            None => Ok((id, text)),
        });
        match addressed {
            Err(why) => {
                self.editor.replace(format!("/msg {typed}"));
                self.complain(why);
            }
            Ok((id, text)) => {
                self.join(&talk::between(&id));
                if !text.is_empty() {
                    self.say(text, None);
                }
            }
        }
    }

    fn retry(&mut self) {
        let count = self.outbox.retry();
        self.tell(format!("{count} sent again"));
        self.send_next();
    }

    fn search(&mut self, query: String) {
        if talk::peer_of(&self.room).is_some() {
            return self.complain("what only two can read is stored sealed, and not searched");
        }
        if query.len() > QUERY_BYTES_MAX {
            return self.complain(format!("at most {QUERY_BYTES_MAX} bytes can be searched for"));
        }
        let room = self.room.clone();
        self.push(Effect::Search { query: query.clone(), room: room.clone(), page: String::new() });
        self.mode = Mode::Looking(Panel::Search(Search::new(query, room)));
    }

    /// Lets the user choose a post, beginning with the newest that is seen.
    fn choose(&mut self, text: String) {
        let newest = self.visible().into_iter().rev().find_map(|at| self.timeline.post(at)).map(Place::of);
        match newest {
            Some(place) => {
                if !text.is_empty() {
                    self.editor.replace(text);
                }
                self.mode = Mode::Choosing(place);
            }
            None => self.complain("there is nothing to answer"),
        }
    }

    fn on_key_choosing(&mut self, code: KeyCode, place: &Place) {
        let at = self.timeline.find(place).unwrap_or_else(|at| at);
        match code {
            KeyCode::Esc => self.mode = Mode::Typing,
            KeyCode::Up => self.choose_among((0..at).rev()),
            KeyCode::Down => self.choose_among(at + 1..self.timeline.len()),
            KeyCode::PageUp => self.choose_among((0..at.saturating_sub(self.page() / 2)).rev()),
            KeyCode::PageDown => self.choose_among(at + self.page() / 2..self.timeline.len()),
            KeyCode::Enter => {
                self.re = self.timeline.post(at).cloned();
                self.mode = Mode::Typing;
            }
            _ => (),
        }
    }

    fn choose_among(&mut self, mut slots: impl Iterator<Item = usize>) {
        if let Some(place) = slots.find_map(|at| self.timeline.post(at)).map(Place::of) {
            self.bring_into_view(&place);
            self.mode = Mode::Choosing(place);
        }
    }

    fn on_key_looking(&mut self, code: KeyCode, mut panel: Panel) {
        let page = self.page();
        let step = match code {
            KeyCode::Esc | KeyCode::Char('q') => return self.mode = Mode::Typing,
            KeyCode::Enter => return self.pick(panel),
            KeyCode::Up => Move::Up(1),
            KeyCode::Down => Move::Down(1),
            KeyCode::PageUp => Move::Up(page),
            KeyCode::PageDown => Move::Down(page),
            KeyCode::Home => Move::First,
            KeyCode::End => Move::Last,
            _ => return,
        };
        match &mut panel {
            Panel::Help(at) => *at = step.from(*at, self.tops(help_lines(self.panes().posts.width.into()).len())),
            Panel::Members(at) => *at = step.from(*at, self.tops(self.peers.len() + 1)),
            Panel::Rooms(at) => *at = step.from(*at, self.rooms.len()),
            Panel::Search(search) => self.on_search_step(search, step),
        }
        self.mode = Mode::Looking(panel);
    }

    /// Lines that can stand at the top of a list of so many, with the last one still in view.
    fn tops(&self, lines: usize) -> usize {
        lines.saturating_sub(self.page()) + 1
    }

    fn on_search_step(&mut self, search: &mut Search, step: Move) {
        let before = search.chosen;
        search.chosen = step.from(search.chosen, search.hits.len());
        if search.chosen == 0 && before == 0 {
            let (query, room) = (search.query.clone(), search.room.clone());
            let effect = search.go_on().map(|page| Effect::Search { query, room, page });
            effect.into_iter().for_each(|effect| self.push(effect));
        }
    }

    fn pick(&mut self, panel: Panel) {
        self.mode = Mode::Typing;
        match panel {
            Panel::Help(_) | Panel::Members(_) => (),
            Panel::Rooms(at) => {
                if let Some(room) = self.rooms.keys().nth(at).cloned() {
                    self.join(&room);
                }
            }
            Panel::Search(search) => {
                if let Some(post) = search.hits.get(search.chosen) {
                    self.join(&search.room);
                    self.jump(post);
                }
            }
        }
    }

    fn room_at(&self) -> usize {
        self.rooms.keys().position(|room| *room == self.room).unwrap_or(0)
    }

    fn join_beside(&mut self, by: isize) {
        let len = self.rooms.len().max(1);
        let at = (self.room_at() + len).wrapping_add_signed(by) % len;
        if let Some(room) = self.rooms.keys().nth(at).cloned() {
            self.join(&room);
        }
    }

    /// To the next room, in the order of their names, where something is unread.
    fn join_unread(&mut self) {
        let behind = self.rooms.iter().skip(self.room_at() + 1);
        let unread = behind.chain(&self.rooms).find(|(_, room)| room.unread > 0).map(|(name, _)| name.clone());
        match unread {
            Some(room) => self.join(&room),
            None => self.tell("nothing is unread"),
        }
    }

    /// Ctrl-C: first away with what is typed, which Up brings back.
    fn interrupt(&mut self) {
        if self.mode != Mode::Typing {
            self.mode = Mode::Typing;
        } else if self.editor.is_empty() {
            self.leave(Exit::Interrupted);
        } else {
            self.editor.take();
            self.tell("Ctrl-C again leaves; Up brings the text back");
        }
    }

    /// Nobody leaves messages behind without knowing it.
    fn leave(&mut self, exit: Exit) {
        if !self.outbox.is_empty() && !self.is_warned {
            self.is_warned = true;
            let count = self.outbox.iter().count();
            return self.complain(format!("{count} not sent: again to leave all the same, they are shown then"));
        }
        self.push(Effect::Leave(exit));
    }
}

/// As the API has it.
const QUERY_BYTES_MAX: usize = 256;
/// What is typed may grow beyond what can be sent, to be cut to size there.
const TYPED_BYTES_MAX: usize = 4 * TEXT_BYTES_MAX;
