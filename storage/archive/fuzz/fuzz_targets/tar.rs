//! Archives, header by header.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    archive_fuzz::both_ways::read(bytes);
});
