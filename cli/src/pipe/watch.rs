//! Watches a pipe's link: logs what becomes of its connections, turns other peers away, and says
//! when it is over.

use std::time::Duration;

use countersign::{AcceptError, CloseMode, CloseReason, Link, LinkEvent, Listener, Report};

use super::farewell;
use crate::words;

/// A link and, at the end that listens, the listener through which its peer reconnects.
#[derive(Debug)]
pub(super) struct Watch {
    link: Link,
    /// Where the peer reconnects.
    listener: Option<Listener>,
}

/// How long peers that were turned away have, at the end, to receive the reason.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What the user of the link has to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// The peer takes no more messages.
    PeerClosing,
    /// The link has ended.
    Ended,
}

/// What happened.
enum News {
    OfLink(Option<LinkEvent>),
    AtDoor(Result<Link, AcceptError>),
}

impl Watch {
    pub(super) fn new(link: Link, listener: Option<Listener>) -> Self {
        Self { link, listener }
    }

    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    /// Waits for the next turn; the end is returned again and again. Cancel-safe.
    pub(super) async fn next(&mut self) -> Turn {
        loop {
            let news = tokio::select! {
                biased;
                event = self.link.event() => News::OfLink(event),
                visitor = visit(self.listener.as_ref()) => News::AtDoor(visitor),
            };
            let turn = match news {
                News::OfLink(None) => Some(Turn::Ended),
                News::OfLink(Some(event)) => on_event(&event),
                News::AtDoor(Ok(visitor)) => {
                    self.turn_away(&visitor);
                    None
                }
                News::AtDoor(Err(error)) => {
                    if let Some(listener) = &self.listener {
                        listener.log_as(&error, words::of_visitor(&error));
                    }
                    None
                }
            };
            if let Some(turn) = turn {
                return turn;
            }
        }
    }

    /// Closes the link that another peer has opened. The reason keeps it from believing that its
    /// messages were taken, or that it has received everything.
    fn turn_away(&self, visitor: &Link) {
        visitor.start_close_with(CloseMode::Withdraw, farewell::taken());
        if let Some(listener) = &self.listener {
            let name = name(visitor);
            let words = format_args!("turned {name} away: this pipe has its peer already");
            listener.log_link(visitor, words);
        }
    }

    /// Closes the link and waits for its end, turning other peers away meanwhile; then waits until
    /// all of them have received the reason, so that none waits for a program that is gone.
    pub(super) async fn close(&mut self, mode: CloseMode, reason: CloseReason) -> Report {
        self.link.start_close_with(mode, reason);
        while self.next().await != Turn::Ended {}
        let report = self.link.ended().await;
        if let Some(listener) = &self.listener {
            listener.drain(LAST_WORDS).await;
        }
        report
    }
}

fn on_event(event: &LinkEvent) -> Option<Turn> {
    match event {
        LinkEvent::Resumed => {
            tracing::warn!("connected again: going on, nothing was lost");
            None
        }
        LinkEvent::PeerClosing => Some(Turn::PeerClosing),
        // The library has logged it, or the end reports it.
        _ => None,
    }
}

/// Waits for another peer, or forever if there is no listener.
async fn visit(listener: Option<&Listener>) -> Result<Link, AcceptError> {
    match listener {
        Some(listener) => listener.accept().await,
        None => std::future::pending().await,
    }
}

/// Returns what the log calls a link's peer.
pub(super) fn name(link: &Link) -> String {
    match (link.peer_name(), link.peer()) {
        (Some(name), Some(key)) => format!("{name} ({key})"),
        (None, Some(key)) => key.to_string(),
        (_, None) => "a peer that nobody knows".to_owned(),
    }
}

/// Returns the peer's name after the word `before`, for a report, or nothing if it has no name.
pub(super) fn named(link: &Link, before: &str) -> String {
    let name = link.peer_name();
    name.map_or_else(String::new, |name| format!(" {before} {name}"))
}
