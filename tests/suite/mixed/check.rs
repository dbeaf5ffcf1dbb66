//! Holding what a server has against what it must have, while nobody changes it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Instant;

use oci::Digest;

use super::model::{Change, Name, Repository};
use super::worker::{OWN, Place, Worker, World, own_name, shared_name};
use crate::support::http::Client;

impl Worker {
    /// Compares what changed since the last check, or everything, with what must be there. A
    /// change whose answer was lost may have been made or not, but whole. Returns what is wrong.
    pub(crate) fn check(&mut self, everything: bool) -> io::Result<Vec<String>> {
        let mut faults = self.recover()?;
        for own in &mut self.own {
            own.blobs.values_mut().for_each(|held| held.seen = None);
        }
        let pending = self.pending.take();
        for index in 0..OWN {
            let name = self.name(Place::Own(index));
            let pending = pending.as_ref().filter(|(own, ..)| *own == index);
            let names = self.names_to_check(index, everything);
            let mut found = BTreeMap::new();
            for own in names {
                let (value, wrong) = ask(&self.client, &name, &own)?;
                faults.extend(wrong);
                found.insert(own, value);
            }
            let pending = pending.map(|(_, change, at)| (change, *at));
            faults.extend(self.judge(index, &found, pending));
            self.forget_collected(index, &found);
            // The list of tags shows those that nobody thought of.
            faults.extend(self.wrong_tags(index)?);
        }
        self.touched.clear();
        Ok(faults)
    }

    /// What the repository must hold and what it must not: all that changed, and all that is left
    /// with it.
    fn names_to_check(&self, index: usize, everything: bool) -> BTreeSet<Name> {
        let touched = self.touched.iter().filter(|(own, _)| *own == index);
        let mut names: BTreeSet<Name> = touched.map(|(_, name)| name.clone()).collect();
        let own = &self.own[index];
        if everything {
            names.extend(own.tags.keys().map(|tag| Name::Tag(tag.clone())));
            names.extend(own.manifests.keys().map(|digest| Name::Manifest(*digest)));
            names.extend(own.blobs.keys().map(|digest| Name::Blob(*digest)));
        }
        names
    }

    /// Whether what was found is what was before the change that is pending, or after it.
    fn judge(
        &mut self,
        index: usize,
        found: &BTreeMap<Name, Option<Digest>>,
        pending: Option<(&Change, Instant)>,
    ) -> Vec<String> {
        let grace = self.world.grace();
        let name = own_name(self.number, index);
        let before: Repository = self.own[index].clone();
        let mut faults = before.differences(found, grace);
        if !faults.is_empty()
            && let Some((change, at)) = pending
        {
            let mut after = before;
            after.apply(change, at);
            let others = after.differences(found, grace);
            if others.is_empty() {
                self.own[index] = after;
                return Vec::new();
            }
            faults.push(format!("and with the change under way, {change:?}:"));
            faults.extend(others);
        }
        faults.into_iter().map(|fault| format!("{name}: {fault}")).collect()
    }

    /// Blobs that are not there any more, rightly, are not expected from now on.
    fn forget_collected(&mut self, index: usize, found: &BTreeMap<Name, Option<Digest>>) {
        for (name, value) in found {
            if let (Name::Blob(blob), None) = (name, value) {
                self.own[index].blobs.remove(blob);
            }
        }
    }
}

/// Compares the repositories that all share with what may be there.
pub(crate) fn check_shared(world: &World, client: &Client) -> io::Result<Vec<String>> {
    let (mut found, mut faults) = (BTreeMap::new(), Vec::new());
    for (repository, name) in world.shared.names() {
        let (value, wrong) = ask(client, &shared_name(repository), &name)?;
        faults.extend(wrong);
        found.insert((repository, name), value);
    }
    faults.extend(world.shared.settle(&found, world.grace()));
    Ok(faults)
}

/// What a name stands for; and what is wrong, if its bytes are not those of its digest.
fn ask(
    client: &Client,
    repository: &str,
    name: &Name,
) -> io::Result<(Option<Digest>, Option<String>)> {
    let path = format!("/v2/{repository}/{name}");
    let answer = client.try_request("GET", &path, &[], b"")?;
    match answer.status {
        404 => return Ok((None, None)),
        200 => {}
        status => return Ok((None, Some(format!("{path} answers {status}: {answer:?}")))),
    }
    let told: Option<Digest> =
        answer.header("docker-content-digest").and_then(|digest| digest.parse().ok());
    let Some(told) = told else { return Ok((None, Some(format!("{path}: {answer:?}")))) };
    let is_right = Digest::of(told.algorithm(), &answer.body) == told;
    Ok((Some(told), (!is_right).then(|| format!("{path} has other bytes"))))
}
