//! A store that an older program left, as keys and values.

use super::acts::{Effects, Key, YES};
use super::load::Session;
use crate::fixture::{Fact, Fixture};
use crate::support::content::sha256;

/// What clients were told of it.
pub(super) fn content(fixture: &Fixture) -> Effects {
    fixture.facts().into_iter().flat_map(effects).collect()
}

/// The uploads that are open in it.
pub(super) fn sessions(fixture: &Fixture) -> Vec<Session> {
    let session = |fact| match fact {
        Fact::Upload { repository, id, sent } => {
            let location = format!("/v2/{repository}/blobs/uploads/{id}");
            Some(Session { repository, location, sent })
        }
        _ => None,
    };
    fixture.facts().into_iter().filter_map(session).collect()
}

fn effects(fact: Fact) -> Effects {
    let yes = || Some(YES.to_owned());
    match fact {
        Fact::Blob { repository, digest, size } => vec![(Key::Blob(repository, digest), size)],
        Fact::Manifest { repository, digest, media_type } => {
            vec![(Key::Manifest(repository, digest), media_type)]
        }
        Fact::Child { repository, digest, media_type } => {
            vec![(Key::Child(repository, digest), Some(media_type))]
        }
        Fact::Tag { repository, tag, digest } => vec![(Key::Tag(repository, tag), digest)],
        Fact::User { name, role } => vec![(Key::User(name), Some(role))],
        Fact::Lost { repository, bytes, tag } => {
            let digest = sha256(&bytes);
            vec![
                (Key::Blob(repository.clone(), digest.clone()), None),
                (Key::Tag(repository, tag), None),
                (Key::Bad(digest.clone()), yes()),
                (Key::Lost(digest), yes()),
            ]
        }
        Fact::Undo { repository, digest, .. } => vec![(Key::Undo(repository, digest), yes())],
        // What the door that clients use shows of these is looked at there.
        Fact::Protected { .. }
        | Fact::History { .. }
        | Fact::Referrer { .. }
        | Fact::Upload { .. } => Vec::new(),
    }
}
