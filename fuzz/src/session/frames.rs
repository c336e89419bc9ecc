//! Frames of a peer that knows what it ought to say.

use arbitrary::{Arbitrary, Result, Unstructured};
use countersign_core::Dialect;
use countersign_core::refuse;
use countersign_core::wire::{CloseHead, Frame, FrameType, Header, MessageHead, encode_close};

use super::peer::{Lane, Peer};

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
    pub(crate) fn speak(&mut self, kind: u8, input: &mut Unstructured<'_>) -> Result<Vec<u8>> {
        let how: u8 = input.arbitrary()?;
        if self.dialect == Dialect::TlsStream && kind < 70 {
            return stream(how, input);
        }
        let channel = self.channel(kind, how);
        let Some(lane) = self.lanes.get_mut(usize::from(channel)) else {
            // A channel that does not exist.
            return Ok(write(&Frame::Ack {
                channel,
                handled: 1,
            }));
        };
        let frame = match kind {
            0..=19 => return message(channel, lane, input),
            20..=27 => return fragment(channel, lane, input),
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
            42..=47 => return reject(channel, lane, input),
            48..=51 => Frame::Noted {
                channel,
                sequence: figure(input, lane.next.wrapping_sub(1))?,
            },
            56..=58 => Frame::Ping(how.into()),
            59 => Frame::Pong(how.into()),
            60..=65 => return self.close(how, input),
            66..=69 => Frame::Done,
            70 => {
                let text = text(input)?;
                return Ok(write(&Frame::Abort {
                    code: how.into(),
                    text: &text,
                }));
            }
            71 => {
                let text = text(input)?;
                let code = u16::from(how % 9);
                return Ok(write(&Frame::Refuse {
                    channel,
                    code,
                    // An acceptor that has no room lets its peer come back, mostly.
                    again: (code == refuse::BUSY) != (how >= 200),
                    text: &text,
                }));
            }
            72 | 73 => return self.greeting(input),
            74..=76 => return stream(how, input),
            _ => return unknown(how, input),
        };
        Ok(write(&frame))
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

/// Writes any frame but a greeting, a close and a message.
fn write(frame: &Frame<'_>) -> Vec<u8> {
    let mut out = vec![0; 300];
    let length = frame.encode(&mut out).expect("room");
    out.truncate(length);
    out
}

/// A whole message, in one frame or several.
fn message(channel: u16, lane: &mut Lane, input: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let sequence = figure(input, lane.next)?;
    let (length, parts): (u16, u8) = input.arbitrary()?;
    let length = usize::from(length % 3100);
    let parts = usize::from(parts % 4 + 1).min(length.max(1));
    let total = figure(input, length as u64)?;
    let mut out = Vec::new();
    for part in 0..parts {
        let (from, to) = (length * part / parts, length * (part + 1) / parts);
        let (first, last) = (part == 0, part + 1 == parts);
        push(channel, sequence, (first, last), total, to - from, &mut out);
    }
    (lane.next, lane.open) = (sequence.wrapping_add(1), None);
    Ok(out)
}

/// A part of a message: the beginning, or what follows of one that has begun.
fn fragment(channel: u16, lane: &mut Lane, input: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let sequence = figure(input, lane.next)?;
    let (size, flags): (u16, u8) = input.arbitrary()?;
    let size = u64::from(size % 600);
    let (total, sent) = match lane.open {
        Some(open) => open,
        None => (figure(input, size * 3)?, 0),
    };
    let missing = total.saturating_sub(sent);
    let (first, last) = match flags {
        0..250 => (sent == 0, size >= missing),
        _ => (flags & 1 != 0, flags & 2 != 0),
    };
    let size = if flags < 245 { size.min(missing) } else { size };
    let mut out = Vec::new();
    push(
        channel,
        sequence,
        (first, last),
        total,
        size as usize,
        &mut out,
    );
    lane.open = (!last).then_some((total, sent + size));
    if last {
        lane.next = sequence.wrapping_add(1);
    }
    Ok(out)
}

fn push(
    channel: u16,
    sequence: u64,
    (first, last): (bool, bool),
    total: u64,
    length: usize,
    out: &mut Vec<u8>,
) {
    let head = MessageHead {
        channel,
        first,
        last,
        sequence: sequence as u32,
        total: (first && !last).then_some(total),
        length,
    };
    let at = out.len();
    out.resize(at + head.encoded_len() + length, b'm');
    head.encode(&mut out[at..]);
}

fn reject(channel: u16, lane: &mut Lane, input: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    // Those that have come and are not acknowledged, one after the other.
    let next = lane.rejected.max(lane.acknowledged).wrapping_add(1);
    let sequence = figure(input, next.min(lane.received))?;
    lane.rejected = sequence;
    let (code, reason) = (u32::arbitrary(input)?, text(input)?);
    Ok(write(&Frame::Reject {
        channel,
        sequence,
        code,
        reason: &reason,
    }))
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
