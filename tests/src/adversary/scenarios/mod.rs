//! The scenarios, each written once for all backends.

mod certificates;
mod figures;
mod floods;
pub mod greedy;
mod handmade;
mod resumes;
mod revoked;
mod sessions;
mod stalls;
mod strangers;
mod truncation;
mod violations;

use countersign_core::wire::FrameType;
use countersign_core::{EndReason, Loss, Role};
use countersign_driver::LinkError;
use countersign_endpoint::Reason;

use super::{CAST, Disguise, Hostile, Seen, Victim};
use crate::suite;

/// A scenario with a hostile peer, and the ends that it attacks.
pub type Scenario = suite::Scenario<Victim, Role>;

static EITHER_END: &[Role] = &[Role::Acceptor, Role::Opener];
static ACCEPTOR: &[Role] = &[Role::Acceptor];
static OPENER: &[Role] = &[Role::Opener];

static MODULES: &[&[Scenario]] = &[
    strangers::SCENARIOS,
    certificates::SCENARIOS,
    stalls::SCENARIOS,
    truncation::SCENARIOS,
    figures::SCENARIOS,
    violations::SCENARIOS,
    handmade::SCENARIOS,
    revoked::SCENARIOS,
    greedy::SCENARIOS,
    floods::SCENARIOS,
    sessions::SCENARIOS,
    resumes::SCENARIOS,
];

/// Returns every scenario.
pub fn all() -> impl Iterator<Item = &'static Scenario> {
    MODULES.iter().copied().flatten()
}

/// Returns why the victim could not secure the connection. Every peer that fails before the link is
/// up ends it in one of these ways.
fn security(error: &LinkError) -> &Reason {
    let EndReason::Lost(loss) = *error.reason() else {
        panic!("{error}");
    };
    let is_told = matches!(
        loss,
        Loss::Security
            | Loss::NotTrusted
            | Loss::Unproven
            | Loss::OutOfDate
            | Loss::PeerLeft
            | Loss::PeerLeftEarly
    );
    assert!(is_told, "{loss:?}: {error}");
    let security = error.security().expect("why it could not be secured");
    assert_eq!(security.to_string(), error.to_string());
    security.reason()
}

/// The victim says just this.
fn assert_says(error: &LinkError, text: &str) {
    assert_eq!(error.to_string(), text);
}

/// The attacker's last input is ABORT with this code and text, and then the connection ends in
/// order. [ABORT-1] [ABORT-2]
fn assert_aborted(hostile: &mut Hostile, code: u16, text: &str) {
    let mut last = None;
    while let Some(frame) = hostile.receive_frame() {
        last = Some(frame);
    }
    let last = last.expect("a last word");
    assert_eq!(last[0], FrameType::Abort as u8, "{last:02x?}");
    assert_eq!(last[8..10], code.to_be_bytes());
    assert_eq!(String::from_utf8_lossy(&last[12..]), text);
    let in_order = match hostile.is_disguised() {
        true => Seen::Closed,
        false => Seen::Ended,
    };
    assert_eq!(hostile.receive_end(), in_order);
}

/// A frame with any header and body.
fn frame(kind: u8, flags: u8, channel: u16, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![kind, flags];
    frame.extend(channel.to_be_bytes());
    frame.extend((body.len() as u32).to_be_bytes());
    frame.extend(body);
    frame
}

/// A frame with a number for its body.
fn number(kind: FrameType, channel: u16, value: u64) -> Vec<u8> {
    frame(kind as u8, 0, channel, &value.to_be_bytes())
}

/// A pinned attacker completes the TLS handshake, and reads HELLO if it is the one that answers.
fn shake(hostile: &mut Hostile) {
    hostile.shake(Disguise::of(&CAST.peer)).unwrap();
    if hostile.victim() == Role::Opener {
        let hello = hostile.receive_frame().expect("HELLO");
        assert_eq!(hello[0], FrameType::Hello as u8);
    }
}

/// The attacker has a link with the victim.
fn greet(hostile: &mut Hostile, victim: &Victim) {
    greet_with(hostile, &victim.words().to(victim.role));
}

/// The same, by this greeting.
fn greet_with(hostile: &mut Hostile, greeting: &[u8]) {
    shake(hostile);
    hostile.say(greeting);
    if hostile.victim() == Role::Acceptor {
        let welcome = hostile.receive_frame().expect("WELCOME");
        assert_eq!(welcome[0], FrameType::Welcome as u8);
    }
}
