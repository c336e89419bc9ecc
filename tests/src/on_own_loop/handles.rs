//! Senders, receivers and receipts.

use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::Arc;

use countersign_core::{
    Age, Bytes, ChannelId, Message, ReceiveError, Sequence, Verdict, VerdictCounts, reject,
};
use countersign_driver::{Outgoing, RecvError, RequestError, SendError};
use own_loop::LinkId;

use super::receipts::Cell;
use super::thread::{CLOCK, Loop};
use super::world::World;
use crate::backend::{BatchReceipt, Delivery, Lease, ManualReceiver, Receipt, Receiver, Sender};

/// What every handle holds: when the last one goes, the link is closed in order.
#[derive(Clone, Debug)]
pub(super) struct Handle(Arc<Last>);

#[derive(Debug)]
struct Last(Loop, LinkId);

impl Handle {
    pub(super) fn new(thread: Loop, id: LinkId) -> Self {
        Self(Arc::new(Last(thread, id)))
    }

    pub(super) fn id(&self) -> LinkId {
        self.0.1
    }

    /// The loop that the link is in.
    pub(super) fn thread(&self) -> &Loop {
        &self.0.0
    }
}

impl Drop for Last {
    fn drop(&mut self) {
        let id = self.1;
        self.0.tell(move |world| world.drop_last(id));
    }
}

pub(super) struct LoopSender {
    handle: Handle,
    channel: ChannelId,
}

impl LoopSender {
    pub(super) fn new(handle: Handle, channel: ChannelId) -> Self {
        Self { handle, channel }
    }
}

impl Sender for LoopSender {
    fn send(&self, message: Outgoing) -> Result<Box<dyn Receipt>, SendError> {
        let (id, channel) = (self.handle.id(), self.channel);
        let mut message = Some(message);
        let mut first = true;
        let (sequence, cell) = self.handle.thread().wait(move |world| {
            let first = std::mem::take(&mut first);
            world.send(id, channel, &mut message, first)
        })?;
        Ok(Box::new(LoopReceipt {
            thread: self.handle.thread().clone(),
            sequence,
            cell,
        }))
    }
    fn try_send(&self, message: Outgoing) -> Result<Box<dyn Receipt>, SendError> {
        let (id, channel) = (self.handle.id(), self.channel);
        let (sequence, cell) = self.handle.thread().ask(move |world| {
            let mut message = Some(message);
            world
                .send(id, channel, &mut message, true)
                .unwrap_or_else(|| {
                    let (message, _) = message.take().unwrap().into_parts(&CLOCK);
                    let why = countersign_core::SendError::Blocked;
                    Err(SendError::new(
                        countersign_core::NotSent { message, why },
                        None,
                    ))
                })
        })?;
        Ok(Box::new(LoopReceipt {
            thread: self.handle.thread().clone(),
            sequence,
            cell,
        }))
    }
    fn request(&self, message: Outgoing) -> Result<Option<Bytes>, RequestError> {
        let receipt = self.send(message)?;
        Ok(receipt.wait().into_reply()?)
    }
    fn send_batch(
        &self,
        messages: &mut VecDeque<Bytes>,
    ) -> Result<Box<dyn BatchReceipt>, SendError> {
        let (id, channel) = (self.handle.id(), self.channel);
        let mut batch = Some((std::mem::take(messages), Cell::default()));
        let mut first = true;
        let (rest, result) = self.handle.thread().wait(move |world| {
            let (messages, cell) = batch.as_mut()?;
            let first = std::mem::take(&mut first);
            let result = extend(world, id, channel, messages, cell, first)?;
            let (rest, cell) = batch.take()?;
            Some((rest, result.map(|()| cell)))
        });
        *messages = rest;
        let thread = self.handle.thread().clone();
        Ok(Box::new(LoopBatchReceipt(thread, result?)))
    }
    fn max_message(&self) -> usize {
        let (id, channel) = (self.handle.id(), self.channel);
        self.handle
            .thread()
            .ask(move |world| world.link(id).max_message(channel))
            .unwrap()
    }
    fn another(&self) -> Box<dyn Sender> {
        Box::new(Self::new(self.handle.clone(), self.channel))
    }
}

