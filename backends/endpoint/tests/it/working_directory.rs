//! What a program has named with a relative path stays where it was when the working directory
//! changes, as it does for a daemon.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use countersign_certs::{GeneratedIdentity, Overwrite, fixtures};
use countersign_endpoint::{Identity, Security, SecurityFiles, SetupError};

/// Names the folder in which a test goes on that has a process for itself.
const FOLDER: &str = "COUNTERSIGN_TEST_FOLDER";

/// Does the work of the test of this name in a process whose working directory is `here`, and where
/// `SSLKEYLOGFILE` is a relative path; it gets the path of another folder. Working directory and
/// environment belong to a whole process, so each test needs one.
fn apart(name: &str, work: impl FnOnce(&Path)) {
    if let Some(folder) = env::var_os(FOLDER) {
        return work(&PathBuf::from(folder).join("elsewhere"));
    }
    let folder = tempfile::tempdir().unwrap();
    for place in ["here", "elsewhere"] {
        fs::create_dir(folder.path().join(place)).unwrap();
    }
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", "--nocapture"])
        .arg(format!("working_directory::{name}"))
        .env(FOLDER, folder.path())
        .env("SSLKEYLOGFILE", "keys")
        .current_dir(folder.path().join("here"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("1 passed"), "{said}");
}

/// A list with one peer.
fn put_list(place: &Path, name: &str, fingerprint: impl std::fmt::Display) {
    fs::write(place.join("peers"), format!("{name} {fingerprint}\n")).unwrap();
}

#[test]
fn files_are_read_again_from_where_they_were() {
    apart("files_are_read_again_from_where_they_were", |elsewhere| {
        let here = env::current_dir().unwrap();
        let [old, new] = ["robot", "robot"].map(fixtures::good);
        let [station, guest] = ["station", "guest"].map(fixtures::good);
        old.write(&here, Overwrite::No).unwrap();
        station.write(&here, Overwrite::No).unwrap();
        put_list(&here, "guest", guest.fingerprint());
        let files = SecurityFiles::new("robot.crt", "robot.key")
            .peer_file("station.crt")
            .peer_list("./peers");
        let (identity, pins) = files.read().unwrap();
        let security = Security::tls(identity, pins).build().unwrap();

        env::set_current_dir(elsewhere).unwrap();
        // Others of the same names, none of which is meant.
        fixtures::good("robot")
            .write(elsewhere, Overwrite::No)
            .unwrap();
        fixtures::good("station")
            .write(elsewhere, Overwrite::No)
            .unwrap();
        put_list(elsewhere, "stranger", fixtures::good("x").fingerprint());
        new.write(&here, Overwrite::Yes).unwrap();
        let replaced = files.reload(&security).unwrap();
        assert_eq!(
            security.identity().unwrap().fingerprint(),
            new.fingerprint()
        );
        assert!(replaced.added.is_empty(), "{replaced}");
        assert!(replaced.removed.is_empty(), "{replaced}");

        fs::remove_file(here.join("station.crt")).unwrap();
        let missing = files.reload(&security).unwrap_err();
        let expected = here.join("station.crt");
        assert!(
            matches!(&missing, SetupError::NotFound { path } if *path == expected),
            "{missing}"
        );
    });
}

#[test]
fn the_key_log_stays_the_file_that_it_was() {
    apart("the_key_log_stays_the_file_that_it_was", |elsewhere| {
        let here = env::current_dir().unwrap();
        let peer = fixtures::good("station").fingerprint();
        let identity = |made: &GeneratedIdentity| {
            let [certificate, key] = [made.certificate_pem(), made.key_pem()].map(str::as_bytes);
            Identity::from_pem(certificate, key).unwrap()
        };
        let [old, new] = ["robot", "robot"].map(fixtures::good);
        let builder = Security::tls(identity(&old), peer).key_log(true);
        let security = builder.build().unwrap();
        assert!(here.join("keys").exists());

        env::set_current_dir(elsewhere).unwrap();
        let _ = security.replace(identity(&new), peer).unwrap();
        assert!(security.logs_keys());
        assert!(!elsewhere.join("keys").exists());
    });
}
