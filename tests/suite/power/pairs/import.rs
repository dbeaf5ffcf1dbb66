//! An import as the last operation of a sequence: while the server rests, so that it is one process
//! that opens the store by itself.

use std::process::Command;

use super::super::acts::now;
use super::super::recording::Stage;
use super::scene::{File, Gone, Image, Scene, TAG};
use super::step::in_steps;
use crate::import::layout::Layout;
use crate::support::process::run;

/// Imports the first image under the tag. Returns when it began and when it had ended: before and
/// after, servers stop and start, which others look at.
pub(super) fn play(stage: &mut Stage, scene: &mut Scene) -> [u64; 2] {
    let layout = Layout::new();
    layout.name(&layout.image(&scene.layer), &format!("{}:{TAG}", scene.repository));
    // In an archive, since of a directory the files could be cloned.
    let archive = stage.instance.root().join("layout.tar");
    run(Command::new("tar").arg("-cf").arg(&archive).args(["-C", layout.path(), "."])).ok();
    stage.stop();
    let began = now();
    stage.acts.hear(|| {
        let archive = archive.to_str().expect("a path in UTF-8");
        stage.instance.command(&["import"], &[archive]).ok();
        let before = scene.held;
        // Its layer comes first, and heals what is known to be lost; then the image with its tag.
        let blob = scene.change(|held| {
            held.is_layer_there = true;
            if held.file != File::Bad {
                held.file = File::Good;
            }
        });
        let mut effects = in_steps(scene, before, blob);
        effects.push(scene.change(|held| {
            held.was = (held.tag != Some(Image::First)).then_some(held.tag);
            held.tag = Some(Image::First);
            (held.is_image_there, held.gone) = (true, Gone::No);
        }));
        (effects, ())
    });
    let ended = now();
    stage.take_over();
    stage.instance.start();
    [began, ended]
}
