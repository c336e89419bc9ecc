//! Unix sockets' places in the file system.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::path::{self, Path, PathBuf};
use std::process;

use socket2::{Domain, SockAddr, Socket, Type};

/// The file of a listening Unix socket. Dropping it removes the file, wherever the working directory
/// is by then, unless another has taken its place. A process that was forked off leaves the file to
/// the one that has made it.
///
/// To be dropped before the socket: the number by which the file is known again may be given to
/// another once both are gone, and meanwhile the file would look like one that was left.
#[derive(Debug)]
pub(crate) struct UnixPath {
    /// From the root.
    path: PathBuf,
    /// The device and the number of the file.
    identity: (u64, u64),
    /// The process that has made the file.
    process: u32,
}

impl UnixPath {
    /// The path of the file, from the root.
    #[must_use]
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// The same path from the root, so that it stays the same when the working directory changes. Where
/// that is longer than an address of a socket can be, it is left as it is.
#[must_use]
pub(crate) fn lasting(path: &Path) -> PathBuf {
    let absolute = path::absolute(path).ok();
    let fits = absolute.filter(|absolute| SockAddr::unix(absolute).is_ok());
    fits.unwrap_or_else(|| path.to_owned())
}

/// Listens on a Unix socket, which does not block. A socket's file that is left from a process
/// which is gone is replaced. Of two processes that do so at the same moment, one may be left
/// without a file: start one at a time.
///
/// # Errors
///
/// What the operating system says: `AddrInUse` where somebody listens already, or where the path
/// is taken by a file of another kind.
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

/// Whether this is a socket on which nobody listens.
fn is_stale(path: &Path) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    is_socket && refuses(path).unwrap_or(false)
}

/// Whether connecting there is refused. Where somebody listens whose queue is full, connecting would
/// wait, which this does not.
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
        // What a child finds in its memory: the number of its parent.
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
        assert_eq!(lasting(short), expected);
        let root = Path::new("/run/socket");
        assert_eq!(lasting(root), root);
        let long = PathBuf::from("x".repeat(100));
        assert_eq!(lasting(&long), long);
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

        // Left by a process that is gone: the file is there, and nobody listens.
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
