//! The specification, `docs/protocol.md`, sentence by sentence. Each test names the ids that it
//! checks; `coverage` fails when an id has no test.

mod admission;
mod border;
mod close;
mod close_code;
mod close_taking;
mod coverage;
mod declare;
mod extremes;
mod farewell;
mod frames;
mod greeting;
mod life;
mod limits;
mod liveness;
mod messages;
mod modes;
mod output;
mod reclosing;
mod reconnect;
mod refuse;
mod refused;
mod resume_figures;
mod resume_receiving;
mod resuming;
mod revoked;
mod sessions;
mod settling;
mod single;
mod stale;
mod status;
mod stream;
mod vectors;
mod verdicts;
mod windows;
