//! Watches over a pipe's link: tells the log what becomes of its connections, turns away whoever
//! else comes, and says when it is over.

use countersign_tokio::core::{CloseMode, Mode, SessionLoss};
use countersign_tokio::endpoint::Fingerprint;
use countersign_tokio::{AcceptError, Link, LinkEvent, Listener, Report};

/// A link, and at the end that listens the way back to it.
#[derive(Debug)]
pub(super) struct Watch {
    link: Link,
    /// Where the peer comes back to.
    listener: Option<Listener>,
    /// This end's part, which decides how others are turned away.
    mode: Mode,
    /// There is no connection just now, and why.
    away: Option<String>,
    /// Why the session is over although the link may go on with another.
    session_lost: Option<String>,
}

/// What whoever uses the link has to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// The peer takes no more messages.
    PeerClosing,
    /// What was under way is not, and what comes from here on belongs to another stream.
    SessionLost,
    /// The link has ended.
    Ended,
}

/// What is to be looked at.
enum News {
    OfLink(Option<LinkEvent>),
    AtDoor(Result<Link, AcceptError>),
}

impl Watch {
    pub(super) fn new(link: Link, listener: Option<Listener>, mode: Mode) -> Self {
        Self {
            link,
            listener,
            mode,
            away: None,
            session_lost: None,
        }
    }

    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    /// Why the session was lost, if it was.
    pub(super) fn session_lost(&self) -> Option<&str> {
        self.session_lost.as_deref()
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
                News::OfLink(Some(event)) => self.hear(event),
                News::AtDoor(Ok(visitor)) => self.turn_away(&visitor),
                News::AtDoor(Err(error)) => {
                    if let Some(listener) = &self.listener {
                        listener.log(&error);
                    }
                    None
                }
            };
            if let Some(turn) = turn {
                return turn;
            }
        }
    }

    fn hear(&mut self, event: LinkEvent) -> Option<Turn> {
        match event {
            // The library has told the log.
            LinkEvent::Lost { why, .. } => {
                self.away = Some(why);
                None
            }
            LinkEvent::Resumed => {
                self.away = None;
                tracing::warn!("connected again: going on, nothing was lost");
                None
            }
            LinkEvent::SessionLost(why) => {
                let cut = self.away.take().filter(|_| why == SessionLoss::Dialect);
                Some(self.lose_session(match cut {
                    Some(cut) => format!("{cut}, and {why}"),
                    None => format!("the session is lost: {why}"),
                }))
            }
            LinkEvent::PeerClosing => Some(Turn::PeerClosing),
            _ => None,
        }
    }

    fn lose_session(&mut self, why: String) -> Turn {
        self.session_lost = Some(why);
        Turn::SessionLost
    }

    /// Lets go of a peer that has opened a link of its own. Where it is the pipe's own peer, and
    /// that is away, it has begun anew and will not come back for what was under way.
    fn turn_away(&mut self, visitor: &Link) -> Option<Turn> {
        match self.mode {
            // It is told that what it has sent was not taken.
            Mode::Receive => visitor.start_close(CloseMode::Withdraw),
            // An orderly close would tell it that it has everything.
            Mode::Send => visitor.abandon(),
        }
        let began_anew = visitor.peer_id().is_some() && visitor.peer_id() == self.link.peer_id();
        if self.away.is_none() || !began_anew {
            let name = name(visitor.peer());
            tracing::warn!("turned {name} away: this pipe has its peer already");
            return None;
        }
        self.link.abandon();
        let why = "the session is lost: the peer began anew; it may have restarted";
        Some(self.lose_session(why.to_owned()))
    }

    /// Closes the link in order and waits for the end, turning others away meanwhile.
    pub(super) async fn close(&mut self, mode: CloseMode) -> Report {
        self.link.start_close(mode);
        while self.next().await != Turn::Ended {}
        self.link.ended().await
    }
}

/// Waits for somebody at the door, for ever where there is none.
async fn visit(listener: Option<&Listener>) -> Result<Link, AcceptError> {
    match listener {
        Some(listener) => listener.accept().await,
        None => std::future::pending().await,
    }
}

/// What the log calls a peer.
pub(super) fn name(peer: Option<Fingerprint>) -> String {
    match peer {
        Some(peer) => peer.to_string(),
        None => "a peer that nobody knows".to_owned(),
    }
}
