//! The body of a push of a manifest. A short one is gathered in memory, as each connection may; a
//! longer one on the disk, so that a client who stops sending holds nothing that others wait for.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use storage::{Spool, StorageError};

use super::App;
use super::body::RequestBody;
use super::error::ApiError;
use crate::blocking::OnDisk;
use crate::share::Held;

/// A body that came whole.
pub(super) enum Received {
    /// A short one; or a longer one, with its room.
    InMemory(Bytes, Option<Held>),
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
        let (mut bytes, mut place) = (0_usize, Place::Short);
        let mut gathered = BytesMut::new();
        while let Some(piece) = body.piece().await? {
            bytes += piece.len();
            if bytes > most {
                return Err(ApiError::ManifestTooLarge { limit: most });
            }
            if bytes > app.limits.small_body_bytes && matches!(place, Place::Short) {
                place = Place::of_long(app, expected).await?;
            }
            gathered.extend_from_slice(&piece);
            if gathered.len() >= app.limits.small_body_bytes
                && let Place::Spool(spool) = &place
            {
                append(app, spool, gathered.split().freeze()).await?;
            }
        }
        match place {
            Place::Short => Ok(Self::InMemory(gathered.freeze(), None)),
            Place::Room(room) => Ok(Self::InMemory(gathered.freeze(), Some(room))),
            Place::Spool(spool) => {
                append(app, &spool, gathered.freeze()).await?;
                Ok(Self::OnDisk(spool))
            }
        }
    }

    /// Whether it is longer than what each connection may have in memory.
    pub(super) fn is_long(&self) -> bool {
        !matches!(self, Self::InMemory(_, None))
    }

    /// Its bytes, and the room that they have, if they have had one so far. May wait for the disk.
    ///
    /// # Errors
    /// Trouble with the disk.
    pub(super) fn read(self) -> Result<(Bytes, Option<Held>), StorageError> {
        match self {
            Self::InMemory(bytes, room) => Ok((bytes, room)),
            Self::OnDisk(spool) => Ok((spool.whole()?, None)),
        }
    }
}

/// Where a body is gathered.
enum Place {
    Short,
    Room(Held),
    Spool(Arc<OnDisk<Spool>>),
}

impl Place {
    /// The place of a long body.
    async fn of_long(app: &App, expected: usize) -> Result<Self, ApiError> {
        let store = Arc::clone(&app.store);
        let spool = move || store.spool(expected as u64).map(OnDisk::new);
        match app.blocking.write(spool).await {
            Ok(spool) => Ok(Self::Spool(Arc::new(spool))),
            // A manifest may be pushed to a disk that takes no more uploads.
            Err(no_room @ StorageError::NoRoom { .. }) => {
                let room = app.memory.try_take(&app.owner, app.limits.manifest_bytes);
                room.map(Self::Room).ok_or_else(|| no_room.into())
            }
            Err(error) => Err(error.into()),
        }
    }
}

async fn append(app: &App, spool: &Arc<OnDisk<Spool>>, piece: Bytes) -> Result<(), ApiError> {
    let spool = Arc::clone(spool);
    Ok(app.blocking.write(move || spool.append(&[piece])).await?)
}
