//! The scenarios: what is prepared, and what the clients do while the clock runs. Each family has
//! a file; those that share a server, because one fills what another reads, stand in one group.

use std::time::Duration;

use anyhow::{Result, anyhow};
use clap::ValueEnum;
use serde::{Serialize, Serializer};

use crate::client::Unexpected;
use crate::measure::{Client, Measurement, measure};
use crate::place::Place;
use crate::server::{Program, Server};
use crate::work::Workload;

pub(crate) mod image;
mod import;
mod large;
mod nodes;
mod release;
mod small;
mod start;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Scenario {
    /// From the start of a process to its first answer, on data that is there.
    Start,
    /// The same on an empty directory.
    FirstStart,
    /// A server that nobody asks anything.
    Idle,
    /// Large blobs, one after the other, over one connection.
    Push,
    /// The same blobs back.
    Pull,
    /// Parts of one of them, as clients ask for that pull lazily.
    Ranges,
    /// A pull of them while many clients pull and read slowly.
    Slow,
    /// Many large blobs at once, each over its own connection.
    Parallel,
    /// Large blobs that go by their SHA-512.
    Push512,
    /// The same blobs back.
    Pull512,
    /// Many small blobs by a few clients.
    Small,
    /// Small blobs one after the other.
    Stream1,
    /// Small blobs by 8 clients.
    Stream8,
    /// Small blobs by 32 clients.
    Stream32,
    /// One manifest by its tag, again and again, over many connections.
    Manifests,
    /// The same over a new connection each time, with a whole handshake.
    Connect,
    /// The same with handshakes that go on with a session from before.
    Resume,
    /// The images of a release.
    Release,
    /// The same once more, when all is there.
    Again,
    /// Many nodes that pull images of it at once.
    Nodes,
    /// An archive as oc-mirror writes it, imported beside a server.
    ImportTar,
    /// The same images in an OCI layout.
    ImportDir,
    /// A docker-registry's directory on a disk where files share their blocks.
    Clone,
}

impl Scenario {
    /// All of them, in the order in which they run; those of a group on one server.
    pub(crate) const GROUPS: [&'static [Self]; 10] = [
        &[Self::Start, Self::FirstStart],
        &[Self::Idle],
        &[Self::Push, Self::Pull, Self::Ranges, Self::Slow],
        &[Self::Parallel],
        &[Self::Push512, Self::Pull512],
        &[Self::Small, Self::Stream1, Self::Stream8, Self::Stream32],
        &[Self::Manifests, Self::Connect, Self::Resume],
        &[Self::Release, Self::Again, Self::Nodes],
        &[Self::ImportTar, Self::ImportDir],
        &[Self::Clone],
    ];

