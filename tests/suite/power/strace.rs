//! Running a program under strace, and reading what strace wrote: one [`Call`] for each system
//! call that came back, in the order in which they came back.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::Path;

/// What stands before a program's own command line so that strace records it into `file`.
///
/// The program stays the child of whoever starts it (`-D`), so that signals reach it and not
/// strace, and only the calls that are asked for stop it (`--seccomp-bpf`).
pub(super) fn prefix(file: &Path) -> Vec<OsString> {
    let calls = format!("--trace={},{}", READ_BY_US.join(","), REFUSED.join(","));
    let flags = ["strace", "-D", "-f", "--seccomp-bpf", "--quiet=attach,personality", "-xx"];
    let rest = ["-s", LONGEST_STRING, "-ttt", "--signal=none", &calls, "-o"];
    let words = flags.iter().chain(&rest).map(OsString::from);
    words.chain([file.into()]).collect()
}

/// A system call that came back.
#[derive(Debug)]
pub(super) struct Call<'a> {
    /// The thread that made it.
    pub(super) thread: u32,
    /// Its name.
    pub(super) name: &'a str,
    /// Its arguments as strace writes them.
    pub(super) arguments: Vec<&'a str>,
    /// What it returned; none for a failure.
    pub(super) result: Option<i64>,
    /// When it began, in microseconds since 1970; for a call that was waited for, when it came
    /// back. Its effect is not older.
    pub(super) time: u64,
}

impl Call<'_> {
    /// An argument that is a number.
    pub(super) fn number(&self, index: usize) -> i64 {
        let text = self.argument(index);
        let parsed = match text.strip_prefix("0x") {
            Some(hex) => i64::from_str_radix(hex, 16),
            None => text.parse(),
        };
        parsed.unwrap_or_else(|_| panic!("argument {index} is no number: {self:?}"))
    }

    /// An argument that is a string, byte by byte.
    pub(super) fn bytes(&self, index: usize) -> Vec<u8> {
        let hex = self.argument(index).strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        let hex = hex.unwrap_or_else(|| panic!("argument {index} is no whole string: {self:?}"));
        hex.as_bytes().chunks_exact(4).map(|byte| digit(byte[2]) << 4 | digit(byte[3])).collect()
    }

    /// An argument that is a path.
    pub(super) fn path(&self, index: usize) -> String {
        String::from_utf8(self.bytes(index)).expect("a path in UTF-8")
    }

    /// An argument as it is written.
    pub(super) fn argument(&self, index: usize) -> &str {
        self.arguments.get(index).unwrap_or_else(|| panic!("no argument {index}: {self:?}"))
    }
}

/// What a line of the record tells.
#[derive(Debug)]
pub(super) enum Step<'a> {
    /// A thread began a call with these arguments, as far as they are known then.
    Entered {
        /// The thread.
        thread: u32,
        /// The name of the call.
        name: &'a str,
        /// The first argument, which is a file descriptor in calls that have one.
        first: &'a str,
    },
    /// A call came back.
    Left(Call<'a>),
}

/// Reads a record line by line, and hands over what each line tells.
pub(super) fn read<'a>(record: &'a str, mut step: impl FnMut(Step<'a>)) {
    let mut begun: HashMap<u32, &'a str> = HashMap::new();
    for line in record.lines() {
        let (thread, rest) = line.trim_start().split_once(' ').expect("a thread");
        let (time, rest) = rest.trim_start().split_once(' ').expect("a time");
        let thread = thread.parse::<u32>().expect("the number of a thread");
        let time = microseconds(time);
        let rest = rest.trim_start();
        if rest.starts_with("+++") || rest.starts_with("---") {
            continue;
        }
        if let Some(rest) = rest.strip_prefix("<... ") {
            let (_, tail) = rest.split_once(" resumed>").expect("a call that comes back");
            let head = begun.remove(&thread).unwrap_or_else(|| panic!("not begun: {line:.200}"));
            step(Step::Left(call(thread, time, head, tail)));
            continue;
        }
        let (name, _) = rest.split_once('(').unwrap_or_else(|| panic!("no call: {line:.200}"));
        let head = rest.strip_suffix("<unfinished ...>").map(str::trim_end);
        let arguments = &head.unwrap_or(rest)[name.len() + 1..];
        let first = arguments.split([',', ')']).next().unwrap_or_default();
        step(Step::Entered { thread, name, first });
        match head {
            Some(head) => drop(begun.insert(thread, head)),
            None => step(Step::Left(call(thread, time, rest, ""))),
        }
    }
}

