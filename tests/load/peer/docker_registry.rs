//! Debian's docker-registry: its configuration.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::Files;

/// Writes Debian's configuration with a login and TLS, HTTP/1.1 only as ours, and with no log
/// line for a request that succeeds, and returns its path. The text is JSON, which YAML includes,
/// so that every path is quoted rightly.
pub(crate) fn configure(dir: &Path, port: u16, files: &Files, passwords: &Path) -> Result<PathBuf> {
    let config = serde_json::json!({
        "version": "0.1",
        "log": { "level": "error", "accesslog": { "disabled": true } },
        "storage": {
            "cache": { "blobdescriptor": "inmemory" },
            "filesystem": { "rootdirectory": dir.join("content") },
            "delete": { "enabled": true },
        },
        "http": {
            "addr": format!("127.0.0.1:{port}"),
            "secret": "one server needs no shared secret",
            "http2": { "disabled": true },
            "tls": { "certificate": files.certificate, "key": files.key },
        },
        "auth": { "htpasswd": { "realm": "load", "path": passwords } },
    });
    let path = dir.join("config.yml");
    super::write(&path, serde_json::to_string_pretty(&config)?.as_bytes())?;
    Ok(path)
}
