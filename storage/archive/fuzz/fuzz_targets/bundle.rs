//! The document of a bundle.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    archive_fuzz::document::read_document(bytes);
});