/// Sends as much of a batch as there is room for; `None` while there is some left.
fn extend(
    world: &mut World,
    id: LinkId,
    channel: ChannelId,
    messages: &mut VecDeque<Bytes>,
    cell: &Cell,
    first: bool,
) -> Option<Result<(), SendError>> {
    if !first && *world.is_blocked(id, channel) {
        return None;
    }
    while let Some(message) = messages.pop_front() {
        match world.on(id, |link, now| link.send(now, channel, message, None)) {
            Ok(sequence) => world.extend(id, channel, sequence, cell),
            Err(not_sent) => {
                messages.push_front(not_sent.message.clone());
                if not_sent.why == countersign_core::SendError::Blocked {
                    *world.is_blocked(id, channel) = true;
                    return None;
                }
                let end = world.links.error(id);
                return Some(Err(SendError::new(not_sent, end)));
            }
        }
    }
    Some(Ok(()))
}

struct LoopReceipt {
    thread: Loop,
    sequence: Sequence,
    cell: Cell,
}

impl Receipt for LoopReceipt {
    fn sequence(&self) -> Sequence {
        self.sequence
    }
    fn verdict(&self) -> Option<Verdict> {
        self.cell.lock().single()
    }
    fn wait(self: Box<Self>) -> Verdict {
        let thread = self.thread.clone();
        thread.wait(move |_| self.cell.lock().single())
    }
}

struct LoopBatchReceipt(Loop, Cell);

impl BatchReceipt for LoopBatchReceipt {
    fn counts(&self) -> VerdictCounts {
        self.1.lock().counts
    }
    fn wait(self: Box<Self>) -> VerdictCounts {
        let thread = self.0.clone();
        thread.wait(move |_| {
            let state = self.1.lock();
            state.is_settled().then_some(state.counts)
        })
    }
}

pub(super) struct LoopLease {
    thread: Loop,
    id: LinkId,
    channel: ChannelId,
}

impl LoopLease {
    pub(super) fn new(thread: Loop, id: LinkId, channel: ChannelId) -> Self {
        Self {
            thread,
            id,
            channel,
        }
    }
}

fn is_held(world: &World, id: LinkId, channel: ChannelId) -> bool {
    let until = world.link(id).lease_until(channel);
    until.is_some_and(|until| CLOCK.now() < until)
}

impl Lease for LoopLease {
    fn is_held(&self) -> bool {
        let (id, channel) = (self.id, self.channel);
        self.thread.ask(move |world| is_held(world, id, channel))
    }
    fn lapsed(&self) {
        let (id, channel) = (self.id, self.channel);
        self.thread
            .wait(move |world| (!is_held(world, id, channel)).then_some(()));
    }
    fn held(&self) -> bool {
        let (id, channel) = (self.id, self.channel);
        self.thread.wait(move |world| {
            let held = is_held(world, id, channel);
            (held || world.known(id).end.is_some()).then_some(held)
        })
    }
}

/// The receiver of an `Auto` or a `Manual` channel.
pub(super) struct LoopReceiver {
    handle: Handle,
    channel: ChannelId,
}

impl LoopReceiver {
    pub(super) fn new(handle: Handle, channel: ChannelId) -> Self {
        Self { handle, channel }
    }

    fn wait(&self) -> Result<Option<Message>, RecvError> {
        let (id, channel) = (self.handle.id(), self.channel);
        self.handle
            .thread()
            .wait(move |world| match take(world, id, channel) {
                Ok(None) if world.known(id).end.is_none() => None,
                result => Some(result),
            })
    }

    fn try_take(&self) -> Result<Option<Message>, RecvError> {
        let (id, channel) = (self.handle.id(), self.channel);
        self.handle
            .thread()
            .ask(move |world| take(world, id, channel))
    }

    fn deliver(&self, message: Message) -> Box<dyn Delivery> {
        Box::new(LoopDelivery {
            handle: self.handle.clone(),
            channel: self.channel,
            message,
            settled: false,
        })
    }
}

/// The next message; with none left, the error of a link that did not end in order.
fn take(world: &mut World, id: LinkId, channel: ChannelId) -> Result<Option<Message>, RecvError> {
    let link = world.link(id);
    if link.waiting(channel) > 0 || link.border(channel).is_some() {
        match world.on(id, |link, now| link.take(now, channel)) {
            Err(ReceiveError::SessionBorder(why)) => return Err(RecvError::SessionBorder(why)),
            Ok(Some(message)) => return Ok(Some(message)),
            // What waited was late.
            taken => assert_eq!(taken, Ok(None)),
        }
    }
    match &world.known(id).end {
        Some(error) if !error.ends_stream() => Err(error.clone().into()),
        _ => Ok(None),
    }
}

