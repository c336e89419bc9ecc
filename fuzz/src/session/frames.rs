//! Frames of a peer that knows what it ought to say.

use arbitrary::{Arbitrary, Result, Unstructured};
use countersign_core::wire::{CloseHead, Frame, FrameType, Header, encode_close};
use countersign_core::{Dialect, Instant, MAX_REPLY, refuse, reject};

use super::messages::Say;
use super::peer::{Lane, Peer};
use crate::frames::encode;

/// Numbers at which something might give way.
const EXTREMES: [u64; 12] = [
    0,
    1,
    0x7FFF_FFFF,
    0xFFFF_FFFF,
    0x1_0000_0000,
    (1 << 63) - 2,
    (1 << 63) - 1,
    1 << 63,
    (1 << 63) + 1,
    u64::MAX - 1,
    u64::MAX,
    u64::MAX >> 8,
];

/// The truth, or near it, or far from it.
pub(super) fn figure(input: &mut Unstructured<'_>, truth: u64) -> Result<u64> {
    Ok(truth.wrapping_add(lie(input, 0)?))
}

/// What to add to the truth: mostly `usual`.
pub(super) fn lie(input: &mut Unstructured<'_>, usual: u64) -> Result<u64> {
    let how: u8 = input.arbitrary()?;
    Ok(match how {
        0..160 => usual,
        160..200 => u64::from(how - 159),
        200..230 => u64::from(how - 199).wrapping_neg(),
        _ => EXTREMES[usize::from(u8::arbitrary(input)?) % EXTREMES.len()],
    })
}

/// A text of up to the longest and a little more, in characters of two bytes.
fn text(input: &mut Unstructured<'_>) -> Result<String> {
    Ok("é".repeat(usize::from(u8::arbitrary(input)? % 129)))
}

impl Peer {
    /// What it says next, in bytes; `kind` is below 80.
    pub(crate) fn speak(
        &mut self,
        kind: u8,
        now: Instant,
        input: &mut Unstructured<'_>,
    ) -> Result<Vec<u8>> {
        let how: u8 = input.arbitrary()?;
        if self.dialect == Dialect::TlsStream && kind < 70 {
            return stream(how, input);
        }
        match kind {
            0..=51 => self.speak_of_channel(kind, how, now, input),
            60..=65 => self.close(how, input),
            70 | 71 => self.give_up(kind, how, input),
            72 | 73 => self.greeting(now, input),
            74..=76 => stream(how, input),
            78.. => unknown(how, input),
            _ => {
                let frame = match kind {
                    52..=55 | 59 => Frame::Pong(self.clock.pong(now, how, input)?),
                    56..=58 => Frame::Ping(self.clock.tell(now, how, input)?),
                    66..=69 => Frame::Done,
                    _ => {
                        self.clock.jump(now, how, input)?;
                        Frame::Ping(self.clock.time(now))
                    }
                };
                Ok(encode(&frame))
            }
        }
    }

    /// A frame about one channel; `kind` is below 52.
    fn speak_of_channel(
        &mut self,
        kind: u8,
        how: u8,
        now: Instant,
        input: &mut Unstructured<'_>,
    ) -> Result<Vec<u8>> {
        let channel = self.channel(kind, how);
        let Some(lane) = self.lanes.get_mut(usize::from(channel)) else {
            // A channel that does not exist.
            return Ok(encode(&Frame::Ack {
                channel,
                handled: 1,
            }));
        };
        let frame = match kind {
            0..=27 => {
                let mut say = Say {
                    channel,
                    lane,
                    clock: &mut self.clock,
                    count: &mut self.count,
                    now,
                    out: Vec::new(),
                };
                if kind < 20 {
                    say.message(input)?;
                } else {
                    say.fragment(input)?;
                }
                return Ok(say.out);
            }
            28..=31 => {
                let through = figure(input, lane.next)?;
                lane.next = through.wrapping_add(1);
                Frame::Skip { channel, through }
            }
            32..=41 => {
                let handled = figure(input, lane.received)?;
                lane.acknowledged = handled;
                Frame::Ack { channel, handled }
            }
            42..=47 => return answer(channel, kind, lane, input),
            _ => {
                let sequence = figure(input, lane.note_next())?;
                Frame::Noted { channel, sequence }
            }
        };
        Ok(encode(&frame))
    }

