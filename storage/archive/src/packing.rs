//! What a stream is compressed with, and unpacking the one form that is read.

use std::io::{self, BufRead, BufReader, Chain, Cursor, ErrorKind, Read};

use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use crate::tar::Input;

/// What a file is compressed with, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    /// Nothing.
    None,
    /// zstd, as Hauler's archives are.
    Zstd,
    /// Something that is not read, by the program that unpacks it.
    Unread(&'static str),
}

impl Packing {
    /// How many bytes say it.
    pub(crate) const BEGINNING_BYTES: u64 = 6;

    pub(crate) fn of(beginning: &[u8]) -> Self {
        match beginning {
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [0x1f, 0x8b, ..] => Self::Unread("gzip"),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Unread("xz"),
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Self::Unread("bzip2"),
            _ => Self::None,
        }
    }
}

/// The bytes of a stream, unpacked.
pub(crate) enum Unpacked<R> {
    Plain(Beginning<R>),
    Zstd(Box<Zstd<Beginning<R>>>),
}

/// A stream whose first bytes were looked at.
type Beginning<R> = Chain<Cursor<Vec<u8>>, R>;

impl<R: Read> Unpacked<R> {
    /// Looks at the first bytes of a stream.
    ///
    /// # Errors
    /// The stream's own. Within: what it is compressed with, if that is not read.
    pub(crate) fn new(mut reader: R) -> io::Result<Result<Self, &'static str>> {
        let mut beginning = Vec::new();
        reader.by_ref().take(Packing::BEGINNING_BYTES).read_to_end(&mut beginning)?;
        let packing = Packing::of(&beginning);
        let whole = Cursor::new(beginning).chain(reader);
        Ok(match packing {
            Packing::None => Ok(Self::Plain(whole)),
            Packing::Zstd => Ok(Self::Zstd(Box::new(Zstd::new(whole)))),
            Packing::Unread(format) => Err(format),
        })
    }
}

impl<R: Read> Read for Unpacked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(reader) => reader.read(buffer),
            Self::Zstd(reader) => reader.read(buffer),
        }
    }
}

impl<R: Read> Input for Unpacked<R> {
    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        let count = io::copy(&mut self.by_ref().take(bytes), &mut io::sink())?;
        if count == bytes { Ok(()) } else { Err(ErrorKind::UnexpectedEof.into()) }
    }

    fn may_have(&self, _: u64) -> bool {
        true
    }
}

/// Frames of zstd, one behind the other. The decoder bounds the window, and so the memory.
pub(crate) struct Zstd<R> {
    source: BufReader<Watched<R>>,
    decoder: FrameDecoder,
    is_in_frame: bool,
}

impl<R: Read> Zstd<R> {
    fn new(source: R) -> Self {
        let source = BufReader::with_capacity(READ_BYTES, Watched { source, is_at_end: false });
        Self { source, decoder: FrameDecoder::new(), is_in_frame: false }
    }

    /// Begins with the next frame that holds something; false at the end.
    fn next_frame(&mut self) -> io::Result<bool> {
        loop {
            if self.source.fill_buf()?.is_empty() {
                return Ok(false);
            }
            match self.decoder.reset(&mut self.source) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let length = u64::from(length);
                    let skipped = &mut self.source.by_ref().take(length);
                    if io::copy(skipped, &mut io::sink())? < length {
                        return Err(ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(error) => return Err(self.failure(&error)),
            }
        }
    }

    /// Where the stream ends, the decoder only says that it cannot go on.
    fn failure(&self, error: &FrameDecoderError) -> io::Error {
        match self.source.get_ref().is_at_end && self.source.buffer().is_empty() {
            true => ErrorKind::UnexpectedEof.into(),
            false => io::Error::new(ErrorKind::InvalidData, format!("zstd: {error}")),
        }
    }
}

impl<R: Read> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if !self.is_in_frame {
                if !self.next_frame()? {
                    return Ok(0);
                }
                self.is_in_frame = true;
            }
            if self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                let some = BlockDecodingStrategy::UptoBytes(DECODED_BYTES);
                if let Err(error) = self.decoder.decode_blocks(&mut self.source, some) {
                    return Err(self.failure(&error));
                }
            }
            let count = self.decoder.read(buffer)?;
            if count > 0 {
                return Ok(count);
            }
            self.is_in_frame = !self.decoder.is_finished();
        }
    }
}

/// Notices when a stream is at its end.
struct Watched<R> {
    source: R,
    is_at_end: bool,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.is_at_end = count == 0 && !buffer.is_empty();
        Ok(count)
    }
}

/// How much of the source is read at once.
const READ_BYTES: usize = 128 << 10;
/// How much is unpacked at once: a block is that long at most.
const DECODED_BYTES: usize = 128 << 10;
