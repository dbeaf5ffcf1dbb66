//! `registry import`, with a running server and without: what real tools wrote goes in as it is,
//! what is there is not read again, and what lacks something is named.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::binary::{Instance, program};
use crate::support::clients::Machine;
use crate::support::content::{Manifest, noise, push_image, sha256};
use crate::support::process::{Run, run_with_input};

mod archives;
mod bundle;
mod gone;
mod kill;
pub(crate) mod layout;
mod owner;
mod pipe;
mod quay;
mod receipt;
mod room;

use layout::Layout;

/// Imports and returns what the command says as JSON, after checking how it ended.
#[track_caller]
fn import(instance: &Instance, rest: &[&str], code: i32) -> Value {
    let run = instance.command(&["import", "--json"], rest);
    assert_eq!(run.code(), Some(code), "{run}");
    serde_json::from_slice(&run.out).expect("a report in JSON")
}

/// The same with something at the standard input.
#[track_caller]
fn import_piped(instance: &Instance, rest: &[&str], input: &[u8], code: i32) -> Value {
    let mut command = Command::new(program());
    command.args(["import", "--json", "--data-dir"]).arg(instance.data()).args(rest);
    let run = run_with_input(&mut command, input);
    assert_eq!(run.code(), Some(code), "{run}");
    serde_json::from_slice(&run.out).expect("a report in JSON")
}

/// The digest that a tag names, as whoever pulls it gets it.
fn named(instance: &Instance, image: &str) -> Option<String> {
    let (repository, tag) = image.rsplit_once(':').expect("a tag");
    let got = instance.client().get(&format!("/v2/{repository}/manifests/{tag}"));
    (got.status == 200).then(|| sha256(&got.body))
}

/// Whether all that an image needs can be pulled.
fn is_whole(instance: &Instance, image: &str) -> bool {
    instance.command(&["inspect"], &[image]).code() == Some(0)
}

/// The directories of imports in a store.
fn stagings(instance: &Instance) -> usize {
    let uploads = std::fs::read_dir(instance.data().join("uploads")).expect("the uploads");
    let names = uploads.map(|entry| entry.expect("an entry").file_name());
    names.filter(|name| name.to_string_lossy().starts_with("import-")).count()
}

/// An instance on which a server runs, or ran once.
fn instance(is_served: bool) -> Instance {
    let mut instance = Instance::started();
    if !is_served {
        instance.stop();
    }
    instance
}

/// Serves it for what has to be asked over HTTP.
fn serve(instance: &mut Instance, is_served: bool) {
    if !is_served {
        instance.start();
    }
}

#[test]
fn what_is_there_is_not_read_again_and_what_was_lost_is() {
    for is_served in [true, false] {
        let mut instance = instance(is_served);
        let layout = Layout::new();
        let images: Vec<Manifest> = (0..3).map(|seed| layout.image(&noise(seed, 9000))).collect();
        for (number, image) in images.iter().enumerate() {
            layout.name(image, &format!("quay.io/team/app{number}:1"));
        }
        layout.name(&images[0], "quay.io/team/other:1");
        let report = import(&instance, &[layout.path()], 0);
        assert_eq!(report["images"], json!(4), "{report}");
        // Three layers, and a configuration that all have.
        assert_eq!((&report["read_blobs"], &report["present_blobs"]), (&json!(4), &json!(0)));
        assert_eq!(report["import"], json!("1"));
        let again = import(&instance, &[layout.path()], 0);
        assert_eq!((&again["read_blobs"], &again["present_blobs"]), (&json!(0), &json!(4)));
        assert_eq!((&again["read_bytes"], &again["moved"]), (&json!(0), &json!([])));
        let layer = noise(1, 9000);
        std::fs::remove_file(instance.data().join(blob_path(&layer))).expect("a blob");
        let healed = import(&instance, &[layout.path()], 0);
        assert_eq!(healed["read_blobs"], json!(1), "{healed}");
        assert_eq!(healed["read_bytes"], json!(9000));
        assert_eq!(stagings(&instance), 0);
        serve(&mut instance, is_served);
        for (number, image) in images.iter().enumerate() {
            let name = format!("team/app{number}:1");
            assert_eq!(named(&instance, &name), Some(image.digest()));
            assert!(is_whole(&instance, &name));
        }
        assert!(is_whole(&instance, "team/other:1"));
        instance.stop();
    }
}

