//! The database of a Quay.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    storage_fuzz::database::read(bytes);
});
