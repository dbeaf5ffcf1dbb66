use std::sync::Mutex;

use rusqlite::Params;

use super::*;
use crate::db::copy::CopyState;
use crate::error::Trouble;

fn fatal(error: &StorageError) -> ! {
    panic!("{error}")
}

fn writer(connection: Connection) -> rusqlite::Result<Writer> {
    let (gate, versions) = (Gate::new(Duration::ZERO), Versions::new());
    Writer::new(connection, Arc::new(gate), Arc::new(versions), fatal, |_| {})
}

fn insert(value: i64, fail: bool) -> (Box<dyn Job>, mpsc::Receiver<Result<i64, StorageError>>) {
    job(FEW_ROWS, move |connection: &Transaction<'_>| {
        change(connection, "INSERT INTO t VALUES (?1)", [value])?;
        if fail { Err(StorageError::UserExists) } else { Ok(value) }
    })
}

/// Changes a table of these tests, with which no answer of the registry has to do.
fn change(transaction: &Transaction<'_>, sql: &str, params: impl Params) -> rusqlite::Result<()> {
    transaction.noted(|| transaction.execute(sql, params)).map(drop)
}

fn database() -> (tempfile::TempDir, Connection) {
    let directory = tempfile::tempdir().unwrap();
    let connection = Connection::open(directory.path().join("db")).unwrap();
    connection.pragma_update(None, "journal_mode", "WAL").unwrap();
    connection.execute_batch("CREATE TABLE t (v INTEGER)").unwrap();
    (directory, connection)
}

/// Counts the transactions that a connection commits from now on.
fn count_commits(connection: &mut Connection) -> Arc<AtomicI32> {
    let commits = Arc::new(AtomicI32::new(0));
    let counter = Arc::clone(&commits);
    let count = move || {
        counter.fetch_add(1, Ordering::Relaxed);
        false
    };
    connection.commit_hook(Some(count)).unwrap();
    commits
}

#[test]
fn a_job_that_fails_leaves_nothing_and_its_neighbours_stay() {
    let (directory, connection) = database();
    let (sender, queue) = mpsc::channel();
    let outcomes: Vec<_> = [(1, false), (2, true), (3, false)]
        .into_iter()
        .map(|(value, fail)| {
            let (job, outcome) = insert(value, fail);
            sender.send(Work::Write(job)).unwrap();
            outcome
        })
        .collect();
    drop(sender);
    writer(connection).unwrap().run(&queue);
    let outcomes: Vec<_> = outcomes.iter().map(|outcome| outcome.recv().unwrap()).collect();
    assert_eq!(outcomes, [Ok(1), Err(StorageError::UserExists), Ok(3)]);
    let connection = Connection::open(directory.path().join("db")).unwrap();
    let sum: i64 = connection.query_row("SELECT sum(v) FROM t", [], |row| row.get(0)).unwrap();
    assert_eq!(sum, 4);
}

#[test]
fn writes_that_come_together_share_one_commit_however_many_they_are() {
    let (_directory, mut connection) = database();
    let (sender, queue) = mpsc::channel();
    let writes =
        (0..2 * GROUP_ROWS / FEW_ROWS).map(|value| insert(i64::try_from(value).unwrap(), false));
    let (jobs, outcomes): (Vec<_>, Vec<_>) = writes.unzip();
    sender.send(Work::WriteTogether(jobs)).unwrap();
    drop(sender);
    let commits = count_commits(&mut connection);
    writer(connection).unwrap().run(&queue);
    assert!(outcomes.iter().all(|outcome| outcome.recv().unwrap().is_ok()));
    assert_eq!(commits.load(Ordering::Relaxed), 1);
}

#[test]
fn waiting_jobs_share_one_commit() {
    let (_directory, mut connection) = database();
    let (sender, queue) = mpsc::channel();
    let mut outcomes = Vec::new();
    for value in 0..GROUP_ROWS / FEW_ROWS {
        let (job, outcome) = insert(i64::try_from(value).unwrap(), false);
        sender.send(Work::Write(job)).unwrap();
        outcomes.push(outcome);
    }
    drop(sender);
    let commits = count_commits(&mut connection);
    writer(connection).unwrap().run(&queue);
    assert!(outcomes.iter().all(|outcome| outcome.recv().unwrap().is_ok()));
    assert_eq!(commits.load(Ordering::Relaxed), 1);
}

