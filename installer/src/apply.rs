//! Applying a plan: step by step, each entered before it is taken, and all of it undone when one
//! fails.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use durable::At;

use crate::error::InstallError;
use crate::file;
use crate::paths::RUNNING_PROGRAM;
use crate::plan::{Plan, PlannedStep};
use crate::record::{InstalledItem, Record};
use crate::step::{Need, Owner, PROGRAM_MODE, Step};
use crate::systemd;
use crate::undo::{self, Undo, as_owner};
use crate::user::{self, Ids};

/// What the caller of an installation does and hears.
pub struct Caller<'a> {
    /// Which program this is, for the record.
    pub program: &'a str,
    /// What stays when all else is removed, for the record.
    pub keeps: Vec<String>,
    /// Takes the step [`Step::Fill`]: makes what belongs into the directory. An error is a
    /// sentence.
    pub fill: &'a dyn Fn() -> Result<(), String>,
    /// Takes the step [`Step::Check`]. An error is a sentence.
    pub check: &'a dyn Fn() -> Result<(), String>,
    /// Hears of each step before it is taken.
    pub tell: &'a dyn Fn(&PlannedStep),
    /// Whether a signal asked to stop; everything is undone then.
    pub is_stopped: &'a dyn Fn() -> bool,
}

/// Undoes an installation that was cut short, if one was. Says whether it did. What was filled
/// stays, with the user that it belongs to, as after [`Removal`](crate::Removal).
///
/// # Errors
/// What could not be undone, as [`InstallError::Step`]; it stays in the record for another try.
pub fn recover(record: &Path) -> Result<bool, InstallError> {
    match Record::read(record)? {
        Some(mut found) if found.is_unfinished() => {
            // The service may have run since, and people may have trusted it with something.
            found.journal.retain(|undo| !matches!(undo, Undo::Content { .. } | Undo::User { .. }));
            let left = undo_all(&mut found, record);
            // What could not be written is not undone, whatever else is.
            let is_left = Record::read(record)?.is_some_and(|left| left.is_unfinished());
            if !is_left {
                return Ok(true);
            }
            Err(InstallError::Step {
                step: "undo the installation that was cut short".to_owned(),
                cause: Box::new(InstallError::Interrupted),
                not_undone: left,
            })
        }
        _ => Ok(false),
    }
}

/// Applies a plan and writes the record of it to `path`. The plan was made after [`recover`], and
/// the caller holds the lock.
///
/// # Errors
/// [`InstallError::Step`] for the step that failed, after everything before it was undone.
pub fn apply(plan: &Plan, path: &Path, caller: &Caller<'_>) -> Result<(), InstallError> {
    let found = Record::read(path)?;
    let is_recorded = found.is_some();
    let mut record = found.unwrap_or_else(|| Record::new(caller.program));
    if plan.is_nothing() && is_recorded {
        return check(plan, caller);
    }
    let applied = prepare(plan, path, &mut record).map_err(|cause| (RECORD.to_owned(), cause));
    let applied = applied.and_then(|()| take_all(plan, path, &mut record, caller));
    let applied = applied.and_then(|()| {
        let finished = finished(plan, path, record.clone(), caller);
        finished.write(path).map_err(|cause| (RECORD.to_owned(), cause))
    });
    if let Err((step, cause)) = applied {
        let not_undone = undo_all(&mut record, path);
        return Err(InstallError::Step { step, cause: Box::new(cause), not_undone });
    }
    forget_kept(plan);
    Ok(())
}

/// Takes only the steps that change nothing.
fn check(plan: &Plan, caller: &Caller<'_>) -> Result<(), InstallError> {
    for planned in plan.steps.iter().filter(|planned| is_check(planned)) {
        (caller.tell)(planned);
        (caller.check)().map_err(InstallError::Caller)?;
    }
    Ok(())
}

/// Makes the record's directory, and enters the service as it is: it is the last to be undone.
fn prepare(plan: &Plan, path: &Path, record: &mut Record) -> Result<(), InstallError> {
    if let Some(directory) = path.parent().filter(|directory| !directory.is_dir()) {
        file::make_directory(directory, 0o755, Ids::ROOT)?;
    }
    let unit = plan.steps.iter().find_map(|planned| match &planned.step {
        Step::Start { unit, .. } => Some(unit.clone()),
        _ => None,
    });
    let (was_enabled, was_active) = (plan.before.is_enabled, plan.before.is_active);
    record.journal.extend(unit.map(|unit| Undo::Service { unit, was_enabled, was_active }));
    record.write(path)
}

