//! Writing images to a medium that is carried elsewhere, and what this registry has for another
//! that does so.
//!
//! The formats are the crate `archive`'s. Here is who does what with whose rights: what lies in
//! DATA is opened as its owner, and what lies outside is read and written as whoever runs the
//! command, so that a stick which root mounted works and nobody but root reaches it.
//!
//! Modules in reading order: `order` is what is asked for, and `run` an export from its beginning
//! to its end; `source` is the registry, `selection` finds the images that are meant, `walk` all
//! that belongs to them, and `plan` holds that; `cut` makes volumes of it, and `write` writes them
//! to a `destination`, under the `names` of an export; `receipt` is what the other side writes
//! first, and `since` what an export makes of it.

mod cut;
mod destination;
mod names;
mod order;
mod plan;
mod receipt;
mod run;
mod selection;
mod since;
mod source;
mod walk;
mod write;

pub(crate) use order::{ExportOrder, To};
pub(crate) use receipt::{make_receipt, read_receipt, write_receipt};
pub(crate) use run::{ExportReport, make_export};
