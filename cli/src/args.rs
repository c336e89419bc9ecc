//! The flags and commands of the command line.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{ArgAction, Parser, Subcommand, ValueEnum};
use countersign::{Address, AddressError, DEFAULT_CHANNEL, RetryLimit};

use crate::help;
use crate::split::Way;
use crate::trace::kinds;
use crate::values::{self, Peer};

/// Hand messages directly to one pinned peer, and know what became of every one of them
#[derive(Debug, Parser)]
#[command(name = "countersign", bin_name = "countersign", version, after_help = help::after("", help::ALL))]
pub struct Args {
    /// How much is logged, and where to.
    #[command(flatten)]
    pub log: LogArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// How much is logged, and where to.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Log")]
pub struct LogArgs {
    /// Log more to standard error, and show the causes of an error; repeat for still more
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// Log nothing but errors to standard error
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Log to this file as well, with the time, after what it holds already
    #[arg(long, global = true, value_name = "FILE")]
    pub log_file: Option<PathBuf>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make an identity: a private key and its certificate
    #[command(after_help = help::after("keygen", help::KEYGEN))]
    Keygen(KeygenArgs),
    /// Show the fingerprints of certificates, as --peer takes them
    #[command(after_help = help::after("pin", help::PIN))]
    Pin(PinArgs),
    /// Send standard input, or receive to standard output, as messages
    #[command(subcommand, after_help = help::after("pipe", help::PIPE))]
    Pipe(PipeCommand),
    /// Send a short film from a robot to an operator, commands back, and check all of it
    #[command(after_help = help::after("demo", help::DEMO))]
    Demo(DemoArgs),
    /// Show what is in a capture, or play it back
    #[command(after_help = help::after("trace", help::TRACE))]
    Trace(TraceArgs),
}

impl Command {
    /// Returns whether connections are lost on purpose, so that the log need not warn of it.
    #[must_use]
    pub fn loses_connections(&self) -> bool {
        matches!(self, Self::Demo(_))
    }

    /// Returns whether keys are written to a file, which the log has to warn of.
    #[must_use]
    pub fn writes_keys(&self) -> bool {
        self.link().is_some_and(|link| link.security.key_log)
    }

    /// Returns whether a channel is named although the dialect has none.
    #[must_use]
    pub fn names_a_channel_in_vain(&self) -> bool {
        self.link()
            .is_some_and(|link| link.channel.is_some() && link.dialect == Dialect::Tlsstream)
    }

    fn link(&self) -> Option<&LinkArgs> {
        match self {
            Self::Pipe(command) => Some(command.link()),
            _ => None,
        }
    }
}

/// `countersign keygen`
#[derive(Debug, clap::Args)]
pub struct KeygenArgs {
    /// The name in the certificate, and of the two files: NAME.crt and NAME.key
    pub name: String,
    /// Make an Ed25519 key; without this, ECDSA on P-256, which every TLS library takes
    #[arg(long)]
    pub ed25519: bool,
    /// Where to write the files
    #[arg(long, default_value = ".")]
    pub dir: PathBuf,
    /// How many days the certificate is valid from now [default: ten years]
    #[arg(long, value_parser = values::days, allow_negative_numbers = true)]
    pub days: Option<u32>,
    /// Replace files that are there already
    #[arg(long)]
    pub force: bool,
}

/// `countersign pin`
#[derive(Debug, clap::Args)]
pub struct PinArgs {
    /// Certificates in PEM, or lists of fingerprints
    #[arg(required = true)]
    pub file: Vec<PathBuf>,
}

/// `countersign pipe`
#[derive(Debug, Subcommand)]
pub enum PipeCommand {
    /// Send what comes on standard input
    ///
    /// Reads only as fast as the peer handles messages. At the end of the input it waits for all
    /// verdicts, closes the link and reports on standard error what became of the messages.
    #[command(override_usage = help::USAGE_SEND, after_help = help::after("pipe", help::SEND))]
    Send(SendArgs),
    /// Write what the peer sends to standard output
    ///
    /// A message counts as handled once it was written and flushed, so what a receiver that was
    /// killed had not written was never confirmed. In the tlsstream dialect, which confirms on
    /// arrival, it counts as handled when it was taken from the connection.
    ///
    /// Ends with 0 only if the sender has said that this was all of its input. One exception: with
    /// --dialect tlsstream and --plaintext, a sender that was killed between two messages can't be
    /// told from one that was done.
    #[command(override_usage = help::USAGE_RECV, after_help = help::after("pipe", help::RECV))]
    Recv(ReceiveArgs),
}

impl PipeCommand {
    /// Returns the flags that both directions have in common.
    #[must_use]
    pub fn link(&self) -> &LinkArgs {
        match self {
            Self::Send(args) => &args.link,
            Self::Recv(args) => &args.link,
        }
    }
}

/// `countersign pipe send`
#[derive(Debug, clap::Args)]
pub struct SendArgs {
    /// What both directions have in common.
    #[command(flatten)]
    pub link: LinkArgs,
    /// Of messages that wait to be sent keep the newest only; a superseded one is no failure
    #[arg(long, help_heading = MESSAGES)]
    pub latest: bool,
    /// Drop a message that has not been received this long after it was read, 200ms say; that is no
    /// failure then
    #[arg(
        long,
        value_name = "DURATION",
        value_parser = values::expiry,
        help_heading = MESSAGES,
        allow_negative_numbers = true
    )]
    pub expire_after: Option<Duration>,
}

