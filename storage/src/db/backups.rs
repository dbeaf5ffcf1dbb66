//! Which directories hold a backup of this store, and which run of it began there last. The rules
//! stand in [`crate::backup::generation`].

use oci::Digest;
use rusqlite::params;

use super::column::Text;
use super::transaction::{Reader, Transaction};
use crate::backup::generation::{FoundBackup, Generation, Token};
use crate::error::StorageError;

impl Transaction<'_> {
    /// Notes that a run begins where it finds `found`, and is to write `next` there. False, and
    /// nothing is noted, if the last one to write there was not this store.
    pub(crate) fn begin_backup(
        &self,
        found: &FoundBackup,
        next: &Generation,
    ) -> Result<bool, StorageError> {
        let is_ours = match found {
            FoundBackup::Free => insert(self, next)?,
            FoundBackup::Unmarked => !is_restored(self)? && insert(self, next)?,
            FoundBackup::Last(last) => go_on(self, last, next.run)?,
        };
        if is_ours {
            forget_oldest(self)?;
        }
        Ok(is_ours)
    }

    /// Makes the store one of its own: it goes on with no backup by itself. And notes that these
    /// blobs, and no others, are lost.
    pub(crate) fn leave_backups(&self, lost: &[Digest]) -> Result<(), StorageError> {
        self.execute("DELETE FROM backups", [])?;
        self.execute("UPDATE identity SET restored_at = ?1", [self.now()])?;
        self.execute("DELETE FROM lost_blobs", [])?;
        lost.iter().try_for_each(|digest| self.lose_blob(digest).map(drop))
    }
}

impl Reader<'_> {
    /// What tells this store from others; its copies have it too.
    pub(crate) fn identity(&self) -> Result<String, StorageError> {
        Ok(self.query_row("SELECT lower(hex(id)) FROM identity", [], |row| row.get(0))?)
    }
}

fn insert(transaction: &Transaction<'_>, next: &Generation) -> Result<bool, StorageError> {
    let mut statement = transaction.prepare_cached(
        "INSERT INTO backups (target, generation, begun_tick) VALUES (?1, ?2, tick())",
    )?;
    Ok(statement.execute(params![Text(&next.target), Text(&next.run)])? > 0)
}

fn go_on(
    transaction: &Transaction<'_>,
    last: &Generation,
    run: Token,
) -> Result<bool, StorageError> {
    let mut statement = transaction.prepare_cached(
        "UPDATE backups SET generation = ?2, next = ?3, begun_tick = tick()
         WHERE target = ?1 AND (generation = ?2 OR next = ?2)",
    )?;
    Ok(statement.execute(params![Text(&last.target), Text(&last.run), Text(&run)])? > 0)
}

fn is_restored(reader: &Reader<'_>) -> Result<bool, StorageError> {
    let is_restored = "SELECT restored_at IS NOT NULL FROM identity";
    Ok(reader.query_row(is_restored, [], |row| row.get(0))?)
}

fn forget_oldest(transaction: &Transaction<'_>) -> Result<(), StorageError> {
    transaction.execute(
        "DELETE FROM backups WHERE target IN (
             SELECT target FROM backups ORDER BY begun_tick DESC, target LIMIT -1 OFFSET ?1)",
        [REMEMBERED_TARGETS],
    )?;
    Ok(())
}

/// Directories that a store remembers. Whoever makes a new one each day comes back to none of the
/// oldest, and could still take it over.
const REMEMBERED_TARGETS: u32 = 256;

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use rusqlite::Connection;

    use super::*;
    use crate::clock::Clock;
    use crate::db::{give_clock, schema};
    use crate::layout::Layout;

    fn database() -> Connection {
        let mut connection = Connection::open_in_memory().unwrap();
        schema::migrate(&mut connection, &Layout::new(Path::new("/data")), &|| u64::MAX).unwrap();
        give_clock(&connection, &Arc::new(Clock::from(0))).unwrap();
        connection
    }

    fn on(connection: &Connection) -> Transaction<'_> {
        Transaction::new(connection, 0)
    }

    /// A run that is not cut short: what the directory says afterwards.
    #[track_caller]
    fn run(connection: &Connection, found: &FoundBackup) -> FoundBackup {
        let next = found.next().unwrap();
        assert_eq!(on(connection).begin_backup(found, &next), Ok(true));
        FoundBackup::Last(next)
    }

    #[track_caller]
    fn refused(connection: &Connection, found: &FoundBackup) {
        let next = found.next().unwrap();
        assert_eq!(on(connection).begin_backup(found, &next), Ok(false));
    }

    #[test]
    fn a_run_goes_on_wherever_the_one_before_was_cut_short_and_nobody_else_does() {
        let (store, clone) = (database(), database());
        let first = run(&store, &FoundBackup::Free);
        refused(&clone, &first);
        // Cut short between the two sides, twice.
        for _ in 0..2 {
            assert_eq!(on(&store).begin_backup(&first, &first.next().unwrap()), Ok(true));
        }
        let second = run(&store, &first);
        let third = run(&store, &second);
        refused(&store, &first);
        refused(&clone, &third);
        run(&store, &third);
    }

    #[test]
    fn directories_take_turns() {
        let store = database();
        let (mut one, mut other) =
            (run(&store, &FoundBackup::Free), run(&store, &FoundBackup::Free));
        for _ in 0..3 {
            one = run(&store, &one);
            other = run(&store, &other);
        }
    }

    #[test]
    fn of_two_that_know_the_same_the_first_goes_on_until_the_other_takes_over() {
        let (store, clone) = (database(), database());
        let first = run(&store, &FoundBackup::Free);
        let FoundBackup::Last(Generation { target, run: number }) = first else { panic!("it ran") };
        let copied = "INSERT INTO backups VALUES (?1, ?2, NULL, 0)";
        clone.execute(copied, params![Text(target), Text(number)]).unwrap();
        let second = run(&clone, &first);
        refused(&store, &second);
        let taken_over = run(&store, &FoundBackup::Free);
        refused(&clone, &taken_over);
        run(&store, &taken_over);
    }

    #[test]
    fn what_an_older_program_wrote_is_gone_on_with_unless_the_store_was_restored() {
        let store = database();
        let first = run(&store, &FoundBackup::Unmarked);
        on(&store).leave_backups(&[]).unwrap();
        refused(&store, &FoundBackup::Unmarked);
        refused(&store, &first);
        run(&store, &FoundBackup::Free);
    }

    #[test]
    fn so_many_directories_are_remembered_and_no_more() {
        let store = database();
        for _ in 0..REMEMBERED_TARGETS + 9 {
            run(&store, &FoundBackup::Free);
        }
        let count = |c: &Connection| c.query_row("SELECT count(*) FROM backups", [], |r| r.get(0));
        assert_eq!(count(&store), Ok(REMEMBERED_TARGETS));
    }
}
