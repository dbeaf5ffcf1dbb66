//! A registry that is made without being served, as an installation does it.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use certs::{GivenKey, Reason, RootKey, TlsFile};
use registry_server::config::{Config, Settings};
use registry_server::server::{self, Initialized, OutsideFiles};

use crate::support::binary::{Instance, PASSWORD, USER};
use crate::support::http::Client;
use crate::support::process::wait_until;

/// What `registry serve` of this instance would run with, but for its address.
fn config(instance: &Instance, change: impl FnOnce(&mut Settings)) -> Config {
    let mut settings = Settings {
        data_dir: Some(instance.data().to_owned()),
        hostname: vec!["localhost".to_owned()],
        existing: Some(true),
        ..Settings::default()
    };
    change(&mut settings);
    settings.with_defaults().check().expect("good settings")
}

/// Makes a registry in this process. A program that another test starts at the same moment shares
/// our lock until it is itself; then it is tried again.
fn initialize(config: &Config, root_key: RootKey<'_>) -> anyhow::Result<Initialized> {
    let ourselves = format!("process {} ", std::process::id());
    let mut outcome = None;
    wait_until("nobody shares our lock", || {
        let given = OutsideFiles::read(config).expect("what is given");
        let tried = server::initialize(config, given, root_key);
        let is_shared = matches!(&tried, Err(error) if error.to_string().starts_with(&ourselves));
        outcome = Some(tried);
        !is_shared
    });
    outcome.expect("an outcome")
}

/// A key for a root, which lies outside of the data directory.
fn root_key(instance: &Instance) -> GivenKey {
    GivenKey::make(&instance.root().join("pki/ca.key")).expect("a key")
}

/// The status of `GET /v2/` with this login.
fn login(instance: &Instance, user: &str, password: &str) -> u16 {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, instance.port()));
    Client::new(address, &instance.ca(), Some((user, password))).get("/v2/").status
}

/// Every file below a directory with its content, but for SQLite's, which change when they are
/// opened.
fn files(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut files, mut left) = (BTreeMap::new(), vec![root.to_owned()]);
    while let Some(path) = left.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("its entries");
            left.extend(entries.map(|entry| entry.expect("an entry").path()));
        } else if !path.display().to_string().contains("/registry.db") {
            files.insert(path.clone(), fs::read(&path).expect("its content"));
        }
    }
    files
}