/// `countersign pipe recv`
#[derive(Debug, clap::Args)]
pub struct ReceiveArgs {
    /// What both directions have in common.
    #[command(flatten)]
    pub link: LinkArgs,
}

/// Flags that say how the peer is found, and how the two ends talk.
const LINK: &str = "Link";
/// Flags that say what a message is, and what becomes of it.
const MESSAGES: &str = "Messages";
/// Flags that say who the peer is, and who this end is.
const SECURITY: &str = "Security";
/// Flags for recording a link.
const CAPTURE: &str = "Capture";

/// What both directions of a pipe have in common.
#[derive(Debug, clap::Args)]
pub struct LinkArgs {
    /// Where the peer is.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// With --connect: how often, or for how long, to try when there is no connection
    ///
    /// `forever`, `never`, a number of attempts in a row, or a time such as 30s. Counts for the
    /// first connection and whenever one is lost. In the tlsstream dialect, which can't go on after
    /// a loss, it counts for the first connection only.
    #[arg(
        long,
        value_name = "LIMIT",
        default_value = "forever",
        conflicts_with = "listen",
        help_heading = LINK,
        allow_negative_numbers = true
    )]
    pub retry: Retry,
    /// With --listen: how long to wait for a peer that is away; 0 for not at all
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "5m",
        value_parser = values::duration,
        conflicts_with = "connect",
        help_heading = LINK,
        allow_negative_numbers = true
    )]
    pub retain: Duration,
    /// Who the peer is, and who this end is.
    #[command(flatten)]
    pub security: SecurityArgs,
    /// The wire format, the same at both ends
    #[arg(long, value_enum, default_value = "countersign", help_heading = LINK)]
    pub dialect: Dialect,
    /// The channel's name, the same at both ends; the tlsstream dialect has none
    /// [default: main]
    #[arg(
        long,
        value_name = "NAME",
        value_parser = values::channel,
        help_heading = LINK
    )]
    pub channel: Option<String>,
    /// What ends one message of the stream and begins the next [default: bytes, or lines where
    /// --latest or --expire-after needs messages]
    #[arg(long, value_enum, help_heading = MESSAGES)]
    pub split: Option<Way>,
    /// The largest message, 64MiB say, 1GiB at most; the smaller figure of both ends counts
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "16MiB",
        value_parser = values::max_message,
        help_heading = MESSAGES,
        allow_negative_numbers = true
    )]
    pub max_message: usize,
    /// Where everything that the link does is recorded, if anywhere.
    #[command(flatten)]
    pub capture: CaptureArgs,
}

impl LinkArgs {
    /// Returns the channel's name.
    #[must_use]
    pub fn channel(&self) -> &str {
        self.channel.as_deref().unwrap_or(DEFAULT_CHANNEL)
    }
}

/// Where everything that links do is recorded, if anywhere.
#[derive(Debug, clap::Args)]
pub struct CaptureArgs {
    /// Record everything that goes over the link, decrypted, in this new file; see `trace`
    #[arg(long, value_name = "FILE", help_heading = CAPTURE)]
    pub capture: Option<PathBuf>,
    /// The most that --capture writes; the capture ends there, and the link goes on
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "64MiB",
        value_parser = values::capture_limit,
        requires = "capture",
        help_heading = CAPTURE,
        allow_negative_numbers = true
    )]
    pub capture_limit: u64,
    /// Whether --capture writes the payloads of messages
    #[arg(
        long,
        value_name = "WHICH",
        value_enum,
        default_value = "none",
        requires = "capture",
        help_heading = CAPTURE
    )]
    pub capture_payloads: Payloads,
}

