//! The section "Undo" of docs/operations.md: its procedures run as they stand there, one after the
//! other on one registry, and print what the page says.

use crate::support::binary::Instance;
use crate::support::clients::Machine;
use crate::support::images::{Family, Image, write_directory};
use crate::support::page::{self, Exchange, Shell};
use crate::tag::push;

#[test]
fn undoing_goes_as_the_page_on_operations_says() {
    let instance = Instance::started();
    let (machine, address) = (Machine::of(&instance), instance.address());
    let [image, other] =
        ["one", "two"].map(|text| Image::new(Family::Oci, "amd64", text.as_bytes()));
    for tag in ["1", "latest"] {
        let name = format!("{address}/team/app:{tag}");
        push(&machine, &image.manifest, std::slice::from_ref(&image), &name);
    }
    write_directory(&machine.path("other"), &other.manifest, std::slice::from_ref(&other));
    let shell = Shell::new(&instance, &machine);
    let blocks = page::blocks("## Undo");
    assert_eq!(blocks.len(), 4);
    for Exchange { command, printed } in blocks.into_iter().flatten() {
        let told = without_sizes(&shell.run(command));
        assert_eq!(told.trim_end(), without_sizes(printed).trim_end(), "$ {command}");
    }
}

/// Replaces the size of what goes, which depends on the gzip of the machine.
fn without_sizes(text: &str) -> String {
    let line = |line: &str| match line.split_once(" and ").zip(line.split_once(" B in ")) {
        Some(((before, _), (_, after))) => format!("{before} and SIZE in {after}"),
        None => line.to_owned(),
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}
