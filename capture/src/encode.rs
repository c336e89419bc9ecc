//! Encoding of calls and outcomes in CBOR.

use countersign_core::{
    Call, CloseMode, CloseReason, EndReason, Event, GoneSession, Outcome, Output, ReceiveError,
    Refusal, TakeOver, Verdict,
};

use crate::cbor::Cbor;
use crate::config;
use crate::split::Split;

/// The length of the longest [`end`] record, in bytes.
pub(crate) const END_LEN: usize = 32;

/// Returns the first item of a file.
pub(crate) fn header(payloads: bool, unix_micros: u64) -> Vec<u8> {
    let mut cbor = Cbor::new();
    cbor.tag(crate::decode::SELF_DESCRIBED).array(3);
    cbor.text(crate::decode::MAGIC)
        .uint(crate::decode::VERSION)
        .map(3);
    cbor.text("payloads").flag(payloads);
    cbor.text("unix_micros").uint(unix_micros);
    cbor.text("writer")
        .text(concat!("countersign-capture ", env!("CARGO_PKG_VERSION")));
    cbor.bytes_so_far().to_vec()
}

/// Returns the last record of a file.
pub(crate) fn end(time: u64, why: &str) -> Vec<u8> {
    let mut cbor = Cbor::new();
    cbor.array(4).uint(0).uint(time).text("end").text(why);
    cbor.bytes_so_far().to_vec()
}

/// Whether an outcome follows the call.
pub(crate) const fn has_outcome(call: &Call<'_>) -> bool {
    matches!(
        call,
        Call::Opened
            | Call::Secured { .. }
            | Call::Send { .. }
            | Call::Take { .. }
            | Call::Handle { .. }
            | Call::Reject { .. }
            | Call::Abandon { .. }
            | Call::TakeOver { .. }
            | Call::PollOutput { .. }
            | Call::PollEvent
    )
}

/// Writes a call's name and arguments, and returns how many items that is. `input` finds payloads
/// if they are left out.
pub(crate) fn call(cbor: &mut Cbor, call: &Call<'_>, input: Option<&mut Split>) -> usize {
    match *call {
        Call::New { config, role, seed } => {
            cbor.text("new").text(config::role(role)).raw(seed);
            config::encode(cbor, config);
            4
        }
        Call::AskToAdmit => name(cbor, "ask"),
        Call::Opened => name(cbor, "opened"),
        Call::Secured { peer } => {
            cbor.text("secured").peer(peer);
            2
        }
        Call::Input(bytes) => {
            cbor.text("in").data(bytes, input);
            2
        }
        Call::Eof => name(cbor, "eof"),
        Call::Lost(loss) => {
            cbor.text("lost").text(loss.name());
            2
        }
        Call::Timeout => name(cbor, "timeout"),
        Call::Send {
            channel,
            message,
            expires,
        } => {
            cbor.text("send").uint(channel.0.into());
            cbor.payload(message, input.is_some());
            match expires {
                Some(expires) => cbor.uint(expires.as_micros()),
                None => cbor.null(),
            };
            4
        }
        Call::Take { channel } => {
            cbor.text("take").uint(channel.0.into());
            2
        }
        Call::Handle {
            channel,
            sequence,
            reply,
        } => {
            cbor.text("handle").uint(channel.0.into()).uint(sequence);
            match reply {
                Some(reply) => cbor.payload(reply, input.is_some()),
                None => cbor.null(),
            };
            4
        }
        Call::Reject {
            channel,
            sequence,
            code,
            reason,
        } => {
            cbor.text("reject").uint(channel.0.into()).uint(sequence);
            cbor.uint(code.into()).text(reason);
            5
        }
        Call::Abandon { channel } => {
            cbor.text("abandon").uint(channel.0.into());
            2
        }
        Call::Close { mode, reason } => {
            cbor.text("close").text(match mode {
                CloseMode::DrainBoth => "drain-both",
                CloseMode::Drain => "drain",
                CloseMode::Withdraw => "withdraw",
            });
            let CloseReason { code, text, again } = reason;
            cbor.uint((*code).into()).text(text).flag(*again);
            5
        }
        Call::TakeOver { incoming } => {
            cbor.text("takeover");
            match incoming {
                Some(incoming) => cbor.uint(incoming),
                None => cbor.null(),
            };
            2
        }
        Call::Declare { channels } => {
            cbor.text("declare");
            config::encode_channels(cbor, channels);
            2
        }
        Call::Admit { gone } => {
            cbor.text("admit");
            match gone {
                Some(gone) => gone_session(cbor, gone),
                None => _ = cbor.null(),
            }
            2
        }
        Call::Refuse { refusal } => {
            let Refusal { code, text, again } = refusal;
            cbor.text("refuse").uint((*code).into());
            cbor.text(text).flag(*again);
            4
        }
        Call::ConnectNow => name(cbor, "connect"),
        Call::Evict => name(cbor, "evict"),
        Call::Revoke => name(cbor, "revoke"),
        Call::PollOutput { space } => {
            cbor.text("out").size(space);
            2
        }
        Call::PollEvent => name(cbor, "event"),
    }
}

