//! A loop of one's own, as the example `own-loop` has it, in a thread behind blocking handles.
//!
//! The links of this backend share a few loops. What the handles do are closures that run on its
//! thread between two turns, and what they wait for is looked for after each turn.

mod handles;
mod receipts;
mod thread;
mod world;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use countersign_core::{ChannelConfig, ChannelId, CloseMode, CloseReason, Mode};
use countersign_driver::{
    AcceptError, ChannelError, Drained, Limits, LinkError, LinkEvent, Report, Setup,
};
use countersign_endpoint::Fingerprint;
use own_loop::{LinkId, ListenerId};

use self::handles::{Handle, LoopLease, LoopReceiver, LoopSender};
use self::thread::{CLOCK, Loop};
use self::world::World;
use crate::backend::{Backend, Lease, Link, Listener, ManualReceiver, Receiver, Sender, Standing};

/// The endpoint in a loop of one's own.
#[derive(Debug)]
pub struct OwnLoop;

impl Backend for OwnLoop {
    fn listen(&self, address: SocketAddr, setup: Setup, limits: Limits) -> Box<dyn Listener> {
        let thread = Loop::next();
        let (id, address) = thread.ask(move |world| world.listen(address, &setup, limits));
        Box::new(LoopListener {
            thread,
            id,
            address,
        })
    }

    fn connect(&self, address: SocketAddr, setup: &Setup) -> Result<Box<dyn Link>, LinkError> {
        let setup = setup.clone();
        let thread = Loop::next();
        let id = thread.ask(move |world| world.connect(address, &setup));
        let handle = Handle::new(thread, id);
        handle.thread().wait(move |world| {
            let known = world.known(id);
            // Also if it has ended since: what has arrived can still be received.
            let connected = known.connected.then_some(Ok(()));
            connected.or_else(|| known.end.clone().map(Err))
        })?;
        Ok(Box::new(LoopLink(handle)))
    }
}

struct LoopListener {
    thread: Loop,
    id: ListenerId,
    address: SocketAddr,
}

impl Listener for LoopListener {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn accept(&self) -> Result<Box<dyn Link>, AcceptError> {
        let listener = self.id;
        let id = self.thread.wait(move |world| world.accept(listener))?;
        let handle = Handle::new(self.thread.clone(), id);
        Ok(Box::new(LoopLink(handle)))
    }

    fn close(self: Box<Self>) {
        drop(self);
    }
    fn drain(&self, limit: Duration) -> Drained {
        let listener = self.id;
        self.thread.ask(move |world| world.drain(listener, limit));
        self.thread.wait(move |world| world.drained(listener))
    }
}

impl Drop for LoopListener {
    fn drop(&mut self) {
        let id = self.id;
        self.thread.ask(move |world| world.unlisten(id));
    }
}

struct LoopLink(Handle);

impl LoopLink {
    fn find(&self, name: &str, mode: Mode) -> Result<ChannelId, ChannelError> {
        let (id, name) = (self.0.id(), name.to_owned());
        self.0
            .thread()
            .ask(move |world| find(world, id, name, mode))
    }

    fn take(&self, name: &str, manual: bool) -> Result<LoopReceiver, ChannelError> {
        let channel = self.find(name, Mode::Receive)?;
        let (id, name) = (self.0.id(), name.to_owned());
        self.0.thread().ask(move |world| {
            let at = usize::from(channel.0);
            if world.link(id).config().channels()[at].is_manual() != manual {
                return Err(ChannelError::WrongReceiver { name });
            }
            if std::mem::replace(&mut world.known(id).channels[at].taken, true) {
                return Err(ChannelError::Taken { name });
            }
            Ok(())
        })?;
        Ok(LoopReceiver::new(self.0.clone(), channel))
    }
}

fn find(world: &World, id: LinkId, name: String, mode: Mode) -> Result<ChannelId, ChannelError> {
    let link = world.link(id);
    let Some(channel) = link.channel_id(&name) else {
        return Err(ChannelError::NoSuchChannel { name });
    };
    let actual = link.config().channels()[usize::from(channel.0)].mode();
    if actual == mode {
        Ok(channel)
    } else {
        let mode = actual;
        Err(ChannelError::OtherMode { name, mode })
    }
}

