//! Work for futures that are dropped: messages in both directions, a close, and what must have
//! become of it all.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use countersign_core::{
    Bytes, CloseMode, Config, ReceiveChannel, SendChannel, Timeouts, VerdictKind,
};
use countersign_driver::{Link, LinkEvent, Report, Setup};
use countersign_endpoint::Security;
use tokio::sync::oneshot;

use super::forms::{Receives, Sends};
use super::{Drops, persist};
use crate::memory::{self, Polling, Work};
use crate::pair::payload;

/// The longest message, which takes several frames.
const LONGEST: usize = 1500;
const HOUR: Duration = Duration::from_secs(3600);

/// Messages to send in both directions, in one form.
#[derive(Clone, Copy, Debug)]
pub struct Job {
    /// How both ends send.
    pub sends: Sends,
    /// How both ends receive.
    pub receives: Receives,
    /// How many messages go in each direction.
    pub count: usize,
    /// Whether futures are dropped at all.
    pub drops: bool,
}

/// What became of a job.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What came up and what came down.
    got: [Vec<Bytes>; 2],
    /// What the opener and the acceptor heard of the link.
    events: [Vec<LinkEvent>; 2],
    reports: [Option<Report>; 2],
    /// The drops of all futures together.
    pub drops: Rc<Drops>,
}

/// The messages of a job: numbered, all different, in lengths from a few bytes to several frames.
fn messages(count: usize) -> Vec<Bytes> {
    let lengths = [0, 1, 30, 300, 700, LONGEST - 8];
    let message = |number: usize| {
        let mut message = (number as u64).to_be_bytes().to_vec();
        message.extend(payload(lengths[number % lengths.len()], number));
        message.into()
    };
    (0..count).map(message).collect()
}

impl Job {
    /// Returns the declarations of the opener and the acceptor, with windows so small that all
    /// tasks wait for each other.
    #[must_use]
    pub fn configs(&self) -> [Config; 2] {
        let send = |name| {
            let channel = SendChannel::new(name).max_message(LONGEST);
            channel.queue(4, 3 * LONGEST)
        };
        let receive = |name| {
            let channel = ReceiveChannel::new(name).max_message(LONGEST);
            let channel = channel.window(3, 2 * LONGEST);
            if self.receives.is_manual() {
                channel.manual()
            } else {
                channel
            }
        };
        let timeouts = Timeouts {
            handshake: HOUR,
            ping: HOUR,
            give_up: 2 * HOUR,
            close: HOUR,
            linger: HOUR,
            ..Timeouts::default()
        };
        let config = Config::new().frame_limit(512).timeouts(timeouts);
        let config = config.single_connection();
        let client = config.clone().channel(send("up"));
        let server = config.channel(receive("up"));
        [
            client.channel(receive("down")),
            server.channel(send("down")),
        ]
    }

    /// The pieces of work, to be run beside each other, and where the outcome will be.
    #[must_use]
    pub fn work(self, [client, server]: [Link; 2]) -> (Vec<Work>, Rc<RefCell<Outcome>>) {
        let drops = Rc::new(Drops::new(self.drops));
        let outcome = Outcome {
            drops: drops.clone(),
            ..Outcome::default()
        };
        let desk = Desk {
            job: self,
            outcome: Rc::new(RefCell::new(outcome)),
            drops,
        };
        let (client, server) = (Rc::new(client), Rc::new(server));
        let (sent_up, all_up) = oneshot::channel();
        let (sent_down, all_down) = oneshot::channel();
        let work: Vec<Work> = vec![
            Box::pin(desk.clone().send(client.clone(), "up", sent_up)),
            Box::pin(desk.clone().send(server.clone(), "down", sent_down)),
            Box::pin(desk.clone().receive(server.clone(), "up", 0)),
            Box::pin(desk.clone().receive(client.clone(), "down", 1)),
            Box::pin(desk.clone().listen(client.clone(), 0)),
            Box::pin(desk.clone().listen(server.clone(), 1)),
            Box::pin(desk.clone().close(client, all_up, all_down)),
            Box::pin(desk.clone().end(server)),
        ];
        (work, desk.outcome)
    }
}

