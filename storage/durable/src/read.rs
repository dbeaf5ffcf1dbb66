//! Reading small files where others may have laid something else in their place.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;
use thiserror::Error;

use crate::{At, IoError};

/// Why a file is not read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReadError {
    /// The operating system refused it.
    #[error(transparent)]
    Io(#[from] IoError),
    /// It is a directory, a pipe, a device, or a link that is not followed.
    #[error("{} is no regular file", .0.display())]
    NotRegular(PathBuf),
    /// It is larger than such a file is.
    #[error("{} has more than {most_bytes} bytes", .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The most that is read of it.
        most_bytes: u64,
    },
}

/// What to do about a symbolic link in a file's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// The file that it names is meant.
    Follow,
    /// It may have been laid by somebody else, and could lead to any file of the host.
    Refuse,
}

/// Opens a regular file for reading; `None` if there is none. A pipe is not waited for.
///
/// # Errors
/// [`ReadError::NotRegular`], and trouble with the disk.
pub fn open_regular(path: &Path, links: Links) -> Result<Option<File>, ReadError> {
    open(path, links, "open")
}

fn open(path: &Path, links: Links, action: &'static str) -> Result<Option<File>, ReadError> {
    let mut flags = OFlags::NONBLOCK;
    flags.set(OFlags::NOFOLLOW, links == Links::Refuse);
    let opened = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path);
    let not_regular = || ReadError::NotRegular(path.to_owned());
    let file = match opened {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        // A link that is not followed, and a socket or a device without a driver.
        Err(error)
            if [Some(Errno::LOOP), Some(Errno::NXIO)].contains(&Errno::from_io_error(&error)) =>
        {
            return Err(not_regular());
        }
        Err(error) => return Err(IoError::new(action, path, &error).into()),
    };
    match file.metadata().at("look at", path)?.is_file() {
        true => Ok(Some(file)),
        false => Err(not_regular()),
    }
}

/// The content of a regular file of at most so many bytes; `None` if there is none.
///
/// # Errors
/// Every [`ReadError`].
pub fn read_within(
    path: &Path,
    most_bytes: u64,
    links: Links,
) -> Result<Option<Vec<u8>>, ReadError> {
    let Some(file) = open(path, links, "read")? else { return Ok(None) };
    let mut content = Vec::new();
    file.take(most_bytes.saturating_add(1)).read_to_end(&mut content).at("read", path)?;
    match content.len() as u64 > most_bytes {
        true => Err(ReadError::TooLarge { path: path.to_owned(), most_bytes }),
        false => Ok(Some(content)),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn only_a_regular_file_within_the_bound_is_read() {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        fs::write(path("file"), "four").unwrap();
        symlink(path("file"), path("link")).unwrap();
        symlink(path("nothing"), path("dangling")).unwrap();
        let _socket = UnixListener::bind(path("socket")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            path("pipe"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
            0,
        )
        .unwrap();
        let read = |name: &str, most, links| read_within(&path(name), most, links);
        assert_eq!(read("file", 4, Links::Refuse), Ok(Some(b"four".to_vec())));
        let too_large = ReadError::TooLarge { path: path("file"), most_bytes: 3 };
        assert_eq!(read("file", 3, Links::Refuse), Err(too_large));
        assert_eq!(read("link", 4, Links::Follow), Ok(Some(b"four".to_vec())));
        for absent in [("nothing", Links::Refuse), ("file/a", Links::Refuse)] {
            assert_eq!(read(absent.0, 4, absent.1), Ok(None), "{absent:?}");
        }
        assert_eq!(read("dangling", 4, Links::Follow), Ok(None));
        for name in ["link", "dangling", "pipe", "socket", "."] {
            let error = read(name, 4, Links::Refuse);
            assert_eq!(error, Err(ReadError::NotRegular(path(name))), "{name}");
        }
    }
}
