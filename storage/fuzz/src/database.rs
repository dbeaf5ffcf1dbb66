//! The database of a Quay, byte by byte.

use std::fs;

use storage::QuayNames;

/// Reads the names of images. How many it has.
pub fn read(bytes: &[u8]) -> usize {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("quay.db");
    fs::write(&path, bytes).unwrap();
    let names = QuayNames::read(&path, &|_| false);
    assert_eq!(fs::read(&path).unwrap(), bytes);
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
    let Ok(names) = names else { return 0 };
    assert!(names.unnamed.len() <= QuayNames::MOST_UNNAMED);
    let of = |number: usize| {
        let image = &names.images[number];
        (&image.repository, &image.tag)
    };
    assert!((1..names.images.len()).all(|number| of(number - 1) < of(number)), "{names:?}");
    names.images.len()
}
