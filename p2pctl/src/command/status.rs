//! `status`: the daemon's state, once or as it changes.

use std::io::Write;

use p2p_proto::v1::StatusRequest;

use super::{Session, fetch_status, peers};
use crate::args::Watching;
use crate::exit::{Outcome, Problem};
use crate::output::Format;
use crate::output::status::render_status;

pub(crate) async fn run(args: &Watching, session: &mut Session) -> Outcome {
    if !args.watch {
        let status = fetch_status("status", session).await?;
        return session.show(|style, out| render_status(&status, style, out));
    }
    let client = session.client().await?;
    let mut stream = session.answer("status", client.mesh().watch_status(StatusRequest {})).await?;
    loop {
        let status = stream.message().await.map_err(|status| Problem::of_status("status", status))?;
        let Some(status) = status else { return Err(peers::ended("status")) };
        clear(session)?;
        session.show(|style, out| render_status(&status, style, out))?;
    }
}

/// Makes place for the next picture: on a terminal in place of the last one, else below it.
pub(crate) fn clear(session: &mut Session) -> Outcome {
    match session.style.format {
        Format::Json | Format::Yaml => Ok(()),
        Format::Text | Format::Wide if session.io.terminals.stdout && session.fancy => {
            // Home, and clear what is below: flickers less than clearing everything.
            Ok(write!(session.io.stdout, "\x1b[H\x1b[J")?)
        }
        Format::Text | Format::Wide => {
            let time = crate::output::time::date_and_clock((session.io.now)().as_microsecond(), &session.style.zone);
            Ok(writeln!(session.io.stdout, "-- {time} --")?)
        }
    }
}
