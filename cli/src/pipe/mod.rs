//! `countersign pipe`: a stream of bytes as messages over a link.
//!
//! - `send` and `receive` are the two directions, `input` and `output` their ends of the stream.
//! - `farewell` has the reasons that the peer gets when not all is well.
//! - `watch` follows the link while its connections come and go.
//! - `reload` reads identity and pins again on request.
//! - `ledger` keeps the receipts that wait for their verdicts.
//! - `stop` turns signals into an orderly close.

mod farewell;
mod input;
mod ledger;
mod output;
mod receive;
mod reload;
mod send;
mod stop;
mod watch;

use std::io;

use countersign::{
    Address, ChannelConfig, Config, ConfigError, EndReason, LinkError, Loss, PeerMisbehaved,
    Reconnect, Setup, Timeouts, connect, listen,
};
use tokio::runtime::Builder;

use crate::args::{Dialect, LinkArgs, PipeCommand};
use crate::capture::Recording;
use crate::exit::Failure;
use crate::security;
use crate::{stdio, words};
use stop::Stop;
use watch::Watch;

/// The least number of bytes of messages that a channel can hold. Enough to keep a fast network
/// busy, and little enough that a machine with little memory can run several pipes.
const HELD: usize = 8 << 20;

/// Sends or receives until the stream or the link ends.
///
/// # Errors
/// There is no link, it was lost, or a message was not handled.
pub fn run(command: PipeCommand) -> Result<(), Failure> {
    // One thread drives the connection; the standard streams, which block, have their own. With a
    // single thread, the last bytes of a connection, such as why a peer is refused, are on their
    // way before the program learns that it has ended.
    let mut recording = Recording::default();
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| {
            Failure::failed("the system gives no event queue; too many open files?").because(error)
        })?;
    let result = runtime.block_on(async {
        let stop = Stop::listen(!reload::takes_hangups(command.link()))?;
        match command {
            PipeCommand::Send(args) => send::run(args, &mut recording, stop).await,
            PipeCommand::Recv(args) => receive::run(args.link, &mut recording, stop).await,
        }
    });
    // Otherwise the program would wait for threads that wait for a standard stream.
    runtime.shutdown_background();
    recording.conclude(result)
}

/// Makes the link that the command line describes, and begins its capture.
async fn establish(
    args: &LinkArgs,
    channel: impl Into<ChannelConfig>,
    recording: &mut Recording,
    stop: &mut Stop,
) -> Result<Watch, Failure> {
    let secured = security::from_args(&args.security)?;
    reload::on_hangup(&secured)?;
    let timeouts = Timeouts {
        retain: args.retain,
        ..Timeouts::default()
    };
    let config = Config::new()
        .channel(channel)
        .dialect(args.dialect.into())
        .timeouts(timeouts)
        // What follows a gap belongs to a different stream.
        .single_session()
        .reconnect(Reconnect::limited(args.retry.0));
    let setup = Setup::new(config, secured.security)
        .map_err(|error: ConfigError| Failure::usage(error.to_string()))?;
    *recording = Recording::begin(&args.capture)?;
    let setup = recording.of(setup);
    let watch = tokio::select! {
        watch = reach(args, setup) => watch?,
        signal = stop.asked() => return Err(Failure::stopped(signal)),
    };
    tracing::info!("connected with {}", watch::name(watch.link()));
    Ok(watch)
}

async fn reach(args: &LinkArgs, setup: Setup) -> Result<Watch, Failure> {
    match (&args.place.listen, &args.place.connect) {
        (Some(address), _) => serve(address, setup).await,
        (None, Some(address)) => match connect(address, &setup).await {
            Ok(link) => Ok(Watch::new(link, None)),
            Err(error) => Err(unreachable(address, error)),
        },
        (None, None) => Err(Failure::usage("either --listen or --connect is needed")),
    }
}

/// Returns the failure for a link that never came to be. If nobody listens, it names the flag,
/// which the library does not know.
fn unreachable(address: &Address, error: LinkError) -> Failure {
    let kind = error.io().map(io::Error::kind);
    if kind != Some(io::ErrorKind::ConnectionRefused) {
        return Failure::link(&address.to_string(), error);
    }
    let message = format!("{address}: nobody listens there; start the end with --listen first");
    Failure::failed(message).because(error)
}

/// Waits for the first peer that is admitted.
async fn serve(address: &Address, setup: Setup) -> Result<Watch, Failure> {
    let listener = listen(address, setup).await.map_err(|error| {
        let message = format!("{address}: cannot listen there ({error}); choose another --listen");
        Failure::failed(message).because(error)
    })?;
    // Scripts wait for this line, so it does not go through the log.
    for address in listener.local_addrs() {
        stdio::tell(format_args!("listening on {address}"));
    }
    loop {
        match listener.accept().await {
            Ok(link) => return Ok(Watch::new(link, Some(listener))),
            Err(error) => listener.log_as(&error, words::of_visitor(&error)),
        }
    }
}

/// What to check if the first bytes are not those of the tlsstream dialect, which has no handshake
/// in which the ends could find out.
const SAME_DIALECT: &str = "check that both ends use the same --dialect";

/// What to check if a connection in that dialect just ended.
const NO_WORDS: &str = "the tlsstream dialect has no words for why; see what the other end says";

/// Returns the failure for a link that ended without the peer closing it, after `what` this end was
/// doing. `understood` is whether the other end had understood anything by then.
fn lost(what: &str, error: LinkError, args: &LinkArgs, understood: bool) -> Failure {
    let hint = match error.reason() {
        _ if !is_tlsstream(args) => None,
        EndReason::Peer(PeerMisbehaved::StreamLength | PeerMisbehaved::StreamConfirmation)
            if !understood =>
        {
            Some(SAME_DIALECT)
        }
        EndReason::Lost(Loss::Transport | Loss::PeerLeft | Loss::PeerLeftEarly) => Some(NO_WORDS),
        _ => None,
    };
    let failure = Failure::link(what, error);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// Returns the bytes that a channel can hold: at least one message of the largest size.
fn held(args: &LinkArgs) -> usize {
    HELD.max(args.max_message)
}

/// Returns whether messages are confirmed as they arrive, before they could be written.
fn is_tlsstream(args: &LinkArgs) -> bool {
    args.dialect == Dialect::Tlsstream
}
