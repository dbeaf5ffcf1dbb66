//! How the load pushes blobs: in one request, in two, in pieces and in chunks; and uploads that it
//! leaves open, for a while or beyond the death of the server.

use std::io;

use super::content::Content;
use super::model::Change;
use super::worker::{Place, Worker};
use crate::support::content::OCTETS;
use crate::support::http::Response;

/// An upload that a client has begun and not ended.
#[derive(Debug)]
pub(crate) struct Session {
    pub(super) place: Place,
    pub(super) content: Content,
    pub(super) location: String,
    /// Bytes that the server has acknowledged.
    stored: usize,
    /// Bytes that were sent to it.
    sent: usize,
    /// The request that ends it, if one was sent.
    ending: Ending,
}

/// How an upload is being ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// Not yet.
    No,
    /// It is thrown away.
    Cancel,
    /// It becomes a blob.
    Finish,
}

impl Session {
    /// Its identifier, which is also the name of its file.
    pub(crate) fn id(&self) -> &str {
        self.location.rsplit('/').next().unwrap_or_default()
    }
}

impl Worker {
    /// Pushes a blob in one of the ways that clients use.
    pub(super) fn push(&mut self, place: Place, content: Content) -> io::Result<()> {
        let bytes = content.bytes();
        match self.rng.u32(0..8) {
            0..4 => self.push_whole(place, content, &bytes),
            4 => {
                let session = self.begin(place, content)?;
                self.finish(session, &bytes)
            }
            5 => {
                let mut session = self.begin(place, content)?;
                let half = bytes.len() / 2;
                for end in [half, bytes.len()] {
                    self.append(&mut session, &bytes, end)?;
                }
                self.finish(session, &bytes)
            }
            6 => {
                let mut session = self.begin(place, content)?;
                self.append_in_chunks(&mut session, &bytes, bytes.len())?;
                self.finish(session, &bytes)
            }
            _ => {
                let mut session = self.begin(place, content)?;
                let most = bytes.len() - bytes.len() / 3;
                self.append_in_chunks(&mut session, &bytes, most)?;
                self.finish(session, &bytes)
            }
        }
    }

    /// Begins an upload, sends a part of it and leaves it.
    pub(super) fn leave_open(&mut self, place: Place, content: Content) -> io::Result<()> {
        let bytes = content.bytes();
        let mut session = self.begin(place, content)?;
        // One byte is what the server's answer cannot tell from none.
        let part = self.rng.usize(0..=bytes.len()).max(2).min(bytes.len());
        self.append(&mut session, &bytes, part)?;
        self.sessions.push(session);
        Ok(())
    }

    /// Goes on with an upload that was left, or ends it.
    pub(super) fn go_on(&mut self) -> io::Result<()> {
        let session = self.sessions.swap_remove(self.rng.usize(0..self.sessions.len()));
        let offset = self.stands_at(&session);
        let (session, offset) = self.keep_if_broken(session, offset)?;
        assert_eq!(offset, Some(session.stored), "an upload that was left: {session:?}");
        if self.rng.u32(0..4) == 0 {
            return self.cancel(session);
        }
        let bytes = session.content.bytes();
        self.finish(session, &bytes)
    }

    /// What the death of the server left of the uploads: what was acknowledged at least, and
    /// nothing that was not sent. Says what is wrong.
    pub(super) fn recover(&mut self) -> io::Result<Vec<String>> {
        let mut faults = Vec::new();
        for mut session in std::mem::take(&mut self.sessions) {
            match self.stands_at(&session)? {
                Some(offset) if (session.stored..=session.sent).contains(&offset) => {
                    (session.stored, session.sent) = (offset, offset);
                    session.ending = Ending::No;
                    self.sessions.push(session);
                }
                // What is left of its files, if anything, is nobody's.
                None if session.ending == Ending::Cancel => self.strays += 1,
                None if session.ending == Ending::Finish && self.is_finished(&session)? => {}
                found => faults.push(format!("an upload stands at {found:?}: {session:?}")),
            }
        }
        Ok(faults)
    }

    /// Whether an upload, whose last request the server died over, is the blob that it was to
    /// become: the same request is answered so, unless that blob may have been removed since.
    fn is_finished(&self, session: &Session) -> io::Result<bool> {
        let path = format!("{}?digest={}", session.location, session.content.digest);
        let rest = &session.content.bytes()[session.stored..];
        let answer = self.ask("PUT again", "PUT", &path, &[OCTETS], rest)?;
        let may_be_gone = self.world.grace().is_some() || matches!(session.place, Place::Shared(_));
        Ok(answer.status == 201 || answer.status == 404 && may_be_gone)
    }

