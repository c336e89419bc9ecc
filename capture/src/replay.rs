//! Replay of captures into the core.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use countersign_core::{
    Age, Bytes, Call, ChannelId, Config, GoneSession, Incoming, Instant, Link, Observe, Outcome,
    Protocol, Role,
};

use crate::cbor::Fields;
use crate::decode::{ReadError, Reader};
use crate::observer::Observer;
use crate::record::{Data, Entry, Gone, Part, Record};
use crate::recording::Recording;

/// The result of a replay.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Replayed {
    /// How many records there were.
    pub records: u64,
    /// How many links they were about.
    pub links: u64,
    /// Whether the capture is complete, and not cut off.
    pub complete: bool,
}

/// Why a replay does not reach the end of a capture.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// The capture can't be read, or not to its end. What can be read of it was replayed without a
    /// difference.
    #[error(transparent)]
    Unreadable(#[from] ReadError),
    /// A link did something other than in the capture.
    #[error("{0}")]
    Differs(Box<Difference>),
    /// A record can't be played: the capture does not have the beginning of its link, say.
    #[error("record {number}, at byte {offset}, can't be played: {what}")]
    Unplayable {
        /// Which record it is, from 1.
        number: u64,
        /// Where it begins.
        offset: usize,
        /// Why.
        what: &'static str,
    },
}

countersign_core::debug_as_display!(ReplayError);

/// Where a replay first differs from the capture.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    /// Which record it is, from 1.
    pub number: u64,
    /// Where it begins.
    pub offset: usize,
    /// The record of the capture.
    pub captured: Record,
    /// The record of the replay, if there is one.
    pub replayed: Option<Record>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, offset, .. } = self;
        let (link, name) = (self.captured.link, self.captured.entry.name());
        write!(
            f,
            "link {link} does something else at record {number} ('{name}', at byte {offset})"
        )
    }
}

/// Plays a capture to its end, or to where it was cut off or differs.
///
/// It takes as much memory as the links did.
///
/// # Errors
///
/// The replay differs from the capture, or the capture can't be read. It is no error if the capture
/// was cut off between two records: see [`Replayed::complete`].
pub fn replay(bytes: &[u8]) -> Result<Replayed, ReplayError> {
    let mut reader = Reader::new(bytes)?;
    let mut replay = Replay::new(reader.header().payloads);
    while let Some(record) = reader.next() {
        replay.step(&record?, reader.offset())?;
    }
    let mut replayed = replay.replayed;
    replayed.complete = reader.is_complete();
    Ok(replayed)
}

/// A replay of links, record by record.
#[derive(Debug)]
pub struct Replay {
    recorder: Arc<Recording>,
    links: BTreeMap<u64, Played>,
    replayed: Replayed,
    /// The memory of payloads that were left out.
    zeros: Bytes,
    buffer: Vec<u8>,
    /// How many bytes may still be played.
    budget: u64,
    /// How old the message was that the latest step took.
    age: Option<Age>,
}

impl Replay {
    /// Creates a replay of a capture with payloads or without
    /// ([`Header::payloads`](crate::Header)).
    #[must_use]
    pub fn new(payloads: bool) -> Self {
        Self {
            recorder: Arc::new(Recording::in_memory(payloads)),
            links: BTreeMap::new(),
            replayed: Replayed::default(),
            zeros: Bytes::new(),
            buffer: Vec::new(),
            budget: u64::MAX,
            age: None,
        }
    }

    /// Limits how many bytes of input and messages are played: a few bytes of an untrusted capture
    /// can stand for very many.
    #[must_use]
    pub fn budget(mut self, bytes: u64) -> Self {
        self.budget = bytes;
        self
    }

    /// Returns the progress so far.
    #[must_use]
    pub fn replayed(&self) -> &Replayed {
        &self.replayed
    }

    /// Returns how old the message was that the latest step took; `None` if it took none, or the
    /// message has no times, or nothing was known of its sender's clock.
    #[must_use]
    pub const fn age(&self) -> Option<Age> {
        self.age
    }

