//! What a running server answers, line by line. Root may be the one who reads it, and whoever owns
//! the data directory the one who wrote it: no line is read without a bound, and none is waited for
//! without one.

use std::io::{self, BufRead, BufReader, ErrorKind};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde::de::DeserializeOwned;

use super::Line;
use crate::limits::REPLY_BYTES;

/// Reads one line, which must come whole within `patience`.
///
/// # Errors
/// No answer in time, an end before the answer, and one that makes no sense.
pub(super) fn read<R: DeserializeOwned>(
    stream: &mut BufReader<UnixStream>,
    patience: Duration,
) -> anyhow::Result<Line<R>> {
    let until = Instant::now() + patience;
    let mut line = Vec::new();
    loop {
        let piece = match next_piece(stream, until) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            piece => piece.context(
                "the running server does not answer: see `systemctl status registry` and its log",
            )?,
        };
        if piece.is_empty() {
            bail!("the running server ended before it answered: see its log");
        }
        let end = piece.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(piece.len(), |end| end + 1);
        if line.len() + taken > REPLY_BYTES {
            bail!("the running server's answer has no end: see its log, and who owns the data");
        }
        line.extend_from_slice(&piece[..taken]);
        stream.consume(taken);
        if end.is_some() {
            let line = serde_json::from_slice(&line);
            return line.context("the running server's answer makes no sense");
        }
    }
}

/// What has come by now, at the latest until then; nothing at the end.
fn next_piece(stream: &mut BufReader<UnixStream>, until: Instant) -> io::Result<&[u8]> {
    let left = until.saturating_duration_since(Instant::now());
    // A time of zero would mean without end.
    if left.is_zero() {
        return Err(ErrorKind::TimedOut.into());
    }
    stream.get_ref().set_read_timeout(Some(left))?;
    stream.fill_buf()
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::thread;

    use super::*;

    /// What is read of a server that does this with its side of the connection.
    fn read_of(
        patience: Duration,
        serve: impl FnOnce(UnixStream) -> io::Result<()> + Send + 'static,
    ) -> Result<Line<u64>, String> {
        let (theirs, ours) = UnixStream::pair().unwrap();
        // It hears that nobody listens any more, and ends.
        let server = thread::spawn(move || drop(serve(theirs)));
        let reply = {
            let mut ours = BufReader::new(ours);
            read(&mut ours, patience).map_err(|error| error.to_string())
        };
        server.join().unwrap();
        reply
    }

    #[test]
    fn a_line_is_read_to_its_end_and_no_further() {
        let (theirs, ours) = UnixStream::pair().unwrap();
        (&theirs).write_all(b"{\"done\":1}\n{\"do").unwrap();
        let mut ours = BufReader::new(ours);
        assert!(matches!(read::<u64>(&mut ours, LONG), Ok(Line::Done(1))));
        (&theirs).write_all(b"ne\":2}\n").unwrap();
        assert!(matches!(read::<u64>(&mut ours, LONG), Ok(Line::Done(2))));
        drop(theirs);
        let ended = read::<u64>(&mut ours, LONG).unwrap_err().to_string();
        assert_eq!(ended, "the running server ended before it answered: see its log");
    }

    #[test]
    fn what_never_ends_is_read_up_to_a_bound() {
        let endless = |mut theirs: UnixStream| loop {
            theirs.write_all(&[b'x'; 1 << 16])?;
        };
        let refused = read_of(LONG, endless).unwrap_err();
        assert!(refused.starts_with("the running server's answer has no end"), "{refused}");
    }

    #[test]
    fn what_comes_byte_by_byte_is_not_waited_for_for_ever() {
        let drop_by_drop = |mut theirs: UnixStream| loop {
            theirs.write_all(b" ")?;
            thread::sleep(Duration::from_millis(5));
        };
        let refused = read_of(Duration::from_millis(100), drop_by_drop).unwrap_err();
        assert!(refused.starts_with("the running server does not answer"), "{refused}");
        let silent = |mut theirs: UnixStream| io::Read::read(&mut theirs, &mut [0]).map(drop);
        let refused = read_of(Duration::from_millis(50), silent).unwrap_err();
        assert!(refused.starts_with("the running server does not answer"), "{refused}");
    }

    const LONG: Duration = Duration::from_secs(600);
}
