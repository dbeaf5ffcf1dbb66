//! Making records of what is to be sent.

use std::io::{self, IoSlice};

use rustls::server::ServerConnectionData;
use rustls::unbuffered::{EncodeError, EncodeTlsData, EncryptError, WriteTraffic};

use super::room::Room;

/// Encrypts so many bytes of these slices, or all if there are fewer, and returns how many these
/// are. A record has as much as fits, so that the head of a reply and the beginning of its body
/// share one.
pub(super) fn seal(
    traffic: &mut WriteTraffic<'_, ServerConnectionData>,
    slices: &[IoSlice<'_>],
    most: usize,
    outgoing: &mut Room,
) -> io::Result<usize> {
    let all = slices.iter().map(|slice| slice.len()).sum::<usize>().min(most);
    // All of it at once, so that the room need not grow with each record.
    outgoing.space(all + (all / RECORD_BYTES + 1) * OVERHEAD_BYTES, 0);
    let mut slices = slices.iter().map(|slice| &**slice).filter(|slice| !slice.is_empty());
    let (mut sealed, mut rest): (usize, &[u8]) = (0, &[]);
    while sealed < all {
        let wanted = RECORD_BYTES.min(all - sealed);
        if rest.is_empty() {
            rest = slices.next().unwrap_or_default();
        }
        if rest.len() >= wanted {
            let (record, after) = rest.split_at(wanted);
            encrypt(traffic, record, outgoing)?;
            rest = after;
        } else {
            let mut record = Vec::with_capacity(wanted);
            while record.len() < wanted {
                let (fits, after) = rest.split_at(rest.len().min(wanted - record.len()));
                record.extend_from_slice(fits);
                rest = if after.is_empty() { slices.next().unwrap_or_default() } else { after };
            }
            encrypt(traffic, &record, outgoing)?;
        }
        sealed += wanted;
    }
    Ok(sealed)
}

/// Takes over what the session itself has to say.
pub(super) fn encode(mut data: EncodeTlsData<'_, ServerConnectionData>, outgoing: &mut Room) {
    let mut least = MESSAGE_BYTES;
    loop {
        match data.encode(outgoing.space(least, 0)) {
            Ok(count) => return outgoing.add(count),
            Err(EncodeError::InsufficientSize(short)) if short.required_size > least => {
                least = short.required_size;
            }
            Err(_) => return,
        }
    }
}

/// Encrypts one record, behind what the session itself has to say.
fn encrypt(
    traffic: &mut WriteTraffic<'_, ServerConnectionData>,
    record: &[u8],
    outgoing: &mut Room,
) -> io::Result<()> {
    let mut least = record.len() + OVERHEAD_BYTES;
    loop {
        match traffic.encrypt(record, outgoing.space(least, 0)) {
            Ok(count) => {
                outgoing.add(count);
                return Ok(());
            }
            Err(EncryptError::InsufficientSize(short)) if short.required_size > least => {
                least = short.required_size;
            }
            Err(error) => return Err(io::Error::other(error)),
        }
    }
}

/// The longest content of a record.
const RECORD_BYTES: usize = 16 * 1024;
/// What encrypting adds to a record, and more.
pub(super) const OVERHEAD_BYTES: usize = 64;
/// What most messages of a handshake take.
const MESSAGE_BYTES: usize = 1024;