    /// Returns the link with this number in its present state; `None` also while it is an incoming
    /// connection.
    #[must_use]
    pub fn link(&self, link: u64) -> Option<&Link> {
        match self.links.get(&link)? {
            Played::New(link, _) | Played::Link(link) => Some(link),
            Played::Incoming(_) => None,
        }
    }

    /// Makes the call of one record, which begins at `offset`, and compares the outcome.
    ///
    /// # Errors
    ///
    /// [`ReplayError::Differs`] and [`ReplayError::Unplayable`].
    pub fn step(&mut self, record: &Record, offset: usize) -> Result<(), ReplayError> {
        self.replayed.records += 1;
        let number = self.replayed.records;
        let played = self.play(record);
        let is_call = played.map_err(|what| ReplayError::Unplayable {
            number,
            offset,
            what,
        })?;
        let bytes = self.recorder.take();
        if !is_call {
            return Ok(());
        }
        let again = Fields::record_of(&bytes);
        let captured = record.clone();
        let replayed = again.filter(|again| *again != captured);
        match (&replayed, bytes.is_empty()) {
            (None, false) => Ok(()),
            _ => Err(ReplayError::Differs(Box::new(Difference {
                number,
                offset,
                captured,
                replayed,
            }))),
        }
    }

    /// Makes the call of a record. Returns false if the record is no call.
    fn play(&mut self, record: &Record) -> Result<bool, &'static str> {
        let (id, now) = (record.link, record.time);
        self.age = None;
        match &record.entry {
            Entry::New { role, seed, config } => {
                if self.links.contains_key(&id) {
                    return Err("the link has begun before");
                }
                let observer = Box::new(Observer::new(self.recorder.clone(), None, id));
                let link = Link::observed(config, *role, *seed, observer);
                let link = link.map_err(|_| NO_SENSE)?;
                self.links.insert(id, Played::New(link, *seed));
                self.replayed.links += 1;
            }
            Entry::Ask => self.ask(id)?,
            Entry::Gone => {
                self.links.remove(&id).ok_or(UNKNOWN)?;
            }
            Entry::Clock { .. } | Entry::End { .. } => return Ok(false),
            Entry::TakeOver { incoming, .. } => self.take_over(id, now, *incoming)?,
            Entry::Admit { gone } => self.admit(id, now, gone.as_ref())?,
            Entry::In(data) => {
                let mut buffer = std::mem::take(&mut self.buffer);
                self.gather(data, &mut buffer)?;
                self.protocol(id)?.handle_input(now, &buffer);
                self.buffer = buffer;
            }
            Entry::Out { space, .. } => {
                let space = usize::try_from(*space).map_err(|_| TOO_MUCH)?;
                if space as u64 > crate::MAX_DATA {
                    return Err(TOO_MUCH);
                }
                self.spend(space.saturating_sub(self.buffer.len()) as u64)?;
                let mut buffer = std::mem::take(&mut self.buffer);
                if buffer.len() < space {
                    buffer.resize(space, 0);
                }
                self.protocol(id)?.poll_output(now, &mut buffer[..space]);
                self.buffer = buffer;
            }
            entry => self.play_connection(id, now, entry)?,
        }
        Ok(true)
    }

    /// Plays what happens to a connection, whether it has a link or not.
    fn play_connection(
        &mut self,
        id: u64,
        now: Instant,
        entry: &Entry,
    ) -> Result<(), &'static str> {
        let connection = self.protocol(id)?;
        // The results are ignored here: the observer's records of them are compared.
        match entry {
            Entry::Opened { .. } => _ = connection.handle_opened(now),
            Entry::Secured { peer, .. } => _ = connection.handle_secured(now, *peer),
            Entry::Eof => connection.handle_eof(now),
            Entry::Lost(how) => connection.handle_lost(now, *how),
            Entry::Timeout => connection.handle_timeout(now),
            Entry::Revoke => connection.revoke(now),
            Entry::Declare(channels) => _ = self.incoming_at(id)?.declare(channels.clone()),
            Entry::Refuse(refusal) => self.incoming_at(id)?.refuse(now, refusal),
            _ => self.play_command(id, now, entry)?,
        }
        Ok(())
    }

    /// Plays a command of the application.
    fn play_command(&mut self, id: u64, now: Instant, entry: &Entry) -> Result<(), &'static str> {
        let payload = match entry {
            Entry::Send { message, .. } => Some(message),
            Entry::Handle { reply, .. } => reply.as_ref(),
            _ => None,
        };
        let payload = payload.map(|data| self.payload(data)).transpose()?;
        let link = self.link_at(id)?;
        match entry {
            Entry::Send {
                channel, expires, ..
            } => {
                let message = payload.unwrap_or_default();
                let _ = link.send(now, ChannelId(*channel), message, *expires);
            }
            Entry::Take { channel, .. } => {
                let taken = link.take(now, ChannelId(*channel));
                self.age = taken.ok().flatten().and_then(|message| message.age(now));
            }
            Entry::Handle {
                channel, sequence, ..
            } => {
                let channel = ChannelId(*channel);
                let _ = match payload {
                    Some(reply) => link.handle_with(now, channel, *sequence, &reply),
                    None => link.handle(now, channel, *sequence),
                };
            }
            Entry::Reject {
                channel,
                sequence,
                code,
                reason,
                ..
            } => _ = link.reject(now, ChannelId(*channel), *sequence, *code, reason),
            Entry::Abandon { channel, .. } => _ = link.abandon(now, ChannelId(*channel)),
            Entry::Close { mode, reason } => link.close_with(now, *mode, reason.clone()),
            Entry::Connect => _ = link.connect_now(now),
            Entry::Evict => link.evict(now),
            _ => _ = link.poll_event(),
        }
        Ok(())
    }

    fn take_over(
        &mut self,
        id: u64,
        now: Instant,
        incoming: Option<u64>,
    ) -> Result<(), &'static str> {
        let incoming_id = incoming.ok_or("the incoming connection was not captured")?;
        self.link_at(id)?;
        let mut incoming = self.take_incoming(incoming_id)?;
        let _ = self.link_at(id)?.take_over(now, &mut incoming);
        self.links.insert(incoming_id, Played::Incoming(incoming));
        Ok(())
    }

    /// Recreates a link that has just begun as an incoming connection.
    fn ask(&mut self, id: u64) -> Result<(), &'static str> {
        let (config, seed) = match self.links.get(&id).ok_or(UNKNOWN)? {
            Played::New(link, seed) if link.role() == Role::Acceptor => {
                (link.config().clone(), *seed)
            }
            _ => return Err("only a connection that has just arrived waits for a link"),
        };
        self.links.remove(&id);
        let observer = Observer::new(self.recorder.clone(), None, id);
        // The record of the first one's end is dropped.
        self.recorder.take();
        let incoming = replayed_incoming(&config, seed, observer, self.recorder.clone())?;
        self.links.insert(id, Played::Incoming(incoming));
        Ok(())
    }

    /// Turns an incoming connection into a link, unless it is refused.
    fn admit(&mut self, id: u64, now: Instant, gone: Option<&Gone>) -> Result<(), &'static str> {
        let mut incoming = self.take_incoming(id)?;
        incoming.remember(gone.map(Gone::session));
        let played = match incoming.accept(now) {
            Ok(link) => Played::Link(link),
            Err(incoming) => Played::Incoming(incoming),
        };
        self.links.insert(id, played);
        Ok(())
    }

    fn protocol(&mut self, id: u64) -> Result<&mut dyn Protocol, &'static str> {
        Ok(match self.links.get_mut(&id).ok_or(UNKNOWN)? {
            Played::New(link, _) | Played::Link(link) => link,
            Played::Incoming(incoming) => incoming,
        })
    }

    fn link_at(&mut self, id: u64) -> Result<&mut Link, &'static str> {
        let played = self.links.get_mut(&id).ok_or(UNKNOWN)?;
        match played {
            Played::Link(link) | Played::New(link, _) => Ok(link),
            Played::Incoming(_) => Err("an incoming connection does nothing that a link does"),
        }
    }

    fn incoming_at(&mut self, id: u64) -> Result<&mut Incoming, &'static str> {
        match self.links.get_mut(&id).ok_or(UNKNOWN)? {
            Played::Incoming(incoming) => Ok(incoming),
            Played::New(..) | Played::Link(_) => Err("a link does not wait for another"),
        }
    }

    fn take_incoming(&mut self, id: u64) -> Result<Incoming, &'static str> {
        self.incoming_at(id)?;
        match self.links.remove(&id) {
            Some(Played::Incoming(incoming)) => Ok(incoming),
            _ => Err(UNKNOWN),
        }
    }

    fn spend(&mut self, bytes: u64) -> Result<usize, &'static str> {
        self.budget = self.budget.checked_sub(bytes).ok_or(TOO_MUCH)?;
        usize::try_from(bytes).map_err(|_| TOO_MUCH)
    }

    fn gather(&mut self, data: &Data, buffer: &mut Vec<u8>) -> Result<(), &'static str> {
        self.spend(data.len())?;
        buffer.clear();
        for part in &data.0 {
            match part {
                Part::Bytes(bytes) => buffer.extend_from_slice(bytes),
                Part::LeftOut(length) => {
                    let length = usize::try_from(*length).map_err(|_| TOO_MUCH)?;
                    buffer.resize(buffer.len() + length, 0);
                }
            }
        }
        Ok(())
    }

    /// Returns a message or a reply; those that were left out share their zeros.
    fn payload(&mut self, data: &Data) -> Result<Bytes, &'static str> {
        let [Part::LeftOut(length)] = data.0[..] else {
            let mut payload = Vec::new();
            self.gather(data, &mut payload)?;
            return Ok(payload.into());
        };
        let length = self.spend(length)?;
        if self.zeros.len() < length {
            let mut zeros = Vec::new();
            zeros.try_reserve_exact(length).map_err(|_| TOO_MUCH)?;
            zeros.resize(length, 0);
            self.zeros = zeros.into();
        }
        Ok(self.zeros.slice(..length))
    }
}

