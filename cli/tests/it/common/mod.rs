//! Runs the built program.

#![allow(dead_code, reason = "each test file uses its part")]

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};

use tempfile::TempDir;

/// Lets SIGHUP reach the programs that are started from here on, where these tests themselves were
/// started to ignore it (`nohup`) and their programs would do the same. What a process handles is reset
/// in those that it starts; what it ignores is not.
#[cfg(target_os = "linux")]
fn pass_on_hangups() {
    use tokio::signal::unix::{SignalKind, signal};
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let status = std::fs::read_to_string("/proc/self/status").expect("there is /proc");
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let mask = u64::from_str_radix(ignored.expect("it is listed").trim(), 16);
        if mask.expect("it is a mask") & 1 == 0 {
            return;
        }
        // The handler stays when the runtime is gone, and does nothing.
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build().expect("there is room");
        let _entered = runtime.enter();
        drop(signal(SignalKind::hangup()).expect("it can be handled"));
    });
}

/// On other systems the program can't tell that it is to ignore SIGHUP.
#[cfg(not(target_os = "linux"))]
fn pass_on_hangups() {}

/// The program, not started yet.
pub(crate) fn countersign<I: IntoIterator<Item: AsRef<str>>>(args: I) -> Command {
    pass_on_hangups();
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    for arg in args {
        command.arg(arg.as_ref());
    }
    command.stdin(Stdio::null()).env_remove("SSLKEYLOGFILE");
    command
}

/// A shell that does `script`, in which `"$@"` is the program with its arguments.
#[cfg(unix)]
pub(crate) fn shell<I: IntoIterator<Item: AsRef<str>>>(script: &str, args: I) -> Command {
    pass_on_hangups();
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh", env!("CARGO_BIN_EXE_countersign")]);
    for arg in args {
        command.arg(arg.as_ref());
    }
    command.stdin(Stdio::null()).env_remove("SSLKEYLOGFILE");
    command
}

/// What a run of the program came to.
#[derive(Debug)]
pub(crate) struct Finished {
    /// The exit code; none for one that was killed.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Finished {
    /// Fails the test unless the run ended so, and its log has these words.
    #[track_caller]
    pub(crate) fn expect(&self, code: i32, words: &str) {
        assert_eq!(self.code, Some(code), "{}", self.stderr);
        assert!(self.stderr.contains(words), "{}", self.stderr);
        for line in self.stderr.lines().filter(|_| code != 0 && code != 2) {
            assert!(line.len() < 700, "{line}");
        }
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.stdout.clone()).expect("the output is text")
    }
}

/// Runs the program to its end.
pub(crate) fn run<I: IntoIterator<Item: AsRef<str>>>(args: I) -> Finished {
    finish(&mut countersign(args))
}

/// Runs a command to its end.
pub(crate) fn finish(command: &mut Command) -> Finished {
    let output = command.output().expect("the program starts");
    Finished {
        code: output.status.code(),
        stdout: output.stdout,
        stderr: String::from_utf8(output.stderr).expect("the log is text"),
    }
}

/// What a running program has logged so far.
struct Log {
    /// The text, and whether that is all.
    state: Mutex<(String, bool)>,
    changed: Condvar,
}

impl Log {
    fn read(&self, mut from: impl BufRead) {
        loop {
            let mut line = String::new();
            let count = from.read_line(&mut line).expect("the log is text");
            let mut state = self.state.lock().expect("nobody panics with it");
            state.0.push_str(&line);
            state.1 = count == 0;
            drop(state);
            self.changed.notify_all();
            if count == 0 {
                return;
            }
        }
    }

    /// Waits until the log has something, or is over.
    fn wait(&self, mut has: impl FnMut(&str) -> bool) -> String {
        let state = self.state.lock().expect("nobody panics with it");
        let waits = |state: &mut (String, bool)| !has(&state.0) && !state.1;
        let waited = self.changed.wait_while(state, waits);
        waited.expect("nobody panics with it").0.clone()
    }
}

/// The program while it runs. Its log is read all the time.
pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) address: Option<String>,
    log: Arc<Log>,
    output: Option<JoinHandle<Vec<u8>>>,
}

