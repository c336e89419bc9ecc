//! The files of Unix sockets.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::path::{self, Path, PathBuf};
use std::process;

use socket2::{Domain, SockAddr, Socket, Type};

/// The file of a listening Unix socket. Dropping it removes the file, whatever the working
/// directory is by then, unless the file was replaced. A forked process leaves the file to the
/// process that has created it.
///
/// Must be dropped before the socket: the inode number that identifies the file may be reused once
/// both are gone, and between the two drops the file would look stale.
#[derive(Debug)]
pub(crate) struct UnixPath {
    /// The absolute path.
    path: PathBuf,
    /// The device and the inode number of the file.
    identity: (u64, u64),
    /// The process that has created the file.
    process: u32,
}

impl UnixPath {
    /// Returns the absolute path of the file.
    #[must_use]
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Makes the path absolute, so that it stays valid when the working directory changes. Returns it
/// unchanged if the absolute path does not fit into a socket address.
#[must_use]
pub(crate) fn to_absolute(path: &Path) -> PathBuf {
    let absolute = path::absolute(path).ok();
    let fits = absolute.filter(|absolute| SockAddr::unix(absolute).is_ok());
    fits.unwrap_or_else(|| path.to_owned())
}

/// Listens on a non-blocking Unix socket. A socket file left behind by a process that has exited is
/// replaced. If two processes do so at the same moment, one may end up without a file: start one at
/// a time.
///
/// # Errors
///
/// The operating system's error: `AddrInUse` if a process is listening there already, or if the
/// path is taken by another kind of file.
pub(crate) fn bind_unix(path: &Path) -> io::Result<(UnixListener, UnixPath)> {
    let listener = match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_stale(path) => {
            fs::remove_file(path)?;
            UnixListener::bind(path)?
        }
        result => result?,
    };
    listener.set_nonblocking(true)?;
    let file = UnixPath {
        path: path::absolute(path)?,
        identity: identity(path)?,
        process: process::id(),
    };
    Ok((listener, file))
}

/// Whether this is a socket on which no process listens.
fn is_stale(path: &Path) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    is_socket && refuses(path).unwrap_or(false)
}

/// Whether connecting there is refused. Connecting to a listener whose queue is full would block,
/// so the socket is non-blocking.
fn refuses(path: &Path) -> io::Result<bool> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    let connected = socket.connect(&SockAddr::unix(path)?);
    Ok(connected.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused))
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let found = fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

impl Drop for UnixPath {
    fn drop(&mut self) {
        if process::id() == self.process
            && identity(&self.path).is_ok_and(|found| found == self.identity)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "a socket's file is left");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_whose_queue_is_full_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        let address = SockAddr::unix(&path).unwrap();
        listener.bind(&address).unwrap();
        listener.listen(0).unwrap();
        let waiting = || {
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            socket.connect(&address).map(|()| socket)
        };
        let queue: Vec<_> = std::iter::from_fn(|| waiting().ok()).collect();
        assert!(!queue.is_empty());
        let taken = bind_unix(&path).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn a_forked_process_leaves_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let (_listener, mut guard) = bind_unix(&path).unwrap();
        // A forked child inherits the process id of its parent.
        guard.process = process::id() + 1;
        drop(guard);
        assert!(path.exists());
    }

    #[test]
    fn a_path_lasts_when_it_begins_at_the_root_and_fits_an_address() {
        let here = std::env::current_dir().unwrap();
        let short = Path::new("socket");
        let fits = SockAddr::unix(here.join(short)).is_ok();
        let expected = if fits { here.join(short) } else { short.into() };
        assert_eq!(to_absolute(short), expected);
        let root = Path::new("/run/socket");
        assert_eq!(to_absolute(root), root);
        let long = PathBuf::from("x".repeat(100));
        assert_eq!(to_absolute(&long), long);
    }

    #[test]
    fn only_its_own_file_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let (listener, guard) = bind_unix(&path).unwrap();
        let taken = bind_unix(&path).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        drop(guard);
        assert!(!path.exists());
        drop(listener);

        // Left behind by a process that has exited: the file exists, and nothing listens.
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let (_listener, guard) = bind_unix(&path).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "somebody else's").unwrap();
        drop(guard);
        assert_eq!(fs::read_to_string(&path).unwrap(), "somebody else's");
        let taken = bind_unix(&path).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
    }
}
