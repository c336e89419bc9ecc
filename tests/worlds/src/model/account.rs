//! What the applications have seen, and whether it is what they were promised.

use countersign_core::{Event, Message, Sequence, SessionId, VerdictKind};

use super::{End, Setup};

/// A promise that was broken, or the name of a property.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Property {
    /// No application gets a message twice, or one that was changed on the way.
    AtMostOnce,
    /// No application gets a message that is late.
    NeverLate,
    /// Messages of a channel are taken in the order in which they were sent.
    InOrder,
    /// Between the messages of two sessions, and nowhere else, a receiver is given a border, once.
    Border,
    /// A message gets one verdict.
    OneVerdict,
    /// `Handled` only where the receiving application has handled it, `Rejected` only where it has
    /// rejected it, `Superseded`, `Expired` and `Withdrawn` only where it never gets it, `Unknown`
    /// only where a session was lost; each only where there was a reason.
    VerdictWithCause,
    /// Honest ends accuse each other of nothing, and refuse each other nothing.
    NoViolation,
    /// A link that was closed has heard what its peer said, or that all is well.
    TrueClose,
    /// A session is lost only where the acceptor has lost it, and ends only where it is closed.
    SessionKept,
    /// A link that ends with its session is given nothing of another, tells nothing of it, does
    /// not come back, and tells its peer.
    OneSession,
    /// A link that has something to write says so.
    NoStall,
    /// Once nothing more happens by itself, every receipt has its verdict, and the link is up, or
    /// closed if it was to be.
    Settled,
}

/// What the receiving application has done with a message.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Fate {
    /// It has not seen it.
    Unseen,
    /// It has it from this link, under this number.
    InHand(u8, Sequence),
    Handled,
    /// Handled, with a reply.
    Replied,
    Rejected,
    /// Its application learned that the session was lost before it could handle it.
    TooLate,
}

/// What the sending application knows of a message.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Told {
    Nothing,
    Verdict(VerdictKind),
    /// `Handled`, with a reply.
    Reply,
    /// It was restarted meanwhile.
    Restarted,
}

/// One message that was accepted.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Receipt {
    pub(super) lane: u8,
    /// The acceptor's link; zero at the opener.
    pub(super) slot: u8,
    pub(super) number: Sequence,
    /// In which session it was accepted.
    pub(super) session: SessionId,
    pub(super) fate: Fate,
    pub(super) told: Told,
}

/// Where the opener's application is in the stream of one channel.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Place {
    /// The session of the last message that it has taken.
    session: Option<SessionId>,
    /// How many borders it was given since.
    borders: u8,
}

/// Every message of the world, in the order of sending on each channel.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Account {
    /// By channel.
    pub(super) receipts: Vec<Vec<Receipt>>,
    /// By channel.
    pub(super) places: Vec<Place>,
    pub(super) broken: Option<Property>,
    /// Sessions that the acceptor has lost.
    pub(super) sessions_lost: u8,
    pub(super) closes: u8,
    /// How many of those closes were of a link that the acceptor has lost.
    pub(super) closes_void: u8,
    pub(super) expired: bool,
    /// The opener's session, or the first one.
    pub(super) first: Option<SessionId>,
    /// The opener's link was declared to end with its session, and that is over; or it was refused
    /// because the acceptor's was.
    pub(super) over: bool,
    /// Links of the acceptor that have ended because their peer began anew.
    pub(super) left_behind: u8,
}

/// Where an event comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source {
    pub(super) end: End,
    pub(super) slot: u8,
    /// No opener will ever come back to this link.
    pub(super) ghost: bool,
    /// It was refused because the acceptor's link has ended with its session.
    pub(super) turned_away: bool,
}

impl Account {
    pub(super) fn new(setup: &Setup) -> Self {
        Self {
            receipts: vec![Vec::new(); setup.lanes.len()],
            places: vec![Place::default(); setup.lanes.len()],
            ..Self::default()
        }
    }

