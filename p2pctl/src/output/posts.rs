//! Posts: one a line, and no text that looks like another line.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style as Paint};
use jiff::civil::Date;
use p2p_proto::v1::{HistoryResponse, Post, PostId, SearchResponse};

use super::document::{self, Document, Fields};
use super::names::{self, Names};
use super::{Format, Style, escape, time};

/// Which parts of a post are worth a place on the line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Scene {
    /// Live, and one room only.
    OneRoom,
    /// Live, from several rooms.
    ManyRooms,
    /// From the past: each line has its date.
    Past,
}

/// Writes the posts of a stream as they come.
pub(crate) struct PostWriter {
    style: Style,
    scene: Scene,
    names: Names,
    /// The day of the last post written; a line tells when it changes.
    day: Date,
}

impl PostWriter {
    pub(crate) fn new(style: Style, scene: Scene) -> Self {
        let day = style.zone.to_datetime(style.now).date();
        Self { style, scene, names: Names::default(), day }
    }

    /// Takes the authors of posts into view before the first is written.
    pub(crate) fn view(&mut self, posts: &[Post]) {
        for post in posts {
            self.names.add_author(post);
        }
    }

    /// Wraps at so many columns from now on: a text must not begin a line on a terminal that became narrower.
    pub(crate) fn resize(&mut self, columns: Option<usize>) {
        self.style.columns = columns;
    }

    pub(crate) fn write(&mut self, post: &Post, out: &mut dyn Write) -> io::Result<()> {
        match self.style.format {
            Format::Text | Format::Wide => self.write_text(post, out),
            Format::Json => document::post_document(post).write_json(out),
            Format::Yaml => super::yaml::write(&document::post_document(post), out),
        }
    }

    fn write_text(&mut self, post: &Post, out: &mut dyn Write) -> io::Result<()> {
        self.names.add_author(post);
        let name = self.called(post);
        let wide = self.style.format == Format::Wide;
        let when = self.when(post, out)?;
        let mut head = format!("{when} ");
        if !post.direct && (wide || self.scene != Scene::OneRoom) {
            head += &format!("[{}] ", escape::name(&post.room));
        }
        if wide {
            head += &format!("{} ", short_id(post.id.as_ref()));
        }
        let mut tail = String::new();
        if wide && let Some(re) = &post.re {
            tail += &format!(" (re {})", short_id(Some(re)));
        }
        if wide && let Some(was) = &post.was {
            tail += &format!(" (was {})", short_id(Some(was)));
        }
        tail += &marks(post, wide || self.scene != Scene::Past);
        let plain = format!("{head}{name}{tail}: ");
        let painted = if self.style.color {
            let paint = paint(author(post));
            format!("{head}{paint}{name}{paint:#}{tail}: ")
        } else {
            plain.clone()
        };
        let gutter = self.gutter(escape::width(&when));
        out.write_all(painted.as_bytes())?;
        let mut used = escape::width(&plain);
        for (at, line) in escape::lines(&post.text).enumerate() {
            if at > 0 {
                write!(out, "{gutter}| ")?;
                used = gutter.len() + 2;
            }
            self.wrap(&line, used, &gutter, out)?;
        }
        Ok(())
    }

    /// The author, and whom it is for where it is for one. Before all others stands a room in brackets, or no name of
    /// theirs ends like this: so nobody can make his post look direct.
    fn called(&self, post: &Post) -> String {
        let name = self.names.show(&post.author_name, author(post));
        match post {
            Post { direct: false, .. } => name,
            // What others say to each other is not shown, so it is for us.
            Post { own: false, .. } => format!("{name} → you"),
            Post { own: true, .. } => format!("{name} → {}", self.names.show(&post.to_name, &post.to)),
        }
    }

    fn when(&mut self, post: &Post, out: &mut dyn Write) -> io::Result<String> {
        let zone = &self.style.zone;
        if self.style.format == Format::Wide || self.scene == Scene::Past {
            let when = time::date_and_clock(post.time_us, zone);
            // Neither year nor seconds where a line has no room for them.
            let is_short = self.style.format != Format::Wide && self.is_narrow();
            return Ok(if is_short { when.get(5..16).unwrap_or(&when).to_owned() } else { when });
        }
        let day = time::date(post.time_us, zone);
        if day != self.day {
            writeln!(out, "-- {day} --")?;
            self.day = day;
        }
        Ok(time::clock(post.time_us, zone))
    }