    /// Ends an upload and throws it away.
    pub(super) fn cancel(&mut self, mut session: Session) -> io::Result<()> {
        session.ending = Ending::Cancel;
        let answer = self.ask("DELETE upload", "DELETE", &session.location, &[], b"");
        let answer = self.keep_if_broken(session, answer)?;
        answer.1.expect(204);
        Ok(())
    }

    fn push_whole(&mut self, place: Place, content: Content, bytes: &[u8]) -> io::Result<()> {
        let uploads = format!("/v2/{}/blobs/uploads/", self.name(place));
        let path = format!("{uploads}?digest={}", content.digest);
        let pushed = self.attempt(place, &Change::Add(content), |worker| {
            worker.ask("POST blob", "POST", &path, &[OCTETS], bytes)
        });
        // The server begins an upload for it, and dies without having told of it.
        self.strays += usize::from(pushed.is_err());
        pushed.map(|_| ())
    }

    /// Begins an upload.
    fn begin(&mut self, place: Place, content: Content) -> io::Result<Session> {
        let path = format!("/v2/{}/blobs/uploads/", self.name(place));
        let answer = self.ask("POST upload", "POST", &path, &[], b"");
        self.strays += usize::from(answer.is_err());
        Ok(Self::session(place, content, &answer?.expect(202)))
    }

    /// The upload that an answer tells of.
    pub(super) fn session(place: Place, content: Content, answer: &Response) -> Session {
        let location = answer.location();
        Session { place, content, location, stored: 0, sent: 0, ending: Ending::No }
    }

    /// Sends the bytes up to `end`, and says which they are.
    fn append(&mut self, session: &mut Session, bytes: &[u8], end: usize) -> io::Result<()> {
        if end == session.stored {
            return Ok(());
        }
        let range = format!("{}-{}", session.stored, end - 1);
        let headers = [OCTETS, ("Content-Range", range.as_str())];
        let rest = &bytes[session.stored..end];
        session.sent = end;
        let answer = self.ask("PATCH upload", "PATCH", &session.location, &headers, rest);
        self.appended(session, answer)
    }

    /// Sends the bytes up to `end` without saying how many they are.
    fn append_in_chunks(
        &mut self,
        session: &mut Session,
        bytes: &[u8],
        end: usize,
    ) -> io::Result<()> {
        let rest = &bytes[session.stored..end];
        session.sent = end;
        let answer = self.ask_in_chunks("PATCH chunked", "PATCH", &session.location, rest);
        self.appended(session, answer)
    }

    fn appended(&mut self, session: &mut Session, answer: io::Result<Response>) -> io::Result<()> {
        match answer {
            Ok(answer) => {
                session.location = answer.expect(202).location();
                session.stored = session.sent;
                Ok(())
            }
            Err(error) => {
                self.sessions.push(session.clone_to_keep());
                Err(error)
            }
        }
    }

    /// Sends what is left of the bytes, and makes a blob of the upload.
    fn finish(&mut self, mut session: Session, bytes: &[u8]) -> io::Result<()> {
        let path = format!("{}?digest={}", session.location, session.content.digest);
        let rest = &bytes[session.stored..];
        (session.sent, session.ending) = (bytes.len(), Ending::Finish);
        let change = Change::Add(session.content);
        let pushed = self.attempt(session.place, &change, |worker| {
            worker.ask("PUT upload", "PUT", &path, &[OCTETS], rest)
        });
        self.keep_if_broken(session, pushed).map(|_| ())
    }

    /// How many bytes an upload holds; none if it is over.
    fn stands_at(&self, session: &Session) -> io::Result<Option<usize>> {
        let answer = self.ask("GET upload", "GET", &session.location, &[], b"")?;
        if answer.status == 404 {
            return Ok(None);
        }
        let answer = answer.expect(204);
        let last = answer.must("range").strip_prefix("0-").and_then(|last| last.parse().ok());
        // The header cannot tell 0 from 1, and no upload here ever stands at 1.
        Ok(last.map(|last: usize| if last == 0 { 0 } else { last + 1 }))
    }

    /// An upload whose last request broke is asked for again when the server is back.
    fn keep_if_broken<T>(
        &mut self,
        session: Session,
        answer: io::Result<T>,
    ) -> io::Result<(Session, T)> {
        match answer {
            Ok(answer) => Ok((session, answer)),
            Err(error) => {
                self.sessions.push(session);
                Err(error)
            }
        }
    }
}

impl Session {
    fn clone_to_keep(&self) -> Self {
        Self { location: self.location.clone(), ..*self }
    }
}
