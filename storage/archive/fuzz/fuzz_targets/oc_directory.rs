//! What `oc` mirrors into a directory, with its links.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    archive_fuzz::tree::read(bytes);
});
