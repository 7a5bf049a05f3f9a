//! The figures beside the goals of the design, as a Markdown table.

use std::fmt;

/// What was measured so far.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
}

/// One line.
#[derive(Debug)]
struct Row {
    what: String,
    measured: String,
    goal: Goal,
    /// The part of the machine that neither the daemons nor this program used, in percent.
    others: Option<f64>,
}

/// What is wanted first and then; empty where nothing is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Goal(pub(crate) &'static str, pub(crate) &'static str);

impl Table {
    pub(crate) fn push(
        &mut self,
        what: impl Into<String>,
        measured: impl Into<String>,
        goal: Goal,
        others: Option<f64>,
    ) {
        let row = Row { what: what.into(), measured: measured.into(), goal, others };
        eprintln!("{}: {}", row.what, row.measured);
        self.rows.push(row);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.rows.is_empty() {
            return Ok(());
        }
        writeln!(out, "| what | measured | goal: first | then | others on the machine |")?;
        writeln!(out, "|---|---|---|---|---|")?;
        for Row { what, measured, goal: Goal(first, then), others } in &self.rows {
            let others = others.map(|share| format!("{share:.0} %")).unwrap_or_default();
            writeln!(out, "| {what} | {measured} | {first} | {then} | {others} |")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_stand_beside_their_goals() {
        let mut table = Table::default();
        assert_eq!(table.to_string(), "");
        table.push("copies", "1.00", Goal("1.05", "1.00"), Some(12.4));
        table.push("start", "9 ms", Goal::default(), None);
        let lines: Vec<String> = table.to_string().lines().skip(2).map(str::to_owned).collect();
        assert_eq!(lines, ["| copies | 1.00 | 1.05 | 1.00 | 12 % |", "| start | 9 ms |  |  |  |"]);
    }
}
