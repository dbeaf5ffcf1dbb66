//! Debian's docker-registry: where images come from when they are mirrored.

use std::fs;
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::process::{free_port, wait_until};

/// A docker-registry that runs, over plain HTTP and without a login.
pub(crate) struct Peer {
    child: Child,
    port: u16,
    _content: TempDir,
}

impl Peer {
    /// Starts one and waits until it accepts connections.
    pub(crate) fn start() -> Self {
        let content = tempfile::Builder::new().prefix("peer-").tempdir().expect("a directory");
        let port = free_port();
        // JSON, which YAML includes, so that the path is quoted rightly.
        let config = serde_json::json!({
            "version": "0.1",
            "log": { "level": "error", "accesslog": { "disabled": true } },
            "storage": { "filesystem": { "rootdirectory": content.path().join("content") } },
            "http": { "addr": format!("127.0.0.1:{port}"), "secret": "one server" },
        });
        let path = content.path().join("config.yml");
        fs::write(&path, config.to_string()).expect("a configuration");
        let mut command = Command::new("docker-registry");
        // It takes settings from the environment, which the tests do not want.
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.arg("serve").arg(&path).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("docker-registry, of Debian's package of that name");
        let mut peer = Self { child, port, _content: content };
        wait_until("docker-registry accepts connections", || {
            assert!(peer.child.try_wait().expect("its state").is_none(), "docker-registry ended");
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        peer
    }

    /// Its address and port, as image names begin.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Both fail only for a process that has ended and was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
