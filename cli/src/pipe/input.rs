//! The input stream, read and split in a separate thread.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::thread;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::split::{SplitError, Splitter, Way};

/// The most that is read at once, in bytes.
const CHUNK: usize = 128 * 1024;

/// Why the input can't be read further.
#[derive(Debug, thiserror::Error)]
pub(super) enum InputError {
    /// It does not match `--split`.
    #[error(transparent)]
    Split(#[from] SplitError),
    /// The system can't read it.
    #[error("standard input cannot be read: {0}")]
    Read(#[from] io::Error),
}

/// The result of one read: at least one message.
pub(super) type Batch = VecDeque<Bytes>;

/// Messages as they come, until the input ends; an error comes last.
pub(super) type Input = mpsc::Receiver<Result<Batch, InputError>>;

/// Starts to read. At most one batch waits to be taken, and one more to be queued behind it, so the
/// writer of the input is slowed down when messages are not taken.
pub(super) fn start(
    source: impl Read + Send + 'static,
    way: Way,
    max_message: usize,
) -> io::Result<Input> {
    let (sender, receiver) = mpsc::channel(1);
    let splitter = Splitter::new(way, max_message);
    let reader = thread::Builder::new().name("standard-input".to_owned());
    reader.spawn(move || {
        if let Err(error) = read(source, splitter, &sender) {
            // The receiver may be gone.
            let _ = sender.blocking_send(Err(error));
        }
    })?;
    Ok(receiver)
}

fn read(
    mut source: impl Read,
    mut splitter: Splitter,
    sender: &mpsc::Sender<Result<Batch, InputError>>,
) -> Result<(), InputError> {
    let mut chunk = vec![0; CHUNK];
    loop {
        let count = match source.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) => return Err(error.into()),
        };
        let mut batch = Batch::new();
        let taken = take_apart(&mut splitter, &chunk[..count], &mut batch);
        // What came before an error is still sent.
        if !batch.is_empty() && sender.blocking_send(Ok(batch)).is_err() {
            return Ok(());
        }
        taken?;
    }
    if let Some(last) = splitter.finish()? {
        let _ = sender.blocking_send(Ok(Batch::from([last.into()])));
    }
    Ok(())
}

fn take_apart(
    splitter: &mut Splitter,
    mut chunk: &[u8],
    batch: &mut Batch,
) -> Result<(), SplitError> {
    while let Some(message) = splitter.next_message(&mut chunk)? {
        batch.push_back(message.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(mut input: Input) -> (Vec<Bytes>, Option<String>) {
        let mut messages = Vec::new();
        while let Some(batch) = input.blocking_recv() {
            match batch {
                Ok(batch) => messages.extend(batch),
                Err(error) => return (messages, Some(error.to_string())),
            }
        }
        (messages, None)
    }

    #[test]
    fn everything_comes_in_order() {
        let input = start(&b"one\ntwo\n\nthree"[..], Way::Lines, 10).unwrap();
        let (messages, error) = messages(input);
        assert_eq!(messages, ["one\n", "two\n", "\n", "three"]);
        assert_eq!(error, None);
    }

    #[test]
    fn what_comes_before_an_error_is_not_lost() {
        let input = start(&b"one\ntwo\nmuch too long"[..], Way::Lines, 5).unwrap();
        let (messages, error) = messages(input);
        assert_eq!(messages, ["one\n", "two\n"]);
        assert!(error.unwrap().contains("--max-message"));
    }
}