fn take_all(
    plan: &Plan,
    path: &Path,
    record: &mut Record,
    caller: &Caller<'_>,
) -> Result<(), (String, InstallError)> {
    for planned in &plan.steps {
        if planned.need == Need::Nothing && !is_check(planned) {
            continue;
        }
        let in_step = |cause| (format!("{} {}", planned.verb(), planned.step), cause);
        if (caller.is_stopped)() {
            return Err(in_step(InstallError::Interrupted));
        }
        (caller.tell)(planned);
        let undo = undo_of(planned).map_err(in_step)?;
        if !undo.is_empty() {
            record.journal.extend(undo);
            record.write(path).map_err(in_step)?;
        }
        take(planned, caller).map_err(|cause| {
            // Whoever asked to stop wants to hear no other reason.
            let is_stopped = (caller.is_stopped)();
            in_step(if is_stopped { InstallError::Interrupted } else { cause })
        })?;
    }
    Ok(())
}

/// What undoes a step that has not been taken yet. What an older installation kept of a file that
/// is about to change goes first: it must never pass for what this one keeps.
fn undo_of(planned: &PlannedStep) -> Result<Vec<Undo>, InstallError> {
    let undo = match &planned.step {
        Step::User { name, .. } => Undo::User { name: name.clone(), group: user::group(name)? },
        Step::Directory { path, .. } => Undo::Directory { path: path.clone() },
        Step::Give { path, .. } => {
            let metadata = path.metadata().at("look at", path)?;
            Undo::Give { path: path.clone(), uid: metadata.uid(), gid: metadata.gid() }
        }
        Step::Close { path } => Undo::Mode { path: path.clone(), mode: mode_of(path)? },
        Step::Program { path } | Step::File { path, .. } if planned.need == Need::Change => {
            file::remove(&file::before(path))?;
            Undo::Kept { path: path.clone(), inside: None }
        }
        Step::Program { path } | Step::File { path, .. } => Undo::File { path: path.clone() },
        Step::Fill { path, replaces, .. } => {
            if file::entries(path)?.is_empty() {
                return Ok(vec![Undo::Content { path: path.clone() }]);
            }
            let there = replaces.iter().filter(|path| path.exists());
            let entry = |file: &PathBuf| {
                as_owner(path, || file::remove(&file::before(file)))?;
                Ok(Undo::Kept { path: file.clone(), inside: Some(path.clone()) })
            };
            return there.map(entry).collect();
        }
        // Undoing a move that has nothing to move would bring back what lay there before.
        Step::Move { inside, from, .. }
            if as_owner(inside, || file::read_small(from))?.is_none() =>
        {
            return Ok(Vec::new());
        }
        Step::Move { inside, from, to } => {
            Undo::Move { inside: inside.clone(), from: from.clone(), to: to.clone() }
        }
        Step::Start { unit, .. } => Undo::Stop { unit: unit.clone() },
        Step::Stop { .. } | Step::Check { .. } => return Ok(Vec::new()),
    };
    Ok(vec![undo])
}

fn take(planned: &PlannedStep, caller: &Caller<'_>) -> Result<(), InstallError> {
    match &planned.step {
        Step::User { name, comment } => user::add(name, comment),
        Step::Directory { path, mode, owner } => file::make_directory(path, *mode, ids_of(owner)?),
        Step::Give { path, to } => undo::give(path, ids_of(&Owner::User(to.clone()))?),
        Step::Close { path } => file::set_mode(path, mode_of(path)? & !file::OPENING),
        Step::Program { path } => {
            let program = Path::new(RUNNING_PROGRAM);
            let mut content = File::open(program).at("open", program)?;
            keep_if_there(path, planned.need)?;
            file::write(path, &mut content, PROGRAM_MODE, Ids::ROOT)
        }
        Step::File { path, mode, owner, content } => {
            keep_if_there(path, planned.need)?;
            file::write(path, &mut content.as_slice(), *mode, ids_of(owner)?)
        }
        Step::Stop { unit } => systemd::stop(unit),
        Step::Fill { path, replaces, .. } => {
            let mut there = replaces.iter().filter(|path| path.exists());
            as_owner(path, || there.try_for_each(|path| file::keep(path)))?;
            (caller.fill)().map_err(InstallError::Caller)
        }
        Step::Move { inside, from, to } => undo::move_to_root(inside, from, to),
        Step::Start { unit, .. } => {
            systemd::reload()?;
            systemd::enable(unit)?;
            systemd::restart(unit)
        }
        Step::Check { .. } => (caller.check)().map_err(InstallError::Caller),
    }
}

