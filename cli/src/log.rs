//! Where the log goes: short lines to standard error, full ones to a file.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{self, Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use countersign::Escaped;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, layer};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

use crate::args::LogArgs;
use crate::exit::Failure;
use crate::stdio::{self, Sink};

/// The target under which the library logs what becomes of connections.
const DRIVER: &str = "countersign_driver";

/// The log file, if there is one.
static LOG_FILE: OnceLock<LogFile> = OnceLock::new();

/// Starts logging, for the rest of the program. If it `expects_losses` of connections, warnings
/// about them are only shown on request.
///
/// # Errors
/// The log file can't be written.
pub fn start(args: &LogArgs, expects_losses: bool) -> Result<(), Failure> {
    let level = match (args.quiet, args.verbose) {
        (true, _) => LevelFilter::ERROR,
        (false, 0) => LevelFilter::WARN,
        (false, 1) => LevelFilter::INFO,
        (false, 2) => LevelFilter::DEBUG,
        (false, _) => LevelFilter::TRACE,
    };
    // Connections that come and go are all that the driver logs in a demo.
    let of_driver = match args.verbose {
        0 if expects_losses => LevelFilter::ERROR,
        _ => level,
    };
    let to_stderr = layer()
        .event_format(Short)
        .log_internal_errors(false)
        .with_writer(|| stdio::Stderr)
        .with_filter(
            Targets::new()
                .with_default(level)
                .with_target(DRIVER, of_driver),
        );
    let opened = args.log_file.as_deref().map(LogFile::open).transpose();
    // An error about the file must be reported too, on standard error.
    let (file, result) = match opened {
        Ok(file) => (file, Ok(())),
        Err(failure) => (None, Err(failure)),
    };
    let to_file = file.map(|file| {
        // A log file should hold more than the screen shows.
        let level = level.max(LevelFilter::INFO);
        let file: &'static LogFile = LOG_FILE.get_or_init(|| file);
        layer()
            .with_ansi(false)
            .fmt_fields(debug_fn(escape).delimited(" "))
            .log_internal_errors(false)
            .with_writer(move || file)
            .with_filter(level)
    });
    let subscriber = tracing_subscriber::registry().with(to_stderr).with(to_file);
    // A second start, in a test, leaves the first in force.
    let _ = tracing::subscriber::set_global_default(subscriber);
    result
}

/// Returns whether there is a log file.
pub(crate) fn has_file() -> bool {
    LOG_FILE.get().is_some()
}

/// Opens the log file again by its name, since the current one may have been renamed. If that
/// fails, logging goes on in the current one.
pub(crate) fn reopen() {
    if let Some(log) = LOG_FILE.get() {
        match log.reopen() {
            Ok(()) => tracing::info!("opened the log file again"),
            Err(failure) => tracing::error!("the log file stays the one it was: {failure}"),
        }
    }
}

/// A log file. If it can't be written, that is no failure of the program's task.
struct LogFile {
    /// Absolute, so that it is the same when it is opened again.
    path: PathBuf,
    state: Mutex<Opened>,
}

/// The file that is, or was, open under the log file's name.
struct Opened {
    file: File,
    sink: Sink,
    /// It was reported that the file can't be written.
    complained: bool,
}

impl Opened {
    fn of(file: File) -> Self {
        Self {
            file,
            sink: Sink::new(),
            complained: false,
        }
    }
}

impl LogFile {
    fn open(path: &Path) -> Result<Self, Failure> {
        Ok(Self {
            state: Mutex::new(Opened::of(open(path)?)),
            path: path::absolute(path).unwrap_or_else(|_| path.to_owned()),
        })
    }

    fn reopen(&self) -> Result<(), Failure> {
        let opened = Opened::of(open(&self.path)?);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state = opened;
        Ok(())
    }

    fn put(&self, line: &[u8]) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let opened = &mut *state;
        let Err(error) = opened.sink.put(&opened.file, line) else {
            return;
        };
        if std::mem::replace(&mut opened.complained, true) {
            return;
        }
        drop(state);
        let path = self.path.display();
        // Not through the log, which is in the middle of a line.
        stdio::tell(format_args!(
            "error: {path}: the log cannot be written there ({error}); going on without"
        ));
    }
}

impl Write for &LogFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.put(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn open(path: &Path) -> Result<File, Failure> {
    let file = OpenOptions::new().create(true).append(true).open(path);
    file.map_err(|error| {
        let path = path.display();
        Failure::files(format!(
            "{path}: the log cannot be written there ({error}); choose another --log-file"
        ))
        .because(error)
    })
}

/// Writes a field so that it stays within its line, whatever a library has put into it.
fn escape(writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    let value = format_args!("{value:?}");
    let value = Escaped::whole(&value);
    match field.name() {
        "message" => write!(writer, "{value}"),
        name => write!(writer, "{name}={value}"),
    }
}

/// The text of an event.
#[derive(Default)]
struct Words {
    message: String,
    error: Option<String>,
}

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            "error" => self.error = Some(format!("{value:?}")),
            _ => {}
        }
    }
}

/// Formats `error: what happened`, without time and module, which a person at a terminal does not
/// need.
struct Short;

impl<S, N> FormatEvent<S, N> for Short
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let level = match *event.metadata().level() {
            Level::ERROR => "error",
            Level::WARN => "warning",
            Level::INFO => "info",
            Level::DEBUG => "debug",
            Level::TRACE => "trace",
        };
        write!(writer, "{level}: ")?;
        // What happened and then why, as a sentence. The libraries' other fields are not for
        // people.
        let mut words = Words::default();
        event.record(&mut words);
        match words.error {
            Some(error) => {
                let line = format_args!("{}: {error}", words.message);
                writeln!(writer, "{}", Escaped::whole(line))
            }
            None => writeln!(writer, "{}", Escaped::whole(words.message)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_opened_again_where_it_was() {
        // An existing file, since opening creates a missing one; nothing is written.
        let log = LogFile::open(Path::new("Cargo.toml")).unwrap();
        let expected = std::env::current_dir().unwrap().join("Cargo.toml");
        assert_eq!(log.path, expected);
        log.reopen().unwrap();
    }
}
