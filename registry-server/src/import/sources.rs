//! The sources of an import: opened by whoever gave the command, who may read what the owner of the
//! data may not, and read by that side alone, but for the bytes of blobs.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::Context;
use archive::{BlobBytes, Contents, Inventory, Opened, Source, Stream, StreamBlob};
use oci::{Digest, RepoName};

use super::quay;
use super::report::LeftImage;

/// Sources that were opened and of which nothing is known.
pub(super) struct OpenSources {
    inputs: Vec<Input>,
    /// As they were typed.
    pub(super) names: Vec<String>,
    /// What stands in their databases and can have no name here.
    unnamed: Vec<LeftImage>,
}

/// One of them.
enum Input {
    Seekable(Source),
    /// What can only be read from its beginning to its end.
    Stream(Box<dyn Read>, Option<RepoName>),
}

/// A blob that comes from what is read from its beginning to its end.
pub(super) type ComingBlob<'a> = StreamBlob<'a, Box<dyn Read>>;

impl OpenSources {
    /// Opens all of them; `-` is standard input.
    ///
    /// # Errors
    /// What cannot be opened.
    pub(super) fn open(paths: &[PathBuf]) -> anyhow::Result<Self> {
        let names = paths.iter().map(|path| path.display().to_string()).collect();
        let (mut inputs, mut unnamed) = (Vec::with_capacity(paths.len()), Vec::new());
        for path in paths {
            inputs.push(match path == Path::new("-") {
                true => Input::Stream(Box::new(io::stdin()), None),
                false => match archive::open(path)? {
                    Opened::Source(mut source) => {
                        unnamed.extend(quay::name(&mut source)?);
                        Input::Seekable(source)
                    }
                    Opened::Compressed { file, stem } => Input::Stream(Box::new(file), stem),
                },
            });
        }
        Ok(Self { inputs, names, unnamed })
    }

    /// Whether blobs have to be taken as they come.
    pub(super) fn has_streams(&self) -> bool {
        self.inputs.iter().any(|input| matches!(input, Input::Stream(..)))
    }

    /// Reads headers and documents, and all of what is no file to be read in any order: `take` gets
    /// each blob of that as it comes.
    ///
    /// # Errors
    /// What is refused as a whole: then nothing of the others counts either, since they may be
    /// segments of one archive. And those of `take`.
    pub(super) fn read(
        self,
        take: &mut dyn FnMut(&mut ComingBlob<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<Sources> {
        let mut inventory = Inventory::new();
        let mut seekable = Vec::new();
        for (input, name) in self.inputs.into_iter().zip(&self.names) {
            let refused = || format!("{name} is refused");
            match input {
                Input::Seekable(mut source) => {
                    source.scan(&mut inventory).with_context(refused)?;
                    seekable.push(source);
                }
                Input::Stream(reader, stem) => {
                    let stream = Stream::new(reader, stem, &mut inventory);
                    let mut stream = stream.with_context(refused)?;
                    while let Some(mut blob) = stream.next_blob().with_context(refused)? {
                        take(&mut blob)?;
                    }
                    stream.finish().with_context(refused)?;
                }
            }
        }
        let contents = inventory.contents();
        Ok(Sources { seekable, names: self.names, unnamed: self.unnamed, contents })
    }
}

/// Sources, and what they come to.
pub(super) struct Sources {
    seekable: Vec<Source>,
    /// As they were typed.
    pub(super) names: Vec<String>,
    /// What stands in their databases and can have no name here.
    pub(super) unnamed: Vec<LeftImage>,
    pub(super) contents: Contents,
}

impl Sources {
    /// The bytes of a blob, to be read by whoever gets them; none if no source holds it that can be
    /// read again.
    pub(super) fn blob(&self, digest: &Digest) -> Option<io::Result<BlobBytes>> {
        self.seekable.iter().find_map(|source| source.blob(digest))
    }

    /// The size of a blob, as the headers say it.
    pub(super) fn size(&self, digest: &Digest) -> u64 {
        self.contents.blobs().get(digest).copied().unwrap_or(0)
    }

    /// All bytes of a manifest, of which there are no more than `most_bytes`; none if no source
    /// holds it that can be read again.
    ///
    /// # Errors
    /// It cannot be read, or became longer.
    pub(super) fn manifest(&self, digest: &Digest, most_bytes: u64) -> io::Result<Option<Vec<u8>>> {
        let Some(bytes) = self.blob(digest).transpose()? else { return Ok(None) };
        if bytes.len() > most_bytes {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let mut whole = Vec::new();
        bytes.take(most_bytes).read_to_end(&mut whole)?;
        Ok(Some(whole))
    }
}
