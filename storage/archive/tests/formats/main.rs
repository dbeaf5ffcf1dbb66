//! Every format through the public functions: what the tools wrote, what somebody made who means
//! harm, and what a bad disk made of either.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "helpers of tests fail like the tests themselves"
)]

mod bounds;
mod catalogs;
mod corpus;
mod cut;
mod damaged;
mod fixtures;
mod hostile;
mod layouts;
mod quay;
mod support;
mod trees;