#[test]
fn no_transaction_has_many_more_rows_than_one_that_takes_long() {
    let (_directory, mut connection) = database();
    let (sender, queue) = mpsc::channel();
    let mut outcomes = Vec::new();
    let jobs = 48;
    for _ in 0..jobs {
        let (job, outcome) = job(MANY_ROWS, |connection: &Transaction<'_>| {
            for row in 0..MANY_ROWS {
                change(connection, "INSERT INTO t VALUES (?1)", [row])?;
            }
            Ok(())
        });
        sender.send(Work::Write(job)).unwrap();
        outcomes.push(outcome);
    }
    drop(sender);
    let commits = count_commits(&mut connection);
    writer(connection).unwrap().run(&queue);
    assert!(outcomes.iter().all(|outcome| outcome.recv().unwrap().is_ok()));
    let groups = usize::try_from(commits.load(Ordering::Relaxed)).unwrap();
    assert_eq!(groups, jobs * MANY_ROWS / GROUP_ROWS);
}

#[test]
fn what_takes_long_lets_the_others_go_first_and_comes_one_at_a_time() {
    let (directory, mut connection) = database();
    let (sender, queue) = mpsc::channel();
    let mut outcomes = Vec::new();
    for (value, rows) in [
        (10, MANY_ROWS + 1),
        (11, MANY_ROWS + 1),
        (1, MANY_ROWS),
        (12, MANY_ROWS + 1),
        (2, MANY_ROWS),
    ] {
        let (job, outcome) = job(rows, move |connection: &Transaction<'_>| {
            change(connection, "INSERT INTO t VALUES (?1)", [value])?;
            Ok(())
        });
        sender.send(Work::Write(job)).unwrap();
        outcomes.push(outcome);
    }
    drop(sender);
    let commits = count_commits(&mut connection);
    writer(connection).unwrap().run(&queue);
    assert!(outcomes.iter().all(|outcome| outcome.recv().unwrap().is_ok()));
    assert_eq!(commits.load(Ordering::Relaxed), 4);
    let connection = Connection::open(directory.path().join("db")).unwrap();
    let mut statement = connection.prepare("SELECT v FROM t ORDER BY rowid").unwrap();
    let order: rusqlite::Result<Vec<i64>> =
        statement.query_map([], |row| row.get(0)).unwrap().collect();
    assert_eq!(order.unwrap(), [1, 2, 10, 11, 12]);
}

/// What a writer's thread ends with when one job's outcome is this error.
fn outcome_of(error: StorageError) -> std::thread::Result<()> {
    let (_directory, connection) = database();
    let (sender, queue) = mpsc::channel();
    let (job, _outcome) = job::<(), _>(FEW_ROWS, move |_| Err(error));
    sender.send(Work::Write(job)).unwrap();
    drop(sender);
    let writer = writer(connection).unwrap();
    std::thread::spawn(move || writer.run(&queue)).join()
}

#[test]
fn a_failed_sync_ends_the_process_and_a_full_disk_does_not() {
    assert!(outcome_of(StorageError::Failed(Trouble::NotSynced("disk I/O error".into()))).is_err());
    assert!(outcome_of(StorageError::Full).is_ok());
    assert!(outcome_of(StorageError::Failed(Trouble::Database("disk I/O error".into()))).is_ok());
}