    /// The last word of an end that is not content.
    fn give_up(&self, kind: u8, how: u8, input: &mut Unstructured<'_>) -> Result<Vec<u8>> {
        let text = text(input)?;
        let text = &*text;
        Ok(encode(&match kind {
            70 => Frame::Abort {
                code: how.into(),
                text,
            },
            _ => {
                let code = u16::from(how % 9);
                Frame::Refuse {
                    channel: self.channel(kind, how),
                    code,
                    // An acceptor that has no room lets its peer come back, mostly.
                    again: (code == refuse::BUSY) != (how >= 200),
                    text,
                }
            }
        }))
    }

    /// A channel that such a frame may be about; rarely, any.
    fn channel(&self, kind: u8, how: u8) -> u16 {
        let from_sender = matches!(kind, 0..=31 | 48..=51);
        let fitting = (0..)
            .zip(&self.lanes)
            .filter(|(_, lane)| lane.sends() == from_sender);
        let fitting: Vec<u16> = fitting.map(|(channel, _)| channel).collect();
        match fitting.len() {
            0 => u16::from(how % 4),
            _ if how >= 240 => u16::from(how - 240),
            count => fitting[usize::from(how) % count],
        }
    }

    fn close(&mut self, how: u8, input: &mut Unstructured<'_>) -> Result<Vec<u8>> {
        let mut list = Vec::new();
        for (channel, lane) in (0..).zip(&self.lanes) {
            if lane.sends() {
                list.push((channel, figure(input, lane.next.wrapping_sub(1))?));
            }
        }
        match how {
            0..220 => {}
            220..230 => drop(list.pop()),
            230..240 => list.extend(list.first().copied()),
            _ => list.push((u16::from(how - 240), 0)),
        }
        let (code, text) = match how {
            190..205 => (u32::from(how % 2) + 1, "why"),
            205..220 => (u32::MAX - u32::from(how % 4), ""),
            _ => (0, ""),
        };
        let again = how % 8 == 7;
        let head = CloseHead { code, again, text };
        let mut out = vec![0; 14 + 10 * list.len() + text.len()];
        encode_close(&head, list.into_iter(), &mut out).expect("room");
        Ok(out)
    }
}

/// A rejection or a reply.
fn answer(
    channel: u16,
    kind: u8,
    lane: &mut Lane,
    input: &mut Unstructured<'_>,
) -> Result<Vec<u8>> {
    // Those that have come and are not acknowledged, one after the other.
    let next = lane.answered.max(lane.acknowledged).wrapping_add(1);
    let sequence = figure(input, next.min(lane.received))?;
    lane.answered = sequence;
    let (code, reason) = (u32::arbitrary(input)?, text(input)?);
    let reply = vec![b'r'; reply_length(code, lane.max_reply as usize)];
    Ok(encode(&match kind {
        42..=44 => Frame::Reject {
            channel,
            sequence,
            code: if kind == 44 { reject::EXPIRED } else { code },
            reason: &reason,
        },
        _ => Frame::Reply {
            channel,
            sequence,
            reply: &reply,
        },
    }))
}

/// How long a reply is: mostly within the limit, and then often all of it.
fn reply_length(how: u32, limit: usize) -> usize {
    let any = (how >> 8) as usize;
    match how % 8 {
        0..=2 => any % (limit + 1),
        3 | 4 => limit,
        5 => limit + 1,
        6 => 0,
        _ => any % (MAX_REPLY + 1),
    }
}

/// What the tlsstream dialect has to say.
fn stream(how: u8, input: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    if how & 1 == 0 {
        return Ok(b"OK!".to_vec());
    }
    let length = u64::from(u16::arbitrary(input)? % 3100);
    let said = figure(input, length)?;
    let mut out = format!("{said}!").into_bytes();
    out.resize(out.len() + length as usize, b's');
    Ok(out)
}

/// A frame of an unknown type.
fn unknown(how: u8, input: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let length = u16::arbitrary(input)? % 600;
    let mut out = Header::encode(FrameType::Done, how, how.into(), length.into()).to_vec();
    out[0] = how | 0x80;
    out.resize(out.len() + usize::from(length), how);
    Ok(out)
}
