//! Layouts: OCI's, Hauler's, and bundles of ours.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    archive_fuzz::tree::read(bytes);
});