/// Which payloads are recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Payloads {
    /// Their lengths alone
    None,
    /// Every byte of them
    All,
}

/// Where the peer is.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub struct PlaceArgs {
    /// Listen here for one peer, on all addresses of a name; port 0 takes a free one
    ///
    /// `listening on ADDR:PORT` on standard error tells when peers can connect, and where. Peers
    /// that are refused are logged, and listening goes on, also for the peer to come back when its
    /// connection is lost.
    #[arg(long, value_name = "ADDR:PORT", help_heading = LINK)]
    pub listen: Option<Address>,
    /// Connect to a peer that listens
    #[arg(long, value_name = "HOST:PORT", value_parser = parse_peer, help_heading = LINK)]
    pub connect: Option<Address>,
}

/// How often, or for how long, to try to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry(pub RetryLimit);

impl FromStr for Retry {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const HELP: &str =
            "neither `forever`, `never`, a number of attempts, nor a time such as 30s";
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        let limit = match text {
            "forever" => RetryLimit::Forever,
            "never" => RetryLimit::Never,
            _ if is_number => RetryLimit::Attempts(text.parse().map_err(|_| HELP)?),
            _ => RetryLimit::For(values::duration(text).map_err(|_| HELP)?),
        };
        match limit {
            RetryLimit::Attempts(0) | RetryLimit::For(Duration::ZERO) => Err("say `never`"),
            limit => Ok(Self(limit)),
        }
    }
}

/// Who the peer is, and who this end is.
#[derive(Debug, clap::Args)]
pub struct SecurityArgs {
    /// This end's certificate
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present = "plaintext",
        help_heading = SECURITY
    )]
    pub cert: Option<PathBuf>,
    /// This end's private key
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present = "plaintext",
        help_heading = SECURITY
    )]
    pub key: Option<PathBuf>,
    /// The peer's certificate or its fingerprint (sha256:...); repeat to let several in
    #[arg(
        long,
        value_name = "FILE|FINGERPRINT",
        value_parser = OsStringValueParser::new().map(Peer::from),
        required_unless_present_any = ["plaintext", "peers"],
        help_heading = SECURITY
    )]
    pub peer: Vec<Peer>,
    /// A list of peers, a line each: a name, and fingerprints or file:PATH of certificates
    #[arg(long, value_name = "FILE", help_heading = SECURITY)]
    pub peers: Vec<PathBuf>,
    /// Let the peer's certificate in although it expired or is not valid yet
    #[arg(long, help_heading = SECURITY)]
    pub ignore_dates: bool,
    /// Write the connection's keys to the file that SSLKEYLOGFILE names, for a network analyser;
    /// the log warns of it, so it does not go with --quiet
    #[arg(long, help_heading = SECURITY)]
    pub key_log: bool,
    /// No security at all: anybody on the way can read and change everything
    #[arg(
        long,
        conflicts_with_all = ["cert", "key", "peer", "peers", "ignore_dates", "key_log"],
        help_heading = SECURITY
    )]
    pub plaintext: bool,
}

/// The wire format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Dialect {
    /// countersign's own
    Countersign,
    /// That of the Python original: confirmed on arrival, no empty messages
    Tlsstream,
}

impl From<Dialect> for countersign::Dialect {
    fn from(dialect: Dialect) -> Self {
        match dialect {
            Dialect::Countersign => Self::Countersign,
            Dialect::Tlsstream => Self::TlsStream,
        }
    }
}

/// `countersign demo`
#[derive(Debug, clap::Args)]
pub struct DemoArgs {
    /// What the links run on
    #[arg(long, value_enum, default_value = "tokio")]
    pub backend: BackendName,
    /// How many pictures to send; the film has 132 and starts again when they are through
    #[arg(
        long,
        default_value_t = 132,
        value_parser = values::frames,
        allow_negative_numbers = true
    )]
    pub frames: u32,
    /// How many pictures a second, or `max` for as fast as they are handled
    #[arg(long, default_value = "25", allow_negative_numbers = true)]
    pub fps: Pace,
    /// How often to cut the connection meanwhile, two pictures for each cut at least; 0 for not at
    /// all [default: 3, fewer if the film is too short]
    #[arg(long, value_parser = values::count, allow_negative_numbers = true)]
    pub cuts: Option<u32>,
    /// How often the network stands still meanwhile, a second each time, two pictures for each stall
    /// at least; 0 for not at all [default: 1, none if the film is too short]
    #[arg(long, value_parser = values::count, allow_negative_numbers = true)]
    pub stalls: Option<u32>,
    /// Where everything that both links do is recorded, if anywhere.
    #[command(flatten)]
    pub capture: CaptureArgs,
}

