//! What a host has on disk: a layer of its own changes above the root that all hosts share, and
//! what is mounted below it at every boot.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::keeper::Keeper;
use super::root::root;

/// The disk of one host, seen among the keeper's mounts.
pub(crate) struct Disk {
    directory: TempDir,
    mounts: Vec<Mount>,
    disks: u32,
}

/// What is mounted at every boot: what, and where in the host.
struct Mount {
    source: PathBuf,
    target: PathBuf,
}

impl Disk {
    /// A disk on which nothing was changed.
    ///
    /// # Errors
    ///
    /// What `mount` says if this machine cannot lay one directory above another.
    pub(crate) fn new(keeper: &Keeper) -> Result<Self, String> {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let directory = tempfile::Builder::new().prefix("host-").tempdir_in(target);
        let directory = directory.expect("a directory for the host's disk");
        for name in ["changes", "work", "root", "disks"] {
            fs::create_dir(directory.path().join(name)).expect("a directory");
        }
        // The root must be open to all users of the host.
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(directory.path().join("changes"), open).expect("a mode");
        let layers = keeper.try_script(LAYERS, &[root(), directory.path()]);
        if layers.code() != Some(0) {
            return Err(layers.err);
        }
        Ok(Self { directory, mounts: Vec::new(), disks: 0 })
    }

    /// What the host is called among hosts.
    pub(crate) fn name(&self) -> String {
        let name = self.directory.path().file_name().expect("a name").to_string_lossy();
        format!("registry-{}", name.to_lowercase())
    }

    /// Where the host's console is written.
    pub(crate) fn console(&self) -> PathBuf {
        self.directory.path().join("console")
    }

    /// A path of the host among the keeper's mounts.
    pub(crate) fn path(&self, path: &Path) -> PathBuf {
        self.directory.path().join("root").join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Adds a directory of the test to what is mounted at boot.
    pub(crate) fn add(&mut self, source: &Path, target: &str) {
        let source = source.canonicalize().expect("a directory");
        self.mounts.push(Mount { source, target: target.into() });
    }

    /// Adds a file system in memory to what is mounted at boot.
    pub(crate) fn add_small(&mut self, keeper: &Keeper, bytes: u64, target: &str) {
        self.disks += 1;
        let source = self.directory.path().join("disks").join(self.disks.to_string());
        let options = format!("size={bytes},mode=755");
        keeper.script(SMALL, &[Path::new(&options), &source]);
        self.mounts.push(Mount { source, target: target.into() });
    }

    /// Forgets what is mounted at boot.
    pub(crate) fn clear(&mut self) {
        self.mounts.clear();
    }

    /// Mounts what is mounted at boot, and returns where.
    pub(crate) fn mount(&self, keeper: &Keeper) -> Vec<PathBuf> {
        let mount = |mount: &Mount| {
            let target = self.path(&mount.target);
            keeper.script(r#"mkdir -p "$2"; mount --bind "$1" "$2""#, &[&mount.source, &target]);
            target
        };
        self.mounts.iter().map(mount).collect()
    }
}

/// Unmounts what was mounted at boot.
pub(crate) fn unmount(keeper: &Keeper, mounted: &[PathBuf]) {
    for target in mounted.iter().rev() {
        // Lazily, for the test may have a file of it open.
        keeper.script(r#"umount --lazy "$1""#, &[target]);
    }
}

/// Puts the layer of changes in directory $2 above the root $1. Nobody needs it after the machine's
/// end, and not syncing it saves all the other tests from waiting for that.
const LAYERS: &str = r#"
mount -t overlay host "$2/root" -o \
    "lowerdir=$1,upperdir=$2/changes,workdir=$2/work,volatile"
"#;
/// Makes a file system in memory with the options $1 at $2.
const SMALL: &str = r#"mkdir "$2"; mount -t tmpfs -o "$1" disk "$2""#;
