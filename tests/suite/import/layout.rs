//! An OCI layout in a directory, filled in code.

use std::cell::RefCell;
use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::content::{Manifest, sha256};

/// A layout that is gone with the test.
pub(crate) struct Layout {
    directory: TempDir,
    named: RefCell<Vec<Value>>,
}

impl Layout {
    /// One without images.
    pub(crate) fn new() -> Self {
        Self::in_directory(&std::env::temp_dir())
    }

    /// The same below another directory.
    pub(crate) fn in_directory(parent: &std::path::Path) -> Self {
        let directory = tempfile::Builder::new().prefix("layout-").tempdir_in(parent);
        let layout = Self { directory: directory.expect("a directory"), named: RefCell::default() };
        let blobs = layout.directory.path().join("blobs/sha256");
        fs::create_dir_all(blobs).expect("a directory");
        layout.write("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
        layout
    }

    /// Its path.
    pub(crate) fn path(&self) -> &str {
        self.directory.path().to_str().expect("a path in UTF-8")
    }

    /// The repository that it gives its name to.
    pub(crate) fn stem(&self) -> String {
        let name = self.directory.path().file_name().expect("a name");
        name.to_str().expect("UTF-8").to_lowercase()
    }

    /// An image of one layer, with its blobs.
    pub(crate) fn image(&self, layer: &[u8]) -> Manifest {
        self.blob(b"{}");
        self.blob(layer);
        let image = Manifest::image(b"{}", layer);
        self.blob(&image.bytes);
        image
    }

    /// Adds a blob or a manifest.
    pub(crate) fn blob(&self, bytes: &[u8]) {
        self.put(&sha256(bytes), bytes);
    }

    /// Puts bytes under a digest, whether they are its own or not.
    pub(crate) fn put(&self, digest: &str, bytes: &[u8]) {
        self.write(&format!("blobs/{}", digest.replace(':', "/")), bytes);
    }

    /// Takes a blob away.
    pub(crate) fn remove(&self, bytes: &[u8]) {
        let path = format!("blobs/{}", sha256(bytes).replace(':', "/"));
        fs::remove_file(self.directory.path().join(path)).expect("a blob of the layout");
    }

    /// Calls a manifest so, as tools do in their index.
    pub(crate) fn name(&self, manifest: &Manifest, name: &str) {
        let mut entry = manifest.descriptor();
        entry["annotations"] = json!({ "org.opencontainers.image.ref.name": name });
        self.named.borrow_mut().push(entry);
        let index = json!({ "schemaVersion": 2, "manifests": *self.named.borrow() });
        self.write("index.json", index.to_string().as_bytes());
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.directory.path().join(name), bytes).expect("a file of the layout");
    }
}
