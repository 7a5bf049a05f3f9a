//! Which lines are seen, and how that moves.

use ratatui::text::Line;

use super::state::{Chat, View};
use super::timeline::Place;

/// One slot on the screen: its number, and those of its lines that are seen.
pub(super) type Shown = (usize, Vec<Line<'static>>);

impl Chat {
    /// What is seen, from the top. Whatever changes elsewhere, the line at the lower edge stays where it is.
    pub(super) fn shown(&self) -> Vec<Shown> {
        let height = usize::from(self.panes().posts.height);
        let Some((last, hidden)) = self.edge() else { return Vec::new() };
        let mut shown = Vec::new();
        let mut left = height;
        for slot in (0..=last).rev() {
            if left == 0 {
                break;
            }
            let mut lines = self.lines(slot);
            if slot == last {
                lines.truncate(lines.len().saturating_sub(hidden).max(1));
            }
            lines.drain(..lines.len().saturating_sub(left));
            left -= lines.len();
            shown.push((slot, lines));
        }
        shown.reverse();
        shown
    }

    /// The slots that are seen.
    pub(super) fn visible(&self) -> Vec<usize> {
        self.shown().into_iter().map(|(slot, _)| slot).collect()
    }

    /// The slot at the lower edge, and how many of its lines are below it.
    fn edge(&self) -> Option<(usize, usize)> {
        let last = self.slots().checked_sub(1)?;
        match &self.view {
            View::Newest => Some((last, 0)),
            View::At { place, hidden } => match self.timeline.find(place) {
                Ok(slot) => Some((slot, *hidden)),
                Err(slot) => Some((slot.min(last), 0)),
            },
        }
    }

    /// Shows what is so many lines above. At the top of what is held, older posts are asked for.
    pub(super) fn scroll_up(&mut self, lines: usize) {
        let Some((mut slot, mut hidden)) = self.edge() else { return };
        hidden += lines;
        while slot > 0 {
            let len = self.lines(slot).len();
            if hidden < len {
                break;
            }
            hidden -= len;
            slot -= 1;
        }
        let (top_slot, top_hidden) = self.top();
        if (slot, std::cmp::Reverse(hidden)) < (top_slot, std::cmp::Reverse(top_hidden)) {
            (slot, hidden) = (top_slot, top_hidden);
        }
        self.look_at(slot, hidden);
        if self.visible().first().is_none_or(|first| *first < NEAR_TOP) {
            self.want_older();
        }
    }

    /// Shows what is so many lines below. Behind the last one the newest is followed again.
    pub(super) fn scroll_down(&mut self, lines: usize) {
        let Some((mut slot, hidden)) = self.edge() else { return };
        if self.view == View::Newest {
            return;
        }
        let mut left = lines;
        let mut below = hidden;
        while left > below {
            left -= below;
            slot += 1;
            if slot >= self.timeline.len() {
                return self.on_bottom();
            }
            below = self.lines(slot).len();
        }
        self.look_at(slot, below - left);
        if slot + NEAR_TOP > self.slots() {
            self.want_newer();
        }
    }

    fn on_bottom(&mut self) {
        if self.timeline.is_live() {
            return self.go_to_newest();
        }
        self.look_at(self.timeline.len().saturating_sub(1), 0);
        self.want_newer();
    }

    /// The oldest that is held, at the upper edge.
    pub(super) fn scroll_to_top(&mut self) {
        let (slot, hidden) = self.top();
        self.look_at(slot, hidden);
        self.want_older();
    }

    /// The lower edge when the first line stands at the upper one.
    fn top(&self) -> (usize, usize) {
        let mut left = usize::from(self.panes().posts.height).max(1);
        let last = self.slots().saturating_sub(1);
        for slot in 0..last {
            let len = self.lines(slot).len();
            if len >= left {
                return (slot, len - left);
            }
            left -= len;
        }
        (last, self.lines(last).len().saturating_sub(left))
    }

    fn look_at(&mut self, slot: usize, hidden: usize) {
        let is_end = slot + 1 >= self.slots() && hidden == 0;
        if is_end && self.timeline.is_live() {
            return self.go_to_newest();
        }
        // What was typed here is no entry yet: the last one stands for it.
        let last = self.timeline.len().saturating_sub(1);
        let (slot, hidden) = if slot > last { (last, 0) } else { (slot, hidden) };
        if let Some((place, _)) = self.timeline.entry(slot) {
            self.view = View::At { place: place.clone(), hidden };
        }
    }

    /// Brings an entry into view, without moving more than is needed.
    pub(super) fn bring_into_view(&mut self, place: &Place) {
        let Ok(at) = self.timeline.find(place) else { return };
        let visible = self.visible();
        match (visible.first(), visible.last()) {
            (Some(first), _) if at < *first || (at == *first && visible.len() > 1) => {
                // Its lines, and those of all that stand between it and the edge.
                let height = usize::from(self.panes().posts.height);
                let mut left = height;
                let mut slot = at;
                while slot < self.slots() && left > 0 {
                    left = left.saturating_sub(self.lines(slot).len());
                    slot += 1;
                }
                self.look_at(slot.saturating_sub(1).max(at), 0);
                if at < NEAR_TOP {
                    self.want_older();
                }
            }
            (_, Some(last)) if at >= *last => self.look_at(at, 0),
            _ => (),
        }
    }

    /// Lines that are seen at once, and so a page to scroll by: one stays.
    pub(super) fn page(&self) -> usize {
        usize::from(self.panes().posts.height).saturating_sub(1).max(1)
    }
}

/// Posts from the end of what is held at which more is asked for.
const NEAR_TOP: usize = 10;
