//! Where the server listens, in networks that tests make.

use std::process::Command;

use crate::support::binary::Instance;
use crate::support::process::run;
use crate::support::report::skip;

/// What makes sockets of IPv6 take nothing else by default.
const ONLY_IPV6: &str = "echo 1 > /proc/sys/net/ipv6/bindv6only";

#[test]
fn every_address_is_of_both_families_whatever_the_host_prefers() {
    if !can_be_apart() {
        return;
    }
    let mut instance = Instance::new().listening_on("[::]").apart(ONLY_IPV6);
    instance.start();
    for host in ["127.0.0.1", "[::1]"] {
        assert_eq!(health(&instance, host), Some(0), "{host}");
    }
}

#[test]
fn what_is_meant_of_ipv4_may_be_said_for_the_same_port() {
    if !can_be_apart() {
        return;
    }
    for (ipv4, other) in [("0.0.0.0", Some(0)), ("127.0.0.1", CANNOT_CONNECT)] {
        let instance = Instance::new().listening_on("[::]");
        let second = format!("{ipv4}:{}", instance.port());
        let mut instance = instance.with_flags(&["--listen", &second]).apart("true");
        instance.start();
        for host in ["127.0.0.1", "[::1]"] {
            assert_eq!(health(&instance, host), Some(0), "{second}: {host}");
        }
        // 127.0.0.2 is this host too, and only in "every address".
        assert_eq!(health(&instance, "127.0.0.2"), other, "{second}");
    }
}

/// What curl ends with when nobody listens.
const CANNOT_CONNECT: Option<i32> = Some(7);

/// What curl ends with that asks for the server's health, in the server's own network.
fn health(instance: &Instance, host: &str) -> Option<i32> {
    let mut inside = Command::new("nsenter");
    inside.arg(format!("--net=/proc/{}/ns/net", instance.pid()));
    inside.args(["curl", "--silent", "--insecure", "--output", "/dev/null"]);
    run(inside.arg(format!("https://{host}:{}/healthz", instance.port()))).code()
}

/// Whether servers can have networks of their own here; what keeps them from it is said.
pub(crate) fn can_be_apart() -> bool {
    let can = run(Command::new("unshare").args(["--net", "ip", "link", "set", "lo", "up"]));
    if can.code() != Some(0) {
        skip("this machine lets nobody make a network");
    }
    can.code() == Some(0)
}
