//! nginx with one static file, the bytes of the manifest that is asked for: no registry, but what
//! a server of files does on this machine. It asks for no login.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::Files;
use crate::work::Image;

/// Writes its configuration and the file, and returns the former's path.
pub(crate) fn configure(
    dir: &Path,
    port: u16,
    files: &Files,
    image: &Image,
    path: &str,
) -> Result<PathBuf> {
    let content = dir.join("content");
    let file = content.join(path.trim_start_matches('/'));
    let parent = file.parent().context("a manifest has a directory")?;
    fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
    super::write(&file, &image.manifest.to_vec())?;
    let config = dir.join("nginx.conf");
    super::write(&config, configuration(dir, port, files, image.media_type).as_bytes())?;
    Ok(config)
}

/// As good as it can be for this work: a worker for each core, no log, no end of a connection,
/// and the file kept open. Workers of root stay root, since nobody else may read our directory.
fn configuration(dir: &Path, port: u16, files: &Files, media_type: &str) -> String {
    let is_root = rustix::process::geteuid().is_root();
    let user = if is_root { "user root;\n" } else { "" };
    let (dir, certificate, key) = (dir.display(), files.certificate.display(), files.key.display());
    format!(
        "{user}daemon off;
worker_processes auto;
pid \"{dir}/nginx.pid\";
error_log stderr error;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    tcp_nodelay on;
    keepalive_requests 1000000000;
    open_file_cache max=16;
    default_type {media_type};
    client_body_temp_path \"{dir}/body\";
    proxy_temp_path \"{dir}/proxy\";
    fastcgi_temp_path \"{dir}/fastcgi\";
    uwsgi_temp_path \"{dir}/uwsgi\";
    scgi_temp_path \"{dir}/scgi\";
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate \"{certificate}\";
        ssl_certificate_key \"{key}\";
        ssl_protocols TLSv1.3;
        root \"{dir}/content\";
    }}
}}
"
    )
}