#[test]
fn a_job_that_ends_the_transaction_speaks_for_its_neighbours() {
    let (directory, connection) = database();
    let (sender, queue) = mpsc::channel();
    let (first, first_outcome) = insert(1, false);
    // What SQLite does by itself when the disk is full.
    let (second, second_outcome) = job::<(), _>(FEW_ROWS, |connection: &Transaction<'_>| {
        connection.connection().execute_batch("ROLLBACK")?;
        Err(StorageError::Full)
    });
    let (third, third_outcome) = insert(3, false);
    for job in [first, second, third] {
        sender.send(Work::Write(job)).unwrap();
    }
    drop(sender);
    writer(connection).unwrap().run(&queue);
    assert_eq!(first_outcome.recv().unwrap(), Err(StorageError::Full));
    assert_eq!(second_outcome.recv().unwrap(), Err(StorageError::Full));
    assert_eq!(third_outcome.recv().unwrap(), Err(StorageError::Full));
    let connection = Connection::open(directory.path().join("db")).unwrap();
    let count: i64 = connection.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap();
    assert_eq!(count, 0, "a row of a refused write stayed");
}

/// Writes that each send the next one when they run, so that there is always exactly one that
/// waits. Each notes how many pages of the copy there were.
struct Chain {
    sender: mpsc::Sender<Work>,
    copy: Arc<CopyState>,
    pages: Mutex<Vec<u64>>,
}

impl Chain {
    fn send(self: &Arc<Self>, number: i64) {
        let chain = Arc::clone(self);
        let (job, _outcome) = job(FEW_ROWS, move |connection: &Transaction<'_>| {
            chain.pages.lock().unwrap().push(chain.copy.done.load(Ordering::Relaxed));
            if number < LINKS {
                chain.send(number + 1);
            }
            // Every third is refused after it has changed pages that are copied already.
            change(connection, "UPDATE t SET v = randomblob(8000) WHERE rowid % 7 = 0", [])?;
            change(connection, "INSERT INTO log VALUES (?1)", [number])?;
            if number % 3 == 0 { Err(StorageError::UserExists) } else { Ok(()) }
        });
        self.sender.send(Work::Write(job)).unwrap();
    }
}

#[test]
fn a_copy_ends_where_the_room_does() {
    let (directory, connection) = database();
    let rows = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
                INSERT INTO t SELECT randomblob(8000) FROM n";
    connection.execute_batch(rows).unwrap();
    let to = directory.path().join("copy");
    std::fs::write(&to, "").unwrap();
    let no_room = StorageError::NoRoom { wanted_bytes: 1, free_bytes: 2, kept_bytes: 3 };
    let (said, steps) = (no_room.clone(), AtomicI32::new(0));
    let has_room = move |_| match steps.fetch_add(1, Ordering::Relaxed) {
        0..3 => Ok(()),
        _ => Err(said.clone()),
    };
    let (request, state, outcome) = crate::db::copy::request(&to, Box::new(has_room));
    let (sender, queue) = mpsc::channel();
    sender.send(Work::Copy(request)).unwrap();
    drop(sender);
    writer(connection).unwrap().run(&queue);
    assert_eq!(outcome.recv().unwrap(), Err(no_room));
    assert_eq!(state.done.load(Ordering::Relaxed), 3 * 64);
}

const LINKS: i64 = 12;

#[test]
fn a_copy_is_made_in_small_steps_and_a_waiting_write_is_served_between_two() {
    let (directory, connection) = database();
    let rows = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
                INSERT INTO t SELECT randomblob(8000) FROM n";
    connection.execute_batch(rows).unwrap();
    connection.execute_batch("CREATE TABLE log (number INTEGER)").unwrap();
    let to = directory.path().join("copy");
    std::fs::write(&to, "").unwrap();
    let (sender, queue) = mpsc::channel();
    let (request, copy, outcome) = crate::db::copy::request(&to, Box::new(|_| Ok(())));
    let (pages, state) = (Mutex::default(), Arc::clone(&copy));
    sender.send(Work::Copy(request)).unwrap();
    let chain = Arc::new(Chain { sender, copy, pages });
    chain.send(1);
    let mine = Arc::clone(&chain);
    drop(chain);
    let writer = writer(connection).unwrap();
    let thread = std::thread::spawn(move || writer.run(&queue));
    assert_eq!(outcome.recv().unwrap(), Ok(true));
    let pages = mine.pages.lock().unwrap().clone();
    let total = state.total.load(Ordering::Relaxed);
    drop(mine);
    thread.join().unwrap();
    assert!(total > 64 * (LINKS as u64 + 2), "{total} pages are too few for this test");
    // The first waited behind the first step; each other one behind one step more.
    let expected: Vec<u64> = (1..=LINKS as u64).map(|step| step * 64).collect();
    assert_eq!(pages, expected);
    // The copy is sound, and is the database of the moment of its end.
    let check = "PRAGMA quick_check";
    let said = Connection::open(&to).unwrap().query_row(check, [], |row| row.get(0));
    assert_eq!(said, Ok("ok".to_owned()));
    let digest = "SELECT sum(length(v)), count(*), max(hex(v)), min(hex(v)),
                  (SELECT group_concat(number) FROM log) FROM t";
    let all = |path: &std::path::Path| {
        let row =
            |row: &rusqlite::Row<'_>| -> rusqlite::Result<(i64, i64, String, String, String)> {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
            };
        Connection::open(path).unwrap().query_row(digest, [], row).unwrap()
    };
    let (copied, written) = (all(&to), all(&directory.path().join("db")));
    assert_eq!(copied, written);
    assert_eq!(copied.4, "1,2,4,5,7,8,10,11");
}

