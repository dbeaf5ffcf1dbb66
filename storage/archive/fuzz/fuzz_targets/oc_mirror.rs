//! Archives of oc-mirror, and its working directory.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    archive_fuzz::tree::read(bytes);
});
