//! The tables, as numbered migrations.
//!
//! `user_version` holds the number of the last migration that was applied. Most of them are one
//! transaction, with their number. One that changes many rows has parts, each with a number of its
//! own, so a crash leaves the database before or after a part and never in it, and the next start
//! goes on from there; a program before knows no such number and refuses. A migration that was
//! released is never changed.
//!
//! Between two parts, and between two steps of one that changes rows, the log is emptied. So a
//! start on a full disk needs no more room than the largest of them takes, and that is asked for
//! before anything is changed.

use std::sync::Arc;

use rusqlite::{Connection, Transaction as SqlTransaction, TransactionBehavior};

use super::transaction::{Reader, Transaction};
use super::{empty_log, give_clock};
use crate::clock::{Clock, wall_seconds};
use crate::error::{OpenError, StorageError, Trouble};
use crate::layout::Layout;

mod bytes;
mod migrations;
mod rows;
#[cfg(test)]
pub(super) mod tests;

use migrations::MIGRATIONS;
use rows::{Rows, StepCursor};

/// A part of a migration: one transaction, or one for each step.
#[derive(Clone, Copy)]
pub(super) enum Part {
    /// Statements that change the schema, and rows of which there are few.
    Sql(&'static str),
    /// Statements whose work grows with the rows that there are, with how many bytes it adds to
    /// the log.
    Large(&'static str, fn(&Reader<'_>) -> Result<u64, StorageError>),
    /// Changes of rows. The schema stays.
    Rows(Rows),
}

impl Part {
    /// What it changes of the schema.
    pub(super) fn statements(self) -> &'static str {
        match self {
            Self::Sql(statements) | Self::Large(statements, _) => statements,
            Self::Rows(_) => "",
        }
    }
}

/// All parts in order, each with the number that a database has behind it.
pub(super) fn parts() -> impl Iterator<Item = (Part, u32)> {
    (0..).zip(MIGRATIONS).flat_map(|(before, parts): (u32, _)| {
        (1..).zip(*parts).map(move |(done, part): (u32, _)| match done as usize == parts.len() {
            true => (*part, before + 1),
            // On the way to that number.
            false => (*part, done << PARTS_BITS | (before + 1)),
        })
    })
}

/// Brings the database to the newest schema. `room` says how many bytes more the disk can take,
/// with what is given up for such an end.
///
/// # Errors
/// [`OpenError::NoRoomToUpgrade`], [`Trouble::NewerFormat`]; trouble with the disk.
pub(super) fn migrate(
    connection: &mut Connection,
    layout: &Layout,
    room: &dyn Fn() -> u64,
) -> Result<(), OpenError> {
    let number = applied(connection, layout)?;
    if number == 0 {
        return Ok(create(connection)?);
    }
    let behind = parts().skip_while(|(_, of)| *of != number).skip(1);
    let rest: Vec<(Part, u32)> = behind.collect();
    for (part, _) in &rest {
        check_room(connection, *part, layout, room())?;
    }
    for (part, number) in rest {
        if let Part::Rows(rows) = part {
            change_rows(connection, rows, number, room)?;
        } else {
            // What was forgotten above made room, or somebody else took it.
            check_room(connection, part, layout, room())?;
            let transaction = begin(connection)?;
            transaction.execute_batch(part.statements())?;
            commit(transaction, Some(number))?;
        }
        empty_log(connection)?;
    }
    Ok(())
}

/// The number of the newest migration.
pub(super) fn known() -> u32 {
    u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX)
}

/// Whether the database has the newest schema.
pub(super) fn is_current(connection: &Connection, layout: &Layout) -> Result<bool, StorageError> {
    Ok(applied(connection, layout)? == known())
}

/// The number of the last part that was applied, if this program knows it.
fn applied(connection: &Connection, layout: &Layout) -> Result<u32, StorageError> {
    let found = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found != 0 && parts().all(|(_, number)| number != found) {
        let (path, known) = (layout.root().to_owned(), known());
        return Err(StorageError::Failed(Trouble::NewerFormat { path, found, known }));
    }
    Ok(found)
}

/// Makes all tables of a database that has none, and so no rows.
fn create(connection: &mut Connection) -> Result<(), StorageError> {
    let transaction = begin(connection)?;
    parts().try_for_each(|(part, _)| transaction.execute_batch(part.statements()))?;
    commit(transaction, Some(known()))
}

/// Changes rows a step at a time, each of which fits into the log like a few pushes.
fn change_rows(
    connection: &mut Connection,
    rows: Rows,
    number: u32,
    room: &dyn Fn() -> u64,
) -> Result<(), StorageError> {
    let tick = connection.query_row("SELECT tick FROM clock", [], |row| row.get(0))?;
    give_clock(connection, &Arc::new(Clock::from(tick)))?;
    let mut place = StepCursor::default();
    loop {
        let transaction = begin(connection)?;
        let step = Transaction::new(&transaction, wall_seconds());
        let is_done = rows.step(&step, &mut place, room())?;
        commit(transaction, is_done.then_some(number))?;
        if is_done {
            return Ok(());
        }
        empty_log(connection)?;
    }
}

fn check_room(
    connection: &Connection,
    part: Part,
    layout: &Layout,
    free_bytes: u64,
) -> Result<(), OpenError> {
    let Part::Large(_, bytes) = part else { return Ok(()) };
    let needed_bytes = bytes(&Reader::new(connection))?;
    if needed_bytes > free_bytes {
        let path = layout.root().to_owned();
        return Err(OpenError::NoRoomToUpgrade { path, needed_bytes, free_bytes });
    }
    Ok(())
}

fn begin(connection: &mut Connection) -> Result<SqlTransaction<'_>, StorageError> {
    Ok(connection.transaction_with_behavior(TransactionBehavior::Immediate)?)
}

fn commit(transaction: SqlTransaction<'_>, number: Option<u32>) -> Result<(), StorageError> {
    if let Some(number) = number {
        transaction.pragma_update(None, "user_version", number)?;
    }
    Ok(transaction.commit()?)
}

/// Bits of a number that say to which migration a database is on its way; the others say how many
/// parts of it are done.
const PARTS_BITS: u32 = 16;
