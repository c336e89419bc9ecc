//! A link that is driven by the book, whatever its peer and its application do, and what must
//! hold meanwhile.

mod case;
mod ledger;
mod listener;
mod seen;

use countersign_core::wire::{HEADER_LEN, MAX_GREETING};
use countersign_core::{
    ChannelId, Dialect, Disconnect, Event, Instant, Life, Link, Output, ReceiveError, Sequence,
};

pub(crate) use self::case::Case;
use self::ledger::Ledger;
use self::listener::Listener;
pub(crate) use self::seen::{Seen, same};

use crate::input::pieces;

/// When every case begins.
pub(crate) const START: Instant = Instant::from_micros(1_000_000);

/// What a payload would look like in words.
const PAYLOAD_SHOWN: &str = "7, 7, 7, 7";

/// A link and all that has been seen of it.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) link: Link,
    pub(crate) now: Instant,
    /// How input is cut; zero where it is not.
    cut: usize,
    buffer: Vec<u8>,
    pub(crate) seen: Seen,
    ledger: Ledger,
    /// Its end was told.
    over: bool,
    windows: Vec<(usize, usize)>,
    /// By channel, the bytes that were taken since anything came.
    taken: Vec<usize>,
    /// What the application has taken and not settled, where it has to.
    pub(crate) unsettled: Vec<(ChannelId, Sequence)>,
}

impl Subject {
    pub(crate) fn new(case: &Case, cut: usize, seen: Seen) -> Self {
        // One of the runs is listened in on, which must not change anything.
        let link = if cut > 1 {
            let observer = Box::new(Listener::default());
            Link::observed(&case.config, case.role, [3; 16], observer)
        } else {
            Link::new(&case.config, case.role, [3; 16])
        };
        let mut link = link.expect("a sound declaration");
        if case.asks {
            link.ask_to_admit();
        }
        Self {
            ledger: Ledger::new(link.config()),
            link,
            now: START,
            cut,
            buffer: vec![0; case.buffer],
            seen,
            over: false,
            windows: case.windows.clone(),
            taken: vec![0; case.windows.len()],
            unsettled: Vec::new(),
        }
    }

    /// Gives the peer that waits the channels in another order.
    pub(crate) fn declare(&mut self) {
        let mut channels = self.link.config().channels().to_vec();
        channels.reverse();
        let declared = self.link.declare(channels);
        if declared.is_ok() {
            self.windows.reverse();
        }
        self.seen.note(&declared.map_err(|error| error.to_string()));
    }

    /// Bytes come from the peer.
    pub(crate) fn hear(&mut self, bytes: &[u8]) {
        self.taken.fill(0);
        let size = if self.cut == 0 { bytes.len() } else { self.cut };
        for piece in pieces(bytes, size) {
            self.link.handle_input(self.now, piece);
        }
    }

    /// Does what a driver does until there is nothing to do: writes, tells, lets time act.
    pub(crate) fn settle(&mut self, read: &mut dyn FnMut(&[u8])) {
        self.write(read);
        self.listen();
        let comes_back = self.link.wants_connect();
        assert!(!comes_back || !self.ledger.is_over(), "its session is over");
        for _ in 0..8 {
            match self.link.poll_deadline() {
                Some(at) if at <= self.now => {
                    self.link.handle_timeout(self.now);
                    self.write(read);
                    self.listen();
                }
                deadline => {
                    let link = &self.link;
                    let state = (link.life(), deadline, link.end_reason());
                    let more = (link.session(), link.wants_connection(), link.resumes());
                    self.seen.note(&(state, more));
                    return;
                }
            }
        }
        panic!("a deadline stays due");
    }

