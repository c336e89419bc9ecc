//! Commands for many messages at once.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;

use super::{Half, Link};
use crate::error::{ReceiveError, SendError};
use crate::event::ChannelId;
use crate::{Instant, Sequence};

/// What [`Link::send_batch`] has done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "it says whether all messages were accepted"]
pub struct SentBatch {
    /// The number of the first message that was accepted, if any was; the others follow without a
    /// gap.
    pub first: Sequence,
    /// How many messages were accepted.
    pub count: u64,
    /// Why the message that is at the front of the queue now was not; `None` once the queue is
    /// empty.
    pub refused: Option<SendError>,
}

impl Link {
    /// Accepts messages without a limited life off the front of `messages`, as [`Link::send`] does
    /// for each, until one is refused. It costs less for each message than sending them one by one.
    ///
    /// [`SendError::Blocked`] is followed by [`Event::Room`](crate::Event::Room) when trying again
    /// makes sense.
    ///
    /// ```
    /// use countersign_core::{Bytes, Config, Instant, Link, Role, SendChannel, SendError};
    ///
    /// let config = Config::new().channel(SendChannel::new("log").max_message(100).queue(2, 1000));
    /// let mut link = Link::new(&config, Role::Opener, [1; 16])?;
    /// let log = link.channel_id("log").unwrap();
    /// let mut lines = ["one", "two", "three"].map(Bytes::from).into();
    /// let sent = link.send_batch(Instant::ZERO, log, &mut lines);
    /// assert_eq!((sent.first, sent.count), (1, 2));
    /// assert_eq!(sent.refused, Some(SendError::Blocked));
    /// assert_eq!(lines, ["three"]);
    /// # Ok::<(), countersign_core::ConfigError>(())
    /// ```
    pub fn send_batch(
        &mut self,
        now: Instant,
        channel: ChannelId,
        messages: &mut VecDeque<Bytes>,
    ) -> SentBatch {
        // An observer is told of each, and the tlsstream dialect looks at each.
        if self.observer.is_set() || !self.is_native() {
            return self.send_each(now, channel, messages);
        }
        self.begin_call(now);
        let refuse = |refused| SentBatch {
            first: 0,
            count: 0,
            refused: Some(refused).filter(|_| !messages.is_empty()),
        };
        if let Err(why) = self.may_send_more() {
            return refuse(why);
        }
        let half = match self.halves.get_mut(channel.index()) {
            Some(Half::Send(half)) => half,
            Some(Half::Receive(_)) => return refuse(SendError::ReceiveMode),
            None => return refuse(SendError::NoSuchChannel),
        };
        let first = half.accepted() + 1;
        let (count, refused) = half.accept_batch(messages, self.now, &mut self.spent);
        self.wants_output = self.wants_output || half.may_write();
        self.has_events = self.has_events || half.has_superseded();
        SentBatch {
            first,
            count,
            refused,
        }
    }

    /// The same, one by one.
    fn send_each(
        &mut self,
        now: Instant,
        channel: ChannelId,
        messages: &mut VecDeque<Bytes>,
    ) -> SentBatch {
        let (mut first, mut count, mut refused) = (0, 0, None);
        while let Some(message) = messages.pop_front() {
            match self.send(now, channel, message, None) {
                Ok(sequence) => {
                    first = sequence - count;
                    count += 1;
                }
                Err(not_sent) => {
                    messages.push_front(not_sent.message);
                    refused = Some(not_sent.why);
                    break;
                }
            }
        }
        SentBatch {
            first,
            count,
            refused,
        }
    }

    /// Takes the messages that wait on a channel where taking handles them, and appends their
    /// payloads to `messages`, at most `limit`. It takes what [`Link::take`] would return, called
    /// again and again, and costs less for each message. Returns how many.
    ///
    /// The messages of one batch belong to one session: a border ends it, and is returned by the
    /// next call. Where messages have a limited life all are judged at `now`, so where the process
    /// may stand still in between, take those one by one ([`Link::is_timed`]).
    ///
    /// # Errors
    ///
    /// As for [`Link::take`], and [`ReceiveError::Manual`] on a channel whose messages are settled
    /// by their numbers. Nothing was taken then.
    ///
    /// ```
    /// # use countersign_core::{ChannelId, Instant, Link, ReceiveError};
    /// # fn example(link: &mut Link, now: Instant, log: ChannelId) -> Result<(), ReceiveError> {
    /// let mut lines = Vec::new();
    /// link.take_batch(now, log, &mut lines, 1000)?;
    /// for line in lines {
    ///     println!("{line:?}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn take_batch(
        &mut self,
        now: Instant,
        channel: ChannelId,
        messages: &mut Vec<Bytes>,
        limit: usize,
    ) -> Result<usize, ReceiveError> {
        self.advance_clock(now);
        let now = self.now;
        let (observed, native) = (self.observer.is_set(), self.is_native());
        let half = self.receive_half(channel)?;
        if !half.is_auto() {
            return Err(ReceiveError::Manual);
        }
        if half.takes_slowly() || observed || !native {
            return self.take_each(now, channel, messages, limit);
        }
        let count = half.take_batch(now, messages, limit);
        let answers = half.wants_output();
        self.wants_output |= answers;
        if count > 0 {
            self.progress();
        }
        Ok(count)
    }

    /// The same, one by one.
    fn take_each(
        &mut self,
        now: Instant,
        channel: ChannelId,
        messages: &mut Vec<Bytes>,
        limit: usize,
    ) -> Result<usize, ReceiveError> {
        let mut count = 0;
        while count < limit {
            if count > 0 && self.border(channel).is_some() {
                break;
            }
            let Some(message) = self.take(now, channel)? else {
                break;
            };
            messages.push(message.payload);
            count += 1;
        }
        Ok(count)
    }
}