#[test]
fn a_registry_is_made_once_and_then_served_with_what_was_made() {
    let mut instance = Instance::new().with_flags(&["--existing"]);
    let (config, key) = (config(&instance, |_| {}), root_key(&instance));
    let made = initialize(&config, RootKey::Given(&key)).expect("a new registry");
    let first = made.first_start.expect("a first start");
    assert_eq!((first.user.as_str(), first.ca), (USER, Some(instance.ca())));
    let password = first.password.expect("a password that was made up");
    assert_eq!(password.as_bytes(), instance.password().as_bytes());
    let changes: Vec<_> = made.changes.iter().map(|change| (change.file, change.reason)).collect();
    let certificates =
        [TlsFile::RootCertificate, TlsFile::IssuingCertificate, TlsFile::ServerCertificate];
    assert_eq!(changes, certificates.map(|file| (file, Reason::Missing)));
    assert!(!instance.data().join("tls/ca.key").exists(), "the root's key stays outside");

    let before = files(instance.data());
    let again = initialize(&config, RootKey::Given(&key)).expect("the same registry");
    assert!(again.first_start.is_none() && again.changes.is_empty());
    let after = files(instance.data());
    assert_eq!(after.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
    // Some are keys, which nobody needs to see.
    assert!(after == before, "a file has changed");

    instance.start();
    assert!(!instance.output().contains("password"), "{}", instance.output());
    assert_eq!(login(&instance, USER, &instance.password()), 200);
}

#[test]
fn a_name_is_added_by_whoever_has_the_key_and_a_start_says_who_that_is() {
    let mut instance = Instance::new();
    let key = root_key(&instance);
    let names = |names: &[&str]| {
        let names = names.iter().map(|&name| name.to_owned()).collect();
        config(&instance, |settings| settings.hostname = names)
    };
    let (one, two) = (names(&["localhost"]), names(&["localhost", "added.example"]));
    initialize(&one, RootKey::Given(&key)).expect("a new registry");
    let root = fs::read(instance.ca()).expect("the root");

    instance = instance.with_flags(&["--existing", "--hostname", "added.example"]);
    instance.begin();
    assert_eq!(instance.wait().code(), Some(1));
    let errors = instance.errors();
    assert!(errors.contains("may not certify added.example"), "{errors}");
    assert!(errors.contains("run `registry install --hostname NAME` again"), "{errors}");

    // Who runs the installation has the key, and is not sent in circles.
    let other = GivenKey::make(Path::new("/pki/other.key")).expect("a key");
    let error = initialize(&two, RootKey::Given(&other)).err().expect("a foreign key");
    assert!(error.to_string().starts_with("/pki/other.key is not the key of "), "{error}");
    assert!(!error.to_string().contains("registry install"), "{error}");

    let added = initialize(&two, RootKey::Given(&key)).expect("another name");
    let changes: Vec<_> = added.changes.iter().map(|change| (change.file, change.reason)).collect();
    let expected =
        [(TlsFile::IssuingCertificate, Reason::Names), (TlsFile::ServerCertificate, Reason::Unfit)];
    assert_eq!(changes, expected);
    assert!(added.first_start.is_none());
    assert_eq!(fs::read(instance.ca()).expect("the root"), root);
    instance.start();
    assert_eq!(login(&instance, USER, &instance.password()), 200);
}

#[test]
fn the_password_that_was_chosen_is_the_first_users() {
    let mut instance = Instance::new();
    let file = instance.root().join("password");
    fs::write(&file, PASSWORD).expect("a file");
    let chosen = config(&instance, |settings| settings.init_password_file = Some(file.clone()));
    let made = initialize(&chosen, RootKey::InDirectory).expect("a new registry");
    let first = made.first_start.expect("a first start");
    assert!(first.password.is_none());
    assert!(!first.password_file.exists(), "nobody needs to be told");
    assert!(instance.data().join("tls/ca.key").exists());
    // It counts once: the file may be gone, and what it held is not looked at.
    fs::write(&file, "short").expect("a file");
    assert!(initialize(&chosen, RootKey::InDirectory).expect("the same").first_start.is_none());
    instance.start();
    assert_eq!(login(&instance, USER, PASSWORD), 200);
    assert_eq!(login(&instance, USER, "short and wrong"), 401);
}

#[test]
fn what_fails_leaves_no_registry_that_passes_for_one() {
    let instance = Instance::new();
    let file = instance.root().join("password");
    fs::write(&file, "short").expect("a file");
    let chosen = config(&instance, |settings| settings.init_password_file = Some(file.clone()));
    let error = initialize(&chosen, RootKey::InDirectory).err().expect("a refusal");
    assert!(format!("{error:#}").contains("at least 8 bytes"), "{error:#}");
    assert!(!instance.data().join("FORMAT").exists());
    fs::write(&file, PASSWORD).expect("a file");
    let made = initialize(&chosen, RootKey::InDirectory).expect("the rest of it");
    assert!(made.first_start.is_some());
}

#[test]
fn a_server_that_runs_is_an_error_that_names_it() {
    let instance = Instance::started();
    let config = config(&instance, |_| {});
    let error = initialize(&config, RootKey::InDirectory).err().expect("an owner");
    let owner = format!("process {} (registry serve) owns this registry", instance.pid());
    assert!(error.to_string().starts_with(&owner), "{error}");
    let survey = storage::DirectoryState::of(instance.data()).expect("a look");
    assert_eq!(survey.content, storage::DirectoryContent::Store { format: 1 });
    let holder = survey.holder.expect("an owner").to_string();
    assert_eq!(holder, format!("process {} (registry serve)", instance.pid()));
    assert_eq!(login(&instance, USER, &instance.password()), 200);
}

/// Makes a registry in a directory of somebody else's, as root.
pub(crate) fn initialize_as_owner(instance: &Instance) {
    let (config, key) = (config(instance, |_| {}), root_key(instance));
    let given = OutsideFiles::read(&config).expect("what is given");
    let work = || server::initialize(&config, given, RootKey::Given(&key));
    let made = installer::as_owner_of(instance.data(), work).expect("root may do that");
    assert!(made.expect("a new registry").first_start.is_some());
    let own = fs::metadata("/proc/thread-self").expect("this thread").uid();
    assert_eq!(own, 0, "whoever asked for it is still root");
}
