//! Watches over a pipe's link: tells the log what becomes of its connections, turns away whoever
//! else comes, and says when it is over.

use std::time::Duration;

use countersign::{AcceptError, CloseMode, CloseReason, Link, LinkEvent, Listener, Report};

use super::farewell;
use crate::words;

/// A link, and at the end that listens the way back to it.
#[derive(Debug)]
pub(super) struct Watch {
    link: Link,
    /// Where the peer comes back to.
    listener: Option<Listener>,
}

/// How long others have, at the end, to hear that they were turned away.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What whoever uses the link has to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// The peer takes no more messages.
    PeerClosing,
    /// The link has ended.
    Ended,
}

/// What is to be looked at.
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

    /// Waits for the next turn; the end comes again and again. Cancel-safe.
    pub(super) async fn next(&mut self) -> Turn {
        loop {
            let news = tokio::select! {
                biased;
                event = self.link.event() => News::OfLink(event),
                visitor = visit(self.listener.as_ref()) => News::AtDoor(visitor),
            };
            let turn = match news {
                News::OfLink(None) => Some(Turn::Ended),
                News::OfLink(Some(event)) => hear(&event),
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

    /// Lets go of a peer that has opened a link of its own. It is told that its messages were not taken,
    /// or that it does not have all that there is.
    fn turn_away(&self, visitor: &Link) {
        visitor.start_close_with(CloseMode::Withdraw, farewell::taken());
        if let Some(listener) = &self.listener {
            let name = name(visitor);
            let words = format_args!("turned {name} away: this pipe has its peer already");
            listener.log_link(visitor, words);
        }
    }

    /// Closes the link and waits for the end, turning others away meanwhile; and until all have heard
    /// why, so that none of them waits for a program that is gone.
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

fn hear(event: &LinkEvent) -> Option<Turn> {
    match event {
        LinkEvent::Resumed => {
            tracing::warn!("connected again: going on, nothing was lost");
            None
        }
        LinkEvent::PeerClosing => Some(Turn::PeerClosing),
        // The library has told the log, or the end tells it.
        _ => None,
    }
}

/// Waits for somebody at the door, for ever where there is none.
async fn visit(listener: Option<&Listener>) -> Result<Link, AcceptError> {
    match listener {
        Some(listener) => listener.accept().await,
        None => std::future::pending().await,
    }
}

/// What the log calls a link's peer.
pub(super) fn name(link: &Link) -> String {
    match (link.peer_name(), link.peer()) {
        (Some(name), Some(key)) => format!("{name} ({key})"),
        (None, Some(key)) => key.to_string(),
        (_, None) => "a peer that nobody knows".to_owned(),
    }
}

/// Who the peer is, for a report of what it was sent or has sent: nothing where it has no name.
pub(super) fn named(link: &Link, before: &str) -> String {
    let name = link.peer_name();
    name.map_or_else(String::new, |name| format!(" {before} {name}"))
}
