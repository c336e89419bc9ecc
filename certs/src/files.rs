//! Writing an identity to a certificate file and a key file.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::generate::GeneratedIdentity;

/// Whether existing files may be replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overwrite {
    /// They are kept, and writing fails.
    #[default]
    No,
    /// They are replaced, each in one step.
    Yes,
}

/// The files of a written identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenFiles {
    /// The certificate: readable by everyone, to be copied to the peer.
    pub certificate: PathBuf,
    /// The private key: readable by its owner only.
    pub key: PathBuf,
}

impl GeneratedIdentity {
    /// Writes `NAME.crt` and `NAME.key` into `directory`, which must exist.
    ///
    /// The key's file has mode 0600 from its creation on (on Unix; elsewhere it has the access
    /// rights of the directory). Both files are written in full under other names first, so that
    /// neither ever exists in part; if the second can't be put in place, the first is removed. With
    /// [`Overwrite::Yes`], a crash between the two can leave a new key beside an old certificate,
    /// which is noticed when they are loaded.
    ///
    /// # Errors
    /// [`Error::Exists`] and [`Error::Write`], which name the file.
    pub fn write(
        &self,
        directory: impl AsRef<Path>,
        overwrite: Overwrite,
    ) -> Result<WrittenFiles, Error> {
        let path = |suffix| directory.as_ref().join(format!("{}.{suffix}", self.name()));
        let files = WrittenFiles {
            certificate: path("crt"),
            key: path("key"),
        };
        if overwrite == Overwrite::No {
            // Checked before anything is written; publishing checks again.
            for path in [&files.certificate, &files.key] {
                if path.symlink_metadata().is_ok() {
                    return Err(Error::Exists { path: path.clone() });
                }
            }
        }
        let certificate = Draft::write(&files.certificate, self.certificate_pem(), Mode::Public)?;
        let key = Draft::write(&files.key, self.key_pem(), Mode::Private)?;
        key.publish(overwrite)?;
        if let Err(error) = certificate.publish(overwrite) {
            if overwrite == Overwrite::No {
                // It is ours: it did not exist a moment ago. The error to report is the other one.
                let _ = fs::remove_file(&files.key);
            }
            return Err(error);
        }
        drop((certificate, key));
        Ok(files)
    }
}

/// Who may read a file.
#[derive(Clone, Copy)]
enum Mode {
    Public,
    Private,
}

/// A complete file under a temporary name, which is removed when this is dropped.
struct Draft<'a> {
    path: &'a Path,
    draft: PathBuf,
    mode: Mode,
    contents: &'a str,
}

impl<'a> Draft<'a> {
    fn write(path: &'a Path, contents: &'a str, mode: Mode) -> Result<Self, Error> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(crate::generate::generation)?;
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{:016x}.tmp", u64::from_ne_bytes(random)));
        let draft = path.with_file_name(name);
        let created = create_new(&draft, mode).map_err(|source| Error::Write {
            path: path.to_owned(),
            source,
        })?;
        // From here on, dropping removes it.
        let this = Self {
            path,
            draft,
            mode,
            contents,
        };
        this.fill(created)?;
        Ok(this)
    }

    fn fill(&self, mut file: File) -> Result<(), Error> {
        file.write_all(self.contents.as_bytes())
            .and_then(|()| file.sync_all())
            .map_err(|source| self.failed(source))
    }

    fn publish(&self, overwrite: Overwrite) -> Result<(), Error> {
        let published = match overwrite {
            Overwrite::Yes => fs::rename(&self.draft, self.path),
            // Unlike renaming, linking fails if the name is taken.
            Overwrite::No => fs::hard_link(&self.draft, self.path),
        };
        match published {
            Err(error)
                if overwrite == Overwrite::No && error.kind() != ErrorKind::AlreadyExists =>
            {
                self.publish_in_place()
            }
            other => other.map_err(|error| self.failed(error)),
        }
    }

    /// Publishes on file systems without links, as on memory cards: not in one step, but never over
    /// another file, and never leaving a part of it.
    fn publish_in_place(&self) -> Result<(), Error> {
        let file = create_new(self.path, self.mode).map_err(|error| self.failed(error))?;
        self.fill(file).inspect_err(|_| {
            let _ = fs::remove_file(self.path);
        })
    }

    fn failed(&self, source: std::io::Error) -> Error {
        let path = self.path.to_owned();
        match source.kind() {
            ErrorKind::AlreadyExists => Error::Exists { path },
            _ => Error::Write { path, source },
        }
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        // After renaming it is gone already, and a failure to remove it can't be reported.
        let _ = fs::remove_file(&self.draft);
    }
}