#[test]
fn an_image_that_lacks_something_is_named_and_the_others_go_in() {
    for is_served in [true, false] {
        let mut instance = instance(is_served);
        let layout = Layout::new();
        let shared = noise(1, 4000);
        let [first, second] = [layout.image(&shared), layout.image(&noise(2, 4000))];
        let third = layout.image(&noise(3, 4000));
        let list = Manifest::index(&[&first, &second]);
        layout.blob(&list.bytes);
        layout.name(&list, "team/list:1");
        layout.name(&first, "team/one:1");
        layout.name(&third, "team/three:1");
        layout.remove(&shared);
        let report = import(&instance, &[layout.path()], 1);
        let missing = report["missing"].as_array().expect("a list");
        assert_eq!(missing.len(), 1, "{report}");
        assert_eq!(missing[0]["digest"], json!(sha256(&shared)));
        assert_eq!(missing[0]["images"], json!(["team/list:1", "team/one:1"]));
        assert_eq!(report["images"], json!(1));
        // Bytes that are wrong are as good as none.
        layout.put(&sha256(&shared), &noise(9, 4000));
        let report = import(&instance, &[layout.path()], 1);
        let missing = &report["missing"][0];
        assert_eq!(missing["digest"], json!(sha256(&shared)), "{report}");
        let why = missing["why"].as_str().expect("a sentence");
        assert!(why.contains("the source is damaged"), "{why}");
        let text = instance.command(&["import"], &[layout.path()]);
        let complaint = "registry: not all that the sources name is there: it says above what is \
                         missing";
        assert!(text.err.contains(complaint), "{text}");
        let out = String::from_utf8_lossy(&text.out).into_owned();
        assert!(out.contains("\n  hurts team/list:1\n  hurts team/one:1\n"), "{out}");
        serve(&mut instance, is_served);
        assert_eq!(named(&instance, "team/three:1"), Some(third.digest()));
        assert_eq!(named(&instance, "team/list:1"), None);
        // What another source has is enough, and so is what the registry has.
        push_image(&instance.client(), "elsewhere", "1", &shared);
        layout.remove(&shared);
        import(&instance, &[layout.path()], 0);
        assert!(is_whole(&instance, "team/list:1") && is_whole(&instance, "team/one:1"));
        instance.stop();
    }
}

#[test]
fn names_are_those_of_the_source_below_a_prefix() {
    let instance = instance(true);
    let layout = Layout::new();
    let [own, bare] = [layout.image(b"own"), layout.image(b"bare")];
    layout.name(&own, "registry.example.com:5000/deep/er/app:v1");
    layout.name(&bare, "v2");
    import(&instance, &["--prefix", "mirror/of", "--repository", "some", layout.path()], 0);
    assert_eq!(named(&instance, "mirror/of/deep/er/app:v1"), Some(own.digest()));
    assert_eq!(named(&instance, "mirror/of/some:v2"), Some(bare.digest()));
    let stem = layout.stem();
    import(&instance, &[layout.path()], 0);
    assert_eq!(named(&instance, &format!("{stem}:v2")), Some(bare.digest()));
    for bad in ["Mirror", "/a", "a/"] {
        instance.command(&["import"], &["--prefix", bad, layout.path()]).fails(2);
    }
}

#[test]
fn a_dry_run_tells_what_would_be_done_and_does_nothing() {
    for is_served in [true, false] {
        let mut instance = instance(true);
        let old = push_image(&instance.client(), "team/app", "1", b"old");
        if !is_served {
            instance.stop();
        }
        let layout = Layout::new();
        let [app, gone] = [layout.image(&noise(1, 3000)), layout.image(b"gone")];
        layout.name(&app, "team/app:1");
        layout.name(&app, "team/app:2");
        layout.name(&gone, "team/gone:1");
        layout.remove(b"gone");
        let foretold = import(&instance, &["--dry-run", layout.path()], 1);
        assert_eq!(foretold["import"], Value::Null);
        assert_eq!(stagings(&instance), 0);
        let history = instance.command(&["tag", "history"], &["team/app"]).ok();
        assert_eq!(history.lines().count(), 1, "{history}");
        let done = import(&instance, &[layout.path()], 1);
        for field in ["images", "read_blobs", "read_bytes", "present_blobs", "moved", "missing"] {
            assert_eq!(foretold[field], done[field], "{field}: {foretold}\n{done}");
        }
        let (from, to) = (old.digest(), app.digest());
        let moves = json!([
            { "image": "team/app:1", "from": from, "to": to },
            { "image": "team/app:2", "from": null, "to": to },
        ]);
        assert_eq!(done["moved"], moves);
        assert_eq!(done["import"], json!("1"), "a dry run has no number");
        let text = instance.command(&["import", "--dry-run"], &[layout.path()]);
        assert_eq!(text.code(), Some(1), "{text}");
    }
}

