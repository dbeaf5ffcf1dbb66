//! A plan: the steps of an installation, and what each does to the host as it is. Making one
//! changes nothing.

use std::fmt;
use std::path::Path;

use serde::Serialize;

use crate::error::InstallError;
use crate::record::{InstalledItem, Record};
use crate::step::{Need, Step, check_unit};
use crate::systemd::ServiceState;

/// What an installation does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The steps in their order.
    pub steps: Vec<PlannedStep>,
    /// The state before of the service that the plan starts; that of none if it starts none.
    #[serde(skip)]
    pub(crate) before: ServiceState,
}

/// A step and what it does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedStep {
    /// What it does to the host as it is.
    pub need: Need,
    /// The step.
    #[serde(flatten)]
    pub step: Step,
}

impl Plan {
    /// Looks at the host and says what each step does to it.
    ///
    /// # Errors
    /// Everything on the host that is in the way and not ours.
    pub fn new(steps: Vec<Step>, record: Option<&Record>) -> Result<Self, InstallError> {
        let made = record.map_or(&[][..], |record| &record.made);
        let before = service_before(&steps, made)?;
        let mut planned: Vec<PlannedStep> = Vec::new();
        for step in steps {
            let need = step.need(made)?;
            planned.push(PlannedStep { need, step });
        }
        // What the caller makes is not there to be moved yet.
        let is_filled = planned.iter().any(|planned| {
            matches!(planned.step, Step::Fill { .. }) && planned.need != Need::Nothing
        });
        let disturbs = |planned: &PlannedStep| {
            let is_deep = matches!(planned.step, Step::Fill { .. } | Step::Give { .. });
            is_deep && planned.need != Need::Nothing
        };
        let must_stop = before.is_active && planned.iter().any(disturbs);
        let has_changes = planned.iter().any(|planned| planned.need != Need::Nothing);
        for PlannedStep { need, step } in &mut planned {
            match step {
                Step::Move { to, .. } if is_filled && !to.exists() => *need = Need::Make,
                Step::Stop { .. } if must_stop => *need = Need::Change,
                Step::Start { .. } if before.file.is_none() => *need = Need::Make,
                Step::Start { .. } => {
                    let is_well = before.is_active && before.is_enabled && !before.is_outdated;
                    *need = if has_changes || !is_well { Need::Change } else { Need::Nothing };
                }
                _ => {}
            }
        }
        Ok(Self { steps: planned, before })
    }

    /// Whether the host is already as the plan wants it.
    pub fn is_nothing(&self) -> bool {
        self.steps.iter().all(|planned| planned.need == Need::Nothing)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not to give, to close, to stop or to move is nothing to tell of.
        let is_told = |planned: &&PlannedStep| {
            let is_taken = planned.need != Need::Nothing;
            match &planned.step {
                Step::Give { .. } | Step::Close { .. } => is_taken,
                Step::Stop { .. } | Step::Move { .. } => is_taken,
                _ => true,
            }
        };
        self.steps.iter().filter(is_told).try_for_each(|planned| writeln!(f, "{planned}"))
    }
}

impl PlannedStep {
    /// What happens in the step, as a verb.
    pub fn verb(&self) -> &'static str {
        match (&self.step, self.need) {
            (Step::Check { .. }, _) => "check",
            (_, Need::Nothing) => "keep",
            (Step::Give { .. }, _) => "give",
            (Step::Close { .. }, _) => "close",
            (Step::Start { .. }, _) => "start",
            (Step::Stop { .. }, _) => "stop",
            (Step::Move { .. }, _) => "move",
            (_, Need::Make) => "make",
            (_, Need::Change) => "change",
        }
    }
}

impl fmt::Display for PlannedStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<8}{}", self.verb(), self.step)
    }
}

/// The state of the service that the steps start, unless it is somebody else's.
fn service_before(steps: &[Step], made: &[InstalledItem]) -> Result<ServiceState, InstallError> {
    let start = steps.iter().find_map(|step| match step {
        Step::Start { unit, file } => Some((unit, file.as_path())),
        _ => None,
    });
    match start {
        Some((unit, file)) => check_unit(unit, file, content_of(steps, file), made),
        None => Ok(ServiceState::default()),
    }
}

fn content_of<'a>(steps: &'a [Step], file: &Path) -> &'a [u8] {
    let content = steps.iter().find_map(|step| match step {
        Step::File { path, content, .. } if path == file => Some(content.as_slice()),
        _ => None,
    });
    content.unwrap_or_default()
}
