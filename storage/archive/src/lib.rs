//! The formats of archives that images travel in.
//!
//! Nothing here knows a store, a network or a host: bytes come from readers and go to writers and
//! directories that are given, and signatures are made elsewhere. What is read may be anybody's:
//! every number, name and size is checked, and memory is bounded by named constants.

pub mod bundle;
