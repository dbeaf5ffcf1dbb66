//! Bytes on their way between a socket and a TLS session.

/// Bytes in a row, and room for more behind them. What was there once is never zeroed again.
#[derive(Default)]
pub(super) struct Room {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Room {
    /// The bytes that are there.
    pub(super) fn filled(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.end]
    }

    /// How many these are.
    pub(super) fn len(&self) -> usize {
        self.end - self.start
    }

    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Forgets so many bytes at the front.
    pub(super) fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
        if self.is_empty() {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Room for more bytes: `least` or more, and all that there is if it is `size` bytes in all.
    pub(super) fn space(&mut self, least: usize, size: usize) -> &mut [u8] {
        let size = size.max(self.len() + least);
        if self.bytes.len() < size {
            let mut bytes = vec![0; size];
            bytes[..self.len()].copy_from_slice(&self.bytes[self.start..self.end]);
            self.bytes = bytes;
            (self.start, self.end) = (0, self.len());
        } else if self.bytes.len() - self.end < least {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.len());
        }
        &mut self.bytes[self.end..]
    }

    /// Notes that so many bytes are there in what was room.
    pub(super) fn add(&mut self, count: usize) {
        self.end = (self.end + count).min(self.bytes.len());
    }

    /// How many bytes it has room for in all.
    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        self.bytes.len()
    }

    /// Gives memory back, if there are no bytes and it is more than `size`.
    pub(super) fn shrink(&mut self, size: usize) {
        if self.is_empty() && self.bytes.len() > size {
            self.bytes = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(room: &mut Room, bytes: &[u8]) {
        room.space(bytes.len(), 8)[..bytes.len()].copy_from_slice(bytes);
        room.add(bytes.len());
    }

    #[test]
    fn bytes_come_out_as_they_went_in_whatever_the_room_does() {
        let mut room = Room::default();
        put(&mut room, b"abcdef");
        room.consume(4);
        // There is no room for these behind the others, but before them.
        put(&mut room, b"ghijkl");
        assert_eq!((room.filled().to_vec(), room.bytes.len()), (b"efghijkl".to_vec(), 8));
        // And for these there is none at all.
        put(&mut room, b"mnop");
        assert_eq!((room.filled().to_vec(), room.len()), (b"efghijklmnop".to_vec(), 12));
        room.shrink(4);
        assert_eq!(room.len(), 12, "what is there stays");
        room.consume(100);
        assert!(room.is_empty());
        room.shrink(12);
        assert_eq!(room.bytes.len(), 12);
        room.shrink(4);
        assert_eq!(room.bytes.len(), 0);
    }
}
