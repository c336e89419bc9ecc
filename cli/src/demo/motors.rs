//! The robot's motors: they run as long as the operator's newest command is young enough.

use std::time::{Duration, Instant};

use indicatif::ProgressBar;

use super::backend::Backend;
use super::check::Received;
use super::traffic::Sent;

/// A time for which the motors ran.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) stopped: Instant,
}

/// Runs the motors by the lease of the commands, until the link has ended.
pub(super) fn run<B: Backend>(backend: &B, lease: &B::Lease, progress: &ProgressBar) -> Vec<Run> {
    let mut runs = Vec::new();
    while backend.held(lease) {
        progress.set_message("motors on");
        tracing::info!("motors on");
        backend.lapsed(lease);
        let stopped = Instant::now();
        progress.set_message("motors off");
        tracing::info!("motors off");
        runs.push(Run { stopped });
    }
    runs
}

/// Returns the longest time that the motors ran after the operator had sent the newest command that
/// the robot had then.
pub(super) fn longest(runs: &[Run], sent: &[Sent], received: &[Received]) -> Option<Duration> {
    let ran_on = |run: &Run| {
        let newest = received
            .iter()
            .rev()
            .find(|command| command.at <= run.stopped)?;
        let command = find(sent, newest)?;
        Some(run.stopped.saturating_duration_since(command.at))
    };
    runs.iter().filter_map(ran_on).max()
}

/// Returns how many of these messages were taken when they were older than `life`, and how much
/// older the worst of them was.
pub(super) fn late(sent: &[Sent], received: &[Received], life: Duration) -> (usize, Duration) {
    let over = received.iter().filter_map(|message| {
        let age = message
            .at
            .saturating_duration_since(find(sent, message)?.at);
        age.checked_sub(life).filter(|over| !over.is_zero())
    });
    (over.clone().count(), over.max().unwrap_or_default())
}

fn find<'a>(sent: &'a [Sent], message: &Received) -> Option<&'a Sent> {
    let at = usize::try_from(message.identity?.checked_sub(1)?).ok()?;
    sent.get(at)
}

#[cfg(test)]
mod tests {
    use countersign::VerdictKind;

    use super::*;

    #[test]
    fn by_the_newest_command_that_was_there() {
        let start = Instant::now();
        let ms = |ms| start + Duration::from_millis(ms);
        let sent: Vec<_> = [0, 100, 200]
            .map(|at| Sent {
                hash: [0; 32],
                bytes: 1,
                verdict: VerdictKind::Handled,
                at: ms(at),
                took: Duration::ZERO,
            })
            .into();
        let received: Vec<_> = [(1, 5), (2, 290), (3, 900)]
            .map(|(identity, at)| Received {
                identity: Some(identity),
                hash: [0; 32],
                at: ms(at),
                age: None,
            })
            .into();
        let runs = [300, 395].map(|stopped| Run {
            stopped: ms(stopped),
        });
        let longest_was = longest(&runs, &sent, &received);
        assert_eq!(longest_was, Some(Duration::from_millis(295)));
        assert_eq!(longest(&[], &sent, &received), None);
        let life = Duration::from_millis(190);
        let (count, worst) = late(&sent, &received, life);
        assert_eq!((count, worst), (1, Duration::from_millis(510)));
        assert_eq!(late(&sent, &received[..2], life), (0, Duration::ZERO));
    }
}
