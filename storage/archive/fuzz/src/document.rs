//! The documents of our own bundles, and receipts: what is read is written and read again.

use archive::bundle::{BundleDocument, Receipt, checksum_of};
use oci::{Algorithm, Digest};

/// Reads a bundle's document. How many files and blobs it names.
pub fn read_document(bytes: &[u8]) -> usize {
    let Ok(document) = BundleDocument::parse(bytes) else { return 0 };
    checksum_of(&document.blobs);
    let written = document.to_bytes().expect("a document that was read");
    assert_eq!(BundleDocument::parse(&written).as_ref(), Ok(&document));
    document.files.len() + document.blobs.len()
}

/// Reads a receipt, as it is and with the sum that it should have. How much it names.
pub fn read_receipt(bytes: &[u8]) -> usize {
    let sum = Digest::of(Algorithm::Sha256, bytes);
    let with_sum = [bytes, sum.to_string().as_bytes(), b"\n"].concat();
    let mut count = 0;
    for bytes in [bytes, &with_sum] {
        let Ok((receipt, sum)) = Receipt::parse(bytes) else { continue };
        let held = receipt.held(&[sum, sum]);
        assert_eq!(held.is_held, [false, false]);
        assert_eq!(
            Receipt::parse(receipt.to_text().as_bytes()).map(|it| it.0),
            Ok(receipt.clone())
        );
        count += receipt.bundles().len() + receipt.blobs();
    }
    count
}