#[test]
fn a_commit_that_failed_when_it_lay_in_the_log_does_not_come_back_after_a_crash() {
    let (directory, mut connection) = database();
    let path = |name: &str| directory.path().join(name);
    let copy = |from: &str, to: &str| {
        for end in ["", "-wal"] {
            std::fs::copy(path(&format!("{from}{end}")), path(&format!("{to}{end}"))).unwrap();
        }
    };
    let count = |name: &str| -> i64 {
        let connection = Connection::open(path(name)).unwrap();
        connection.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap()
    };
    // What the log looks like behind a commit of which its index does not know: another
    // process, which died, committed to a copy.
    copy("db", "other");
    let other = Connection::open(path("other")).unwrap();
    other.execute_batch("INSERT INTO t VALUES (1), (zeroblob(9000))").unwrap();
    let planted = std::fs::read(path("other-wal")).unwrap();
    copy("other", "dead");
    assert_eq!(count("dead"), 2, "it would come back");
    let log = path("db-wal");
    let mut is_first = true;
    connection
        .commit_hook(Some(move || {
            if is_first {
                std::fs::write(&log, &planted).unwrap();
            }
            std::mem::take(&mut is_first)
        }))
        .unwrap();
    let (sender, queue) = mpsc::channel();
    let (job, outcome) = insert(1, false);
    sender.send(Work::Write(job)).unwrap();
    // Looks at what a crash would leave when the caller hears of it.
    let thread = std::thread::spawn(move || writer(connection).unwrap().run(&queue));
    assert!(matches!(outcome.recv().unwrap(), Err(StorageError::Failed(Trouble::Database(_)))));
    copy("db", "crashed");
    assert_eq!(count("crashed"), 0, "the refused write came back");
    drop(sender);
    thread.join().unwrap();
}

#[test]
fn a_long_log_is_moved_into_the_database() {
    let (directory, connection) = database();
    let (sender, queue) = mpsc::channel();
    let mut outcomes = Vec::new();
    for _ in 0..4 {
        let (job, outcome) = job(FEW_ROWS, |connection: &Transaction<'_>| {
            let pages = CHECKPOINT_PAGES * 4096;
            change(connection, "INSERT INTO t VALUES (zeroblob(?1))", [pages])?;
            Ok(())
        });
        sender.send(Work::Write(job)).unwrap();
        outcomes.push(outcome);
    }
    drop(sender);
    // Open until the end, so that closing the writer's connection does not do it.
    let reader = Connection::open(directory.path().join("db")).unwrap();
    reader.query_row("SELECT count(*) FROM t", [], |_| Ok(())).unwrap();
    writer(connection).unwrap().run(&queue);
    assert!(outcomes.iter().all(|outcome| outcome.recv().unwrap().is_ok()));
    let size = std::fs::metadata(directory.path().join("db")).unwrap().len();
    assert!(size > 4 * u64::try_from(CHECKPOINT_PAGES).unwrap() * 4096, "{size}");
    drop(reader);
}
