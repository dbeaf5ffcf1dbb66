//! Our own bundles: OCI image layouts, with documents beside them that say what they hold.
//!
//! ```text
//! registry-bundle.sig    Ed25519 over the bytes of registry-bundle.json
//! registry-bundle.json   whose bundle this is, which volume of it, and the sums of all it holds
//! oci-layout index.json  the layout; index.json names each image as REPOSITORY:TAG
//! CONTENTS.txt           the same for people
//! blobs/sha256/<hex>     manifests, configurations and layers
//! ```
//!
//! A bundle may have several volumes, each a layout of its own that names the images which are
//! whole with it and the volumes before it. In a tar archive the files stand in this order; in a
//! directory the blobs are written first, so that no document is there before what it tells of.
//!
//! Modules in reading order: `document` and `receipt` are what is written and read back; `split`
//! decides what goes into which volume, and `volume` makes its documents; `directory` and `tar`
//! write it, and `copy` hashes each blob on its way.

mod copy;
mod directory;
mod document;
mod error;
mod layout;
mod map;
mod number;
mod receipt;
mod split;
mod tar;
mod volume;

pub use copy::{OpenBlob, SyncedFile};
pub use directory::write_directory;
pub use document::{Base, BundleDocument, FileSum, checksum_of};
pub use error::{BlobFault, DocumentError, ReceiptError, SplitError, WriteError};
pub use layout::{Blob, CONTENTS, DOCUMENT, INDEX, LAYOUT, SIGNATURE, SIGNATURE_BYTES};
pub use number::{BundleNumber, NumberError, RegistryId, SignerKey};
pub use receipt::{Held, MAX_RECEIPT_BYTES, Receipt, TakenBundle, prefix_of};
pub use split::{Form, Named, Split, split};
pub use tar::{TarWriter, write_tar};
pub use volume::{Draft, NamedManifest, Volume};