/// `countersign trace`
#[derive(Debug, clap::Args)]
pub struct TraceArgs {
    /// The capture; - for standard input
    pub file: PathBuf,
    /// Show the beginnings of payloads, where the capture has them
    #[arg(long)]
    pub payloads: bool,
    /// Only what concerns this channel; repeat for several
    #[arg(long, value_name = "NAME")]
    pub channel: Vec<String>,
    /// Only frames of this type (MESSAGE, ACK, ...), or this record (send, event, ...); repeat for
    /// several
    #[arg(long, value_name = "KIND", value_parser = kinds::kind)]
    pub kind: Vec<String>,
    /// Only this link; they are numbered in the order of their beginning
    #[arg(long, value_name = "NUMBER", value_parser = values::link, allow_negative_numbers = true)]
    pub link: Option<u64>,
    /// Only from this time after the beginning on, 1.5s say
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    pub from: Option<Duration>,
    /// Only up to this time after the beginning
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    pub to: Option<Duration>,
    /// Lines for programs: an object of JSON each
    #[arg(long, conflicts_with_all = ["summary", "replay"])]
    pub json: bool,
    /// Counts, bytes, rates, round trips, ages, verdicts and how long these took, instead of lines
    #[arg(long, conflicts_with_all = ["payloads", "replay"])]
    pub summary: bool,
    /// Make the same calls on links of this program, all of them, and tell where they first do
    /// something else
    #[arg(
        long,
        conflicts_with_all = ["payloads", "channel", "kind", "link", "from", "to"]
    )]
    pub replay: bool,
}

/// What links can run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BackendName {
    /// Blocking sockets and threads
    Std,
    /// The tokio runtime
    Tokio,
}

/// How fast pictures come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// One per interval.
    Every(Duration),
    /// Each when one of the previous two was handled.
    Max,
}

impl FromStr for Pace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "max" {
            return Ok(Self::Max);
        }
        match text.parse::<f64>() {
            Ok(rate) if (0.1..=100_000.0).contains(&rate) => {
                Ok(Self::Every(Duration::from_secs_f64(1.0 / rate)))
            }
            _ => Err("neither `max` nor a number from 0.1 to 100000".to_owned()),
        }
    }
}

fn parse_peer(text: &str) -> Result<Address, AddressError> {
    Address::of_peer(text)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_declaration_makes_sense() {
        Args::command().debug_assert();
    }

    #[test]
    fn addresses() {
        assert!(parse_peer("[::1]:1").is_ok() && parse_peer("robot.local:4433").is_ok());
        assert!(parse_peer("robot.local").is_err() && parse_peer("robot:0").is_err());
    }

    #[test]
    fn ways_to_retry() {
        let seconds = |seconds| RetryLimit::For(Duration::from_secs(seconds));
        for (text, limit) in [
            ("forever", RetryLimit::Forever),
            ("never", RetryLimit::Never),
            ("1", RetryLimit::Attempts(1)),
            ("4294967295", RetryLimit::Attempts(u32::MAX)),
            ("30s", seconds(30)),
            ("1h 30m", seconds(5400)),
        ] {
            assert_eq!(text.parse(), Ok(Retry(limit)), "{text}");
        }
        for text in [
            "",
            "0",
            "0s",
            "-1",
            "1.5",
            "4294967296",
            "soon",
            "Forever",
            "30 parsecs",
        ] {
            assert!(text.parse::<Retry>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_peer_is_waited_for_as_long_as_the_library_does() {
        let listen = [
            "countersign",
            "pipe",
            "recv",
            "--listen",
            "[::]:0",
            "--plaintext",
        ];
        let Ok(Args {
            command: Command::Pipe(PipeCommand::Recv(args)),
            ..
        }) = Args::try_parse_from(listen)
        else {
            panic!("it makes sense");
        };
        assert_eq!(args.link.retain, countersign::Timeouts::default().retain);
        assert_eq!(
            args.link.retry,
            Retry(countersign::Reconnect::default().limit)
        );
    }

    #[test]
    fn paces() {
        assert_eq!("max".parse(), Ok(Pace::Max));
        assert_eq!("50".parse(), Ok(Pace::Every(Duration::from_millis(20))));
        for text in ["0", "-1", "nan", "inf", "fast", "1e9"] {
            assert!(text.parse::<Pace>().is_err(), "{text}");
        }
    }
}
