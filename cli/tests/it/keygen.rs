//! `countersign keygen` and `countersign pin`.

use std::fs;

use crate::common::{Identities, run};

#[test]
fn the_fingerprint_is_the_same_wherever_it_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_str().unwrap();
    for (name, more) in [("robot", None), ("small", Some("--ed25519"))] {
        let made = run(["keygen", name, "--dir", dir, "--days", "40"]
            .into_iter()
            .chain(more));
        made.expect(0, "");
        let text = made.text();
        let fingerprint = text.lines().next().unwrap();
        assert!(fingerprint.starts_with("sha256:"), "{text}");
        assert!(
            text.contains(&format!("{name}.crt (copy it to the peer")),
            "{text}"
        );
        let shown = run(["pin", &format!("{dir}/{name}.crt")]);
        shown.expect(0, "");
        let line = shown.text();
        assert!(
            line.starts_with(&format!("{fingerprint}  {name}, valid ")),
            "{line}"
        );

        let list = format!("{dir}/{name}.list");
        fs::write(&list, format!("# {name}\n{fingerprint}\n")).unwrap();
        assert!(run(["pin", &list]).text().starts_with(fingerprint));
    }
}

#[cfg(unix)]
#[test]
fn the_key_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let identities = Identities::new();
    let mode = fs::metadata(identities.file("robot.key"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o600);
}

#[test]
fn an_identity_is_replaced_only_when_asked() {
    let identities = Identities::new();
    let dir = identities.path().to_str().unwrap();
    let key = identities.file("robot.key");
    let before = fs::read_to_string(&key).unwrap();
    run(["keygen", "robot", "--dir", dir]).expect(4, "--force");
    assert_eq!(fs::read_to_string(&key).unwrap(), before);
    run(["keygen", "robot", "--dir", dir, "--force"]).expect(0, "");
    assert_ne!(fs::read_to_string(&key).unwrap(), before);
}

#[test]
fn what_cannot_be_made_or_shown() {
    let identities = Identities::new();
    run(["keygen", "a/b"]).expect(2, "cannot name an identity");
    run(["keygen", "robot", "--days", "0"]).expect(2, "--days");
    run(["keygen", "robot", "--dir", &identities.file("nowhere")]).expect(4, "nowhere");
    run(["pin", &identities.file("nobody.crt")]).expect(4, "no such file");
    run(["pin", &identities.file("robot.key")]).expect(4, "private key");
    run(["pin"]).expect(2, "<FILE>");
}