/// The threads of a record that another thread made as its like, each with that thread: they
/// share file descriptors. All others are processes.
pub(super) fn threads(record: &str) -> HashMap<u32, u32> {
    let mut threads = HashMap::new();
    read(record, |step| {
        if let Step::Left(Call { thread, name, arguments, result: Some(made), .. }) = step
            && name.starts_with("clone")
            && arguments.iter().any(|argument| argument.contains("CLONE_THREAD"))
        {
            threads.insert(u32::try_from(made).expect("the number of a thread"), thread);
        }
    });
    threads
}

/// Whether the record has its end: the line that tells of the end of its first process.
pub(super) fn is_whole(record: &str) -> bool {
    let first = record.split(' ').next().unwrap_or_default();
    let last = record.lines().rev().find(|line| line.split(' ').next() == Some(first));
    record.ends_with('\n') && last.is_some_and(|line| line.contains("+++"))
}

/// Puts a call together from what is known when it begins and when it comes back.
fn call<'a>(thread: u32, time: u64, head: &'a str, tail: &'a str) -> Call<'a> {
    let (name, head) = head.split_once('(').expect("arguments");
    let mut arguments = Vec::new();
    let mut rest = None;
    for part in [head, tail].into_iter().filter(|part| !part.is_empty()) {
        rest = split(part, &mut arguments);
    }
    let rest = rest.unwrap_or_else(|| panic!("{name} without an end: {tail:.200}"));
    let result = rest.trim_start().strip_prefix("= ").expect("a result");
    let word = result.split(' ').next().unwrap_or_default();
    let result = match word.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16).ok(),
        None => word.parse().ok().filter(|result| *result >= 0),
    };
    Call { thread, name, arguments, result, time }
}

/// Splits arguments at their commas; returns what follows the closing parenthesis, if it comes.
fn split<'a>(text: &'a str, arguments: &mut Vec<&'a str>) -> Option<&'a str> {
    let (mut depth, mut start, mut is_string) = (0_u32, 0, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'"' => is_string = !is_string,
            _ if is_string => {}
            b'{' | b'[' | b'(' => depth += 1,
            b'}' | b']' => depth -= 1,
            b')' if depth > 0 => depth -= 1,
            b',' | b')' if depth == 0 => {
                let argument = text[start..at].trim();
                if !argument.is_empty() {
                    arguments.push(argument);
                }
                if byte == b')' {
                    return Some(&text[at + 1..]);
                }
                start = at + 1;
            }
            _ => {}
        }
    }
    let argument = text[start..].trim();
    if !argument.is_empty() {
        arguments.push(argument);
    }
    None
}

fn microseconds(time: &str) -> u64 {
    let (seconds, fraction) = time.split_once('.').expect("a fraction of a second");
    assert_eq!(fraction.len(), 6, "{time}");
    let number = |text: &str| text.parse::<u64>().expect("a time");
    number(seconds) * 1_000_000 + number(fraction)
}

fn digit(byte: u8) -> u8 {
    if byte.is_ascii_digit() { byte - b'0' } else { byte - b'a' + 10 }
}

/// No write of the server is longer.
const LONGEST_STRING: &str = "67108864";

/// The calls that `record.rs` follows.
const READ_BY_US: [&str; 32] = [
    "open",
    "openat",
    "creat",
    "close",
    "dup",
    "dup2",
    "dup3",
    "fcntl",
    "lseek",
    "read",
    "write",
    "pwrite64",
    "writev",
    "pwritev",
    "pwritev2",
    "truncate",
    "ftruncate",
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "mkdir",
    "mkdirat",
    "rmdir",
    "fsync",
    "fdatasync",
    "mmap",
    "clone",
    "clone3",
    "fork",
    "vfork",
];

/// The calls that change or sync files and that `record.rs` does not follow: a record in which one
/// of them concerned the store is refused.
const REFUSED: [&str; 27] = [
    "openat2",
    "open_by_handle_at",
    "close_range",
    "link",
    "linkat",
    "symlink",
    "symlinkat",
    "mknod",
    "mknodat",
    "fallocate",
    "copy_file_range",
    "sendfile",
    "splice",
    "tee",
    "vmsplice",
    "ioctl",
    "sync_file_range",
    "sync",
    "syncfs",
    "msync",
    "io_uring_setup",
    "io_submit",
    "mremap",
    "remap_file_pages",
    "readv",
    "chroot",
    "mount",
];
