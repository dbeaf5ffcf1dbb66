//! Receipts: what a registry has, for another that is to send it the rest.
//!
//! ```text
//! registry receipt 1
//! registry <who has it>
//! made <seconds since 1970>
//! bundle <number> <checksum>     a line for each that was taken whole, in the order of the numbers
//! 00f1a2…                        the first 8 bytes of the digest of each other blob, in order
//! sha256:<hex>                   the sum of all before
//! ```
//!
//! Eight bytes tell any two blobs of a registry apart, but for once in many thousand registries.
//! Two that begin alike stand there twice, and then neither counts: what is sent once too often
//! does no harm, and what is left out by mistake does.

use std::collections::HashMap;
use std::fmt::Write as _;

use oci::{Algorithm, Digest};

use super::error::ReceiptError;
use super::number::{BundleNumber, RegistryId, is_lower_hex};

/// What a registry has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    registry: RegistryId,
    made: i64,
    bundles: Vec<TakenBundle>,
    prefixes: Vec<u64>,
}

/// A bundle that a registry took whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TakenBundle {
    /// Its number.
    pub number: BundleNumber,
    /// Its sum, over the blobs of all its volumes.
    pub checksum: Digest,
}

/// The first 8 bytes of a digest.
pub fn prefix_of(digest: &Digest) -> u64 {
    digest.bytes().iter().take(PREFIX_BYTES).fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

impl Receipt {
    /// What a registry has at this second since 1970, in any order.
    pub fn new(
        registry: RegistryId,
        made: i64,
        mut bundles: Vec<TakenBundle>,
        mut prefixes: Vec<u64>,
    ) -> Self {
        bundles.sort_by_key(|bundle| bundle.number);
        bundles.dedup_by_key(|bundle| bundle.number);
        prefixes.sort_unstable();
        Self { registry, made, bundles, prefixes }
    }

    /// Whether a file that begins so is a receipt, whatever became of the rest of it.
    pub fn is_begun_by(bytes: &[u8]) -> bool {
        bytes.starts_with(TITLE.as_bytes())
    }

    /// Who has it.
    pub fn registry(&self) -> &RegistryId {
        &self.registry
    }

    /// When it was written, in seconds since 1970.
    pub fn made(&self) -> i64 {
        self.made
    }

    /// The bundles that were taken whole, in the order of their numbers.
    pub fn bundles(&self) -> &[TakenBundle] {
        &self.bundles
    }

    /// How many other blobs it names.
    pub fn blobs(&self) -> usize {
        self.prefixes.len()
    }

    /// Its text.
    pub fn to_text(&self) -> String {
        let mut text = format!("{TITLE}{FORMAT}\nregistry {}\nmade {}\n", self.registry, self.made);
        for TakenBundle { number, checksum } in &self.bundles {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "bundle {number} {checksum}");
        }
        for prefix in &self.prefixes {
            let _ = writeln!(text, "{prefix:016x}");
        }
        let sum = Digest::of(Algorithm::Sha256, text.as_bytes());
        let _ = writeln!(text, "{sum}");
        text
    }

    /// Reads a receipt, and the sum that its last line has.
    ///
    /// # Errors
    /// Every [`ReceiptError`].
    pub fn parse(bytes: &[u8]) -> Result<(Self, Digest), ReceiptError> {
        if bytes.len() > MAX_RECEIPT_BYTES {
            return Err(ReceiptError::TooLarge { most_bytes: MAX_RECEIPT_BYTES });
        }
        let text = str::from_utf8(bytes).map_err(|_| ReceiptError::NoReceipt)?;
        let title = text.split('\n').next().unwrap_or_default();
        let format = title.strip_prefix(TITLE).ok_or(ReceiptError::NoReceipt)?;
        if format != FORMAT {
            // Somebody else's text, of which a few characters say enough.
            return Err(ReceiptError::Format(format.chars().take(FORMAT_CHARS).collect()));
        }
        let (body, sum) = checked(text).ok_or(ReceiptError::Checksum)?;
        let mut lines = body.lines().enumerate().skip(1).peekable();
        let mut next = |line: usize, name: &str| {
            let found = lines.next().and_then(|(_, text)| text.strip_prefix(name));
            found.ok_or(ReceiptError::Line { line })
        };
        let registry = next(2, "registry ")?.parse().map_err(|_| ReceiptError::Line { line: 2 })?;
        let made = next(3, "made ")?.parse().map_err(|_| ReceiptError::Line { line: 3 })?;
        let (mut bundles, mut prefixes) = (Vec::<TakenBundle>::new(), Vec::<u64>::new());
        for (at, text) in lines {
            let wrong = ReceiptError::Line { line: at + 1 };
            match text.strip_prefix("bundle ") {
                Some(words) if prefixes.is_empty() => {
                    let bundle = taken(words).ok_or_else(|| wrong.clone())?;
                    if bundles.last().is_some_and(|last| last.number >= bundle.number) {
                        return Err(wrong);
                    }
                    bundles.push(bundle);
                }
                Some(_) => return Err(wrong),
                None => {
                    let is_prefix = text.len() == 2 * PREFIX_BYTES && is_lower_hex(text);
                    let prefix = is_prefix.then(|| u64::from_str_radix(text, 16).ok()).flatten();
                    let prefix = prefix.ok_or_else(|| wrong.clone())?;
                    if prefixes.last().is_some_and(|last| *last > prefix) {
                        return Err(wrong);
                    }
                    prefixes.push(prefix);
                }
            }
        }
        Ok((Self { registry, made, bundles, prefixes }, sum))
    }

    /// Which of these blobs whoever wrote the receipt has by its prefixes: none of several that
    /// begin alike, on either side.
    pub fn held(&self, blobs: &[Digest]) -> Held {
        let mut ours = HashMap::new();
        blobs.iter().for_each(|digest| *ours.entry(prefix_of(digest)).or_insert(0_u32) += 1);
        let mut held = Held::default();
        for digest in blobs {
            let prefix = prefix_of(digest);
            let theirs = self.prefixes.partition_point(|other| *other < prefix);
            let theirs = self.prefixes[theirs..].iter().take(2).filter(|it| **it == prefix).count();
            match (theirs, ours.get(&prefix)) {
                (0, _) => held.is_held.push(false),
                (1, Some(1)) => held.is_held.push(true),
                _ => {
                    held.is_held.push(false);
                    held.ambiguous += 1;
                }
            }
        }
        held
    }
}