impl Running {
    /// Starts it. A listening one is there when it says so.
    pub(crate) fn start<I: IntoIterator<Item: AsRef<str>>>(args: I) -> Self {
        let mut command = countersign(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        Self::spawn(command)
    }

    /// The same, with standard input and output of its own, or a shell around it.
    pub(crate) fn spawn(mut command: Command) -> Self {
        let listens = command.get_args().any(|arg| arg == "--listen");
        let mut child = command
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut log = BufReader::new(child.stderr.take().expect("it is piped"));
        let mut text = String::new();
        let mut address = None;
        while listens && address.is_none() {
            let start = text.len();
            assert!(log.read_line(&mut text).expect("a line") > 0, "{text}");
            let line = text[start..].trim_end();
            address = line.strip_prefix("listening on ").map(str::to_owned);
        }
        let collected = Arc::new(Log {
            state: Mutex::new((text, false)),
            changed: Condvar::new(),
        });
        let collecting = collected.clone();
        thread::spawn(move || collecting.read(log));
        Self {
            child,
            address,
            log: collected,
            output: None,
        }
    }

    pub(crate) fn stdin(&mut self) -> ChildStdin {
        self.child.stdin.take().expect("nobody took it before")
    }

    pub(crate) fn stdout(&mut self) -> ChildStdout {
        self.child.stdout.take().expect("nobody took it before")
    }

    /// Takes back what [`Self::stdout`] gave, for [`Self::finish`] to read the rest.
    pub(crate) fn give_back(&mut self, output: ChildStdout) {
        self.child.stdout = Some(output);
    }

    /// Writes this to its input, in the background, and ends it.
    pub(crate) fn feed(&mut self, input: &[u8]) {
        let (mut stdin, input) = (self.stdin(), input.to_vec());
        // The program may end before it has read everything.
        thread::spawn(move || drop(stdin.write_all(&input)));
    }

    /// Reads its output in the background: more of it than a pipe holds would stop it otherwise.
    pub(crate) fn collect(&mut self) {
        let mut out = self.stdout();
        self.output = Some(thread::spawn(move || {
            let mut output = Vec::new();
            out.read_to_end(&mut output).expect("it can be read");
            output
        }));
    }

    /// Kills it, and waits until the system has taken back all that it had.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it was started");
    }

    /// Waits until these words have been logged so many times.
    #[track_caller]
    pub(crate) fn wait_for_log(&self, words: &str, times: usize) {
        let text = self.log.wait(|text| text.matches(words).count() >= times);
        assert!(text.matches(words).count() >= times, "{words}: {text}");
    }

    /// Reads what it still writes, and waits for its end.
    pub(crate) fn finish(mut self) -> Finished {
        drop(self.child.stdin.take());
        if self.child.stdout.is_some() {
            self.collect();
        }
        let output = self.output.take().map(JoinHandle::join);
        let stdout = output.transpose().expect("it was read").unwrap_or_default();
        let status = self.child.wait().expect("it was started");
        Finished {
            code: status.code(),
            stdout,
            stderr: self.log.wait(|_| false),
        }
    }

    /// Sends it a signal, by its process id.
    #[cfg(unix)]
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", name, &id]).status();
        assert!(status.expect("there is a kill").success());
    }
}

/// A program that waits for its peer for ever must not outlive a test that has failed.
impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Two identities and a stranger's, in a folder that goes away.
pub(crate) struct Identities(pub(crate) TempDir);

impl Identities {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let this = Self(folder);
        for name in ["robot", "operator", "stranger"] {
            run(["keygen", name, "--dir", &this.folder()]).expect(0, "");
        }
        this
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    fn folder(&self) -> String {
        self.path().to_str().expect("it is text").to_owned()
    }

    pub(crate) fn file(&self, name: &str) -> String {
        format!("{}/{name}", self.folder())
    }

    /// The flags of one end.
    pub(crate) fn flags(&self, own: &str, peer: &str) -> Vec<String> {
        [
            ("--cert", own, "crt"),
            ("--key", own, "key"),
            ("--peer", peer, "crt"),
        ]
        .into_iter()
        .flat_map(|(flag, name, suffix)| [flag.to_owned(), self.file(&format!("{name}.{suffix}"))])
        .collect()
    }

    /// A robot's pipe that listens.
    pub(crate) fn listen(&self, direction: &str, more: &[&str]) -> Running {
        let flags = self.flags("robot", "operator");
        Running::start(pipe(direction, ["--listen", "127.0.0.1:0"], &flags, more))
    }

    /// An operator's pipe that connects to it.
    pub(crate) fn connect(&self, to: &Running, direction: &str, more: &[&str]) -> Running {
        let flags = self.flags("operator", "robot");
        let address = to.address.as_deref().expect("it listens");
        Running::start(pipe(direction, ["--connect", address], &flags, more))
    }
}

/// The arguments of a pipe.
pub(crate) fn pipe(
    direction: &str,
    place: [&str; 2],
    flags: &[String],
    more: &[&str],
) -> Vec<String> {
    let mut args = vec!["pipe".to_owned(), direction.to_owned()];
    args.extend(place.map(str::to_owned));
    args.extend(flags.iter().cloned());
    args.extend(more.iter().map(ToString::to_string));
    args
}

/// Makes it non-blocking, for everybody who shares it.
#[cfg(unix)]
pub(crate) fn unblock(fd: impl std::os::fd::AsFd) {
    use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
    let flags = fcntl_getfl(&fd).expect("it is open");
    fcntl_setfl(&fd, flags | OFlags::NONBLOCK).expect("it can be");
}

/// Waits until a pipe has no more room, or the program that writes to it has ended.
#[cfg(unix)]
pub(crate) fn wait_until_full(pipe: &std::io::PipeWriter, writer: &mut Child) {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    while writer.try_wait().expect("it was started").is_none() {
        let mut fds = [PollFd::new(pipe, PollFlags::OUT)];
        if poll(&mut fds, Some(&Timespec::default())).expect("it can be asked") == 0 {
            break;
        }
        thread::yield_now();
    }
}
