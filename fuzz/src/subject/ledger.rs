//! What an application has a right to: one verdict for each message, and each message once.

use countersign_core::{
    ChannelConfig, ChannelId, Config, Dialect, EndReason, Event, Link, Mode, Sequence, SessionLoss,
    Verdict,
};

use super::case::LARGEST;

/// The books of all channels.
#[derive(Debug)]
pub(super) struct Ledger {
    accounts: Vec<Account>,
    /// The link ends with its session.
    single: bool,
    /// In the tlsstream dialect, with its connection.
    stream: bool,
    /// It does so, and why.
    over: Option<SessionLoss>,
}

#[derive(Debug, Default)]
struct Account {
    /// For each message that was accepted, whether it has its verdict.
    settled: Vec<bool>,
    /// The end of the last range that was handled.
    handled: Sequence,
    /// The number that was taken last.
    taken: Sequence,
    count: u64,
    /// How many messages were left when the session of a link that ends with it was lost.
    left: usize,
    /// How many messages of the session have got `Unknown`.
    unknown: u64,
    /// The longest reply that it takes.
    max_reply: usize,
}

impl Account {
    fn new(config: &ChannelConfig) -> Self {
        let max_reply = match config {
            ChannelConfig::Send(channel) => channel.get_max_reply(),
            ChannelConfig::Receive(_) => 0,
        };
        Self {
            max_reply,
            ..Self::default()
        }
    }
}

/// Where the books have a message.
fn place(number: Sequence) -> usize {
    usize::try_from(number - 1).expect("few")
}

impl Ledger {
    pub(super) fn new(config: &Config) -> Self {
        let accounts = config.channels().iter().map(Account::new);
        Self {
            accounts: accounts.collect(),
            single: config.is_single_session(),
            stream: config.get_dialect() == Dialect::TlsStream,
            over: None,
        }
    }

    /// The channels have changed places, before anything was sent.
    pub(super) fn reverse(&mut self) {
        self.accounts.reverse();
    }

    fn account(&mut self, channel: ChannelId) -> &mut Account {
        &mut self.accounts[usize::from(channel.0)]
    }

    pub(super) fn accept(&mut self, channel: ChannelId, number: Sequence) {
        let account = self.account(channel);
        account.settled.push(false);
        assert_eq!(number, account.settled.len() as u64, "numbers in a row");
    }

    pub(super) fn take(&mut self, channel: ChannelId, number: Sequence, length: usize) {
        let over = self.over.is_some();
        let account = self.account(channel);
        assert!(
            !over || account.left > 0,
            "of a session that is not its own"
        );
        account.left = account.left.saturating_sub(1);
        assert!(number > account.taken, "{number} after {}", account.taken);
        assert!(length <= LARGEST);
        account.taken = number;
        account.count += 1;
    }

    /// The application was given the border between two sessions.
    pub(super) fn cross(&self) {
        assert!(
            !self.single,
            "a border in a link that ends with its session"
        );
    }

    /// Whether the session of a link that ends with it is lost.
    pub(super) fn is_over(&self) -> bool {
        self.over.is_some()
    }

    /// What a link tells that ends with its session.
    fn receive_single(&mut self, event: &Event, link: &Link) {
        let goes_on = matches!(
            event,
            Event::Connected | Event::Resumed | Event::Lost(_) | Event::PeerClosing
        );
        assert!(!goes_on || !self.is_over(), "{event:?} after its session");
        if self.stream {
            let survives = matches!(event, Event::Lost(_) | Event::SessionLost(_));
            assert!(!survives, "{event:?}, and it goes on");
        }
        if let Event::SessionLost(why) = event {
            assert!(!self.is_over(), "a second session");
            self.over = Some(*why);
            for (number, account) in (0..).zip(&mut self.accounts) {
                account.left = link.waiting(ChannelId(number));
            }
        }
    }

    pub(super) fn receive(&mut self, event: &Event, link: &Link) {
        if self.single {
            self.receive_single(event, link);
        }
        match event {
            Event::Handled {
                channel,
                first,
                last,
                count,
            } => {
                let account = self.account(*channel);
                assert!(account.handled < *first && first <= last, "{event:?}");
                account.handled = *last;
                // Those with another verdict had it before.
                let range = &mut account.settled[place(*first)..=place(*last)];
                let handled = range.iter().filter(|settled| !**settled).count();
                assert_eq!(handled as u64, *count, "{event:?}");
                range.fill(true);
            }
            Event::Verdict {
                channel,
                sequence,
                verdict,
            } => {
                let account = self.account(*channel);
                let settled = &mut account.settled[place(*sequence)];
                assert!(!*settled, "a second verdict: {event:?}");
                *settled = true;
                account.unknown += u64::from(*verdict == Verdict::Unknown);
                if let Verdict::Handled(reply) = verdict {
                    let reply = reply.as_ref().expect("in a range, without a reply");
                    assert!(reply.len() <= account.max_reply, "{event:?}");
                }
            }
            Event::SessionLost(_) => {
                let accounts = self.accounts.iter_mut();
                accounts.for_each(|account| account.unknown = 0);
            }
            _ => {}
        }
    }

    /// The end was reported: nothing is left open.
    pub(super) fn end(&self, link: &Link) {
        let with_session = match link.end_reason() {
            Some(EndReason::SessionLost(why)) => Some(*why),
            _ => None,
        };
        assert_eq!(with_session, self.over, "{:?}", link.end_reason());
        for (account, report) in self.accounts.iter().zip(link.report()) {
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
