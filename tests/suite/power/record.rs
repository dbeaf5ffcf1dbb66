//! From system calls to what happened to the disk: follows file descriptors and names through the
//! record of a program, and refuses a record that it does not understand.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::process::{Open, Process, length};
use super::strace::{self, Call, Step};
use super::tree::{Change, Event, Inode, ROOT, Tree};

/// Everything that happened below a directory, from what lay there before.
pub(super) struct Record {
    /// What was there, all of it durable.
    pub(super) base: Tree,
    /// The contents of the files that were there, by their numbers.
    pub(super) contents: Vec<Option<Vec<u8>>>,
    /// What happened, in order.
    pub(super) events: Vec<Event>,
}

/// A byte that something changed on the disk which is no program of ours: from this time on it is
/// so, and nothing brings the old one back.
#[derive(Debug)]
pub(super) struct Hand {
    pub(super) time: u64,
    /// The file, below the root.
    pub(super) path: PathBuf,
    pub(super) offset: usize,
    pub(super) byte: u8,
}

/// Makes a [`Record`] of one program after the other.
pub(super) struct Recorder {
    /// The directory, as a text with a slash at its end.
    root: String,
    record: Record,
    /// What is there by now.
    live: Tree,
    /// The length of each file, and where it was last seen; a directory has no length.
    inodes: Vec<(usize, String)>,
}

impl Recorder {
    /// Begins with what lies below a directory now.
    pub(super) fn new(root: &Path) -> Self {
        let (base, contents) = Tree::scan(root);
        let lengths = contents.iter().map(|content| content.as_ref().map_or(0, Vec::len));
        let mut inodes: Vec<_> = lengths.map(|length| (length, String::new())).collect();
        base.walk(&mut |path, inode| inodes[inode].1 = path.to_owned());
        let root = format!("{}/", root.to_str().expect("a path in UTF-8"));
        let record = Record { base: base.clone(), contents, events: Vec::new() };
        Self { root, record, live: base, inodes }
    }

    /// Adds what one program did, from its start to its end, and what hands did meanwhile, in
    /// order.
    pub(super) fn add(&mut self, record: &str, hands: &[Hand]) {
        let mut hands = hands.iter().peekable();
        let threads = strace::threads(record);
        let main = record.split(' ').next().expect("a thread").parse().expect("its number");
        let mut process = Process::default();
        strace::read(record, |step| match step {
            Step::Entered { thread, name, first } => {
                process.entered.insert(thread, self.record.events.len());
                if name == "close" && is_of(main, thread, &threads) {
                    // Before it comes back, the number may belong to another file.
                    process.descriptors.remove(&first.parse().expect("a descriptor"));
                }
            }
            Step::Left(call) if call.result.is_none() => {}
            Step::Left(call) if is_of(main, call.thread, &threads) => {
                while let Some(hand) = hands.next_if(|hand| hand.time < call.time) {
                    self.lay_on(hand);
                }
                self.take(&mut process, &call);
            }
            Step::Left(call) => self.refuse_changes_of_a_child(&call),
        });
    }

    /// The record of all that was added.
    pub(super) fn finish(self) -> Record {
        self.record
    }

    fn lay_on(&mut self, hand: &Hand) {
        let path = hand.path.to_str().expect("a path in UTF-8");
        let file = self.live.find(path).expect("a file that a hand changes");
        let change = Change::Rot { file, offset: hand.offset, byte: hand.byte };
        self.record.events.push(Event { time: hand.time, change });
    }

