//! Links over a reader and a writer that block.

#![allow(clippy::unwrap_used, reason = "panicking is how a test fails")]

use std::io::{self, PipeReader, PipeWriter, Read, Write, pipe};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use countersign_certs::NewIdentity;
use countersign_std::{
    ChannelConfig, CloseMode, Config, EndReason, Identity, Link, LinkError, Loss, ReceiveChannel,
    RecvError, Role, Security, SendChannel, Setup, Timeouts, link_over_halves,
};

fn setup(channel: impl Into<ChannelConfig>, security: Security) -> Setup {
    Setup::new(Config::new().channel(channel), security).unwrap()
}

fn sending() -> Setup {
    setup(SendChannel::new("data"), Security::plaintext())
}

fn receiving() -> Setup {
    setup(ReceiveChannel::new("data"), Security::plaintext())
}

/// The two ends of a connection of two pipes.
fn pipes() -> [(PipeReader, PipeWriter); 2] {
    let ((near_in, far_out), (far_in, near_out)) = (pipe().unwrap(), pipe().unwrap());
    [(near_in, near_out), (far_in, far_out)]
}

/// A link from a sending opener to a receiving acceptor.
fn pair(
    opener: (
        impl Read + Send + 'static,
        impl Write + Send + 'static,
        Setup,
    ),
    acceptor: (
        impl Read + Send + 'static,
        impl Write + Send + 'static,
        Setup,
    ),
) -> [Link; 2] {
    let accepting = thread::spawn(move || {
        let (reader, writer, setup) = acceptor;
        link_over_halves(reader, writer, Role::Acceptor, &setup)
    });
    let (reader, writer, setup) = opener;
    let opened = link_over_halves(reader, writer, Role::Opener, &setup);
    [opened.unwrap(), accepting.join().unwrap().unwrap()]
}

/// Sends messages until they have all their verdicts, and closes.
fn send_all(link: &Link, messages: &[Vec<u8>]) {
    let sender = link.sender("data").unwrap();
    let receipts: Vec<_> = messages
        .iter()
        .map(|message| sender.send(message.clone()).unwrap())
        .collect();
    assert!(
        receipts
            .into_iter()
            .all(|receipt| receipt.wait().is_handled())
    );
    assert!(link.close(CloseMode::Drain).is_orderly());
}

/// A value that reports when it is dropped.
struct Watched<T>(T, Sender<()>);

impl<T> Watched<T> {
    fn new(inner: T) -> (Self, Receiver<()>) {
        let (gone, heard) = channel();
        (Self(inner, gone), heard)
    }
}

impl<T> Drop for Watched<T> {
    fn drop(&mut self) {
        let _ = self.1.send(());
    }
}

impl<T: Read> Read for Watched<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<T: Write> Write for Watched<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[test]
fn messages_of_all_sizes_over_pipes_with_tls() {
    let identities = ["near", "far"].map(|name| NewIdentity::new(name).generate().unwrap());
    let [near, far] = &identities;
    let [near_security, far_security] = [(near, far), (far, near)].map(|(own, peer)| {
        let identity = Identity::from_der(own.certificate_der(), own.key_der()).unwrap();
        Security::tls(identity, peer.fingerprint()).build().unwrap()
    });
    let [(near_in, near_out), (far_in, far_out)] = pipes();
    let ((near_in, near_ended), (far_out, far_ended)) =
        (Watched::new(near_in), Watched::new(far_out));
    let [near, far] = pair(
        (
            near_in,
            near_out,
            setup(SendChannel::new("data"), near_security),
        ),
        (
            far_in,
            far_out,
            setup(ReceiveChannel::new("data"), far_security),
        ),
    );
    assert_eq!(near.peer(), Some(identities[1].fingerprint()));
    let messages = [0, 1, 1000, 300_000, 5].map(|length| vec![7; length]);
    let expected = messages.clone();
    let receiving = thread::spawn(move || {
        let receiver = far.receiver("data").unwrap();
        let got: Vec<_> = receiver.map(Result::unwrap).collect();
        assert!(got == expected);
        assert!(far.ended().is_orderly());
    });
    send_all(&near, &messages);
    receiving.join().unwrap();
    // Each end has dropped its writer, which ends the other's reader.
    near_ended.recv().unwrap();
    far_ended.recv().unwrap();
}

/// A reader of an endless line, with a timeout.
struct Line<T>(T);

impl Read for Line<PipeReader> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer) {
            Ok(0) => Err(io::ErrorKind::TimedOut.into()),
            result => result,
        }
    }
}

