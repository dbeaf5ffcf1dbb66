//! The files of a store against what the load knows.
