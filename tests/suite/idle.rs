//! What a server costs while nobody asks anything of it.

use std::thread::sleep;
use std::time::Duration;

use crate::support::binary::Instance;
use crate::support::clients::Curl;
use crate::support::report::tell;

const MIB: u64 = 1 << 20;

#[test]
fn what_verifying_a_password_takes_is_given_back() {
    // The password that a first start makes up was hashed by this process, too.
    let instance = Instance::started();
    Curl::of(&instance).request("GET", "/v2/").expect(200);
    for guess in ["one", "two", "three"] {
        let curl = Curl::with_login(&instance, "init", &format!("guess number {guess}"));
        curl.request("GET", "/v2/").expect(401);
    }
    let bytes = instance.anonymous_memory();
    tell(&format!("after five passwords the server holds {} KiB", bytes / 1024));
    assert!(bytes < 10 * MIB, "{bytes} bytes, and a password takes 12 MiB");
}

#[test]
fn whom_nobody_asks_sleeps() {
    // What is due at a start, and now and then, is switched off, or comes once a minute.
    let mut instance =
        Instance::new().with_flags(&["--gc-interval", "0s", "--scrub-interval", "0s"]);
    instance.start();
    Curl::of(&instance).request("GET", "/v2/").expect(200);
    // The connection ends, and whatever was begun for it.
    sleep(Duration::from_secs(2));
    let before = instance.naps();
    sleep(Duration::from_secs(5));
    let woken = instance.naps() - before;
    tell(&format!("in five seconds of rest threads were woken {woken} times"));
    assert!(woken < 5, "{woken} times in five seconds");
}