    /// The first promise that is broken is the one that counts.
    pub(super) fn note_broken(&mut self, property: Property) {
        self.broken.get_or_insert(property);
    }

    /// What the next message on a channel carries: which one it is, and something to cut.
    pub(super) fn payload(&self, lane: u8, length: usize) -> Vec<u8> {
        let which = u8::try_from(self.receipts[usize::from(lane)].len()).unwrap();
        vec![which; length]
    }

    pub(super) fn accept(&mut self, lane: u8, slot: u8, number: Sequence, session: SessionId) {
        self.receipts[usize::from(lane)].push(Receipt {
            lane,
            slot,
            number,
            session,
            fate: Fate::Unseen,
            told: Told::Nothing,
        });
    }

    /// The receiving application has taken a message.
    pub(super) fn take(&mut self, setup: &Setup, lane: u8, slot: u8, message: &Message) {
        let place = &mut self.places[usize::from(lane)];
        let receipts = &mut self.receipts[usize::from(lane)];
        let which = usize::from(message.payload.first().copied().unwrap_or(u8::MAX));
        let lane = &setup.lanes[usize::from(lane)];
        let whole = message.payload.len() == lane.length
            && message
                .payload
                .iter()
                .all(|byte| usize::from(*byte) == which);
        let later = receipts.iter().skip(which + 1);
        let overtaken = later.clone().any(|later| later.fate != Fate::Unseen);
        let Some(receipt) = receipts.get_mut(which).filter(|_| whole) else {
            return self.note_broken(Property::AtMostOnce);
        };
        let again = receipt.fate != Fate::Unseen;
        let may_come = matches!(
            receipt.told,
            Told::Nothing | Told::Restarted | Told::Verdict(VerdictKind::Unknown)
        );
        receipt.fate = if lane.manual {
            Fate::InHand(slot, message.sequence)
        } else {
            Fate::Handled
        };
        let borders = core::mem::take(&mut place.borders);
        let earlier = place.session.replace(receipt.session);
        let foreign = self.first != Some(receipt.session);
        let foreign = foreign && setup.single[0] && lane.from == End::Acceptor;
        // An acceptor's link has one session. At the opener one border stands for sessions in
        // which nothing came, where it was not taken meanwhile.
        let parted = match lane.from {
            End::Opener => borders == 0,
            End::Acceptor => match earlier {
                None => true,
                Some(earlier) if earlier == receipt.session => borders == 0,
                Some(_) => (1..=self.sessions_lost).contains(&borders),
            },
        };
        if again {
            self.note_broken(Property::AtMostOnce);
        } else if lane.expires && self.expired {
            self.note_broken(Property::NeverLate);
        } else if foreign {
            self.note_broken(Property::OneSession);
        } else if !parted {
            self.note_broken(Property::Border);
        } else if overtaken {
            self.note_broken(Property::InOrder);
        } else if !may_come {
            self.note_broken(Property::VerdictWithCause);
        }
    }

    /// The receiving application was given a border.
    pub(super) fn cross(&mut self, setup: &Setup, lane: u8) {
        self.places[usize::from(lane)].borders += 1;
        let receiver = setup.lanes[usize::from(lane)].from.other();
        if setup.single[receiver.at()] {
            self.note_broken(Property::OneSession);
        }
    }

    /// A link has something to tell its application.
    pub(super) fn on_event(&mut self, setup: &Setup, source: Source, event: &Event) {
        match *event {
            Event::Handled {
                channel,
                first,
                last,
                ..
            } => {
                for number in first..=last {
                    // What got another verdict before is an exception in the range.
                    let told = Told::Verdict(VerdictKind::Handled);
                    self.judge(setup, source, channel.0, number, told);
                }
            }
            Event::Verdict {
                channel,
                sequence,
                ref verdict,
            } => {
                let told = match verdict.reply() {
                    Some(_) => Told::Reply,
                    None => Told::Verdict(verdict.kind()),
                };
                self.judge(setup, source, channel.0, sequence, told);
            }
            Event::SessionLost(_) if source.end == End::Acceptor => {
                self.left_behind += 1;
                if !setup.single[1] || !source.ghost {
                    self.note_broken(Property::SessionKept);
                }
            }
            Event::SessionLost(_) if self.sessions_lost == 0 => {
                self.note_broken(Property::SessionKept);
            }
            _ => {}
        }
    }

