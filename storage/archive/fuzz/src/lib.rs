//! What is fed with whatever a fuzzer thinks of, one module for each way of reading. Tests of the
//! crates include these files and replay the corpus; a target of the fuzzer only names one of them.

pub mod both_ways;
pub mod document;
pub mod tree;
