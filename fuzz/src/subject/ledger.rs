//! What an application has a right to: one verdict for each message, and each message once.

use countersign_core::{ChannelId, Config, EndReason, Event, Link, Mode, Sequence, Verdict};

use super::case::LARGEST;

/// The books of all channels.
#[derive(Debug)]
pub(super) struct Ledger(Vec<Account>);

#[derive(Debug, Default)]
struct Account {
    /// For each message that was accepted, whether it has its verdict.
    settled: Vec<bool>,
    /// The end of the last range that was handled.
    handled: Sequence,
    /// The number that was taken last.
    taken: Sequence,
    count: u64,
    /// How many messages of the session have got `Unknown`.
    unknown: u64,
}

/// Where the books have a message.
fn place(number: Sequence) -> usize {
    usize::try_from(number - 1).expect("few")
}

impl Ledger {
    pub(super) fn new(config: &Config) -> Self {
        let accounts = config.channels().iter().map(|_| Account::default());
        Self(accounts.collect())
    }

    fn account(&mut self, channel: ChannelId) -> &mut Account {
        &mut self.0[usize::from(channel.0)]
    }

    pub(super) fn accept(&mut self, channel: ChannelId, number: Sequence) {
        let account = self.account(channel);
        account.settled.push(false);
        assert_eq!(number, account.settled.len() as u64, "numbers in a row");
    }

    pub(super) fn take(&mut self, channel: ChannelId, number: Sequence, length: usize) {
        let account = self.account(channel);
        assert!(number > account.taken, "{number} after {}", account.taken);
        assert!(length <= LARGEST);
        account.taken = number;
        account.count += 1;
    }

    pub(super) fn hear(&mut self, event: &Event) {
        match event {
            Event::Handled {
                channel,
                first,
                last,
            } => {
                let account = self.account(*channel);
                assert!(account.handled < *first && first <= last, "{event:?}");
                account.handled = *last;
                // Those with another verdict had it before.
                account.settled[place(*first)..=place(*last)].fill(true);
            }
            Event::Verdict {
                channel,
                sequence,
                verdict,
            } => {
                let settled = &mut self.account(*channel).settled[place(*sequence)];
                assert!(!*settled, "a second verdict: {event:?}");
                assert!(*verdict != Verdict::Handled);
                *settled = true;
                self.account(*channel).unknown += u64::from(*verdict == Verdict::Unknown);
            }
            Event::SessionLost(_) => self.0.iter_mut().for_each(|account| account.unknown = 0),
            _ => {}
        }
    }

    /// The end was told: nothing is left open.
    pub(super) fn end(&self, link: &Link) {
        for (account, report) in self.0.iter().zip(link.report()) {
            let open = account.settled.iter().position(|settled| !settled);
            assert_eq!(open, None, "a message without a verdict");
            let closed = link.end_reason().is_some_and(EndReason::is_closed);
            assert!(
                !closed || account.unknown == 0,
                "closed in order, with doubts"
            );
            assert_eq!(report.verdicts.total(), account.settled.len() as u64);
            match report.mode {
                Mode::Send => assert_eq!(account.count, 0),
                Mode::Receive => assert_eq!(report.delivered, account.count),
            }
        }
    }
}
