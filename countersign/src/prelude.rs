//! What most programs need: `use countersign::prelude::*`.
//!
//! The handles are the async ones. Blocking programs also import theirs by name, which takes
//! precedence: `use countersign::blocking::{Link, connect}`.

pub use crate::{
    CloseMode, CloseReason, Config, Delivery, Escaped, Identity, Lease, Link, LinkEvent, Listener,
    ManualReceiver, Outgoing, Pins, Receipt, ReceiveChannel, Receiver, Reconnect, Security,
    SendChannel, Sender, Setup, Timeouts, Verdict,
};