/// The state of a link of a capture.
#[derive(Debug)]
enum Played {
    /// Nothing was done with it yet: it may become an incoming connection.
    New(Link, [u8; 16]),
    Link(Link),
    Incoming(Incoming),
}

/// Creates an incoming connection whose creation was recorded before.
fn replayed_incoming(
    config: &Config,
    seed: [u8; 16],
    observer: Observer,
    recorder: Arc<Recording>,
) -> Result<Incoming, &'static str> {
    let observer = Box::new(SkipNew { observer, recorder });
    Incoming::observed(config, seed, observer).map_err(|_| NO_SENSE)
}

/// Records a link except its creation.
#[derive(Debug)]
struct SkipNew {
    observer: Observer,
    recorder: Arc<Recording>,
}

impl Observe for SkipNew {
    fn id(&self) -> u64 {
        self.observer.id()
    }

    fn call(&mut self, now: Instant, call: &Call<'_>) {
        self.observer.call(now, call);
        if let Call::New { .. } = call {
            self.recorder.take();
        }
    }

    fn outcome(&mut self, outcome: &Outcome<'_>) {
        self.observer.outcome(outcome);
    }
}

const NO_SENSE: &str = "its declaration makes no sense";
const UNKNOWN: &str = "the capture does not have the link's beginning";
const TOO_MUCH: &str = "it has more bytes than can be played";

impl Gone {
    fn session(&self) -> GoneSession {
        GoneSession::new(self.session, self.peer, self.channels.clone())
    }
}
