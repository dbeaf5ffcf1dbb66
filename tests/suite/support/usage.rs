//! What a process and its data take, as it was seen again and again, and whether that grows.

use std::fmt;
use std::fs;
use std::path::Path;

use super::binary::Instance;

/// What was seen of a server at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// Bytes of memory that are resident.
    pub(crate) memory: u64,
    /// Open file descriptors.
    pub(crate) descriptors: u64,
    /// Bytes of the files of blobs and uploads.
    pub(crate) content: u64,
    /// Bytes of the files of the database.
    pub(crate) database: u64,
    /// Requests that were answered and of which the registry remembers something.
    pub(crate) changes: u64,
}

impl Sample {
    /// Looks at a server that runs and has answered so many requests that changed tags.
    pub(crate) fn of(instance: &Instance, changes: u64) -> Self {
        let data = instance.data();
        let descriptors = fs::read_dir(format!("/proc/{}/fd", instance.pid()));
        Self {
            memory: instance.memory(),
            descriptors: descriptors.expect("the server's descriptors").count() as u64,
            content: bytes_below(&data.join("blobs")) + bytes_below(&data.join("uploads")),
            database: ["", "-wal", "-shm"].map(|end| length(data, end)).iter().sum(),
            changes,
        }
    }
}

/// What was seen over time.
#[derive(Debug, Default)]
pub(crate) struct Samples(pub(crate) Vec<Sample>);

impl Samples {
    /// The medians of a figure in the first third and in the last, after a warm-up of a fifth; and
    /// its peak.
    pub(crate) fn course(&self, figure: impl Fn(&Sample) -> u64) -> Course {
        let figures: Vec<u64> = self.0.iter().map(figure).collect();
        let warm = &figures[figures.len() / 5..];
        let third = warm.len() / 3;
        assert!(third > 0, "too few samples: {}", figures.len());
        let peak = figures.iter().copied().max().unwrap_or_default();
        Course { first: median(&warm[..third]), last: median(&warm[warm.len() - third..]), peak }
    }

    /// The medians of a figure in ten parts of the time, from the beginning on.
    pub(crate) fn tenths(&self, figure: impl Fn(&Sample) -> u64) -> Vec<u64> {
        let figures: Vec<u64> = self.0.iter().map(figure).collect();
        figures.chunks(figures.len().div_ceil(10).max(1)).map(median).collect()
    }
}

/// How a figure went on, in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Course {
    /// Its median in the first third.
    pub(crate) first: u64,
    /// Its median in the last third.
    pub(crate) last: u64,
    /// The greatest that was seen.
    pub(crate) peak: u64,
}

impl Course {
    /// Fails if the last third lies above the first by more than a part of it and an amount.
    #[track_caller]
    pub(crate) fn holds(self, what: &str, percent: u64, amount: u64) {
        let most = self.first + self.first * percent / 100 + amount;
        assert!(self.last <= most, "{what} grew: {self}, and {most} would be well");
    }
}

impl fmt::Display for Course {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first, last, peak } = self;
        write!(f, "{first} in the first third, {last} in the last, {peak} at most")
    }
}

fn median(figures: &[u64]) -> u64 {
    let mut figures = figures.to_vec();
    figures.sort_unstable();
    figures[figures.len() / 2]
}

/// The bytes of the files below a directory, which come and go meanwhile.
fn bytes_below(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let bytes = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_below(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    });
    bytes.sum()
}

fn length(data: &Path, end: &str) -> u64 {
    let file = fs::metadata(data.join(format!("registry.db{end}")));
    file.map_or(0, |file| file.len())
}

#[test]
fn what_grows_is_seen_and_what_varies_is_not() {
    let course = |figures: &[u64]| {
        let sample =
            |&memory| Sample { memory, descriptors: 0, content: 0, database: 0, changes: 0 };
        Samples(figures.iter().map(sample).collect()).course(|sample| sample.memory)
    };
    let steady = [900, 1, 50, 52, 49, 51, 50, 53, 48, 50, 52];
    assert_eq!(course(&steady), Course { first: 50, last: 50, peak: 900 });
    course(&steady).holds("what varies", 10, 0);
    let grows = [1, 2, 50, 52, 54, 56, 58, 60, 62, 64, 66];
    assert_eq!(course(&grows), Course { first: 52, last: 64, peak: 66 });
    let caught = std::panic::catch_unwind(|| course(&grows).holds("what grows", 10, 6));
    assert!(caught.is_err(), "52 may become 63 and not 64");
}