fn name(cbor: &mut Cbor, name: &str) -> usize {
    cbor.text(name);
    1
}

fn gone_session(cbor: &mut Cbor, gone: &GoneSession) {
    cbor.array(3).raw(&gone.id()).peer(gone.peer());
    cbor.map(gone.channels().count());
    for (name, settled) in gone.channels() {
        cbor.text(name).uint(settled);
    }
}

/// Writes the outcome of a call: one item. `output` finds payloads if they are left out.
pub(crate) fn outcome(cbor: &mut Cbor, outcome: &Outcome<'_>, output: Option<&mut Split>) {
    match *outcome {
        Outcome::InOrder(result) => _ = cbor.flag(result.is_ok()),
        Outcome::Sent(Ok(sequence)) => _ = cbor.uint(sequence),
        Outcome::Sent(Err(why)) => _ = cbor.text(why.name()),
        Outcome::Taken { sequence, length } => _ = cbor.array(2).uint(sequence).size(length),
        Outcome::Settled(Ok(())) => _ = cbor.null(),
        Outcome::Settled(Err(why @ ReceiveError::SessionBorder(loss))) => {
            cbor.array(2).text(why.name()).text(loss.name());
        }
        Outcome::Settled(Err(why)) => _ = cbor.text(why.name()),
        Outcome::TakenOver(result) => {
            cbor.text(match result {
                TakeOver::Done => "done",
                TakeOver::Stale => "stale",
                TakeOver::SessionOver => "session-over",
                TakeOver::NotMine => "not-mine",
            });
        }
        Outcome::Output(Output::Written(_), bytes) => _ = cbor.data(bytes, output),
        Outcome::Output(Output::Idle, _) => _ = cbor.null(),
        Outcome::Output(Output::End, _) => _ = cbor.text("end"),
        Outcome::Output(Output::TooSmall { needed }, _) => _ = cbor.size(needed),
        Outcome::Event(None, _) => _ = cbor.null(),
        Outcome::Event(Some(event), reason) => {
            encode_event(cbor, event, reason, output.is_some());
        }
    }
}

fn encode_event(cbor: &mut Cbor, event: &Event, reason: Option<&EndReason>, leave_out: bool) {
    let name = event.name();
    match event {
        Event::Lost(loss) => _ = cbor.array(2).text(name).text(loss.name()),
        Event::SessionLost(loss) => _ = cbor.array(2).text(name).text(loss.name()),
        Event::Readable(channel)
        | Event::Room(channel)
        | Event::LeaseHeld(channel)
        | Event::LeaseLapsed(channel) => {
            cbor.array(2).text(name).uint(channel.0.into());
        }
        Event::Handled {
            channel,
            first,
            last,
            ..
        } => {
            cbor.array(4).text(name).uint(channel.0.into());
            cbor.uint(*first).uint(*last);
        }
        Event::Verdict {
            channel,
            sequence,
            verdict,
        } => {
            cbor.array(match verdict {
                Verdict::Rejected(_) => 6,
                Verdict::Handled(Some(_)) => 5,
                _ => 4,
            });
            cbor.text(name).uint(channel.0.into());
            cbor.uint(*sequence).text(verdict.kind().name());
            match verdict {
                Verdict::Rejected(rejection) => {
                    cbor.uint(rejection.code.into()).text(&rejection.reason);
                }
                Verdict::Handled(Some(reply)) => _ = cbor.payload(reply, leave_out),
                _ => {}
            }
        }
        Event::Ended => {
            cbor.array(3).text(name);
            cbor.text(reason.map_or("", EndReason::name));
            cbor.text(&reason.map(EndReason::to_string).unwrap_or_default());
        }
        _ => _ = cbor.array(1).text(name),
    }
}
