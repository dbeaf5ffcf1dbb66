//! The command line: what each command is called, and where it goes.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};
use installer::InstallError;

use crate::advice::told_whole;
use crate::config::{ConfigError, Settings};
use crate::control::remember_user;
use crate::server::unfit_names;
use crate::text::{self, Lines, note, print};

mod backup;
mod data_dir;
mod df;
mod export;
mod gc;
mod import;
mod inspect;
mod install;
mod ls;
mod pages;
mod progress;
mod receipt;
mod restore;
mod rm;
mod serve;
mod status;
mod tag;
mod uninstall;
mod user;
mod verify;
mod version;

use data_dir::DataDir;

/// An embedded OCI registry for clusters that can reach nothing else.
#[derive(Parser)]
#[command(name = "registry", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: CliCommand,
}

#[derive(Subcommand)]
enum CliCommand {
    /// Make this host a registry: a service that starts with it
    ///
    /// Run again, it changes what the flags say and nothing else. When a step fails, everything is
    /// undone.
    #[command(mut_arg("existing", |arg| arg.hide(true)))]
    #[command(mut_arg("data_mount", |arg| arg.hide(true)))]
    Install(install::InstallArgs),
    /// Remove what `install` made; the data and their user stay
    Uninstall(uninstall::UninstallArgs),
    /// Run the registry until it is told to stop
    Serve(ServeArgs),
    /// Print the settings that `serve` would run with
    Config(ServeArgs),
    /// Show the state of the registry
    Status {
        #[command(flatten)]
        data: DataDir,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// List repositories, or the tags of one
    Ls {
        #[command(flatten)]
        data: DataDir,
        /// The repository whose tags are wanted
        #[arg(value_name = "REPO")]
        repository: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what the repositories take of the disk, and what collection would free
    Df {
        #[command(flatten)]
        data: DataDir,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Copy the registry to another disk, while it serves; again, copy what is new
    Backup(backup::BackupArgs),
    /// Make a data directory from a backup; it must be empty or not there yet
    Restore(restore::RestoreArgs),
    /// Take in images from archives and directories that other tools wrote
    ///
    /// Each becomes visible as soon as it is whole. What is there already is not read again, so the
    /// same command goes on with an import that was cut short. Exit code 1 says that something that
    /// the sources name is not there at the end.
    Import(import::ImportArgs),
    /// Write images to a disk that is carried elsewhere, as a signed OCI image layout
    ///
    /// Signatures, attestations and whatever else refers to an image go along.
    Export(export::ExportArgs),
    /// Write down what this registry has, for `export --since` of another one
    Receipt(receipt::ReceiptArgs),
    /// Collect what nothing needs any more, while everybody pushes and pulls
    Gc(gc::GcArgs),
    /// Show everything that belongs to an image, and whether it is there
    ///
    /// Exit code 1 says that something is missing.
    Inspect {
        #[command(flatten)]
        data: DataDir,
        /// The image
        #[arg(value_name = "REPO:TAG|REPO@DIGEST")]
        image: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove an image, and what nothing else in its repository keeps
    ///
    /// `registry tag restore` undoes it until collection has taken what was removed.
    Rm {
        #[command(flatten)]
        data: DataDir,
        /// The image; with * and ? in its tag, in quotes, all images whose tags are like that; a
        /// whole repository with --all
        #[arg(value_name = "REPO:TAG|REPO@DIGEST")]
        image: String,
        /// Remove everything in a repository
        #[arg(long)]
        all: bool,
        /// Say what would go, and change nothing
        #[arg(long)]
        dry_run: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what tags named, restore that, and protect tags
    #[command(subcommand)]
    Tag(tag::TagCommand),
    /// Read everything that is stored again, and hide what is damaged until it is pushed again
    ///
    /// Ends with 1 if something is lost. Pushes and pulls go on meanwhile.
    Verify(verify::VerifyArgs),
    /// Add, list, change and remove users
    #[command(subcommand)]
    User(user::UserCommand),
    /// Show which build of the program this is
    Version {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the licences of everything that is linked into the program
    Licences,
}

/// The flags of `serve`.
#[derive(Args)]
struct ServeArgs {
    #[command(flatten)]
    settings: Settings,
    /// File with settings of the same names, in TOML; flags win over it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl ServeArgs {
    fn effective(self) -> anyhow::Result<Settings> {
        let file = match &self.config {
            Some(path) => Settings::read(path)?,
            None => Settings::default(),
        };
        Ok(self.settings.over(file).with_defaults())
    }
}

/// Runs the command line of this process.
///
/// Exit codes: 0 done, 1 failed, 2 wrong usage: flags that clap refuses, and settings that do not
/// fit together.
pub fn main() -> ExitCode {
    remember_user();
    let command = match Cli::try_parse() {
        Ok(cli) => cli.command,
        Err(error) => return misused(&error),
    };
    match run(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let reason = told_whole(&error);
            // What the host's programs and the settings, which are root's, had to say.
            match error.is::<InstallError>() || error.is::<ConfigError>() {
                true => text::complain_in_lines(&reason),
                false => text::complain(&reason),
            }
            match error.downcast_ref::<ConfigError>() {
                None | Some(ConfigError::Unreadable { .. }) => ExitCode::FAILURE,
                Some(_) => ExitCode::from(USAGE),
            }
        }
    }
}

/// Says what is wrong with the arguments, or what was asked of the program.
fn misused(error: &clap::Error) -> ExitCode {
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    ) {
        // Of our own words.
        error.exit()
    }
    // The arguments may be somebody else's: what is said of them ends no line that they do.
    let plain = std::env::args_os().map(|it| text::escaped(&it.to_string_lossy()).into_owned());
    match Cli::try_parse_from(plain) {
        Err(error) if error.use_stderr() => {
            text::refuse_in_lines(&error.render().to_string());
        }
        _ => text::refuse_in_lines(&text::escaped(&error.render().to_string())),
    }
    ExitCode::from(USAGE)
}

/// The settings as a file that has them.
fn file_of(settings: &Settings) -> anyhow::Result<Lines> {
    let text = format!("\n{}", toml::to_string(settings)?);
    let mut values: Vec<(String, toml::Value)> =
        toml::Table::try_from(settings)?.into_iter().collect();
    // In their own order, which a table forgets.
    values.sort_by_key(|(name, _)| text.find(&format!("\n{name} = ")));
    Ok(values.iter().map(|(name, value)| text::toml_line(name, value)).collect())
}

fn run(command: CliCommand) -> anyhow::Result<()> {
    match command {
        CliCommand::Install(args) => install::run(args),
        CliCommand::Uninstall(args) => uninstall::run(&args),
        CliCommand::Serve(args) => serve::run(&args.effective()?.check()?),
        CliCommand::Config(args) => {
            let settings = args.effective()?;
            unfit_names(&settings.clone().check()?).iter().for_each(|sentence| note(sentence));
            Ok(print(&file_of(&settings)?)?)
        }
        CliCommand::Status { data, json } => status::run(&data.path()?, json),
        CliCommand::Ls { data, repository, json } => {
            ls::run(&data.path()?, repository.as_deref(), json)
        }
        CliCommand::Df { data, json } => df::run(&data.path()?, json),
        CliCommand::Backup(args) => backup::run(args),
        CliCommand::Restore(args) => restore::run(args),
        CliCommand::Import(args) => import::run(args),
        CliCommand::Export(args) => export::run(args),
        CliCommand::Receipt(args) => receipt::run(args),
        CliCommand::Gc(args) => gc::run(args),
        CliCommand::Inspect { data, image, json } => inspect::run(&data.path()?, &image, json),
        CliCommand::Rm { data, image, all, dry_run, json } => {
            rm::run(&data.path()?, &image, all, dry_run, json)
        }
        CliCommand::Tag(command) => tag::run(command),
        CliCommand::Verify(args) => verify::run(args),
        CliCommand::User(command) => user::run(command),
        CliCommand::Version { json } => version::version(json),
        CliCommand::Licences => version::licences(),
    }
}

/// Whether whoever read our output has seen enough, as `head` does.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

/// The exit code of wrong usage, the same as clap's.
const USAGE: u8 = 2;
