//! Which registry a command is about: the flags that all of them have.

use std::path::{Path, PathBuf};

use clap::Args;
use installer::paths::{CONFIG_FILE, DEFAULT_DATA_DIR};

use crate::config::{ConfigError, installed_data_dir};
use crate::control::allow_network_fs;

/// Which registry a command is about.
#[derive(Args)]
pub(super) struct DataDir {
    #[arg(long, value_name = "DIR", help = data_dir_help())]
    data_dir: Option<PathBuf>,
    /// Open a data directory on NFS, CIFS or FUSE even so; the installed registry's settings say so
    /// for its own
    #[arg(long)]
    allow_network_fs: bool,
}

impl DataDir {
    /// The directory: the one that was named, or else the installed registry's.
    ///
    /// # Errors
    /// Settings of the installed registry that cannot be read.
    pub(super) fn path(self) -> Result<PathBuf, ConfigError> {
        if self.allow_network_fs {
            allow_network_fs();
        }
        match self.data_dir {
            Some(path) => Ok(path),
            None => installed_data_dir(Path::new(CONFIG_FILE)),
        }
    }
}

fn data_dir_help() -> String {
    format!(
        "The registry's data directory [default: the one that {CONFIG_FILE} names, else \
         {DEFAULT_DATA_DIR}]"
    )
}
