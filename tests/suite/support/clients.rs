//! Real clients: podman, skopeo, buildah and curl, each with TLS verified, on a "machine" of its
//! own: a home, storage, settings and logins that nothing on the host shares.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::binary::{Instance, USER};
use super::host::{Host, Outside};
use super::process::{Run, run, run_with_input};

/// A machine with podman, skopeo and buildah, and with nothing stored yet.
pub(crate) struct Machine {
    home: TempDir,
    network: Option<Outside>,
}

impl Machine {
    /// A machine that trusts nobody.
    pub(crate) fn new() -> Self {
        let home = tempfile::Builder::new().prefix("machine-").tempdir().expect("a home");
        let machine = Self { home, network: None };
        let path = |name: &str| machine.path(name).display().to_string();
        let engine = format!(
            "[engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"none\"\n\
             lock_type = \"file\"\ntmp_dir = \"{}\"\nvolume_path = \"{}\"\n\
             [network]\nnetwork_config_dir = \"{}\"\n",
            path("engine"),
            path("volumes"),
            path("network"),
        );
        let storage = format!(
            "[storage]\ndriver = \"vfs\"\ngraphroot = \"{}\"\nrunroot = \"{}\"\n",
            path("storage"),
            path("run"),
        );
        let policy = r#"{"default":[{"type":"insecureAcceptAnything"}]}"#;
        machine.write("network/.keep", "");
        machine.write("tmp/.keep", "");
        machine.write("containers.conf", &engine);
        // podman refuses a file of logins that is named and missing.
        machine.write("auth.json", "{}");
        machine.write("storage.conf", &storage);
        machine.write(".config/containers/registries.conf", "");
        machine.write(".config/containers/policy.json", policy);
        machine
    }

    /// A machine that trusts this registry and is logged in to it.
    pub(crate) fn of(instance: &Instance) -> Self {
        let machine = Self::new();
        machine.trust(instance, "127.0.0.1");
        machine.login(&instance.address(), USER, &instance.password()).ok();
        machine
    }

    /// A machine in the network of a host, whose names it knows. It trusts nobody.
    pub(crate) fn outside_of(host: &Host) -> Self {
        Self { network: Some(host.outside()), ..Self::new() }
    }

    /// A path in the home.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Trusts the registry's CA when it is reached under this name or address.
    pub(crate) fn trust(&self, instance: &Instance, host: &str) {
        self.trust_ca(&instance.ca(), &format!("{host}:{}", instance.port()));
    }

    /// Trusts a CA for the registry at this name or address and port.
    pub(crate) fn trust_ca(&self, ca: &Path, address: &str) {
        let ca = fs::read_to_string(ca).expect("the CA of the registry");
        self.write(&format!(".config/containers/certs.d/{address}/ca.crt"), &ca);
    }

    /// Lets the clients speak plain HTTP to a registry that speaks nothing else.
    pub(crate) fn allow_plain_http(&self, address: &str) {
        let text = format!("[[registry]]\nlocation = \"{address}\"\ninsecure = true\n");
        self.write(".config/containers/registries.conf", &text);
    }

    /// Logs in with podman; skopeo and buildah share the login.
    pub(crate) fn login(&self, address: &str, user: &str, password: &str) -> Run {
        let mut command = self.command("podman");
        command.args(["login", "--username", user, "--password-stdin", address]);
        run_with_input(&mut command, password.as_bytes())
    }

    /// Runs podman.
    pub(crate) fn podman<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Run {
        self.client("podman", arguments)
    }

    /// Runs skopeo.
    pub(crate) fn skopeo<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Run {
        self.client("skopeo", arguments)
    }

    /// Runs buildah.
    pub(crate) fn buildah<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Run {
        self.client("buildah", arguments)
    }

    /// Runs any other client: curl, openssl.
    pub(crate) fn client<S: AsRef<OsStr>>(&self, program: &str, arguments: &[S]) -> Run {
        run(self.command(program).args(arguments))
    }

    /// A client that has not been started, for what the other functions do not do.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = match &self.network {
            Some(network) => network.command(program),
            None => Command::new(program),
        };
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.current_dir(self.home.path());
        for (name, value) in [
            ("HOME", ""),
            ("XDG_RUNTIME_DIR", ""),
            ("TMPDIR", "tmp"),
            ("REGISTRY_AUTH_FILE", "auth.json"),
            ("CONTAINERS_CONF", "containers.conf"),
            ("CONTAINERS_STORAGE_CONF", "storage.conf"),
        ] {
            command.env(name, self.path(value));
        }
        command
    }

    /// Writes a file in the home, and the directories above it.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a directory")).expect("directories");
        fs::write(path, text).expect("a file");
    }
}

/// curl with the login of the first user: for single requests, where the others send many.
pub(crate) struct Curl {
    ca: PathBuf,
    base: String,
    login: Option<String>,
}