/// Creates a file that does not exist yet, with its mode from the beginning.
fn create_new(path: &Path, mode: Mode) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(match mode {
            Mode::Public => 0o644,
            Mode::Private => 0o600,
        });
    }
    #[cfg(not(unix))]
    let _ = mode;
    options.open(path)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::NewIdentity;

    fn names(directory: &Path) -> BTreeSet<String> {
        let entries = fs::read_dir(directory).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn two_files_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let identity = NewIdentity::new("robot.example").generate().unwrap();
        let files = identity.write(directory.path(), Overwrite::No).unwrap();
        assert_eq!(
            names(directory.path()),
            ["robot.example.crt", "robot.example.key"]
                .map(String::from)
                .into()
        );
        assert_eq!(
            fs::read_to_string(&files.certificate).unwrap(),
            identity.certificate_pem()
        );
        assert_eq!(fs::read_to_string(&files.key).unwrap(), identity.key_pem());
    }

    #[cfg(unix)]
    #[test]
    fn the_key_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let identity = NewIdentity::new("robot").generate().unwrap();
        for overwrite in [Overwrite::No, Overwrite::Yes] {
            let files = identity.write(directory.path(), overwrite).unwrap();
            let mode = fs::metadata(&files.key).unwrap().permissions().mode();
            assert_eq!(mode & 0o7777, 0o600);
            // A file that others can read must be replaced too.
            fs::set_permissions(&files.key, fs::Permissions::from_mode(0o644)).unwrap();
        }
    }

    #[test]
    fn a_file_that_is_there_stays_unless_asked() {
        for taken in ["robot.crt", "robot.key"] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join(taken);
            fs::write(&path, "mine").unwrap();
            let identity = NewIdentity::new("robot").generate().unwrap();
            let error = identity.write(directory.path(), Overwrite::No).unwrap_err();
            assert!(error.to_string().contains(taken), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
            assert_eq!(names(directory.path()), [taken.to_owned()].into());

            let files = identity.write(directory.path(), Overwrite::Yes).unwrap();
            assert_eq!(names(directory.path()).len(), 2);
            assert_eq!(fs::read_to_string(&files.key).unwrap(), identity.key_pem());
        }
    }

    #[test]
    fn a_name_taken_at_the_last_moment_is_not_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("robot.key");
        let draft = Draft::write(&path, "new", Mode::Private).unwrap();
        fs::write(&path, "mine").unwrap();
        assert!(matches!(
            draft.publish(Overwrite::No),
            Err(Error::Exists { .. })
        ));
        assert!(matches!(
            draft.publish_in_place(),
            Err(Error::Exists { .. })
        ));
        drop(draft);
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
        assert_eq!(names(directory.path()).len(), 1);
    }

    #[test]
    fn without_links_it_is_written_in_place() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("robot.key");
        let draft = Draft::write(&path, "new", Mode::Private).unwrap();
        draft.publish_in_place().unwrap();
        drop(draft);
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(names(directory.path()).len(), 1);
    }

    #[test]
    fn a_missing_directory_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("nowhere");
        let identity = NewIdentity::new("robot").generate().unwrap();
        let error = identity.write(&missing, Overwrite::No).unwrap_err();
        assert!(error.to_string().contains("nowhere"), "{error}");
    }
}