    fn take(&mut self, process: &mut Process, call: &Call<'_>) {
        let result = call.result.expect("a call that succeeded");
        match call.name {
            "open" | "openat" | "creat" => self.open(process, call, result),
            "dup" | "dup2" | "dup3" => process.duplicate(call.number(0), result),
            "fcntl" if call.argument(1).starts_with("F_DUPFD") => {
                process.duplicate(call.number(0), result);
            }
            "lseek" => process.move_to(call.number(0), result),
            "read" => process.advance(call.number(0), result),
            "write" => self.write(process, call, None),
            "pwrite64" => self.write(process, call, Some(length(call.number(3)))),
            "ftruncate" => {
                if let Some(file) = process.inode(call.number(0)) {
                    self.resize(call, file, length(call.number(1)));
                }
            }
            "truncate" => {
                if let Some(file) = self.path(call, 0).and_then(|path| self.live.find(&path)) {
                    self.resize(call, file, length(call.number(1)));
                }
            }
            "mkdir" => self.make(call, 0, true),
            "unlink" | "rmdir" => self.remove(call),
            "rename" => self.rename(call),
            "fsync" | "fdatasync" => self.sync(process, call),
            "mmap" => self.refuse_shared_memory(process, call),
            "close" | "fcntl" | "clone" | "clone3" | "fork" | "vfork" => {}
            _ => self.refuse_if_ours(process, call),
        }
    }

    fn open(&mut self, process: &mut Process, call: &Call<'_>, descriptor: i64) {
        let at = usize::from(call.name == "openat");
        let Some(path) = self.path(call, at) else { return };
        if path.ends_with(RESERVE) {
            return;
        }
        let flags = if call.name == "creat" { "O_CREAT|O_TRUNC" } else { call.argument(at + 1) };
        if self.live.find(&path).is_none() {
            assert!(flags.contains("O_CREAT"), "{path} came out of nowhere: {call:?}");
            self.make(call, at, false);
        }
        let inode = self.live.find(&path).expect("a file that was made");
        if flags.contains("O_TRUNC") && self.inodes[inode].0 > 0 {
            self.resize(call, inode, 0);
        }
        let opened = Open { inode, position: 0, appends: flags.contains("O_APPEND") };
        process.opened.push(opened);
        process.descriptors.insert(descriptor, process.opened.len() - 1);
    }

    fn write(&mut self, process: &mut Process, call: &Call<'_>, offset: Option<usize>) {
        let Some(open) = process.open(call.number(0)) else { return };
        let written = length(call.result.expect("a length"));
        let mut bytes = call.bytes(1);
        bytes.truncate(written);
        let end = self.inodes[open.inode].0;
        let start = offset.unwrap_or(if open.appends { end } else { open.position });
        if offset.is_none() {
            open.position = start + written;
        }
        let file = open.inode;
        self.inodes[file].0 = end.max(start + written);
        self.happened(call, Change::Write { file, offset: start, bytes });
    }

    fn resize(&mut self, call: &Call<'_>, file: Inode, length: usize) {
        self.inodes[file].0 = length;
        self.happened(call, Change::Resize { file, length });
    }

    fn make(&mut self, call: &Call<'_>, at: usize, is_directory: bool) {
        let Some((parent, name)) = self.place(call, at) else { return };
        let made = self.inodes.len();
        self.inodes.push((0, self.path(call, at).expect("a path")));
        self.happened(call, Change::Make { parent, name, made, is_directory });
    }

    fn remove(&mut self, call: &Call<'_>) {
        let Some((parent, name)) = self.place(call, 0) else { return };
        let known = self.live.entries(parent).is_some_and(|names| names.contains_key(&name));
        // A socket was made by `bind`; nobody looks for it after a power cut.
        assert!(
            known || name.ends_with(".sock") || name.ends_with(RESERVE),
            "{name} came out of nowhere: {call:?}"
        );
        if known {
            self.happened(call, Change::Remove { parent, name });
        }
    }

    fn rename(&mut self, call: &Call<'_>) {
        let (from, to) = (self.place(call, 0), self.place(call, 1));
        let (Some(from), Some((parent, name))) = (from, to) else {
            let concerned = self.path(call, 0).or(self.path(call, 1));
            return assert!(concerned.is_none(), "in or out of the store: {call:?}");
        };
        let moved = self.live.find(&self.path(call, 0).expect("a path")).expect("a file");
        self.inodes[moved].1 = self.path(call, 1).expect("a path");
        self.happened(call, Change::Rename { from, parent, name, moved });
    }

