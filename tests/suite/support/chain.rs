//! A chain of certificates as a company has it, made by openssl.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use super::process::run;

/// A root (`root.crt`), an issuing CA (`issuing.crt`) and a server's certificate (`leaf.crt`), with
/// their keys beside them.
pub(crate) struct Chain {
    directory: TempDir,
}

impl Chain {
    /// Makes them, the last one for this name.
    pub(crate) fn of(name: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let chain = Self { directory };
        chain.openssl(&[
            "req -x509 -newkey rsa:2048 -nodes -days 30 -keyout root.key -out root.crt",
            "-subj /CN=Root",
        ]);
        for (name, issuer, subject, extensions) in [
            ("issuing", "root", "/CN=An issuing CA", "basicConstraints=critical,CA:TRUE"),
            ("leaf", "issuing", "/CN=leaf", &format!("subjectAltName=DNS:{name}")),
        ] {
            fs::write(chain.path("extensions"), extensions).expect("a file");
            let request = format!("req -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.csr");
            let mut openssl = chain.command(&request);
            run(openssl.args(["-subj", subject])).ok();
            chain.openssl(&[
                &format!("x509 -req -days 30 -in {name}.csr -out {name}.crt -CAcreateserial"),
                &format!("-CA {issuer}.crt -CAkey {issuer}.key -extfile extensions"),
            ]);
        }
        chain
    }

    /// Where one of them is, or another file.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// What one of them holds.
    pub(crate) fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("a file")
    }

    fn openssl(&self, lines: &[&str]) {
        run(&mut self.command(&lines.join(" "))).ok();
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new("openssl");
        command.args(line.split(' ')).current_dir(self.directory.path());
        command
    }
}