impl Link for LoopLink {
    fn sender(&self, name: &str) -> Result<Box<dyn Sender>, ChannelError> {
        let channel = self.find(name, Mode::Send)?;
        Ok(Box::new(LoopSender::new(self.0.clone(), channel)))
    }
    fn receiver(&self, name: &str) -> Result<Box<dyn Receiver>, ChannelError> {
        Ok(Box::new(self.take(name, false)?))
    }
    fn manual_receiver(&self, name: &str) -> Result<Box<dyn ManualReceiver>, ChannelError> {
        Ok(Box::new(self.take(name, true)?))
    }
    fn lease(&self, name: &str) -> Result<Box<dyn Lease>, ChannelError> {
        let channel = self.find(name, Mode::Receive)?;
        let (id, name) = (self.0.id(), name.to_owned());
        self.0.thread().ask(move |world| {
            match &world.link(id).config().channels()[usize::from(channel.0)] {
                ChannelConfig::Receive(config) if config.get_lease().is_some() => Ok(()),
                _ => Err(ChannelError::NoLease { name }),
            }
        })?;
        let thread = self.0.thread().clone();
        Ok(Box::new(LoopLease::new(thread, id, channel)))
    }
    fn peer(&self) -> Option<Fingerprint> {
        let id = self.0.id();
        let thread = self.0.thread();
        thread.ask(move |world| Some(world.links.peer(id)?.fingerprint()))
    }
    fn peer_name(&self) -> Option<Arc<str>> {
        let id = self.0.id();
        let thread = self.0.thread();
        thread.ask(move |world| world.links.peer(id)?.shared_name())
    }
    fn report(&self) -> Report {
        let id = self.0.id();
        self.0.thread().ask(move |world| world.report(id))
    }
    fn status(&self) -> Standing {
        let id = self.0.id();
        let thread = self.0.thread();
        let (link, addresses) = thread.ask(move |world| {
            let addresses = world.links.stream(id).map(|socket| {
                let tcp = &socket.0;
                [tcp.local_addr(), tcp.peer_addr()].map(Result::ok)
            });
            (world.link(id).status(CLOCK.now()), addresses)
        });
        let [local, remote] = addresses.unwrap_or_default();
        Standing {
            link,
            local,
            remote,
            peer: self.peer(),
        }
    }
    fn connect_now(&self) -> bool {
        let id = self.0.id();
        self.0
            .thread()
            .ask(move |world| world.on(id, countersign_core::Link::connect_now))
    }
    fn end_reason(&self) -> Option<LinkError> {
        let id = self.0.id();
        self.0
            .thread()
            .ask(move |world| world.known(id).end.clone())
    }
    fn event(&self) -> Option<LinkEvent> {
        let id = self.0.id();
        self.0.thread().wait(move |world| {
            let known = world.known(id);
            let event = known.events.pop_front();
            (event.is_some() || known.end.is_some()).then_some(event)
        })
    }
    fn ended(&self) -> Report {
        let id = self.0.id();
        self.0.thread().wait(move |world| {
            let ended = world.known(id).end.is_some();
            ended.then(|| world.report(id))
        })
    }
    fn close(&self, mode: CloseMode) -> Report {
        self.start_close(mode);
        self.ended()
    }
    fn close_with(&self, mode: CloseMode, reason: CloseReason) -> Report {
        self.start_close_with(mode, reason);
        self.ended()
    }
    fn start_close(&self, mode: CloseMode) {
        self.start_close_with(mode, CloseReason::ALL_WELL);
    }
    fn start_close_with(&self, mode: CloseMode, reason: CloseReason) {
        let id = self.0.id();
        self.0
            .thread()
            .ask(move |world| world.start_close(id, mode, reason));
    }
    fn peer_closes(&self) -> Option<CloseReason> {
        let id = self.0.id();
        self.0
            .thread()
            .ask(move |world| world.link(id).peer_closes().cloned())
    }
}

impl Drop for LoopLink {
    fn drop(&mut self) {
        let id = self.0.id();
        self.0.thread().tell(move |world| world.drop_link(id));
    }
}