impl Drop for LoopReceiver {
    fn drop(&mut self) {
        let (id, channel) = (self.handle.id(), self.channel);
        self.handle.thread().tell(move |world| {
            let done = world.on(id, |link, now| link.abandon(now, channel));
            done.unwrap();
        });
    }
}

impl Receiver for LoopReceiver {
    fn recv(&mut self) -> Result<Option<Bytes>, RecvError> {
        Ok(self.wait()?.map(|message| message.payload))
    }
    fn recv_batch(&mut self, messages: &mut Vec<Bytes>, limit: usize) -> Result<usize, RecvError> {
        if limit == 0 {
            return Ok(0);
        }
        let Some(first) = Receiver::recv(self)? else {
            return Ok(0);
        };
        let (id, channel) = (self.handle.id(), self.channel);
        let rest: Vec<_> = self.handle.thread().ask(move |world| {
            // A border waits for the next call.
            let next = || match world.link(id).border(channel) {
                None => take(world, id, channel).ok().flatten(),
                Some(_) => None,
            };
            std::iter::from_fn(next).take(limit - 1).collect()
        });
        messages.push(first);
        messages.extend(rest.iter().map(|message| message.payload.clone()));
        Ok(1 + rest.len())
    }
    fn recv_message(&mut self) -> Result<Option<(Bytes, Option<Age>)>, RecvError> {
        let message = self.wait()?;
        Ok(message.map(|message| (message.payload.clone(), message.age(CLOCK.now()))))
    }
    fn try_recv(&mut self) -> Result<Option<Bytes>, RecvError> {
        Ok(self.try_take()?.map(|message| message.payload))
    }
    fn next_item(&mut self) -> Option<Result<Bytes, RecvError>> {
        Receiver::recv(self).transpose()
    }
}

impl ManualReceiver for LoopReceiver {
    fn recv(&mut self) -> Result<Option<Box<dyn Delivery>>, RecvError> {
        Ok(self.wait()?.map(|message| self.deliver(message)))
    }
    fn try_recv(&mut self) -> Result<Option<Box<dyn Delivery>>, RecvError> {
        Ok(self.try_take()?.map(|message| self.deliver(message)))
    }
}

#[derive(Debug)]
struct LoopDelivery {
    handle: Handle,
    channel: ChannelId,
    message: Message,
    settled: bool,
}

impl Deref for LoopDelivery {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.message.payload
    }
}

impl LoopDelivery {
    fn reject_with(&mut self, code: u32, reason: &str) {
        self.settled = true;
        let (id, channel, number) = (self.handle.id(), self.channel, self.message.sequence);
        let reason = reason.to_owned();
        // If the session is over the rejection goes nowhere.
        self.handle.thread().ask(move |world| {
            let _ = world.on(id, |link, now| {
                link.reject(now, channel, number, code, &reason)
            });
        });
    }
}

impl Delivery for LoopDelivery {
    fn sequence(&self) -> Sequence {
        self.message.sequence
    }
    fn age(&self) -> Option<Age> {
        self.message.age(CLOCK.now())
    }
    fn handled_with(
        mut self: Box<Self>,
        reply: &[u8],
    ) -> Result<Bytes, (Box<dyn Delivery>, usize)> {
        let (id, channel, number) = (self.handle.id(), self.channel, self.message.sequence);
        let reply = reply.to_owned();
        let done = self.handle.thread().ask(move |world| {
            world.on(id, |link, now| {
                link.handle_with(now, channel, number, &reply)
            })
        });
        if let Err(ReceiveError::ReplyTooLong { limit }) = done {
            return Err((self, limit));
        }
        self.settled = true;
        Ok(self.message.payload.clone())
    }
    fn handled(mut self: Box<Self>) -> Bytes {
        self.settled = true;
        let (id, channel, number) = (self.handle.id(), self.channel, self.message.sequence);
        // As above.
        self.handle.thread().ask(move |world| {
            let _ = world.on(id, |link, now| link.handle(now, channel, number));
        });
        self.message.payload.clone()
    }
    fn reject(mut self: Box<Self>, code: u32, reason: &str) {
        self.reject_with(code, reason);
    }
}

impl Drop for LoopDelivery {
    fn drop(&mut self) {
        if !self.settled {
            self.reject_with(reject::DROPPED, "");
        }
    }
}
