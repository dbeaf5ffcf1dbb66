//! A backup of a store whose log could not be moved into its database, and what is made of one.

use std::fs::{self, File};
use std::ops::ControlFlow;
use std::os::unix::fs::symlink;
use std::path::Path;

use oci::Digest;
use storage::backup::{
    BackupError, CopyOutcome, DatabaseFiles, Filling, Origin, Restoring, SmallFiles, Target,
    read_directory,
};
use storage::{Layout, StorageError, Store, Trouble};

use crate::support::{blob_path, directory, open, pull, push, repo, try_open};

/// A store with two blobs.
fn filled(root: &Path) -> (Store, [Digest; 2]) {
    let store = open(root);
    let digests = [b"one", b"two"].map(|content| push(&store, &repo("app"), content));
    (store, digests)
}

/// Begins a backup of the store in this directory.
fn begin(store: &Store, directory: &Path) -> Filling {
    let target = Target::open(directory, store.identity().unwrap()).unwrap();
    let next = target.found().next().unwrap();
    assert_eq!(store.begin_backup(target.found(), next), Ok(true));
    target.begin(next, "the test's".to_owned(), false).unwrap()
}

/// Copies all blobs, and says how many.
fn copy_blobs(store: &Store, filling: &Filling) -> usize {
    let mut count = 0;
    for (algorithm, prefix) in Layout::shards() {
        for blob in store.named_blobs(algorithm, prefix).unwrap() {
            let file = File::open(store.layout().blob_file(&blob.digest)).unwrap();
            let mut silent = |_| ControlFlow::Continue(());
            let taken = filling.blobs().take(&blob.digest, blob.size, &file, &mut silent);
            assert_eq!(taken, Ok(CopyOutcome::Whole(blob.size)));
            count += 1;
        }
        filling.blobs().sync_shard(algorithm, prefix).unwrap();
    }
    count
}

#[test]
fn a_log_goes_along_with_its_database_and_is_moved_into_it_where_it_is_restored_or_served() {
    let (root, copy, again) = (directory(), directory(), directory());
    let (store, digests) = filled(root.path());
    let mut filling = begin(&store, copy.path());
    assert_eq!(copy_blobs(&store, &filling), 2);
    let log = |root: &Path| root.join("registry.db-wal");
    let files = DatabaseFiles::open(&root.path().join("registry.db"), &log(root.path())).unwrap();
    let alone = fs::metadata(root.path().join("registry.db")).unwrap().len();
    assert!(files.bytes() > alone, "there is no log");
    filling.place(&files, &SmallFiles::new(), None).unwrap();
    assert!(log(copy.path()).exists() && copy.path().join("FORMAT").exists());
    drop(filling);

    let origin = Origin::open(copy.path()).unwrap();
    let restoring = Restoring::begin(again.path()).unwrap();
    for (algorithm, prefix) in Layout::shards() {
        for (digest, size) in origin.shard(algorithm, prefix).unwrap() {
            let file = origin.open_blob(&digest).unwrap().unwrap();
            let mut silent = |_| ControlFlow::Continue(());
            let taken = restoring.blobs().take(&digest, size, &file, &mut silent);
            assert_eq!(taken, Ok(CopyOutcome::Whole(size)));
        }
    }
    let database = origin.open_database().unwrap();
    assert_eq!(restoring.place(&database, &SmallFiles::new(), None), Ok(vec![]));
    restoring.finish().unwrap();
    for root in [again.path(), copy.path()] {
        let store = try_open(root, false).unwrap();
        store.forget_backup().unwrap();
        assert_eq!(pull(&store, &repo("app"), &digests[0]).unwrap(), b"one");
        assert_eq!(store.lost().unwrap().blobs, 0);
    }

    // The next one needs no log, and leaves none.
    let next = directory();
    let mut filling = begin(&store, next.path());
    copy_blobs(&store, &filling);
    let files = store.database_files().unwrap();
    assert_eq!(fs::metadata(log(root.path())).unwrap().len(), 0);
    filling.place(&files, &SmallFiles::new(), None).unwrap();
}

#[test]
fn a_backup_that_is_served_lacks_what_is_not_there_and_nothing_else() {
    let (root, copy) = (directory(), directory());
    let (store, digests) = filled(root.path());
    let mut filling = begin(&store, copy.path());
    copy_blobs(&store, &filling);
    filling.place(&store.database_files().unwrap(), &SmallFiles::new(), None).unwrap();
    drop(filling);
    fs::remove_file(blob_path(copy.path(), &digests[1])).unwrap();
    let served = try_open(copy.path(), false).unwrap();
    served.forget_backup().unwrap();
    assert_eq!(served.lost_digests(9).unwrap().blobs, [digests[1]]);
    assert!(!copy.path().join("backup.json").exists());
}

#[test]
fn a_blob_that_is_longer_than_its_row_says_is_wrong_and_not_copied_further() {
    let (root, copy) = (directory(), directory());
    let (store, digests) = filled(root.path());
    let filling = begin(&store, copy.path());
    let path = blob_path(root.path(), &digests[0]);
    // Far more than any disk of a test could take.
    File::options().write(true).open(&path).unwrap().set_len(1 << 40).unwrap();
    let (mut heard, file) = (0, File::open(&path).unwrap());
    let mut hear = |count| {
        heard += count;
        ControlFlow::Continue(())
    };
    let taken = filling.blobs().take(&digests[0], 3, &file, &mut hear);
    assert_eq!((taken, heard), (Ok(CopyOutcome::Wrong), 0));
}

#[test]
fn small_files_are_small_and_few() {
    let root = directory();
    let file = |name: String| fs::write(root.path().join(name), "x").unwrap();
    (0..100).for_each(|number| file(number.to_string()));
    symlink("/etc/passwd", root.path().join("link")).unwrap();
    assert_eq!(read_directory(root.path()).unwrap().len(), 100);
    file("one more".to_owned());
    let what = "it has more than 100 files".to_owned();
    let path = root.path().to_owned();
    assert_eq!(
        read_directory(root.path()),
        Err(StorageError::Failed(Trouble::Damaged { path, what }))
    );
}

#[test]
fn a_directory_with_the_backup_of_another_store_is_not_to_be_had() {
    let (root, other, copy) = (directory(), directory(), directory());
    drop(begin(&open(root.path()), copy.path()));
    let identity = open(other.path()).identity().unwrap();
    let refused = Target::open(copy.path(), identity).unwrap_err();
    assert_eq!(refused, BackupError::Other(copy.path().to_owned()));
}
