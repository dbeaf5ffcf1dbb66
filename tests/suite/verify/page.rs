//! The section "Verification" of docs/operations.md: its procedures run as they stand there, one
//! after the other on one registry, and print what the page says.

use std::fs;

use super::{blob_path, flip};
use crate::support::binary::Instance;
use crate::support::clients::{Machine, directory};
use crate::support::images::{Family, Image, sha256, write_directory};
use crate::support::page::{self, Exchange, Shell};

#[test]
fn verification_goes_as_the_page_on_operations_says() {
    let instance = Instance::started();
    let (machine, address) = (Machine::of(&instance), instance.address());
    let images = ["image", "other"].map(|name| {
        let image = Image::new(Family::Oci, "amd64", name.as_bytes());
        let path = machine.path(name);
        write_directory(&path, &image.manifest, std::slice::from_ref(&image));
        let to = format!("docker://{address}/team/{}:1", name.replace("image", "app"));
        machine.skopeo(&["copy", "--quiet", &directory(&path), &to]).ok();
        image
    });
    let shell = Shell::new(&instance, &machine);
    let odd = Image::new(Family::Oci, "amd64", b"odd");
    let has = |size: &str| format!(" has {size}");
    let has_size = has(&odd.layer.len().to_string());
    let blocks = page::blocks("## Verification");
    assert_eq!(blocks.len(), 4);
    for (number, block) in blocks.into_iter().enumerate() {
        if number == 1 {
            flip(&blob_path(instance.data(), &sha256(&images[0].layer)));
        }
        if number == 3 {
            push_missized(&machine, &odd, &format!("docker://{address}/team/odd:1"));
        }
        for Exchange { command, printed } in block {
            let told = without_put_aside(&without_sizes(&shell.run(command)));
            let told = told.replace(&has_size, &has("SIZE"));
            assert_eq!(told.trim_end(), printed.trim_end(), "$ {command}");
        }
    }
}

/// Pushes an image that says 7 bytes of its layer.
fn push_missized(machine: &Machine, image: &Image, to: &str) {
    let path = machine.path("odd");
    write_directory(&path, &image.manifest, std::slice::from_ref(image));
    let text = String::from_utf8(image.manifest.bytes.clone()).expect("JSON");
    let said = format!(r#""size":{}"#, image.layer.len());
    assert_eq!(text.matches(&said).count(), 1, "{text}");
    fs::write(path.join("manifest.json"), text.replace(&said, r#""size":7"#)).expect("a file");
    machine.skopeo(&["copy", "--quiet", &directory(&path), to]).ok();
}

/// Replaces the size of everything, which depends on the gzip of the machine.
fn without_sizes(text: &str) -> String {
    let line = |line: &str| match line.split_once(" blobs, ") {
        Some((before, _)) if before.starts_with("read ") => format!("{before} blobs, SIZE"),
        _ => line.to_owned(),
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// Replaces the digits in the name of a file that was put aside.
fn without_put_aside(text: &str) -> String {
    let line = |line: &str| match line.split_once("/damaged/sha256-") {
        Some((before, _)) => format!("{before}/damaged/sha256-<digest>"),
        None => line.to_owned(),
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}
