//! The border between two sessions, in the stream of what an end receives.

use countersign_core::{
    Bytes, ChannelConfig, Config, Dialect, ReceiveChannel, SendChannel, SessionLoss,
};
use countersign_driver::{Limits, LinkEvent, RecvError};

use super::{away, one};
use crate::backend::{Link, Listener, Receiver};
use crate::pair::payload;
use crate::{Direction, Ends, Pair, Proxy};

scenarios! {
    SECURED_OR_PLAIN {
        in_their_place: "cuts by itself",
        on_a_manual_channel: "cuts by itself",
        where_no_message_waits: "cuts by itself",
        in_the_tlsstream_dialect: "cuts by itself",
    }
}

/// Behind everything on `data` comes something on `behind`.
fn sends() -> Config {
    one(SendChannel::new("data")).channel(SendChannel::new("behind"))
}

fn receives(channel: impl Into<ChannelConfig>) -> Config {
    one(channel).channel(ReceiveChannel::new("behind"))
}

/// The opener receives, and its link goes on with the sessions of an acceptor that is restarted.
struct World<'a> {
    pair: &'a Pair,
    client: Box<dyn Link>,
    server: Box<dyn Link>,
    proxy: Proxy,
    listener: Box<dyn Listener>,
    behind: Box<dyn Receiver>,
}

impl<'a> World<'a> {
    fn new(pair: &'a Pair, channel: impl Into<ChannelConfig>) -> Self {
        let (ends, proxy, listener) = pair.lasting_link(receives(channel), sends());
        let Ends { client, server } = ends;
        let behind = client.receiver("behind").unwrap();
        Self {
            pair,
            client,
            server,
            proxy,
            listener,
            behind,
        }
    }