    /// Writes all that there is.
    fn write(&mut self, read: &mut dyn FnMut(&[u8])) {
        let silent = !self.link.wants_output();
        let mut written = 0;
        loop {
            let output = self.link.poll_output(self.now, &mut self.buffer);
            let ends = matches!(self.link.life(), Life::Finishing | Life::Ended);
            match output {
                Output::Written(length) => {
                    assert!(!silent, "it did not say that it writes");
                    assert!((1..=self.buffer.len()).contains(&length));
                    written += length;
                    assert!(written < 1 << 20, "output without end");
                    self.seen.note(&self.buffer[..length]);
                    read(&self.buffer[..length]);
                }
                Output::TooSmall { needed } => {
                    assert!(needed > self.buffer.len() && needed <= HEADER_LEN + MAX_GREETING);
                    self.buffer.resize(needed, 0);
                }
                Output::Idle => break assert!(!ends, "idle for ever"),
                Output::End => break assert!(ends, "an end that is none"),
            }
        }
    }

    /// Takes all events.
    fn listen(&mut self) {
        let mut count = 0;
        while let Some(event) = self.link.poll_event() {
            count += 1;
            assert!(count < 10_000, "events without end");
            assert!(!self.over, "{event:?} after the end");
            self.ledger.hear(&event, &self.link);
            self.seen.note(&event);
            if event == Event::Ended {
                self.over = true;
                self.ledger.end(&self.link);
            }
        }
    }

    // The application.

    pub(crate) fn send(&mut self, channel: ChannelId, length: usize, expires: Option<Instant>) {
        let result = self.link.send(self.now, channel, vec![7; length], expires);
        if let Ok(number) = result {
            self.ledger.accept(channel, number);
        }
        self.seen.note(&result.map_err(|error| error.to_string()));
    }

    pub(crate) fn take(&mut self, channel: ChannelId) {
        let waiting = self.link.waiting(channel);
        let message = match self.link.take(self.now, channel) {
            Ok(Some(message)) => message,
            Err(ReceiveError::SessionBorder(_)) => return self.ledger.cross(),
            _ => return,
        };
        let (at, window) = (usize::from(channel.0), self.windows[usize::from(channel.0)]);
        self.taken[at] += message.payload.len();
        // What was left of earlier sessions comes on top, and in the tlsstream dialect, where a
        // receiver that has any room asks for the next message, one of those.
        if self.link.connection() == 1 {
            let most = match self.link.config().wire_dialect() {
                Dialect::Countersign => window.1,
                Dialect::TlsStream => 2 * window.1,
            };
            let bytes = self.taken[at];
            assert!(
                waiting <= window.0 && bytes <= most,
                "{waiting} messages, {bytes} bytes"
            );
        }
        let (number, length) = (message.sequence, message.payload.len());
        self.seen.note(&(channel, number, message.payload.as_ref()));
        self.ledger.take(channel, number, length);
        if !self.link.is_auto(channel) {
            self.unsettled.push((channel, number));
        }
    }

    /// Ends whatever there is, and looks whether it is the end.
    pub(crate) fn finish(mut self, read: &mut dyn FnMut(&[u8])) -> Seen {
        self.settle(read);
        self.link.handle_lost(self.now, Disconnect::Abandoned);
        self.settle(read);
        assert_eq!(self.link.life(), Life::Ended);
        assert!(self.over, "an end that is not told");
        assert_eq!(self.link.poll_deadline(), None, "nothing to wait for");
        assert!(!self.link.wants_connection() && !self.link.wants_output());
        let reason = self.link.end_reason().cloned();
        let words = reason
            .as_ref()
            .map(|reason| (reason.to_string(), reason.name()));
        let (text, name) = words.expect("a reason");
        assert!(!text.is_empty() && !name.is_empty());
        let loss = self.link.last_loss();
        self.seen
            .note(&(text, name, loss.map(|loss| loss.to_string())));
        assert!(!format!("{:?}", self.link).contains(PAYLOAD_SHOWN));
        self.hear(&[0x10; 40]);
        self.link.handle_eof(self.now);
        assert!(self.link.handle_opened(self.now).is_err());
        assert_eq!(self.link.poll_event(), None);
        assert_eq!(
            self.link.poll_output(self.now, &mut self.buffer),
            Output::End
        );
        assert_eq!(self.link.end_reason(), reason.as_ref());
        self.ledger.end(&self.link);
        self.seen
    }
}