    /// What stands left of a continuation line, up to its bar. A post's first line never begins with a space.
    fn gutter(&self, columns: usize) -> String {
        " ".repeat(if self.is_narrow() { 1 } else { columns })
    }

    fn is_narrow(&self) -> bool {
        self.style.columns.is_some_and(|width| width < NARROW_COLUMNS)
    }

    /// Breaks a line where the terminal would, since its break would begin at the left edge, where only our own lines do.
    fn wrap(&self, line: &str, used: usize, gutter: &str, out: &mut dyn Write) -> io::Result<()> {
        let Some(columns) = self.style.columns.filter(|columns| *columns > gutter.len() + 4) else {
            return writeln!(out, "{line}");
        };
        let mut at = used;
        let mut text = String::with_capacity(line.len());
        for piece in escape::pieces(line) {
            let width = escape::width(piece);
            if at + width > columns {
                text.push('\n');
                text.push_str(gutter);
                text.push_str("  ");
                at = gutter.len() + 2;
            }
            text.push_str(piece);
            at += width;
        }
        writeln!(out, "{text}")
    }
}

/// Writes a whole answer of History.
pub(crate) fn render_history(history: &HistoryResponse, style: &Style, out: &mut dyn Write) -> io::Result<()> {
    let document = || {
        Fields::document("history")
            .add("posts", Document::Posts(&history.posts))
            .add("offset", history.offset)
            .add("expired", history.expired)
            .add("expired_newest", Document::time(history.expired_newest_us))
            .add("blocked", history.blocked)
            .done()
    };
    render_past(&history.posts, document, style, out)
}

/// Writes the posts of all answers of Search together.
pub(crate) fn render_search(search: &SearchResponse, style: &Style, out: &mut dyn Write) -> io::Result<()> {
    let document = || {
        Fields::document("search")
            .add("posts", Document::Posts(&search.posts))
            .add("searched", Document::time(search.searched_us))
            .add("complete", search.next.is_empty())
            .add("blocked", search.blocked)
            .done()
    };
    render_past(&search.posts, document, style, out)
}

fn render_past<'a>(
    posts: &[Post],
    document: impl FnOnce() -> Document<'a>,
    style: &Style,
    out: &mut dyn Write,
) -> io::Result<()> {
    match style.write_data(document, out)? {
        super::Shape::Data => Ok(()),
        super::Shape::Text | super::Shape::Wide => {
            let mut writer = PostWriter::new(style.clone(), Scene::Past);
            writer.view(posts);
            posts.iter().try_for_each(|post| writer.write(post, out))
        }
    }
}

/// `k5x3abcd-1863514283475123-42`
pub(crate) fn short_id(id: Option<&PostId>) -> String {
    id.map_or_else(|| "-".to_owned(), |id| format!("{}-{}-{}", names::short(&id.author), id.epoch, id.seq))
}

fn author(post: &Post) -> &str {
    post.id.as_ref().map_or("", |id| &id.author)
}

/// One colour a key, so that an imitator most often looks different too.
fn paint(id: &str) -> Paint {
    const COLORS: [AnsiColor; 6] =
        [AnsiColor::Red, AnsiColor::Green, AnsiColor::Yellow, AnsiColor::Blue, AnsiColor::Magenta, AnsiColor::Cyan];
    COLORS[color_of(id) % COLORS.len()].on_default()
}

/// The number of a key's colour, among however many there are.
pub(crate) fn color_of(id: &str) -> usize {
    id.bytes().fold(0, |sum: usize, byte| sum.wrapping_mul(31).wrapping_add(byte.into()))
}

/// What is particular about a post, behind its author's name. That it came late matters to whoever saw it come.
pub(crate) fn marks(post: &Post, is_live: bool) -> String {
    let mut marks = String::new();
    for (is_so, mark) in
        [(post.late && is_live, " (late)"), (post.forked, " (forked)"), (post.unreadable, " (cannot be read)")]
    {
        if is_so {
            marks += mark;
        }
    }
    if post.unsupported {
        marks += &format!(" ({}: not supported by this version)", escape::name(&post.kind));
    }
    marks
}

/// Below this the gutter would eat the text.
const NARROW_COLUMNS: usize = 48;