    /// Sends these, and waits until they have arrived.
    fn send(&mut self, messages: &[&'static str]) {
        let sender = self.server.sender("data").unwrap();
        for message in messages {
            drop(sender.give(*message));
        }
        drop(self.server.sender("behind").unwrap().give("behind"));
        assert_eq!(self.behind.take(), "behind");
    }

    /// The program that listens is restarted on its address.
    fn restart(&mut self) {
        self.restart_quietly();
        assert_border(self.behind.recv());
    }

    fn restart_quietly(&mut self) {
        away(&self.proxy, [&*self.client, &*self.server]);
        let address = self.listener.address();
        let nowhere = self.pair.lasting_server(sends());
        let other = self
            .pair
            .server
            .listen(crate::pair::loopback(), nowhere, Limits::default());
        std::mem::replace(&mut self.listener, other).close();
        // What was connected to the old one, as far as the proxy goes.
        self.proxy.cut();
        let setup = self.pair.lasting_server(sends());
        self.listener = self.pair.server.listen(address, setup, Limits::default());
        self.proxy.resume();
        self.server = self.listener.accept().unwrap();
        let lost = LinkEvent::SessionLost(SessionLoss::NotKnown);
        assert_eq!(self.client.event(), Some(lost));
        assert_eq!(self.client.event(), Some(LinkEvent::NewSession));
    }
}

fn assert_border<T>(received: Result<T, RecvError>) {
    match received {
        Err(error @ RecvError::SessionBorder(SessionLoss::NotKnown)) => {
            assert!(error.is_border() && error.link().is_none());
            assert!(
                error.to_string().contains("a session ended here"),
                "{error}"
            );
        }
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("not a border"),
    }
}

/// A way to receive: some messages of one session, the border behind them, or the end.
type Form = fn(&mut dyn Receiver) -> Result<Vec<Bytes>, RecvError>;

const FORMS: [Form; 4] = [
    |receiver| Ok(receiver.recv()?.into_iter().collect()),
    |receiver| {
        loop {
            if let Some(message) = receiver.try_recv()? {
                return Ok(vec![message]);
            }
            std::thread::yield_now();
        }
    },
    |receiver| {
        let mut messages = Vec::new();
        let count = receiver.recv_batch(&mut messages, 10)?;
        assert_eq!(count, messages.len());
        Ok(messages)
    },
    |receiver| Ok(receiver.next_item().transpose()?.into_iter().collect()),
];

/// In every way of receiving: the rest of a session, the border, the messages of the next.
fn in_their_place(pair: &Pair) {
    for form in FORMS {
        let mut world = World::new(pair, ReceiveChannel::new("data"));
        let mut receiver = world.client.receiver("data").unwrap();
        world.send(&["one", "two", "three"]);
        assert_eq!(receiver.take(), "one");
        world.restart();
        world.send(&["four", "five"]);
        let mut take = |count| {
            let mut messages = Vec::new();
            while messages.len() < count {
                messages.extend(form(&mut *receiver).unwrap());
            }
            messages
        };
        assert_eq!(take(2), ["two", "three"]);
        assert_border(form(&mut *receiver));
        let mut take = |count| {
            let mut messages = Vec::new();
            while messages.len() < count {
                messages.extend(form(&mut *receiver).unwrap());
            }
            messages
        };
        assert_eq!(take(2), ["four", "five"]);
        // Once, and the link is well.
        assert!(receiver.try_recv().unwrap().is_none());
        assert!(world.client.end_reason().is_none());
    }
}

/// The same where the application says when a message is handled; what it still holds of the old
/// session no longer counts.
fn on_a_manual_channel(pair: &Pair) {
    let mut world = World::new(pair, ReceiveChannel::new("data").manual());
    let mut receiver = world.client.manual_receiver("data").unwrap();
    world.send(&["one", "two"]);
    let held = receiver.take();
    world.restart();
    world.send(&["three"]);
    assert_eq!(receiver.take()[..], *b"two");
    assert_border(receiver.recv());
    let new = receiver.take();
    assert_eq!(new[..], *b"three");
    assert_eq!(held.handled(), "one");
    assert_eq!(new.handled(), "three");
    assert!(receiver.try_recv().unwrap().is_none());
}

/// A waiting receiver learns of the loss although no message arrives.
fn where_no_message_waits(pair: &Pair) {
    let mut world = World::new(pair, ReceiveChannel::new("data"));
    let mut receiver = world.client.receiver("data").unwrap();
    let waiting = std::thread::spawn(move || {
        let received = receiver.recv();
        (receiver, received)
    });
    world.restart();
    let (mut receiver, received) = waiting.join().unwrap();
    assert_border(received);
    world.send(&["one"]);
    assert_eq!(receiver.take(), "one");
    // Several losses without a message between them are reported as one.
    world.restart_quietly();
    world.restart_quietly();
    assert_border(receiver.recv());
    assert!(receiver.try_recv().unwrap().is_none());
}

/// In that dialect every lost connection is a border.
fn in_the_tlsstream_dialect(pair: &Pair) {
    let (ends, proxy, listener) = pair.lasting_link(
        one(ReceiveChannel::new("data")).dialect(Dialect::TlsStream),
        one(SendChannel::new("data")).dialect(Dialect::TlsStream),
    );
    let Ends { client, mut server } = ends;
    let mut receiver = client.receiver("data").unwrap();
    for _ in 0..3 {
        let receipt = server.sender("data").unwrap().give("whole");
        assert_eq!(receiver.take(), "whole");
        assert!(receipt.wait().is_handled());
        // Between messages it would be an orderly end, without TLS.
        let begun = proxy.passed(Direction::Down) + 5000;
        proxy.allow(Direction::Down, begun);
        drop(server.sender("data").unwrap().give(payload(100_000, 0)));
        proxy.wait_for(Direction::Down, begun);
        proxy.cut();
        let border = receiver.recv().unwrap_err();
        assert!(
            matches!(border, RecvError::SessionBorder(SessionLoss::Dialect)),
            "{border}"
        );
        proxy.resume();
        server = listener.accept().unwrap();
    }
}
