//! What a peer reads, which must keep to the rules whatever the link has read.

use countersign_core::wire::{Frame, FrameType, Greeting, MessageHead, Piece, Pong, Times};
use countersign_core::{Role, reject};

use super::peer::Peer;
use crate::subject::Moment;

/// How many answers of a link the books have at most.
const MOST: usize = 16;
/// By how much a PING may be dated back, in microseconds.
const DATED_BACK: u64 = 15;

impl Peer {
    /// Reads what the link has written.
    pub(crate) fn read(&mut self, moment: &Moment, bytes: &[u8]) {
        let Some(mut decoder) = self.decoder.take() else {
            return;
        };
        let mut input = bytes;
        while let Some(piece) = decoder.next(&mut input).expect("a link writes frames") {
            match piece {
                Piece::Message { head, data } => self.read_message(moment, &head, data),
                Piece::More(data) => self.read_more(data.len()),
                Piece::Frame(frame) => self.read_frame(moment, &frame),
            }
        }
        self.decoder = Some(decoder);
    }

    fn read_message(&mut self, moment: &Moment, head: &MessageHead, data: &[u8]) {
        assert_eq!(self.last_word, None, "a message behind the last word");
        if head.first {
            self.read_times(moment, head);
        }
        let lane = &mut self.lanes[usize::from(head.channel)];
        assert!(!lane.sends(), "a message the wrong way");
        if head.first {
            lane.partial = 0;
        }
        if head.last {
            (lane.received, lane.partial) = (lane.received.saturating_add(1), 0);
        } else {
            lane.partial += data.len() as u64;
        }
        let missing = if head.last {
            0
        } else {
            head.length - data.len()
        };
        self.arriving = (head.channel.into(), missing);
    }

    /// A message begins, with the times that it must have and no others.
    fn read_times(&self, moment: &Moment, head: &MessageHead) {
        let wanted = self.lanes[usize::from(head.channel)].wants_times;
        let Some(times) = head.times else {
            return assert!(!wanted, "a message without its times");
        };
        let now = moment.now.as_micros();
        assert!(times.accepted <= now, "{times:?}, now {now}");
        if times.expires == Times::NEVER {
            assert!(wanted, "times that nobody needs");
        } else {
            assert!(times.expires > now, "begun when it was late");
        }
        let known = self.role == Role::Acceptor || self.was_answered;
        assert!(known, "times of a clock that was never shown");
    }

    fn read_more(&mut self, length: usize) {
        let (lane, missing) = self.arriving;
        if missing > 0 {
            self.lanes[lane].partial += length as u64;
            self.arriving.1 = missing - length;
        }
    }

    fn read_frame(&mut self, moment: &Moment, frame: &Frame<'_>) {
        let may_follow = matches!(frame, Frame::Ping(_) | Frame::Pong(_) | Frame::Abort { .. });
        match self.last_word {
            Some(FrameType::Done) => assert!(may_follow, "{frame:?} behind DONE"),
            Some(last) => panic!("{frame:?} behind {last:?}"),
            None => {}
        }
        match *frame {
            Frame::Hello(ref greeting) | Frame::Welcome(ref greeting) => {
                self.read_time(moment, greeting.head.time);
                self.greeted(moment, greeting);
            }
            Frame::Refuse { .. } | Frame::Abort { .. } | Frame::Done => {
                self.last_word = Some(frame.kind());
            }
            Frame::Skip { channel, through } => {
                let lane = &mut self.lanes[usize::from(channel)];
                (lane.received, lane.partial) = (through, 0);
            }
            Frame::Noted { channel, .. } => assert!(!self.lanes[usize::from(channel)].sends()),
            Frame::Ack { channel, .. } => assert!(self.lanes[usize::from(channel)].sends()),
            Frame::Reject {
                channel,
                sequence,
                code,
                ..
            } => {
                let late = code == reject::EXPIRED;
                assert!(moment.timed || !late, "late, and without times");
                self.read_answer(channel, sequence);
            }
            Frame::Reply {
                channel,
                sequence,
                reply,
            } => {
                let limit = self.lanes[usize::from(channel)].max_reply;
                assert!(reply.len() <= limit as usize, "{} bytes", reply.len());
                self.read_answer(channel, sequence);
            }
            Frame::Ping(time) => self.read_ping(moment, time),
            Frame::Pong(pong) => self.read_pong(moment, pong),
            Frame::Close { .. } => {}
        }
    }

    /// A link writes what its clock shows.
    fn read_time(&mut self, moment: &Moment, time: u64) {
        assert_eq!(time, moment.now.as_micros());
        self.clock.hear(moment.now, time);
    }

    /// With a latency budget, each PING has a time of its own: it is dated back for that.
    fn read_ping(&mut self, moment: &Moment, time: u64) {
        if !moment.paced {
            return self.read_time(moment, time);
        }
        assert!(time <= moment.now.as_micros());
        assert!(moment.now.as_micros() - time <= DATED_BACK);
        assert!(
            self.last_ping.is_none_or(|last| last < time),
            "{time} again"
        );
        self.last_ping = Some(time);
        self.clock.hear(moment.now, time);
    }

    fn read_pong(&mut self, moment: &Moment, pong: Pong) {
        self.was_answered = true;
        assert_eq!(pong.time, moment.now.as_micros());
        if let Some((echo, arrived)) = moment.heard {
            assert_eq!((pong.echo, pong.arrived), (echo, arrived.as_micros()));
        }
    }

    /// A message is answered once on each connection.
    fn read_answer(&mut self, channel: u16, sequence: u64) {
        let lane = &mut self.lanes[usize::from(channel)];
        assert!(lane.sends(), "an answer the wrong way");
        let mut answers = lane.answers.iter();
        let again = answers.any(|(earlier, _)| *earlier == sequence);
        assert!(!again, "a second answer to {sequence}");
        if lane.answers.len() == MOST {
            lane.answers.pop_front();
        }
        lane.answers.push_back((sequence, false));
    }

    fn greeted(&mut self, moment: &Moment, greeting: &Greeting<'_>) {
        let head = greeting.head;
        self.named = head.session != [0; 16];
        if self.role == Role::Acceptor {
            self.session = head.session;
            if let Some((_, at)) = moment.heard {
                assert_eq!(head.arrived, at.as_micros(), "when HELLO came");
            }
        } else {
            assert_eq!(head.arrived, 0);
        }
        let theirs: Vec<_> = greeting.channels().collect();
        assert_eq!(theirs.len(), self.lanes.len());
        for (lane, theirs) in self.lanes.iter_mut().zip(theirs) {
            assert_eq!(
                (&*lane.name, lane.mode.opposite()),
                (theirs.name, theirs.mode)
            );
            lane.greeted(&theirs);
        }
    }
}