    /// The word for it in the output and on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::FirstStart => "first-start",
            Self::Idle => "idle",
            Self::Push => "push",
            Self::Pull => "pull",
            Self::Ranges => "ranges",
            Self::Slow => "slow",
            Self::Parallel => "parallel",
            Self::Push512 => "push512",
            Self::Pull512 => "pull512",
            Self::Small => "small",
            Self::Stream1 => "stream1",
            Self::Stream8 => "stream8",
            Self::Stream32 => "stream32",
            Self::Manifests => "manifests",
            Self::Connect => "connect",
            Self::Resume => "resume",
            Self::Release => "release",
            Self::Again => "again",
            Self::Nodes => "nodes",
            Self::ImportTar => "import-tar",
            Self::ImportDir => "import-dir",
            Self::Clone => "clone",
        }
    }

    /// What it is, in a line.
    pub(crate) fn describe(self) -> &'static str {
        match self {
            Self::Start => "to the first answer, on data that is there",
            Self::FirstStart => "to the first answer, on an empty directory",
            Self::Idle => "nobody asks anything",
            Self::Push => "large blobs one after the other",
            Self::Pull => "the same blobs back",
            Self::Ranges => "64 KiB at a time of a large blob",
            Self::Slow => "a pull of large blobs beside clients that read slowly",
            Self::Parallel => "large blobs at once",
            Self::Push512 => "large blobs by their SHA-512",
            Self::Pull512 => "the same blobs back",
            Self::Small => "small blobs by a few clients",
            Self::Stream1 => "small blobs one after the other",
            Self::Stream8 => "small blobs by 8 clients",
            Self::Stream32 => "small blobs by 32 clients",
            Self::Manifests => "one manifest again and again",
            Self::Connect => "the same, a new connection each, with a whole handshake",
            Self::Resume => "the same, a new connection each, with the session before",
            Self::Release => "many images with shared layers, 8 at once",
            Self::Again => "the same when all is there",
            Self::Nodes => "many nodes pull the same images at once",
            Self::ImportTar => "an archive of oc-mirror into a running server",
            Self::ImportDir => "the same images from an OCI layout",
            Self::Clone => "a docker-registry's directory, on an XFS of its own",
        }
    }

    /// Whether it is run with a program: nginx has one file and no login, and nobody but ours
    /// imports.
    pub(crate) fn is_for(self, program: &Program) -> bool {
        match self {
            Self::Manifests => !program.is_tool(),
            Self::ImportTar | Self::ImportDir => program.is_ours() || program.is_tool(),
            Self::Clone => program.is_ours(),
            _ => program.is_registry(),
        }
    }

    /// Whether it takes what lies on media.
    pub(crate) fn needs_media(self) -> bool {
        matches!(self, Self::ImportTar | Self::ImportDir)
    }

    /// Whether it starts its servers itself.
    pub(crate) fn is_alone(self) -> bool {
        self.needs_media() || matches!(self, Self::Start | Self::FirstStart | Self::Clone)
    }

    /// Runs such a scenario once; `None` where the machine does not let it, which is printed.
    pub(crate) async fn run_alone(
        self,
        work: &Workload,
        program: &Program,
        place: &Place,
    ) -> Result<Option<Measurement>> {
        match self {
            Self::Clone => import::measure_clone(work, program, place).await,
            Self::ImportTar | Self::ImportDir => {
                import::measure(work, program, place, self == Self::ImportTar).await.map(Some)
            }
            _ => start::measure(work, program, place, self == Self::Start).await.map(Some),
        }
    }

    /// Runs the scenario once; `None` where the server does not do such a thing, and says so.
    /// Connections are opened and content that must be there already is pushed before the clock
    /// starts. Fails at the first request that is not answered as it should be, with the end of
    /// the server's output.
    pub(crate) async fn run(
        self,
        work: &Workload,
        server: &Server,
        place: &Place,
    ) -> Result<Option<Measurement>> {
        match self.run_once(work, server, place).await {
            Ok(measurement) => Ok(Some(measurement)),
            Err(cause) if self.may_be_refused() && is_refusal(&cause) => Ok(None),
            Err(cause) => {
                let (scenario, server_name) = (self.name(), &server.program().name);
                let last_words = server.last_words();
                Err(anyhow!("{scenario} against {server_name}: {cause:#}\n{last_words}"))
            }
        }
    }

    fn may_be_refused(self) -> bool {
        matches!(self, Self::Push512 | Self::Pull512)
    }

    async fn run_once(
        self,
        work: &Workload,
        server: &Server,
        place: &Place,
    ) -> Result<Measurement> {
        let target = server.target();
        let mut beside = Vec::new();
        let repeats = |repeats| of_server(repeats, server.program());
        let clients = match self {
            Self::Start | Self::FirstStart | Self::ImportTar | Self::ImportDir | Self::Clone => {
                return Err(anyhow!("it starts servers itself"));
            }
            Self::Idle => vec![rest(work.rest())],
            Self::Push => large::push(target, &work.large, 1).await?,
            Self::Push512 => large::push(target, &work.large_by_sha512, 1).await?,
            Self::Parallel => large::push(target, &work.parallel, work.parallel.len()).await?,
            Self::Pull => large::pull(target, &work.large).await?,
            Self::Pull512 => large::pull(target, &work.large_by_sha512).await?,
            Self::Ranges => large::ranges(target, &work.large, repeats(work.sizes.ranges)).await?,
            Self::Slow => {
                beside = large::slow_clients(target, &work.large, work.sizes.slow_clients).await?;
                large::pull(target, &work.large).await?
            }
            Self::Small => small::push(target, &work.small, work.sizes.small_clients, true).await?,
            Self::Stream1 => small::push(target, &work.streams[0], 1, false).await?,
            Self::Stream8 => small::push(target, &work.streams[1], 8, false).await?,
            Self::Stream32 => small::push(target, &work.streams[2], 32, false).await?,
            Self::Manifests | Self::Connect | Self::Resume => {
                if server.program().is_registry() {
                    image::push(target, image::REPOSITORY, &work.image).await?;
                }
                match self {
                    Self::Manifests => {
                        image::gets(target, work, repeats(work.sizes.manifest_gets)).await?
                    }
                    Self::Resume => image::connects(target, work, repeats(work.sizes.connects)),
                    _ => {
                        let target = target.without_resumption();
                        image::connects(&target, work, repeats(work.sizes.connects))
                    }
                }
            }
            Self::Release => release::clients(target, &work.release).await?,
            Self::Again => {
                release::fill(target, &work.release).await?;
                release::clients(target, &work.release).await?
            }
            Self::Nodes => {
                release::fill(target, &work.release).await?;
                nodes::clients(target, work).await?
            }
        };
        let measurement = measure(server, place.disk(), work.rest(), clients, beside).await?;
        if self == Self::Pull && work.check_digests {
            large::check_digests(target, &work.large).await?;
        }
        Ok(measurement)
    }
}

impl Serialize for Scenario {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

fn of_server(repeats: crate::work::Repeats, program: &Program) -> usize {
    let is_peer = program.is_registry() && !program.is_ours();
    if is_peer { repeats.peer } else { repeats.ours }
}

/// A client that asks nothing for so long.
fn rest(time: Duration) -> Client {
    Box::pin(async move {
        tokio::time::sleep(time).await;
        Ok(crate::measure::Done::default())
    })
}

fn is_refusal(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Unexpected>().is_some_and(Unexpected::is_refusal)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn every_scenario_is_in_one_group_and_goes_by_one_name() {
        let mut grouped: Vec<Scenario> = Scenario::GROUPS.concat();
        grouped.sort_unstable();
        assert_eq!(grouped, Scenario::value_variants());
        for scenario in grouped {
            assert_eq!(Scenario::from_str(scenario.name(), false), Ok(scenario));
        }
    }

    #[test]
    fn nginx_is_asked_for_its_file_alone() {
        let nginx = Program::nginx(PathBuf::from("nginx"));
        let peer = Program::docker_registry(PathBuf::from("docker-registry"));
        let all = Scenario::GROUPS.concat();
        let asked: Vec<Scenario> = all.iter().copied().filter(|it| it.is_for(&nginx)).collect();
        assert_eq!(asked, [Scenario::Manifests]);
        let not_of_peers = [Scenario::ImportTar, Scenario::ImportDir, Scenario::Clone];
        assert!(all.iter().all(|it| it.is_for(&peer) != not_of_peers.contains(it)));
        let of_tools = &not_of_peers[..2];
        assert!(all.iter().all(|it| it.is_for(&Program::openssl()) == of_tools.contains(it)));
        let ours = Program::ours(PathBuf::from("registry"));
        assert!(all.iter().all(|it| it.is_for(&ours)));
    }
}