/// What a registry answered to one request.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The status; 0 if there was no whole answer.
    pub(crate) status: u16,
    /// `Location`, as it came.
    pub(crate) location: String,
    /// `Range`, as it came.
    pub(crate) range: String,
    /// `Docker-Content-Digest`, as it came.
    pub(crate) digest: String,
    /// The body.
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The answer itself, after checking its status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        let body = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, status, "{body}");
        self
    }

    /// The code and the message of an error document.
    #[track_caller]
    pub(crate) fn error(&self) -> (String, String) {
        let document: serde_json::Value = serde_json::from_slice(&self.body).expect("JSON");
        let text = |name: &str| document["errors"][0][name].as_str().expect("text").to_owned();
        (text("code"), text("message"))
    }

    /// How many bytes an upload holds, by its `Range`, which cannot tell 0 from 1.
    #[track_caller]
    pub(crate) fn offset(&self) -> u64 {
        let last = self.range.strip_prefix("0-").and_then(|last| last.parse::<u64>().ok());
        last.unwrap_or_else(|| panic!("Range: {}", self.range)) + 1
    }
}

impl Curl {
    /// Requests to 127.0.0.1 as the first user.
    pub(crate) fn of(instance: &Instance) -> Self {
        Self::with_login(instance, USER, &instance.password())
    }

    /// Requests to 127.0.0.1 as any user.
    pub(crate) fn with_login(instance: &Instance, user: &str, password: &str) -> Self {
        let base = format!("https://{}", instance.address());
        Self { ca: instance.ca(), base, login: Some(format!("{user}:{password}")) }
    }

    /// Requests to 127.0.0.1 as nobody.
    pub(crate) fn without_login(instance: &Instance) -> Self {
        Self { login: None, ..Self::with_login(instance, "", "") }
    }

    /// Sends the same to another name or address of the registry.
    pub(crate) fn reaching(mut self, host: &str, port: u16) -> Self {
        self.base = format!("https://{host}:{port}");
        self
    }

    /// Sends a request without a body.
    pub(crate) fn request(&self, method: &str, path: &str) -> Answer {
        self.finish(self.command(method, path), b"")
    }

    /// Sends a request with a body of this type.
    pub(crate) fn send(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> Answer {
        self.send_with(method, path, &[&format!("Content-Type: {kind}")], body)
    }

    /// Sends a request with a body and these headers.
    pub(crate) fn send_with(
        &self,
        method: &str,
        path: &str,
        headers: &[&str],
        body: &[u8],
    ) -> Answer {
        let mut command = self.command(method, path);
        for header in headers {
            command.args(["--header", header]);
        }
        command.args(["--data-binary", "@-"]);
        self.finish(command, body)
    }

    /// Begins an upload and returns where it is.
    #[track_caller]
    pub(crate) fn begin_upload(&self, repository: &str) -> String {
        let path = format!("/v2/{repository}/blobs/uploads/");
        self.request("POST", &path).expect(202).location
    }

    /// Starts a PATCH whose body is what will be written to the child's standard input. Its
    /// answer's status comes on standard output.
    pub(crate) fn stream(&self, path: &str) -> Child {
        let mut command = self.command("PATCH", path);
        command.args(["--upload-file", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(Stdio::piped()).spawn().expect("curl")
    }

    /// What came of a PATCH that was started with [`Self::stream`], after its input is closed.
    pub(crate) fn end_of_stream(mut child: Child) -> Answer {
        drop(child.stdin.take());
        let output = child.wait_with_output().expect("curl's output");
        answer(output.stdout, &String::from_utf8_lossy(&output.stderr))
    }

    fn command(&self, method: &str, path: &str) -> Command {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--http1.1", "--cacert"]).arg(&self.ca);
        command.args(["--header", "Expect:", "--write-out", FIELDS]);
        match method {
            "HEAD" => command.arg("--head"),
            method => command.args(["--request", method]),
        };
        if let Some(login) = &self.login {
            command.args(["--user", login]);
        }
        command.arg(format!("{}{path}", self.base));
        command
    }

    fn finish(&self, mut command: Command, body: &[u8]) -> Answer {
        let run = run_with_input(&mut command, body);
        answer(run.out, &run.err)
    }
}

fn answer(body: Vec<u8>, said: &str) -> Answer {
    let line = said.lines().last().expect("curl's last line");
    let mut fields = line.split('\t').map(str::to_owned);
    let mut next = || fields.next().unwrap_or_else(|| panic!("curl said {said}"));
    let status = next().parse().unwrap_or_else(|_| panic!("curl said {said}"));
    Answer { status, location: next(), range: next(), digest: next(), body }
}

/// What curl writes behind everything else to standard error.
const FIELDS: &str = "%{stderr}\n%{http_code}\t%header{location}\t%header{range}\t\
                      %header{docker-content-digest}\n";

/// Where a client finds an image that is stored as a directory.
pub(crate) fn directory(path: &Path) -> String {
    format!("dir:{}", path.display())
}
