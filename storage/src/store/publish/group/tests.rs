use std::sync::mpsc;
use std::thread;

use super::*;
use crate::error::StorageError;
use crate::store::Store;
use crate::store::publish::tests::open;

const MEMBERS: usize = 8;
const HOUR: Duration = Duration::from_secs(3600);

/// Takes part in a group, and makes a repository if the directory of member `number` syncs.
fn take_part(store: &Store, number: usize) -> Result<(), StorageError> {
    let member = store.groups.begin(1).join(&store.database);
    if number == 3 {
        // Its directory does not.
        return Err(StorageError::Closed);
    }
    let add = format!("INSERT INTO repositories (name) VALUES ('r{number}')");
    let (write, outcome) = store.database.prepare(move |transaction| {
        transaction.run(&add)?;
        if number == 5 { Err(StorageError::UserExists) } else { Ok(()) }
    })?;
    member.write(write);
    outcome.wait()
}

#[test]
fn who_comes_while_a_group_is_under_way_shares_the_next_and_what_fails_in_it_fails_alone() {
    let (_directory, store) = open();
    let groups = &store.groups;
    // Nobody else is there, so it waits for nobody.
    let first = groups.begin(1).join(&store.database);
    let outcomes: Vec<_> = thread::scope(|scope| {
        let store = &store;
        let members: Vec<_> =
            (0..MEMBERS).map(|number| scope.spawn(move || take_part(store, number))).collect();
        while groups.lock().joined != MEMBERS {
            thread::yield_now();
        }
        assert_eq!(groups.lock().begun, 1);
        drop(first);
        members.into_iter().map(|member| member.join().unwrap()).collect()
    });
    assert_eq!(groups.lock().begun, 2);
    for (number, outcome) in outcomes.iter().enumerate() {
        let expected = match number {
            3 => Err(StorageError::Closed),
            5 => Err(StorageError::UserExists),
            _ => Ok(()),
        };
        assert_eq!(*outcome, expected, "{number}");
    }
    let count = "SELECT count(*) FROM repositories";
    let made = store.database.read(|reader| reader.number(count)).unwrap();
    assert_eq!(usize::try_from(made).unwrap(), MEMBERS - 2);
    let state = groups.lock();
    assert!(state.syncing.is_empty() && !state.is_busy && state.joined + state.unsynced == 0);
}

#[test]
fn a_group_lets_come_who_is_on_his_way() {
    let groups = Groups::default();
    let coming = groups.begin(1);
    let (tell, told) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| {
            let state = groups.gather(groups.lock(), Instant::now(), HOUR);
            tell.send(state.syncing.len()).unwrap();
        });
        // Long enough for somebody who does not wait.
        assert!(told.recv_timeout(Duration::from_millis(200)).is_err());
        drop(coming);
        assert_eq!(told.recv(), Ok(0));
    });
}

#[test]
fn a_group_does_not_wait_for_who_came_later_has_a_large_blob_or_takes_longer_than_others() {
    let groups = Groups::default();
    let done = Instant::now();
    let later = groups.begin(1);
    assert_eq!(groups.gather(groups.lock(), done, HOUR).syncing.len(), 1);
    drop(later);
    let large = groups.begin(AWAITED_BYTES + 1);
    assert_eq!(groups.gather(groups.lock(), Instant::now(), HOUR).syncing.len(), 0);
    drop(large);
    let long = groups.begin(1);
    let done = Instant::now();
    thread::sleep(Duration::from_millis(2));
    assert_eq!(groups.gather(groups.lock(), done, Duration::from_millis(1)).syncing.len(), 1);
    drop(long);
}
