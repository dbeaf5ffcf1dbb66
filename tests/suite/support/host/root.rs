//! The Debian root that every host has below its own changes: made once, from the archive that is
//! also an image to push, and kept in the target directory under a name that holds its recipe.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::super::images::{debian, sha256};
use super::super::process::run;
use super::cgroup::Cgroup;

/// The root, which nobody may change.
pub(crate) fn root() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        let recipe = sha256([RECIPE, ASSEMBLY].concat().as_bytes());
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("hosts");
        let root = directory.join(format!("root-{}", &recipe["sha256:".len()..][..16]));
        if !root.exists() {
            make(&directory, &root);
        }
        root
    })
}

fn make(directory: &Path, root: &Path) {
    fs::create_dir_all(directory).expect("a directory");
    let work = tempfile::tempdir_in(directory).expect("a temporary directory");
    let name = work.path().file_name().expect("a name").to_string_lossy().replace('.', "");
    let group = Cgroup::new(&format!("registry-root-{name}")).expect("a control group");
    let made = work.path().join("root");
    fs::create_dir(&made).expect("a directory");
    let mut sh = Command::new("unshare");
    sh.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-euc"]);
    sh.arg(format!("{}{ASSEMBLY}", group.entry())).arg("sh");
    run(sh.args([debian(), &made]).args([&name, RECIPE])).ok();
    // Another run of the tests may have been at the same and first.
    if let Err(error) = fs::rename(&made, root) {
        assert!(root.exists(), "the root gets its name: {error}");
    }
}

/// What is done inside the root.
const RECIPE: &str = include_str!("root.sh");
/// How the root comes to be: from archive $1 at $2 with the recipe $4. nspawn gets a place of its
/// own for what it notes about containers, so that it leaves nothing on the machine.
const ASSEMBLY: &str = r#"
tar --extract --preserve-permissions --numeric-owner --file "$1" --directory "$2"
mkdir -p /run/systemd/nspawn
mount -t tmpfs nspawn /run/systemd/nspawn
exec systemd-nspawn --quiet --directory="$2" --machine="$3" --register=no --keep-unit --pipe \
    sh -c "$4"
"#;
