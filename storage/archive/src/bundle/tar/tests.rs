use std::process::{Command, Stdio};

use super::*;

fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut tar = TarWriter::new(&mut bytes);
    tar.directory("blobs").unwrap();
    for (name, content) in entries {
        tar.begin(name, content.len() as u64).unwrap();
        tar.write_all(content).unwrap();
        tar.end().unwrap();
    }
    tar.finish().unwrap();
    bytes
}

/// What GNU tar makes of an archive.
fn listed(archive: &[u8]) -> String {
    let mut tar = Command::new("tar")
        .args(["-t", "-v", "--numeric-owner", "--utc", "-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    tar.stdin.take().unwrap().write_all(archive).unwrap();
    let output = tar.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn tar_reads_what_is_written_and_it_is_the_same_each_time() {
    let long = format!("blobs/sha512/{}", "a".repeat(128));
    let entries: [(&str, &[u8]); 3] = [("a", b"x"), (&long, &[7; 512]), ("empty", b"")];
    let bytes = archive(&entries);
    assert_eq!(bytes, archive(&entries));
    assert_eq!(bytes.len() % 512, 0);
    let expected = format!(
        "drwxr-xr-x 0/0               0 1970-01-01 00:00 blobs/\n\
         -rw-r--r-- 0/0               1 1970-01-01 00:00 a\n\
         -rw-r--r-- 0/0             512 1970-01-01 00:00 {long}\n\
         -rw-r--r-- 0/0               0 1970-01-01 00:00 empty\n"
    );
    assert_eq!(listed(&bytes), expected);
}

#[test]
fn an_entry_has_the_bytes_that_its_header_says() {
    let mut tar = TarWriter::new(Vec::new());
    tar.begin("a", 2).unwrap();
    tar.write_all(b"x").unwrap();
    assert!(tar.end().is_err());
    assert!(tar.begin("b", 0).is_err());
    assert!(tar.write_all(b"yz").is_err());
    let mut tar = TarWriter::new(Vec::new());
    assert!(tar.write_all(b"x").is_err());
}

#[test]
fn a_record_counts_itself() {
    for length in [0, 1, 88, 89, 90, 91, 987, 988, 989] {
        let record = record("path", &"a".repeat(length));
        let (count, _) = record.split_once(' ').unwrap();
        assert_eq!(count.parse(), Ok(record.len()));
    }
}

#[test]
fn a_file_of_more_than_eight_gibibytes_says_so_in_pax() {
    let digest = Digest::of(Algorithm::Sha256, b"");
    for (size, pax) in [(MAX_SIZE, 0), (MAX_SIZE + 1, 1024)] {
        let rounded = size.next_multiple_of(512);
        assert_eq!(entry_bytes(&digest, size), rounded + 512 + pax);
        let mut bytes = Vec::new();
        TarWriter::new(&mut bytes).begin(&blob_path(&digest), size).unwrap();
        assert_eq!(bytes.len() as u64, 512 + pax);
        let said = String::from_utf8_lossy(&bytes).contains(&format!("size={size}\n"));
        assert_eq!(said, pax > 0);
    }
    assert_eq!(entry_bytes(&Digest::of(Algorithm::Sha512, b""), 1), 512 * 4);
    assert_eq!(entry_bytes(&digest, u64::MAX), u64::MAX);
}
