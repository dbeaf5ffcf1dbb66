//! Bullies and victims: whatever one client does, another one is served. Each test of the table is
//! one bully, who goes on while every victim does what clients do, most from one address, some from
//! another.
//!
//! `just bully` prints how long each victim takes with and without each bully.

use std::time::{Duration, Instant};

use oci::MediaType;
use registry_server::limits::Limits;
use serde_json::json;
use storage::Role;

use crate::support::content::{Manifest, noise, push_blob, push_image, sha256};
use crate::support::http::{Client, Response};
use crate::support::report::tell;
use crate::support::server::{ADMINISTRATOR, PASSWORD, Server};

mod attack;
mod heavy;
mod long;
mod memory;

use attack::{Attack, Scene};

/// Who does what to the others.
struct Bully {
    name: &'static str,
    /// The bounds under which a few connections are many.
    limits: fn(&mut Limits),
    begin: fn(&Scene) -> Attack,
}

const BULLIES: [Bully; 18] = [
    Bully { name: "asks and never reads", limits: few_places, begin: attack::asks_and_never_reads },
    Bully { name: "asks and reads a little", limits: few_places, begin: attack::reads_a_little },
    Bully { name: "half-open handshakes", limits: few_places, begin: attack::half_open },
    Bully { name: "guesses passwords", limits: |_| {}, begin: attack::guesses },
    Bully { name: "names absent layers", limits: |_| {}, begin: attack::names_absent_layers },
    Bully { name: "manifests without an end", limits: |_| {}, begin: attack::endless_manifests },
    Bully { name: "pulls and never reads", limits: |_| {}, begin: attack::pulls_and_never_reads },
    Bully { name: "uploads that rest", limits: |_| {}, begin: attack::resting_uploads },
    Bully { name: "and on all places", limits: few_places, begin: attack::resting_uploads },
    Bully { name: "one base layer from all", limits: |_| {}, begin: attack::one_base_layer },
    Bully { name: "trickles on all places", limits: few_places, begin: attack::trickling_uploads },
    Bully {
        name: "silent connects beside idle logins",
        limits: few_places,
        begin: attack::silent_from_everywhere,
    },
    Bully {
        name: "connects that say nothing from one address",
        limits: few_places,
        begin: attack::silent_from_one_address,
    },
    Bully { name: "indexes of absent children", limits: |_| {}, begin: heavy::absent_children },
    Bully { name: "sends and goes", limits: |_| {}, begin: heavy::sends_and_goes },
    Bully { name: "lists that nobody reads", limits: |_| {}, begin: heavy::unread_lists },
    Bully { name: "long manifests unread", limits: |_| {}, begin: heavy::unread_manifests },
    Bully { name: "two on all places", limits: few_places, begin: attack::two_hold_all_places },
];

/// Something that a client does, for the so-maniest time.
type Act = fn(&Scene, usize);

/// What clients do, and how; each time it is done it has another number.
const VICTIMS: [(&str, Act); 8] = [
    ("a new connection", |scene, _| {
        get(&scene.server.nobody(), "/healthz").expect(200);
    }),
    ("a first login", |scene, number| {
        let name = format!("new{number}");
        get(&scene.server.add_user(&name, Role::Pull), "/v2/").expect(200);
    }),
    ("a pull", |scene, _| {
        let client = scene.puller.again();
        get(&client, "/v2/honest/manifests/1").expect(200);
        let blob = get(&client, &format!("/v2/honest/blobs/{}", sha256(b"honest"))).expect(200);
        assert_eq!(blob.body, b"honest");
    }),
    ("a push", |scene, number| {
        let layer = noise(number as u64, 100_000);
        push_image(&scene.pusher, "honest", &format!("t{number}"), &layer);
    }),
    ("a pull from another address", |scene, _| {
        let client = scene.puller.at(attack::ANOTHER_ADDRESS);
        get(&client, "/v2/honest/manifests/1").expect(200);
    }),
    ("a first login from another address", |scene, number| {
        let name = format!("elsewhere{number}");
        let client = scene.server.add_user(&name, Role::Pull);
        get(&client.at(attack::ANOTHER_ADDRESS), "/v2/").expect(200);
    }),
    // The nodes of a cluster log in under one name, which may be the bully's too.
    ("the bully's own name", |scene, number| {
        let (client, annotations) = (scene.bully.again(), json!({ "a": "x".repeat(100_000) }));
        let index = json!({ "manifests": [], "annotations": annotations, "n": number });
        let index = Manifest::new(MediaType::OCI_INDEX, index);
        index.put(&client, "honest", "index").expect(201);
        assert_eq!(get(&client, "/v2/honest/manifests/index").expect(200).body, index.bytes);
        get(&client, "/v2/honest/tags/list").expect(200);
    }),
    ("an idle connection", |scene, _| {
        get(&scene.idle, "/v2/").expect(200);
    }),
];

/// A GET as clients send it: where the connection is closed before the answer, once more over a new
/// one. An open connection may give way while the request is on its way; and beside other tests a
/// client may get no turn for longer than a newcomer may say nothing.
fn get(client: &Client, path: &str) -> Response {
    let again = |_| client.again().get(path);
    client.try_request("GET", path, &[], b"").unwrap_or_else(again)
}

