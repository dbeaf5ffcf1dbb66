//! podman's partial pulls: of a zstd:chunked image it takes what it lacks, in one request with many
//! ranges, and counts what comes.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::support::binary::{Instance, USER};
use crate::support::clients::Machine;
use crate::support::content::noise;
use crate::support::process::run;

/// Files of the image, and how many bytes each has.
const FILES: u64 = 400;
const FILE_BYTES: usize = 30_000;

#[test]
fn podman_pulls_of_a_chunked_image_only_what_it_lacks() {
    let instance = Instance::started();
    let relay = Relay::to(instance.port());
    let [here, there] = [(); 2].map(|()| machine(&instance, relay.port));
    // Every fifth file of the second is another one: 75 ranges, none beside another.
    push(&here, &instance, "1", |_| 0);
    push(&here, &instance, "2", |file| u64::from(file % 5 == 2 && file < 375));
    let pull = |tag: &str| {
        let before = relay.sent();
        let name = format!("127.0.0.1:{}/chunked:{tag}", relay.port);
        let pull = there.podman(&["--log-level", "debug", "pull", &name]);
        // Else it pulled the whole layer after all, for whatever reason.
        assert!(pull.err.contains("Retrieved partial blob"), "{pull}");
        pull.ok();
        relay.sent() - before
    };
    let (whole, partial) = (pull("1"), pull("2"));
    // A fifth of the content, the table of contents, and what stands between the parts.
    assert!(whole > 4_000_000 && partial * 3 < whole, "{partial} bytes of {whole}");
    // What it put together is the image that was pushed.
    let name = format!("127.0.0.1:{}/chunked:2", relay.port);
    let id = there.podman(&["inspect", "--format", "{{.Id}}", &name]).ok();
    let mounted = there.podman(&["image", "mount", &name]).ok();
    for file in 0..FILES {
        let found = fs::read(Path::new(&mounted).join(format!("{file:04}"))).expect("a file");
        let generation = u64::from(file % 5 == 2 && file < 375);
        assert!(found == content(file, generation), "{id}: file {file} has other bytes");
    }
    there.podman(&["image", "unmount", &name]).ok();
}

/// A machine that pulls in parts, and is logged in to the registry behind the relay.
fn machine(instance: &Instance, port: u16) -> Machine {
    let machine = Machine::new();
    let path = |name: &str| machine.path(name).display().to_string();
    // vfs keeps no files apart.
    let storage = format!(
        "[storage]\ndriver = \"overlay\"\ngraphroot = \"{}\"\nrunroot = \"{}\"\n\
         [storage.options]\npull_options = {{ enable_partial_images = \"true\", \
         use_hard_links = \"false\", ostree_repos = \"\" }}\n",
        path("storage"),
        path("run"),
    );
    machine.write("storage.conf", &storage);
    for port in [instance.port(), port] {
        let address = format!("127.0.0.1:{port}");
        machine.trust_ca(&instance.ca(), &address);
        machine.login(&address, USER, &instance.password()).ok();
    }
    machine
}

/// Pushes an image whose files are of these generations.
fn push(machine: &Machine, instance: &Instance, tag: &str, generation: impl Fn(u64) -> u64) {
    let root = machine.path(&format!("root-{tag}"));
    fs::create_dir(&root).expect("a directory");
    for file in 0..FILES {
        let content = content(file, generation(file));
        fs::write(root.join(format!("{file:04}")), content).expect("a file");
    }
    let archive = machine.path(&format!("{tag}.tar"));
    run(Command::new("tar")
        .arg("--create")
        .arg("--file")
        .arg(&archive)
        .arg("-C")
        .arg(&root)
        .arg("."))
    .ok();
    let name = format!("{}/chunked:{tag}", instance.address());
    machine.podman(&["import", "--quiet", archive.to_str().expect("a path"), &name]).ok();
    machine.podman(&["push", "--quiet", "--compression-format", "zstd:chunked", &name]).ok();
}

/// Text that can be compressed: podman 4.3.1 fails to push a chunked layer that cannot.
fn content(file: u64, generation: u64) -> Vec<u8> {
    let noise = noise(file * 2 + generation + 1000, FILE_BYTES / 2);
    noise.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect()
}

/// A port of 127.0.0.1 that leads to the registry, and counts the bytes that come from there.
struct Relay {
    port: u16,
    sent: Arc<AtomicU64>,
}

impl Relay {
    fn to(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let own = listener.local_addr().expect("its address").port();
        let sent = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&sent);
        // Ends with the process of the tests.
        thread::spawn(move || {
            for client in listener.incoming().map_while(io::Result::ok) {
                let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { continue };
                let copies = (client.try_clone(), server.try_clone());
                let (Ok(from_client), Ok(to_server)) = copies else { continue };
                thread::spawn(move || pass_on(from_client, to_server, &AtomicU64::new(0)));
                let counted = Arc::clone(&counted);
                thread::spawn(move || pass_on(server, client, &counted));
            }
        });
        Self { port: own, sent }
    }

    fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, counted: &AtomicU64) {
    let mut piece = [0; 64 * 1024];
    while let Ok(count) = from.read(&mut piece)
        && count > 0
        && to.write_all(&piece[..count]).is_ok()
    {
        counted.fetch_add(count as u64, Ordering::Relaxed);
    }
    let _ = (to.shutdown(Shutdown::Write), from.shutdown(Shutdown::Read));
}