/// The mode of a directory that is there.
fn mode_of(path: &Path) -> Result<u32, InstallError> {
    Ok(path.metadata().at("look at", path)?.mode() & 0o7777)
}

fn keep_if_there(path: &Path, need: Need) -> Result<(), InstallError> {
    if need == Need::Change { file::keep(path) } else { Ok(()) }
}

fn ids_of(owner: &Owner) -> Result<Ids, InstallError> {
    let missing = || InstallError::Caller(format!("{owner:?} is not known to this host"));
    owner.ids()?.ok_or_else(missing)
}

/// Undoes everything in the journal, the last first. Says what could not be undone; what another
/// try may undo stays in the journal. When nothing is left, the record is as it was before the
/// installation.
fn undo_all(record: &mut Record, path: &Path) -> Vec<String> {
    let (mut failures, mut remaining) = (Vec::new(), Vec::new());
    while let Some(undo) = record.journal.pop() {
        let Err(error) = undo.run() else { continue };
        failures.push(error.to_string());
        match undo {
            // The host is as it was, and what keeps the service down is not the installation.
            Undo::Service { .. } => {}
            // The file stays with root, where the next installation finds it.
            Undo::Move { .. } => {}
            // What may still run must not lose what it runs on.
            Undo::Stop { .. } => {
                remaining.push(undo);
                remaining.extend(record.journal.drain(..).rev());
            }
            undo => remaining.push(undo),
        }
    }
    remaining.reverse();
    record.journal = remaining;
    let written = if record.journal.is_empty() && record.made.is_empty() {
        forget(path)
    } else {
        record.write(path)
    };
    failures.extend(written.err().map(|error| error.to_string()));
    failures
}

/// Removes the record, and its directory if nothing else is in it.
pub(crate) fn forget(path: &Path) -> Result<(), InstallError> {
    file::discard(path)?;
    path.parent().map_or(Ok(()), |directory| file::remove_directory(directory).map(|_| ()))
}

/// The record with what was made and an empty journal. Writing it is the moment at which the
/// installation counts.
fn finished(plan: &Plan, path: &Path, mut record: Record, caller: &Caller<'_>) -> Record {
    let own = path.parent();
    // The data stay, and so does every directory above them.
    let is_kept = |directory: &Path| {
        plan.steps.iter().any(|planned| match &planned.step {
            Step::Fill { path, .. } => path.starts_with(directory),
            _ => false,
        })
    };
    for PlannedStep { need, step } in &plan.steps {
        let is_new = *need != Need::Nothing;
        let made = match step {
            Step::User { name, .. } if is_new => InstalledItem::User { name: name.clone() },
            Step::Directory { path, .. } if !is_kept(path) => {
                if !is_new && !own.is_some_and(|own| path.starts_with(own)) {
                    continue;
                }
                InstalledItem::Directory { path: path.clone() }
            }
            // One that the administrator put there before is the administrator's.
            Step::Program { path } if *need == Need::Make => {
                InstalledItem::File { path: path.clone() }
            }
            Step::File { path, .. } => InstalledItem::File { path: path.clone() },
            Step::Move { inside, from, to } if to.exists() => {
                InstalledItem::Moved { inside: inside.clone(), from: from.clone(), to: to.clone() }
            }
            Step::Start { unit, .. } => InstalledItem::Service { unit: unit.clone() },
            _ => continue,
        };
        record.note(made);
    }
    record.finish(caller.program, caller.keeps.clone());
    record
}

/// Removes what was kept of files that changed. The installation counts already: what cannot be
/// removed is removed by the next one.
fn forget_kept(plan: &Plan) {
    for planned in &plan.steps {
        match &planned.step {
            Step::Program { path } | Step::File { path, .. } => {
                let _ = file::remove(&file::before(path));
            }
            Step::Fill { path, replaces, .. } => {
                let mut kept = replaces.iter().map(|path| file::before(path));
                let _ = as_owner(path, || kept.try_for_each(|kept| file::remove(&kept)));
            }
            _ => {}
        }
    }
}

fn is_check(planned: &PlannedStep) -> bool {
    matches!(planned.step, Step::Check { .. })
}

/// What is said of the first thing that an installation writes.
const RECORD: &str = "make the record of what is installed";

#[cfg(test)]
mod tests;
