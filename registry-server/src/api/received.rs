//! The body of a push of a manifest. A short one is gathered in memory, as each connection may; a
//! longer one on the disk, so that a client who stops sending holds nothing that others wait for.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use storage::{Spool, StorageError, Store};

use super::App;
use super::body::RequestBody;
use crate::blocking::OnDisk;
use crate::error::ApiError;
use crate::share::HeldShare;

/// A body that came whole.
pub(super) enum Received {
    /// A short one; or a longer one, with its room.
    InMemory(Bytes, Option<HeldShare>),
    /// A longer one.
    OnDisk(Arc<OnDisk<Spool>>),
}

impl Received {
    /// Receives a body that is expected to have `length` bytes, if that is known.
    ///
    /// # Errors
    /// [`ApiError::ManifestTooLarge`], [`ApiError::BodyTimeout`], [`ApiError::BodyBroken`]; trouble
    /// with the disk.
    pub(super) async fn whole(
        app: &App,
        body: &mut RequestBody,
        length: Option<u64>,
    ) -> Result<Self, ApiError> {
        let most = app.limits.manifest_bytes;
        let expected = length.and_then(|length| usize::try_from(length).ok()).unwrap_or(most);
        let mut gathering = Gathering { app, bytes: BytesMut::new(), place: BodyPlace::Short };
        let mut bytes = 0_usize;
        while let Some(piece) = body.piece().await? {
            bytes += piece.len();
            if bytes > most {
                return Err(ApiError::ManifestTooLarge { limit: most });
            }
            if bytes > app.limits.small_body_bytes && matches!(gathering.place, BodyPlace::Short) {
                gathering.place = BodyPlace::of_long(app, expected).await?;
            }
            gathering.bytes.extend_from_slice(&piece);
            if gathering.bytes.len() >= app.limits.small_body_bytes {
                gathering.spool().await?;
            }
        }
        gathering.spool().await?;
        let bytes = gathering.bytes.freeze();
        Ok(match gathering.place {
            BodyPlace::Short => Self::InMemory(bytes, None),
            BodyPlace::Room(room) => Self::InMemory(bytes, Some(room)),
            BodyPlace::Spool(spool) => Self::OnDisk(spool),
        })
    }

    /// Whether it is longer than what each connection may have in memory.
    pub(super) fn is_long(&self) -> bool {
        !matches!(self, Self::InMemory(_, None))
    }

    /// Its bytes, and the room that they have, if they have had one so far. May wait for the disk.
    ///
    /// # Errors
    /// Trouble with the disk.
    pub(super) fn read(self) -> Result<(Bytes, Option<HeldShare>), StorageError> {
        match self {
            Self::InMemory(bytes, room) => Ok((bytes, room)),
            Self::OnDisk(spool) => Ok((spool.whole()?, None)),
        }
    }
}

/// A body that comes.
struct Gathering<'a> {
    app: &'a App,
    /// What is in memory of it.
    bytes: BytesMut,
    place: BodyPlace,
}

/// Where a body is gathered.
enum BodyPlace {
    Short,
    Room(HeldShare),
    Spool(Arc<OnDisk<Spool>>),
}

impl Gathering<'_> {
    /// Moves what is in memory to the disk, if that is its place. Where the disk has no more room
    /// for it, it comes back, and memory is its place from then on.
    async fn spool(&mut self) -> Result<(), ApiError> {
        let BodyPlace::Spool(spool) = &self.place else { return Ok(()) };
        if self.bytes.is_empty() {
            return Ok(());
        }
        let (spool, piece) = (Arc::clone(spool), self.bytes.split().freeze());
        let (to, bytes) = (Arc::clone(&spool), piece.clone());
        match self.app.blocking.write(move || to.append(&[bytes])).await {
            Err(no_room @ StorageError::NoRoom { .. }) => {
                self.place = BodyPlace::in_memory(self.app, no_room)?;
                self.bytes = self.app.blocking.read(move || spool.whole()).await?.into();
                self.bytes.extend_from_slice(&piece);
                Ok(())
            }
            appended => Ok(appended?),
        }
    }
}

impl BodyPlace {
    /// The place of a long body.
    async fn of_long(app: &App, expected: usize) -> Result<Self, ApiError> {
        let spool = move |store: &Store| store.spool(expected as u64).map(OnDisk::new);
        match app.write(spool).await {
            Ok(spool) => Ok(Self::Spool(Arc::new(spool))),
            Err(no_room @ StorageError::NoRoom { .. }) => Self::in_memory(app, no_room),
            Err(error) => Err(error.into()),
        }
    }

    /// The place of a long body that finds no room on the disk: a manifest may be pushed to one
    /// that takes no more uploads.
    fn in_memory(app: &App, no_room: StorageError) -> Result<Self, ApiError> {
        let room = app.memory.try_take(&app.owner, app.limits.manifest_bytes);
        room.map(Self::Room).ok_or_else(|| no_room.into())
    }
}