/// What all pieces of a job's work have in common.
#[derive(Clone)]
struct Desk {
    job: Job,
    outcome: Rc<RefCell<Outcome>>,
    drops: Rc<Drops>,
}

impl Desk {
    async fn send(self, link: Rc<Link>, channel: &'static str, sent: oneshot::Sender<()>) {
        let sender = link.sender(channel).unwrap();
        let messages = messages(self.job.count);
        self.job.sends.send_all(sender, messages, &self.drops).await;
        // The receiver is gone only if the test has failed.
        let _ = sent.send(());
    }

    async fn receive(self, link: Rc<Link>, channel: &'static str, direction: usize) {
        let got = |message| self.outcome.borrow_mut().got[direction].push(message);
        let receives = self.job.receives;
        receives.receive_all(&link, channel, &self.drops, got).await;
    }

    /// Takes all events of the link.
    async fn listen(self, link: Rc<Link>, end: usize) {
        while let Some(event) = persist(&self.drops, async || link.event().await).await {
            self.outcome.borrow_mut().events[end].push(event);
        }
    }

    async fn close(
        self,
        link: Rc<Link>,
        all_up: oneshot::Receiver<()>,
        all_down: oneshot::Receiver<()>,
    ) {
        all_up.await.unwrap();
        all_down.await.unwrap();
        let close = async || link.close(CloseMode::Drain).await;
        let report = persist(&self.drops, close).await;
        self.outcome.borrow_mut().reports[0] = Some(report);
    }

    async fn end(self, link: Rc<Link>) {
        let report = persist(&self.drops, async || link.ended().await).await;
        self.outcome.borrow_mut().reports[1] = Some(report);
    }
}

impl Outcome {
    /// Compares with the outcome that a job of `count` messages must have.
    ///
    /// # Errors
    ///
    /// What is different.
    pub fn check(&self, count: usize) -> Result<(), String> {
        let sent = messages(count);
        for (direction, got) in ["up", "down"].iter().zip(&self.got) {
            compare(&sent, got).map_err(|why| format!("{direction}: {why}"))?;
        }
        if self.events != [vec![], vec![LinkEvent::PeerClosing]] {
            return Err(format!("events: {:?}", self.events));
        }
        for report in &self.reports {
            let report = report.as_ref().ok_or("a report is missing")?;
            let verdicts = report.verdicts();
            let delivered: u64 = report.channels.iter().map(|c| c.delivered).sum();
            let counts = [verdicts[VerdictKind::Handled], verdicts.total(), delivered];
            if counts != [count as u64; 3] || !report.is_orderly() {
                return Err(format!("report: {report}"));
            }
        }
        Ok(())
    }
}

/// All of them, in order, once, whole.
fn compare(sent: &[Bytes], got: &[Bytes]) -> Result<(), String> {
    for (at, message) in got.iter().enumerate() {
        let Some(number) = sent.iter().position(|whole| whole == message) else {
            return Err(format!("message {at} came cut"));
        };
        if got[..at].contains(message) {
            return Err(format!("message {number} came again"));
        }
    }
    if let Some(number) = sent.iter().position(|whole| !got.contains(whole)) {
        return Err(format!("message {number} was lost"));
    }
    if sent != got {
        return Err("the messages came in another order".to_owned());
    }
    Ok(())
}

/// Does a job over a connection in memory that holds `capacity` bytes in each direction. The same
/// job goes the same way each time.
///
/// # Errors
///
/// What differs from what it must be, or that all tasks sleep while there is work left.
pub fn in_memory(job: Job, capacity: usize, polling: Polling) -> Result<Outcome, String> {
    let [client, server] = job
        .configs()
        .map(|config| Setup::new(config, Security::plaintext()).unwrap());
    let (links, mut ends) = memory::link_over(capacity, &client, &server);
    let (work, outcome) = job.work(links);
    let ran = memory::run(&mut ends, work, polling);
    let outcome = outcome.take();
    ran.map_err(|left| format!("everybody sleeps, and these are not done: {left:?}"))?;
    outcome.check(job.count)?;
    Ok(outcome)
}
