//! What an application does with a link, and what it must get.

use std::time::Duration;

use countersign_core::{
    ChannelId, Dialect, Instant, Link, LinkState, Message, ReceiveError, Sequence,
};

use super::Subject;

/// What an application says about a message.
#[derive(Debug)]
pub(crate) enum Answer {
    Handled,
    Reply(Vec<u8>),
    /// With a code and a reason.
    Rejected(u32, String),
}

/// Whether a link has read all that has come so far, and its application gets all of it: no close
/// has begun and no session is lost.
fn reads_all(link: &Link) -> bool {
    link.state() == LinkState::Open && link.connection() == 1
}

impl Subject {
    pub(crate) fn send(&mut self, channel: ChannelId, length: usize, expires: Option<Instant>) {
        let Some(link) = &mut self.link else {
            return;
        };
        let result = link.send(self.now, channel, vec![7; length], expires);
        if let Ok(number) = result {
            self.ledger.accept(channel, number);
        }
        self.seen.note(&result.map_err(|error| error.to_string()));
    }

    pub(crate) fn take(&mut self, channel: ChannelId) {
        let Some(link) = &mut self.link else {
            return;
        };
        let (waiting, late_at) = (link.waiting(channel), link.late_at(channel));
        let is_timed = link.is_timed(channel);
        assert!(is_timed || late_at.is_none(), "late, and without times");
        let message = match link.take(self.now, channel) {
            Ok(Some(message)) => message,
            Ok(None) => {
                assert_eq!(link.waiting(channel), 0, "waits, and is not given");
                let all = reads_all(link);
                self.arrivals.run_dry(link.config(), channel, self.now, all);
                return;
            }
            Err(ReceiveError::SessionBorder(_)) => return self.ledger.cross(),
            Err(_) => return,
        };
        let manual = !link.is_auto(channel);
        let (number, length) = (message.sequence, message.payload.len());
        let age = message.age(self.now);
        assert!(is_timed || age.is_none(), "an age without times");
        let said = (channel, number, message.payload.as_ref(), age, late_at);
        self.seen.note(&said);
        self.check_room(channel, waiting, length);
        self.check_time(channel, &message);
        self.ledger.take(channel, number, length);
        if manual {
            self.unsettled.push((channel, number));
        }
    }

    /// No more waits than the window has room for.
    fn check_room(&mut self, channel: ChannelId, waiting: usize, length: usize) {
        let Some(link) = &self.link else {
            return;
        };
        let (at, window) = (usize::from(channel.0), self.windows[usize::from(channel.0)]);
        self.taken[at] += length;
        // What was left of earlier sessions comes on top, and in the tlsstream dialect, where a
        // receiver that has any room asks for the next message, one of those.
        if link.connection() == 1 {
            let most = match link.config().get_dialect() {
                Dialect::Countersign => window.1,
                Dialect::TlsStream => 2 * window.1,
            };
            let bytes = self.taken[at];
            assert!(
                waiting <= window.0 && bytes <= most,
                "{waiting} messages, {bytes} bytes"
            );
        }
    }

    /// A message has come, was given in time, and says the truth about its age.
    fn check_time(&mut self, channel: ChannelId, message: &Message) {
        let Some(link) = &self.link else {
            return;
        };
        let now = self.now;
        let Some(came) = self.arrivals.take(
            link.config(),
            channel,
            &message.payload,
            now,
            reads_all(link),
        ) else {
            return;
        };
        self.leases.take(now, channel, message, came, link);
        if let Some((told, age)) = message.age(now).zip(came.age(now)) {
            let age = Duration::from_micros(age);
            assert!(
                (told.at_least..=told.at_most).contains(&age),
                "{age:?}, not {told:?}"
            );
        }
    }

    /// The application receives nothing more.
    pub(crate) fn abandon(&mut self, channel: ChannelId) {
        if let Some(link) = &mut self.link
            && link.abandon(self.now, channel).is_ok()
        {
            self.arrivals.abandon(link.config(), channel);
        }
    }

    /// The application handles a message, with a reply perhaps, or rejects it.
    pub(crate) fn answer(&mut self, channel: ChannelId, number: Sequence, answer: &Answer) {
        let Some(link) = &mut self.link else {
            return;
        };
        let now = self.now;
        let mut result = match answer {
            Answer::Handled => link.handle(now, channel, number),
            Answer::Reply(reply) => link.handle_with(now, channel, number, reply),
            Answer::Rejected(code, reason) => link.reject(now, channel, number, *code, reason),
        };
        if let Err(ReceiveError::ReplyTooLong { limit }) = result {
            let Answer::Reply(reply) = answer else {
                panic!("{answer:?} is no reply");
            };
            assert!(reply.len() > limit, "{} above {limit}", reply.len());
            // It still waits, and as much as the limit is not too much.
            result = link.handle_with(now, channel, number, &reply[..limit]);
            assert_eq!(result, Ok(()));
        }
        self.seen.note(&result.map_err(|error| error.to_string()));
    }
}
