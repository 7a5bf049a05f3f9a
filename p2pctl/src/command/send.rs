//! `send`: one message, from words or stdin, stored here or delivered as far as is asked.

use p2p_proto::error::Code;
use p2p_proto::v1::{Outgoing, PostId, SendRequest};
use tokio::io::AsyncReadExt;

use super::{Session, delivery, send_many, who};
use crate::args::{self, Wanted};
use crate::exit::{Exit, Outcome, Problem};
use crate::output::rest;
use crate::parse::{self, TEXT_BYTES_MAX};

pub(crate) async fn run(args: args::Send, session: &mut Session) -> Outcome {
    let room = args.room.as_deref().map(parse::room).transpose()?.unwrap_or_default();
    let to = who::resolve_optional(args.to.as_deref(), session).await?;
    let key = args.key.clone().unwrap_or_default();
    let (wanted, patience) = (args.wait.unwrap_or(Wanted::Stored), args.wait_timeout.unwrap_or(session.timeout));
    if args.lines || args.null {
        let cut = if args.null { send_many::Cut::Null } else { send_many::Cut::Line };
        let re = resolve_re(args.re.as_deref(), session).await?;
        let ends =
            send_many::run(Outgoing { room, text: String::new(), re, key, to: to.clone() }, cut, session).await?;
        return delivery::wait((ends, &to), wanted, patience, session).await;
    }
    let text = if args.text.is_empty() { read_stdin(session).await? } else { args.text.join(" ") };
    check_text(&text)?;
    let re = resolve_re(args.re.as_deref(), session).await?;
    let client = session.client().await?;
    let request = SendRequest { post: Some(Outgoing { room, text, re, key, to: to.clone() }) };
    let sent = session.answer("send", client.chat().send(request)).await?;
    if sent.repeated {
        session.note("this key was sent before: nothing was sent again");
    }
    // The id is the reader's before anything is waited for.
    session.show(|style, out| rest::render_sent(&sent, style, out))?;
    delivery::wait((Vec::from_iter(sent.id), &to), wanted, patience, session).await
}

/// What a daemon would refuse anyway is refused before it is asked.
pub(crate) fn check_text(text: &str) -> Result<(), Problem> {
    if text.trim().is_empty() {
        return Err(Problem::usage("send: the message is empty").with_hint("as in: p2pctl send hello everybody"));
    }
    if text.len() > TEXT_BYTES_MAX { Err(too_long("send", text.len())) } else { Ok(()) }
}

pub(crate) fn too_long(what: &str, len: usize) -> Problem {
    let message = format!("{what}: text of {len} bytes is over the limit of {TEXT_BYTES_MAX}");
    Problem::new(Exit::Rejected, Code::TextTooLong.name(), message).with_hint("split it into several messages")
}

pub(crate) fn not_utf8(what: &str, at: usize) -> Problem {
    let message = format!("{what}: byte {at} is not UTF-8 text");
    Problem::new(Exit::Rejected, Code::TextInvalid.name(), message)
}

/// All of stdin without the newline that an editor or `echo` leaves at its end.
async fn read_stdin(session: &mut Session) -> Outcome<String> {
    if session.io.terminals.stdin {
        session.note("type the message, then press Ctrl-D");
    }
    let mut bytes = Vec::new();
    // A little more than may be sent: enough to know that it is too much.
    let limit = TEXT_BYTES_MAX as u64 + 3;
    let read = (&mut session.io.stdin).take(limit).read_to_end(&mut bytes).await;
    read.map_err(|error| Problem::new(Exit::Failed, Code::Failed.name(), format!("send: reading stdin: {error}")))?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    if bytes.len() > TEXT_BYTES_MAX {
        let rest = tokio::io::copy(&mut session.io.stdin, &mut tokio::io::sink()).await.unwrap_or(0);
        let len = usize::try_from(rest).unwrap_or(usize::MAX).saturating_add(bytes.len());
        return Err(too_long("send", len).into());
    }
    String::from_utf8(bytes).map_err(|error| not_utf8("send", error.utf8_error().valid_up_to() + 1).into())
}

async fn resolve_re(written: Option<&str>, session: &mut Session) -> Outcome<Option<PostId>> {
    match written {
        Some(written) => Ok(Some(who::resolve_post(written, session).await?)),
        None => Ok(None),
    }
}