/// What is known of blobs by a receipt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Of each blob in the order asked, whether the other side has it.
    pub is_held: Vec<bool>,
    /// How many may be there or not, since others begin alike. They count as lacking.
    pub ambiguous: u64,
}

/// The text before the last line, and that line, if it is the sum of all before.
fn checked(text: &str) -> Option<(&str, Digest)> {
    let text = text.strip_suffix('\n')?;
    let end = text.rfind('\n')? + 1;
    let (body, sum) = text.split_at(end);
    let sum: Digest = sum.parse().ok()?;
    (Digest::of(Algorithm::Sha256, body.as_bytes()) == sum).then_some((body, sum))
}

fn taken(words: &str) -> Option<TakenBundle> {
    let (number, checksum) = words.split_once(' ')?;
    let checksum: Digest = checksum.parse().ok()?;
    let number = number.parse().ok()?;
    (checksum.algorithm() == Algorithm::Sha256).then_some(TakenBundle { number, checksum })
}

/// The largest receipt that is read, in bytes: some four million blobs.
pub const MAX_RECEIPT_BYTES: usize = 64 * 1024 * 1024;
/// What a receipt begins with.
const TITLE: &str = "registry receipt ";
/// The format that is written and read here.
const FORMAT: &str = "1";
/// Characters of another format that are told.
const FORMAT_CHARS: usize = 20;
/// Bytes of a digest that a receipt has.
const PREFIX_BYTES: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn digests() -> [Digest; 3] {
        [&b"a"[..], b"b", b"c"].map(|bytes| Digest::of(Algorithm::Sha256, bytes))
    }

    fn receipt(prefixes: Vec<u64>) -> Receipt {
        let taken = |bits| TakenBundle {
            number: BundleNumber::of(bits),
            checksum: Digest::of(Algorithm::Sha256, b"sum"),
        };
        Receipt::new("0a".parse().unwrap(), 1_769_847_300, vec![taken(2), taken(1)], prefixes)
    }

    /// A text with the sum that fits it.
    fn summed(body: &str) -> String {
        format!("{body}{}\n", Digest::of(Algorithm::Sha256, body.as_bytes()))
    }

    #[test]
    fn what_is_written_is_read_back() {
        let receipt = receipt(vec![9, 0, u64::MAX, 9]);
        let text = receipt.to_text();
        let (read, sum) = Receipt::parse(text.as_bytes()).unwrap();
        assert_eq!(read, receipt);
        assert!(text.ends_with(&format!("\n{sum}\n")), "{text}");
        assert_eq!((read.bundles().len(), read.blobs(), read.made()), (2, 4, 1_769_847_300));
    }

    #[test]
    fn what_begins_like_another_counts_as_lacking() {
        let [a, b, c] = digests();
        let found = receipt(vec![prefix_of(&a), prefix_of(&c), prefix_of(&c)]).held(&[a, b, c, a]);
        assert_eq!(found, Held { is_held: vec![false; 4], ambiguous: 3 });
        let found = receipt(vec![prefix_of(&a)]).held(&[a, b]);
        assert_eq!(found, Held { is_held: vec![true, false], ambiguous: 0 });
    }

    #[test]
    fn a_text_that_was_changed_or_cut_off_is_refused() {
        let text = receipt(vec![1, 2]).to_text();
        for end in 0..text.len() {
            let error = Receipt::parse(&text.as_bytes()[..end]).unwrap_err();
            let is_expected = matches!(
                error,
                ReceiptError::Checksum | ReceiptError::NoReceipt | ReceiptError::Format(_)
            );
            assert!(is_expected, "{end}: {error}");
        }
        let changed = text.replacen("0000000000000002", "0000000000000003", 1);
        assert_eq!(Receipt::parse(changed.as_bytes()), Err(ReceiptError::Checksum));
        assert_eq!(Receipt::parse(b"\xff"), Err(ReceiptError::NoReceipt));
        let later = text.replacen("receipt 1", "receipt 2", 1);
        assert_eq!(Receipt::parse(later.as_bytes()), Err(ReceiptError::Format("2".to_owned())));
    }

    #[test]
    fn a_line_that_no_receipt_has_there_is_named() {
        let head = "registry receipt 1\nregistry 0a\nmade 1\n";
        assert!(Receipt::parse(summed(head).as_bytes()).is_ok());
        let bundle = format!("bundle {:032x} {}\n", 1, Digest::of(Algorithm::Sha256, b""));
        let of_sha512 = format!("bundle {:032x} {}\n", 1, Digest::of(Algorithm::Sha512, b""));
        for (rest, line) in [
            ("\n", 4),
            ("000000000000000a\n0000000000000009\n", 5),
            ("000000000000000A\n", 4),
            ("00000000000000a\n", 4),
            ("+00000000000000a\n", 4),
            ("bundle 1\n", 4),
            (&of_sha512, 4),
            (&format!("{bundle}{bundle}"), 5),
            (&format!("000000000000000a\n{bundle}"), 5),
        ] {
            let text = summed(&format!("{head}{rest}"));
            let found = Receipt::parse(text.as_bytes());
            assert_eq!(found, Err(ReceiptError::Line { line }), "{rest}");
        }
        for (head, line) in [
            ("registry receipt 1\n", 2),
            ("registry receipt 1\nregistry X\nmade 1\n", 2),
            ("registry receipt 1\nregistry 0a\nmade x\n", 3),
        ] {
            let found = Receipt::parse(summed(head).as_bytes());
            assert_eq!(found, Err(ReceiptError::Line { line }), "{head}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(body in "(registry receipt 1\n)?[a-z0-9 \n]{0,99}") {
            let _ = Receipt::parse(body.as_bytes());
            let _ = Receipt::parse(summed(&body).as_bytes());
        }
    }
}
