//! Numbers between Rust, which counts without a sign, and SQL, which has one.

use rusqlite::Row;

/// As the database takes it. What is larger than it can hold is larger than anything it holds.
pub(super) fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A column that was written by `integer`.
pub(super) fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let integer: i64 = row.get(column)?;
    u64::try_from(integer).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, integer))
}