#[test]
fn a_line_without_an_end_is_let_go_of_when_both_have_closed() {
    let timeouts = Timeouts {
        linger: Duration::from_millis(50),
        ..Timeouts::default()
    };
    let [sending, receiving] = [sending(), receiving()].map(|setup| {
        let config = setup.config().clone().timeouts(timeouts);
        Setup::new(config, Security::plaintext()).unwrap()
    });
    let [(near_in, near_out), (far_in, far_out)] = pipes();
    let (near_in, near_ended) = Watched::new(Line(near_in));
    let (far_in, far_ended) = Watched::new(Line(far_in));
    let [near, far] = pair((near_in, near_out, sending), (far_in, far_out, receiving));
    let receiving = thread::spawn(move || {
        let mut receiver = far.receiver("data").unwrap();
        assert_eq!(receiver.recv().unwrap().unwrap(), vec![1; 10]);
        assert!(receiver.recv().unwrap().is_none());
        assert!(far.ended().is_orderly());
    });
    send_all(&near, &[vec![1; 10]]);
    receiving.join().unwrap();
    near_ended.recv().unwrap();
    far_ended.recv().unwrap();
}

#[cfg(unix)]
#[test]
fn clones_of_a_socket_will_do() {
    use std::net::Shutdown;
    use std::os::unix::net::UnixStream;

    /// Ends the direction, as a clone by itself does not.
    struct Writing(UnixStream);

    impl Write for Writing {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            self.0.flush()
        }
    }

    impl Drop for Writing {
        fn drop(&mut self) {
            let _ = self.0.shutdown(Shutdown::Write);
        }
    }

    let (near, far) = UnixStream::pair().unwrap();
    let [near, far] = pair(
        (near.try_clone().unwrap(), Writing(near), sending()),
        (far.try_clone().unwrap(), Writing(far), receiving()),
    );
    let receiving = thread::spawn(move || {
        let receiver = far.receiver("data").unwrap();
        assert_eq!(receiver.map(Result::unwrap).count(), 3);
        far
    });
    send_all(&near, &[vec![1; 10], vec![2; 200_000], vec![3]]);
    assert!(receiving.join().unwrap().ended().is_orderly());
}

/// Why the link was lost.
fn loss(link: &Link) -> Loss {
    let end = link.ended().end.unwrap();
    match end.reason() {
        EndReason::Lost(loss) => *loss,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_end_of_the_stream_ends_the_link() {
    let [(near_in, near_out), (far_in, far_out)] = pipes();
    let (near_in, near_ended) = Watched::new(near_in);
    let (near_out, near_shut) = Watched::new(near_out);
    let [near, far] = pair(
        (near_in, near_out, sending()),
        (far_in, far_out, receiving()),
    );
    far.abandon();
    assert_eq!(loss(&far), Loss::Abandoned);
    let sender = near.sender("data").unwrap();
    assert_eq!(loss(&near), Loss::PeerLeft);
    assert!(sender.send("too late").is_err());
    near_ended.recv().unwrap();
    near_shut.recv().unwrap();
}

/// A stream whose reads and writes fail once it has been sent an error.
struct Wrong<T> {
    inner: T,
    told: Receiver<fn() -> io::Error>,
}

impl<T> Wrong<T> {
    fn new(inner: T) -> (Self, Sender<fn() -> io::Error>) {
        let (tell, told) = channel();
        (Self { inner, told }, tell)
    }

    fn error(&self) -> io::Result<()> {
        match self.told.try_recv() {
            Ok(error) => Err(error()),
            Err(_) => Ok(()),
        }
    }
}

impl<T: Read> Read for Wrong<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.error().map(|()| count)
    }
}

impl<T: Write> Write for Wrong<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.error()?;
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[test]
fn an_error_or_a_panic_of_a_half_ends_the_link() {
    let broken = || io::Error::new(io::ErrorKind::BrokenPipe, "the cable is out");
    let panics = || panic!("on purpose");
    for wrong in [broken as fn() -> io::Error, panics] {
        let [(near_in, near_out), (far_in, far_out)] = pipes();
        let (near_out, tell) = Wrong::new(near_out);
        let [near, far] = pair(
            (near_in, near_out, sending()),
            (far_in, far_out, receiving()),
        );
        tell.send(wrong).unwrap();
        let receipt = near.sender("data").unwrap().send("lost").unwrap();
        assert!(!receipt.wait().is_handled());
        // The writer is gone, so the peer goes too. Which of the two is heard of first is open.
        assert!(matches!(loss(&near), Loss::Transport | Loss::PeerLeft));
        let received = far.receiver("data").unwrap().recv();
        assert!(matches!(received, Err(RecvError::Link(_))), "{received:?}");

        let [(near_in, near_out), (far_in, far_out)] = pipes();
        let (far_in, tell) = Wrong::new(far_in);
        let [near, far] = pair(
            (near_in, near_out, sending()),
            (far_in, far_out, receiving()),
        );
        tell.send(wrong).unwrap();
        let receipt = near.sender("data").unwrap().send("lost").unwrap();
        assert!(!receipt.wait().is_handled());
        assert_eq!(loss(&far), Loss::Transport);
    }
}

#[test]
fn nobody_at_the_other_end_is_an_error() {
    let (reader, far_out) = pipe().unwrap();
    let (far_in, writer) = pipe().unwrap();
    drop((far_in, far_out));
    let result: Result<Link, LinkError> =
        link_over_halves(reader, writer, Role::Opener, &sending());
    let error = result.unwrap_err();
    assert!(matches!(error.reason(), EndReason::Lost(_)), "{error}");
}
