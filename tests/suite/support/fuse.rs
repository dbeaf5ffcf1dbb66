//! A file system of the tests' own program: an empty directory, and nothing can be made in it.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A mounted one, unmounted when it is dropped.
pub(crate) struct Mounted {
    path: PathBuf,
}

/// Mounts one; none if this machine does not let root do so.
pub(crate) fn mount(path: &Path) -> Option<Mounted> {
    let device = OpenOptions::new().read(true).write(true).open("/dev/fuse").ok()?;
    let mut mount = Command::new("mount");
    // The kernel takes the open device for the program's side; that is standard input's place.
    mount.args(["-i", "-t", "fuse", "-o", "fd=0,rootmode=40000,user_id=0,group_id=0", "none"]);
    mount.arg(path).stdin(Stdio::from(device.try_clone().ok()?));
    let mounted = mount.status().is_ok_and(|status| status.success());
    // It ends when the file system is unmounted.
    mounted.then(|| {
        std::thread::spawn(move || answer(device));
        Mounted { path: path.to_owned() }
    })
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.path).status();
    }
}

/// Answers the kernel's questions: linux/fuse.h says what they are.
fn answer(mut device: File) {
    let mut question = vec![0; 1 << 17];
    while let Ok(length) = device.read(&mut question) {
        if length < HEAD_BYTES {
            return;
        }
        let word = |at: usize| {
            u32::from_ne_bytes([question[at], question[at + 1], question[at + 2], question[at + 3]])
        };
        let (error, body) = match word(4) {
            // The version, and that nothing more is offered.
            INIT => (0, [7_u32.to_ne_bytes(), 31_u32.to_ne_bytes()].concat().padded(64)),
            GETATTR => (0, attributes()),
            STATFS => (0, Vec::new().padded(80)),
            LOOKUP => (NO_ENTRY, Vec::new()),
            FORGET | BATCH_FORGET => continue,
            _ => (NO_CALL, Vec::new()),
        };
        let length = u32::try_from(REPLY_HEAD_BYTES + body.len()).expect("a short reply");
        let head = [length.to_ne_bytes(), i32::to_ne_bytes(-error)].concat();
        let reply = [&head, &question[8..16], &body].concat();
        // The kernel takes no answer to a question that it has given up.
        let _ = device.write_all(&reply);
    }
}

/// The attributes of the one directory there is.
fn attributes() -> Vec<u8> {
    let mut reply = Vec::new().padded(104);
    reply[16..24].copy_from_slice(&1_u64.to_ne_bytes());
    reply[76..80].copy_from_slice(&0o40755_u32.to_ne_bytes());
    reply[80..84].copy_from_slice(&2_u32.to_ne_bytes());
    reply
}

trait Padded {
    fn padded(self, length: usize) -> Self;
}

impl Padded for Vec<u8> {
    fn padded(mut self, length: usize) -> Self {
        self.resize(length, 0);
        self
    }
}

const LOOKUP: u32 = 1;
const FORGET: u32 = 2;
const GETATTR: u32 = 3;
const STATFS: u32 = 17;
const INIT: u32 = 26;
const BATCH_FORGET: u32 = 42;
const NO_ENTRY: i32 = 2;
const NO_CALL: i32 = 38;
const HEAD_BYTES: usize = 40;
const REPLY_HEAD_BYTES: usize = 16;
