//! What tests tell people: figures they measured, and what they could not test.
//!
//! Written past the harness, which shows the output of failed tests only.

use std::io::Write;

/// Tells a figure or a fact.
pub(crate) fn tell(text: &str) {
    // Nobody may be listening; the test goes on.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Tells that a test is skipped and why. CI skips nothing: there it is a failure.
#[track_caller]
pub(crate) fn skip(reason: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "CI cannot skip a test: {reason}");
    tell(&format!("skipped: {reason}"));
}