fn few_places(limits: &mut Limits) {
    limits.connections = 64;
}

macro_rules! tests {
    ($($name:ident: $number:literal,)*) => {
        $(
            #[test]
            fn $name() {
                stands(&BULLIES[$number]);
            }
        )*
    };
}

tests! {
    who_asks_and_never_reads_stops_nobody: 0,
    who_reads_a_little_stops_nobody: 1,
    who_never_ends_a_handshake_stops_nobody: 2,
    who_guesses_passwords_stops_nobody: 3,
    who_names_absent_layers_stops_nobody: 4,
    who_never_ends_a_manifest_stops_nobody: 5,
    who_pulls_and_never_reads_stops_nobody: 6,
    who_lets_uploads_rest_stops_nobody: 7,
    who_lets_uploads_rest_on_all_places_stops_nobody: 8,
    who_pushes_one_layer_from_everywhere_stops_nobody: 9,
    who_sends_a_byte_at_a_time_on_all_places_stops_nobody: 10,
    who_says_nothing_from_everywhere_stops_nobody: 11,
    who_says_nothing_from_one_address_stops_nobody: 12,
    who_lists_absent_children_stops_nobody: 13,
    who_sends_and_goes_stops_nobody: 14,
    who_reads_no_list_stops_nobody: 15,
    who_reads_no_long_manifest_stops_nobody: 16,
    two_who_hold_all_places_together_stop_nobody: 17,
}

/// Lets the bully work while each victim does its work a few times, and once more afterwards.
fn stands(bully: &Bully) {
    let scene = scene(bully.limits);
    let attack = (bully.begin)(&scene);
    attack.wait_until_it_hurts();
    for round in 0..ROUNDS {
        for (_, act) in VICTIMS {
            act(&scene, round);
        }
    }
    tell(&format!("{}: {}", bully.name, attack.end()));
    VICTIMS.iter().for_each(|(_, act)| act(&scene, ROUNDS));
}

#[test]
fn a_first_login_waits_for_few_of_those_who_guess_ever_new_names() {
    let scene = scene(|_| {});
    let attack = attack::guesses_new_names(&scene);
    attack.wait_until_it_hurts();
    for number in 0..ROUNDS {
        let before = attack.blows();
        scene.server.add_user(&format!("late{number}"), Role::Pull).get("/v2/").expect(200);
        let guesses = attack.blows() - before;
        assert!(guesses < attack::GUESSERS / 2, "{guesses} guesses were verified before it");
    }
    // A wrong password for a name that is there is told in its turn.
    let wrong = scene.server.nobody().with_login(Some(("late0", "another password")));
    wrong.get("/v2/").refused(401, "UNAUTHORIZED");
}

#[test]
#[ignore = "it measures, and has a recipe of its own: just bully"]
fn what_each_bully_costs_each_victim() {
    tell("| | | without: median, p99 (ms) | with: median, p99 (ms) |\n|---|---|---|---|");
    let wanted = std::env::var("BULLY").unwrap_or_default();
    for bully in BULLIES.into_iter().filter(|bully| bully.name.contains(&wanted)) {
        let scene = scene(bully.limits);
        let without: Vec<[Duration; 2]> = VICTIMS.iter().map(|v| times(&scene, v.1, 0)).collect();
        let attack = (bully.begin)(&scene);
        attack.wait_until_it_hurts();
        for ((name, act), without) in VICTIMS.iter().zip(without) {
            let with = times(&scene, *act, TIMES);
            let [without, with] = [without, with].map(|times| {
                let [median, late] = times.map(|time| time.as_secs_f64() * 1000.0);
                format!("{median:.1}, {late:.1}")
            });
            tell(&format!("| {} | {name} | {without} | {with} |", bully.name));
        }
        attack.end();
    }
}

/// The median and the 99th percentile of what one victim does.
fn times(scene: &Scene, act: Act, first: usize) -> [Duration; 2] {
    let mut times: Vec<Duration> = (first..first + TIMES)
        .map(|number| {
            let begun = Instant::now();
            act(scene, number);
            begun.elapsed()
        })
        .collect();
    times.sort_unstable();
    [times[TIMES / 2], times[TIMES * 99 / 100]]
}

fn scene(limits: fn(&mut Limits)) -> Scene {
    let server = Server::with(limits);
    let administrator = server.administrator();
    push_image(&administrator, "honest", "1", b"honest");
    push_blob(&administrator, "bully", &noise(1, attack::LARGE_BYTES));
    let bully = server.add_user("bully", Role::Push);
    let pusher = server.add_user("pusher", Role::Push);
    let puller = server.add_user("puller", Role::Pull);
    let idle = administrator.with_login(Some((ADMINISTRATOR, PASSWORD)));
    // Each of them was right once.
    for client in [&bully, &pusher, &puller, &idle] {
        let _: &Client = client;
        client.get("/v2/").expect(200);
    }
    Scene { server, bully, pusher, puller, idle }
}

/// How often each victim works while a bully does.
const ROUNDS: usize = 3;
/// How often each victim is measured.
const TIMES: usize = 50;