#[test]
fn an_import_is_taken_back_by_its_number() {
    for is_served in [true, false] {
        let mut instance = instance(true);
        let client = instance.client();
        let old = push_image(&client, "team/app", "moved", b"old");
        push_image(&client, "team/app", "kept", b"old");
        instance.command(&["tag", "protect"], &["team/app:kept"]).ok();
        if !is_served {
            instance.stop();
        }
        let layout = Layout::new();
        let new = layout.image(b"new");
        for tag in ["moved", "made", "later", "kept"] {
            layout.name(&new, &format!("team/app:{tag}"));
        }
        let report = import(&instance, &[layout.path()], 1);
        assert_eq!(report["protected"], json!(["team/app:kept"]), "{report}");
        let history = instance.command(&["tag", "history"], &["team/app:made"]).ok();
        assert!(history.ends_with(" in import 1"), "{history}");
        let to = ["team/app:later", "--to", &old.digest()];
        instance.command(&["tag", "restore"], &to).ok();
        let undone: Run = instance.command(&["import", "--undo", "1"], &[]);
        assert_eq!(undone.code(), Some(1), "{undone}");
        let out = String::from_utf8_lossy(&undone.out).into_owned();
        let expected = [
            format!("team/app:later stays: it was changed since, and names {}", old.digest()),
            "team/app:made is gone again".to_owned(),
            format!("team/app:moved names {} again", old.digest()),
            "2 tags as before import 1; what it brought stays until collection takes it".to_owned(),
        ];
        assert_eq!(out.lines().collect::<Vec<_>>(), expected);
        let err = instance.command(&["import", "--undo", "9"], &[]).fails(1);
        assert!(err.starts_with("registry: there is no import 9"), "{err}");
        instance.command(&["import", "--undo", "none"], &[]).fails(2);
        instance.command(&["import"], &[]).fails(2);
        serve(&mut instance, is_served);
        assert_eq!(named(&instance, "team/app:moved"), Some(old.digest()));
        assert_eq!(named(&instance, "team/app:made"), None);
        assert_eq!(named(&instance, "team/app:kept"), Some(old.digest()));
        instance.stop();
    }
}

#[test]
fn what_is_no_source_is_refused_before_anything_is_done() {
    let instance = instance(true);
    let machine = Machine::new();
    let path = |name: &str| machine.path(name).display().to_string();
    std::fs::write(machine.path("text"), "no archive ".repeat(100)).expect("a file");
    std::fs::create_dir(machine.path("empty")).expect("a directory");
    let layout = Layout::new();
    layout.name(&layout.image(b"layer"), "team/app:1");
    for bad in [path("nothing"), path("text"), path("empty")] {
        let run = instance.command(&["import"], &[layout.path(), &bad]);
        assert_eq!(run.code(), Some(1), "{run}");
        assert!(run.err.contains(&bad), "{run}");
    }
    assert_eq!(named(&instance, "team/app:1"), None);
    let report = import(&instance, &[layout.path()], 0);
    assert_eq!(report["import"], json!("1"), "what was refused has no number");
    // A layout that names nothing is no success either.
    let nameless = Layout::new();
    nameless.image(b"layer");
    let report = import(&instance, &[nameless.path()], 1);
    let last = report["damage"].as_array().expect("a list").last().cloned();
    assert_eq!(last, Some(json!("the sources name no image")), "{report}");
}

/// Where a blob lies in the data directory.
fn blob_path(bytes: &[u8]) -> String {
    let digest = sha256(bytes);
    let hex = digest.strip_prefix("sha256:").expect("sha256");
    format!("blobs/sha256/{}/{hex}", &hex[..2])
}

#[test]
fn an_index_without_an_image_that_the_source_promises_is_not_whole() {
    for is_served in [true, false] {
        let instance = instance(is_served);
        let layout = Layout::new();
        let [first, second] = [1, 2].map(|seed| layout.image(&noise(seed, 2000)));
        let list = Manifest::index(&[&first, &second]);
        layout.blob(&list.bytes);
        layout.name(&list, "team/app:list");
        layout.name(&first, "team/app:one");
        layout.name(&second, "team/app:two");
        layout.remove(&first.bytes);
        for dry_run in [&["--dry-run"][..], &[]] {
            let report = import(&instance, &[dry_run, &[layout.path()]].concat(), 1);
            assert_eq!((&report["images"], &report["left"]), (&json!(1), &json!([])), "{report}");
            let missing = &report["missing"];
            assert_eq!(missing.as_array().map(Vec::len), Some(1), "{report}");
            assert_eq!(missing[0]["digest"], json!(first.digest()));
            assert_eq!(missing[0]["images"], json!(["team/app:list", "team/app:one"]));
        }
        // What an older archive brought into the repository is enough.
        let older = Layout::new();
        older.image(&noise(1, 2000));
        older.name(&first, "team/app:older");
        import(&instance, &[older.path()], 0);
        import(&instance, &[layout.path()], 0);
        assert!(is_whole(&instance, "team/app:list") && is_whole(&instance, "team/app:one"));
    }
}