    fn sync(&mut self, process: &mut Process, call: &Call<'_>) {
        let Some(of) = process.inode(call.number(0)) else { return };
        let before = process.entered[&call.thread];
        let path = self.inodes[of].1.clone();
        self.happened(call, Change::Sync { of, path, before });
    }

    fn happened(&mut self, call: &Call<'_>, change: Change) {
        self.live.apply(&change);
        self.record.events.push(Event { time: call.time, change });
    }

    /// A path of a call below the root; none for any other.
    fn path(&self, call: &Call<'_>, index: usize) -> Option<String> {
        let path = call.path(index);
        let is_relative_to_ours = !path.starts_with('/') && index > 0 && call.name.ends_with("at");
        assert!(
            !is_relative_to_ours || call.argument(index - 1) == "AT_FDCWD",
            "a path relative to a directory: {call:?}"
        );
        if path == self.root.trim_end_matches('/') {
            return Some(String::new());
        }
        path.strip_prefix(&self.root).map(str::to_owned)
    }

    /// The directory and the name that a path of a call leads to.
    fn place(&self, call: &Call<'_>, index: usize) -> Option<(Inode, Arc<str>)> {
        let path = self.path(call, index)?;
        let path = path.trim_end_matches('/');
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
        let parent = if directory.is_empty() { Some(ROOT) } else { self.live.find(directory) };
        let parent = parent.unwrap_or_else(|| panic!("{directory} came out of nowhere: {call:?}"));
        Some((parent, name.into()))
    }

    /// Only the index of SQLite's log may be written through memory: it is made anew at each
    /// start, and what it holds need not last.
    fn refuse_shared_memory(&self, process: &Process, call: &Call<'_>) {
        if call.argument(3).contains("MAP_SHARED")
            && call.argument(2).contains("PROT_WRITE")
            && let Some(inode) = process.inode(call.number(4))
        {
            let path = &self.inodes[inode].1;
            assert!(path.ends_with("-shm"), "{path} is written through memory: {call:?}");
        }
    }

    /// Refuses a call whose effects nobody follows, if it is about a file of ours.
    fn refuse_if_ours(&self, process: &Process, call: &Call<'_>) {
        let is_about_all = ["sync", "io_uring_setup", "io_submit", "open_by_handle_at"];
        let is_ours = call.arguments.iter().take(3).any(|argument| {
            let descriptor = argument.parse().ok();
            argument.starts_with('"') && self.is_below_root(argument)
                || descriptor.is_some_and(|number| process.inode(number).is_some())
        });
        let is_ours = is_ours || is_about_all.contains(&call.name);
        assert!(!is_ours, "the harness does not follow this call, teach it to: {call:?}");
    }

    /// The programs that the server starts have no business in its data.
    fn refuse_changes_of_a_child(&self, call: &Call<'_>) {
        let changes = !matches!(call.name, "open" | "openat" | "readlink");
        let changes = changes || call.arguments.iter().any(|argument| argument.contains("O_CREAT"));
        let is_ours = call.arguments.iter().any(|argument| self.is_below_root(argument));
        assert!(!(changes && is_ours), "another program changed the data: {call:?}");
    }

    fn is_below_root(&self, argument: &str) -> bool {
        let hex: String = self.root.bytes().map(|byte| format!("\\x{byte:02x}")).collect();
        argument.trim_start_matches('"').starts_with(&hex)
    }
}

/// Whether a thread is one of the process that began the record.
fn is_of(main: u32, thread: u32, threads: &HashMap<u32, u32>) -> bool {
    let mut at = thread;
    while let Some(&maker) = threads.get(&at) {
        at = maker;
    }
    at == main
}

/// A file that holds room and nothing else: nobody reads it, and it is made again at each start.
const RESERVE: &str = "reserve";