    fn judge(&mut self, setup: &Setup, source: Source, lane: u16, number: Sequence, told: Told) {
        let settings = &setup.lanes[usize::from(lane)];
        let receipts = &mut self.receipts[usize::from(lane)];
        let same = |receipt: &&mut Receipt| {
            source.end == settings.from && receipt.slot == source.slot && receipt.number == number
        };
        let newer = receipts
            .last()
            .is_some_and(|last| last.slot == source.slot && last.number > number);
        let Some(receipt) = receipts.iter_mut().find(same) else {
            return self.note_broken(Property::VerdictWithCause);
        };
        match receipt.told {
            Told::Verdict(VerdictKind::Handled) => return self.note_broken(Property::OneVerdict),
            Told::Verdict(_) | Told::Reply if told == Told::Verdict(VerdictKind::Handled) => return,
            Told::Verdict(_) | Told::Reply => return self.note_broken(Property::OneVerdict),
            Told::Nothing | Told::Restarted => {}
        }
        receipt.told = told;
        let Told::Verdict(verdict) = told else {
            if receipt.fate != Fate::Replied {
                self.note_broken(Property::VerdictWithCause);
            }
            return;
        };
        let unseen = receipt.fate == Fate::Unseen;
        let lost = self.sessions_lost > 0 || source.ghost;
        let caused = match verdict {
            VerdictKind::Handled => receipt.fate == Fate::Handled,
            // A session in place of one in which everything was said is closed as it begins, and
            // nothing of it is taken.
            VerdictKind::Rejected => {
                receipt.fate == Fate::Rejected || ((self.closes > 0 || self.over) && unseen)
            }
            VerdictKind::Superseded => settings.latest && newer && unseen,
            VerdictKind::Expired => settings.expires && (self.expired || source.ghost) && unseen,
            VerdictKind::Withdrawn => {
                (lost || self.closes > 0 || self.over || source.turned_away) && unseen
            }
            VerdictKind::Unknown => lost,
        };
        if !caused {
            self.note_broken(Property::VerdictWithCause);
        }
    }

    /// A link of the acceptor is gone. Its application learned of it, or is gone itself.
    pub(super) fn forget(&mut self, setup: &Setup, slot: u8, restarted: bool) {
        let mut settled = true;
        for (receipts, lane) in self.receipts.iter_mut().zip(&setup.lanes) {
            for receipt in receipts {
                match receipt.fate {
                    Fate::InHand(from, _) if lane.from == End::Opener && from == slot => {
                        receipt.fate = Fate::TooLate;
                    }
                    _ => {}
                }
                if lane.from == End::Opener || receipt.slot != slot {
                    continue;
                }
                receipt.slot = u8::MAX;
                if receipt.told == Told::Nothing {
                    receipt.told = Told::Restarted;
                    settled &= restarted;
                }
            }
        }
        if !settled {
            self.note_broken(Property::Settled);
        }
    }

    pub(super) fn is_settled(&self) -> bool {
        let mut all = self.receipts.iter().flatten();
        all.all(|receipt| receipt.told != Told::Nothing)
    }

    /// What the receiving application has in hand on a channel.
    pub(super) fn in_hand(&self, lane: u8) -> impl Iterator<Item = u8> + '_ {
        let receipts = (0..).zip(&self.receipts[usize::from(lane)]);
        let held = receipts.filter(|(_, receipt)| matches!(receipt.fate, Fate::InHand(..)));
        held.map(|(which, _)| which)
    }
}
