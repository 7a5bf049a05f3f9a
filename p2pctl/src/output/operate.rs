//! What operators see: the configuration, what a reload did, what is logged.

use std::io::{self, Write};
use std::time::Duration;

use p2p_proto::v1::{ConfigResponse, ReloadResponse, SetLogFilterResponse};

use super::document::{Document, Fields};
use super::{Shape, Style, escape, table};

/// Writes the configuration in force.
pub(crate) fn render_config(config: &ConfigResponse, style: &Style, out: &mut dyn Write) -> io::Result<()> {
    let document = || {
        let values = config.values.iter().map(|value| {
            let fields = Fields::new().add("key", value.key.as_str()).add("value", value.value.as_str());
            fields.add("source", value.source.as_str()).done()
        });
        Fields::document("config").add("values", Document::List(values.collect())).done()
    };
    match style.write_data(document, out)? {
        Shape::Data => Ok(()),
        Shape::Text | Shape::Wide => {
            let head = ["KEY", "VALUE", "SOURCE"].map(str::to_owned);
            let rows = config
                .values
                .iter()
                .map(|value| [&value.key, &value.value, &value.source].map(|text| escape::line(text).into_owned()));
            table::write(&std::iter::once(head).chain(rows).collect::<Vec<_>>(), out)
        }
    }
}

/// Writes what a reload did.
pub(crate) fn render_reload(reload: &ReloadResponse, style: &Style, out: &mut dyn Write) -> io::Result<()> {
    let document = || {
        let changes = reload.changes.iter().map(|change| {
            let fields = Fields::new().add("key", change.key.as_str()).add("old", change.old.as_str());
            fields.add("new", change.new.as_str()).add("applied", change.applied).done()
        });
        Fields::document("reload")
            .add("changes", Document::List(changes.collect()))
            .add("warnings", Document::texts(&reload.warnings))
            .add("dials", u64::from(reload.dials))
            .done()
    };
    match style.write_data(document, out)? {
        Shape::Data => Ok(()),
        Shape::Text | Shape::Wide => {
            if reload.changes.is_empty() {
                writeln!(out, "nothing changed")?;
            } else {
                let head = ["KEY", "OLD", "NEW", "RESULT"].map(str::to_owned);
                let rows = reload.changes.iter().map(|change| {
                    let result = if change.applied { "applied" } else { "needs a restart" };
                    [&change.key, &change.old, &change.new, result].map(|text| escape::line(text).into_owned())
                });
                table::write(&std::iter::once(head).chain(rows).collect::<Vec<_>>(), out)?;
            }
            match reload.dials {
                0 => Ok(()),
                1 => writeln!(out, "dialing 1 peer"),
                dials => writeln!(out, "dialing {dials} peers"),
            }
        }
    }
}

/// Writes what is logged, and for how long.
pub(crate) fn render_log_filter(log: &SetLogFilterResponse, style: &Style, out: &mut dyn Write) -> io::Result<()> {
    let is_passing = log.back_in_ms > 0;
    let document = || {
        let back_in = if is_passing { u64::from(log.back_in_ms).into() } else { Document::Null };
        let fields = Fields::document("log_level").add("filter", log.filter.as_str());
        fields.add("back_to", Document::filled(&log.back_to)).add("back_in_ms", back_in).done()
    };
    match style.write_data(document, out)? {
        Shape::Data => Ok(()),
        Shape::Text | Shape::Wide if is_passing => {
            let time = humantime::format_duration(Duration::from_secs(u64::from(log.back_in_ms).div_ceil(1_000)));
            let (filter, back_to) = (escape::line(&log.filter), escape::line(&log.back_to));
            writeln!(out, "{filter}  (in {time} back to {back_to})")
        }
        Shape::Text | Shape::Wide => writeln!(out, "{}", escape::line(&log.filter)),
    }
}
