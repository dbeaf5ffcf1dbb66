//! What lies in the directory of an export, by name.

use archive::bundle::{CONTENTS, DOCUMENT, INDEX, LAYOUT, SIGNATURE};

/// What a volume is called.
pub(super) fn volume_name(volume: u32, volumes: u32, is_archive: bool) -> Option<String> {
    let ending = if is_archive { ARCHIVE } else { "" };
    match volumes {
        1 if is_archive => Some(format!("{VOLUME}{ending}")),
        1 => None,
        _ => {
            // So that they stand in their order wherever they are listed.
            let width = volumes.to_string().len();
            Some(format!("{VOLUME}-{volume:0width$}-of-{volumes}{ending}"))
        }
    }
}

/// Whether an export writes something of this name.
pub(super) fn is_of_export(name: &str) -> bool {
    let name = name.strip_suffix(PART).unwrap_or(name);
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    let rest = name.strip_suffix(ARCHIVE).unwrap_or(name).strip_prefix(VOLUME);
    let is_volume = rest.is_some_and(|rest| {
        let numbers = rest.strip_prefix('-').and_then(|rest| rest.split_once("-of-"));
        rest.is_empty() || numbers.is_some_and(|(one, all)| is_number(one) && is_number(all))
    });
    is_volume || FILES.contains(&name) || PARTS.contains(&name)
}

/// What a volume is called, with a number behind it where there are several.
pub(super) const VOLUME: &str = "bundle";
/// What the name of an archive ends with.
const ARCHIVE: &str = ".tar";
/// What the name of a file ends with that is not whole.
pub(super) const PART: &str = ".part";
/// Where the blobs of a layout are.
pub(super) const BLOBS: &str = "blobs";
/// What a layout consists of.
const FILES: [&str; 6] = [BLOBS, CONTENTS, DOCUMENT, INDEX, LAYOUT, SIGNATURE];
/// The same while it is written, without the ending.
const PARTS: [&str; 3] = ["CONTENTS", "index", "registry-bundle"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_export_writes_is_told_from_all_else() {
        for volumes in [1, 3, 10, 999] {
            for is_archive in [false, true] {
                let Some(name) = volume_name(1, volumes, is_archive) else { continue };
                assert!(is_of_export(&name) && is_of_export(&format!("{name}.part")), "{name}");
            }
        }
        assert_eq!(volume_name(7, 12, true), Some("bundle-07-of-12.tar".to_owned()));
        assert_eq!(volume_name(1, 1, false), None);
        for name in ["blobs", "index.json", "index.part", "oci-layout.part", "CONTENTS.part"] {
            assert!(is_of_export(name), "{name}");
        }
        for name in ["", "bundles", "bundle-1", "bundle-1-of-", "bundle-x-of-2", "a.tar", ".part"] {
            assert!(!is_of_export(name), "{name}");
        }
    }
}
