//! What is fed with whatever a fuzzer thinks of. A test of the crate includes the module and
//! replays the corpus; the target of the fuzzer only names it.

pub mod database;
