//! What is packed with zstd.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    archive_fuzz::both_ways::read_stream(bytes);
});
