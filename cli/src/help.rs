//! What `--help` says besides the flags: examples, exit codes, and which flags are required.

use crate::exit::Exit;

/// The usage of `pipe send`. The usage made from the flags would leave out those that are required
/// unless `--plaintext` is given, and that of an error would show that flag.
pub(crate) const USAGE_SEND: &str = "\
countersign pipe send <--listen ADDR:PORT | --connect HOST:PORT>
           --cert FILE --key FILE <--peer FILE|FINGERPRINT | --peers FILE> [OPTIONS]";
/// The usage of `pipe recv`.
pub(crate) const USAGE_RECV: &str = "\
countersign pipe recv <--listen ADDR:PORT | --connect HOST:PORT>
           --cert FILE --key FILE <--peer FILE|FINGERPRINT | --peers FILE> [OPTIONS]";

/// Examples of the program as a whole.
pub(crate) const ALL: &str = "  countersign keygen robot
  countersign pipe recv --listen 0.0.0.0:4433 \\
      --cert robot.crt --key robot.key --peer operator.crt > orders
  countersign pipe send --connect robot.local:4433 \\
      --cert operator.crt --key operator.key --peer robot.crt < orders";

/// Examples of `keygen`.
pub(crate) const KEYGEN: &str = "  countersign keygen robot
  countersign keygen robot --dir /etc/countersign --days 365";

/// Examples of `pin`.
pub(crate) const PIN: &str = "  countersign pin operator.crt";

/// Examples of `pipe`.
pub(crate) const PIPE: &str = "  countersign pipe recv --listen 0.0.0.0:4433 \\
      --cert robot.crt --key robot.key --peer operator.crt > orders
  countersign pipe send --connect robot.local:4433 \\
      --cert operator.crt --key operator.key --peer robot.crt < orders";

/// Examples of `pipe send`.
pub(crate) const SEND: &str = "  countersign pipe send --connect robot.local:4433 \\
      --cert operator.crt --key operator.key --peer robot.crt < orders
  ffmpeg -i /dev/video0 -f mjpeg - | countersign pipe send --listen 0.0.0.0:4433 \\
      --cert robot.crt --key robot.key --peer operator.crt --split jpeg --latest";

/// Examples of `pipe recv`.
pub(crate) const RECV: &str = "  countersign pipe recv --listen 0.0.0.0:4433 \\
      --cert robot.crt --key robot.key --peer operator.crt > orders
  countersign pipe recv --connect robot.local:4433 --split jpeg \\
      --cert operator.crt --key operator.key --peer robot.crt | ffplay -f mjpeg -";

/// Examples of `demo`.
pub(crate) const DEMO: &str = "  countersign demo
  countersign demo --backend std --fps max --cuts 20 --capture demo.capture";

/// Examples of `trace`.
pub(crate) const TRACE: &str = "  countersign trace demo.capture
  countersign trace demo.capture --channel video --kind ACK --from 1.5s
  countersign trace demo.capture --replay";

/// Returns the end of a command's `--help`.
pub(crate) fn after(command: &str, examples: &str) -> String {
    format!("Examples:\n{examples}\n\n{}", Exit::help(command))
}
