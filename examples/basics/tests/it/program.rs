//! A program that is started, spoken to, and listened to.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread::{self, JoinHandle};

pub(crate) struct Program {
    child: Child,
    input: Option<ChildStdin>,
    output: Option<BufReader<ChildStdout>>,
    /// Reads what it says on standard error.
    errors: Option<JoinHandle<String>>,
}

impl Program {
    pub(crate) fn start<A: AsRef<OsStr>>(binary: &str, arguments: &[A]) -> Self {
        Self::over(binary, arguments, Stdio::piped(), Stdio::piped())
    }

    /// With this standard input and output.
    pub(crate) fn over<A: AsRef<OsStr>>(
        binary: &str,
        arguments: &[A],
        input: impl Into<Stdio>,
        output: impl Into<Stdio>,
    ) -> Self {
        let mut child = Command::new(binary)
            .args(arguments)
            .stdin(input)
            .stdout(output)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut errors = child.stderr.take().unwrap();
        Self {
            input: child.stdin.take(),
            output: child.stdout.take().map(BufReader::new),
            errors: Some(thread::spawn(move || {
                let mut text = String::new();
                errors.read_to_string(&mut text).unwrap();
                text
            })),
            child,
        }
    }

    /// Waits for the next line of its output.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.as_mut().unwrap().read_line(&mut line).unwrap();
        assert!(line.ends_with('\n'), "it ends after '{line}'");
        line.trim_end().to_owned()
    }

    /// Waits for this line.
    pub(crate) fn until(&mut self, line: &str) {
        while self.line() != line {}
    }

    /// Waits for a line that begins like this.
    pub(crate) fn until_prefix(&mut self, prefix: &str) {
        while !self.line().starts_with(prefix) {}
    }

    pub(crate) fn say(&mut self, line: &str) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    pub(crate) fn end_input(&mut self) {
        self.input = None;
    }

    /// Waits until it has ended with success, and returns the rest of its output. Its input stays open
    /// if it is.
    pub(crate) fn rest(mut self) -> String {
        let mut rest = String::new();
        let output = self.output.as_mut().unwrap();
        output.read_to_string(&mut rest).unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status} after '{rest}'");
        rest
    }

    /// Ends its input, and has it end with success and this output.
    pub(crate) fn closes(mut self, output: &str) {
        self.end_input();
        assert_eq!(self.rest(), output);
    }

    /// Waits until it has ended with success, and returns what it has said on standard error.
    pub(crate) fn told(self) -> String {
        self.ends(0)
    }

    /// Waits until it has ended with this code, and returns what it has said on standard error.
    pub(crate) fn fails(self, code: i32) -> String {
        self.ends(code)
    }

    fn ends(mut self, code: i32) -> String {
        let status = self.child.wait().unwrap();
        let errors = self.errors.take().unwrap().join().unwrap();
        assert_eq!(status.code(), Some(code), "{errors}");
        errors
    }

    /// As Ctrl-C does.
    #[cfg(unix)]
    pub(crate) fn interrupt(&self) {
        let kill = format!("kill -INT {}", self.child.id());
        let status = Command::new("sh").args(["-c", &kill]).status();
        assert!(status.unwrap().success());
    }

    pub(crate) fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.end();
        if let Some(errors) = self.errors.take()
            && thread::panicking()
        {
            eprintln!("{}", errors.join().unwrap_or_default());
        }
    }
}
