//! What the store makes is its owner's alone, and nothing in it is named by a client.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use bytes::Bytes;
use durable::{Access, write_whole};
use oci::Algorithm;
use storage::UploadId;

use crate::again;
use crate::support::{account, directory, index, open, push, repo, sha512, tag, tree};

const TEST: &str = "modes::every_mode_is_private_whatever_the_umask";

#[test]
fn every_mode_is_private_whatever_the_umask() {
    let Some(parent) = again::handed_over() else {
        for umask in ["000", "022", "777"] {
            let home = directory();
            let before = ["sh", "-c", "umask \"$0\" && exec \"$@\"", umask];
            again::run(&before, TEST, home.path().to_str().unwrap());
        }
        return;
    };
    let root = Path::new(&parent).join("data");
    let store = open(&root);
    push(&store, &repo("a"), b"content");
    store.push_manifest(&repo("a"), index("x"), vec![tag("latest")], None).unwrap();
    store.create_upload(&repo("a"), &account("owner"), Algorithm::Sha256).unwrap();
    write_whole(&store.layout().init_password(), &mut &b"secret\n"[..], Access::PRIVATE).unwrap();
    let mode = |path: &Path| path.symlink_metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&root), 0o711, "anybody may go through it to the CA, and not open it");
    let entries = tree(&root);
    assert!(entries.iter().any(|path| path.ends_with("registry.db-wal")));
    assert!(entries.iter().any(|path| path.ends_with("registry.db-shm")));
    for path in entries {
        let expected = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode(&path), expected, "{}: {:o}", path.display(), mode(&path));
    }
}

#[test]
fn what_lets_others_open_the_directory_of_a_store_is_taken_from_its_mode() {
    for (before, after) in [(0o755, 0o711), (0o2775, 0o2711), (0o750, 0o710), (0o700, 0o700)] {
        let home = directory();
        let root = home.path().join("data");
        drop(open(&root));
        fs::set_permissions(&root, fs::Permissions::from_mode(before)).unwrap();
        let _store = open(&root);
        let mode = root.metadata().unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode, after, "{before:o} became {mode:o}");
    }
}

#[test]
fn no_file_is_named_by_a_client() {
    let home = directory();
    let store = open(home.path());
    let (name, pusher) = (repo("evil/name"), account("evil@user"));
    push(&store, &name, b"content");
    store.push_manifest(&name, index("x"), vec![tag("evil-tag")], None).unwrap();
    let id = store.create_upload(&name, &pusher, Algorithm::Sha512).unwrap();
    let writer = store.open_upload(&name, &pusher, id).unwrap();
    writer.append(&[Bytes::from_static(b"other")]).unwrap();
    store.commit_upload(&writer, &sha512(b"other")).unwrap();
    store.create_upload(&name, &pusher, Algorithm::Sha256).unwrap();
    let mut seen = (0, 0);
    for path in tree(home.path()).iter().filter(|path| path.is_file()) {
        let parts: Vec<&str> = path
            .strip_prefix(home.path())
            .unwrap()
            .iter()
            .map(|part| part.to_str().unwrap())
            .collect();
        match parts.as_slice() {
            ["FORMAT" | "lock" | "reserve"] => {}
            ["registry.db" | "registry.db-wal" | "registry.db-shm"] => {}
            ["blobs", algorithm, shard, hex] => {
                let is_digest = format!("{algorithm}:{hex}").parse::<oci::Digest>().is_ok();
                assert!(is_digest && hex.starts_with(shard), "{parts:?}");
                seen.0 += 1;
            }
            ["uploads", file] => {
                let id = file.strip_suffix(".meta").unwrap_or(file);
                assert!(id.parse::<UploadId>().is_ok(), "{parts:?}");
                seen.1 += 1;
            }
            _ => panic!("{parts:?}"),
        }
    }
    // Of the two that are finished a note is left, of the open one both files.
    assert_eq!(seen, (2, 4));
}
