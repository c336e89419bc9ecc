//! What drives a link: bytes that arrive, deadlines that come, output that is to be written.

use countersign_core::{Disconnect, Role};
use countersign_endpoint::{Endpoint, ToSend};

use super::plan::{ACCEPTOR, Learn, OPENER, Plant, host};
use super::wire::{Conn, Piece, Pipe, Side};
use super::world::{MOST_TURNS, World};
use crate::any_link::AnyLink;

impl World<'_> {
    /// Does everything that there is to do for a link now. `pressed` if its driver looks at its
    /// output by itself, as after an arrival; otherwise it does so when the link reports some.
    pub(super) fn touch(&mut self, node: usize, pressed: bool) {
        if self.stopped(node) > self.now {
            return;
        }
        let mut pressed = pressed;
        for turn in 0.. {
            let wrote = self.write(node, pressed);
            pressed = false;
            let heard = self.on_event(node);
            self.route(node);
            if !wrote && !heard && !self.has_output(node) {
                break;
            }
            if turn > MOST_TURNS {
                let name = self.name(node);
                self.ledger.object(format!("{name} never comes to rest"));
                break;
            }
        }
        self.want_connection(node);
        self.watch(node);
    }

    fn has_output(&self, node: usize) -> bool {
        let node = &self.nodes[node];
        let open = node.at.is_some_and(|conn| {
            let side = &self.conns[conn].sides[node.end];
            !side.shut && !side.endpoint.is_blocked()
        });
        open && node.link.protocol().wants_output()
    }

    /// Sets the node's alarm.
    fn watch(&mut self, node: usize) {
        let clock = self.plan.clocks[self.host(node)];
        let oversleeps = self.plan.plant == Some(Plant::Oversleep);
        let node = &mut self.nodes[node];
        let link = node.link.protocol();
        let deadline = link.poll_deadline();
        node.wake = match deadline {
            Some(_) if oversleeps && link.role() == Role::Acceptor => u64::MAX,
            Some(deadline) => clock.when(deadline),
            None => u64::MAX,
        };
    }

    /// The host that a link runs on.
    pub(super) fn host(&self, node: usize) -> usize {
        let node = &self.nodes[node];
        host(node.pair, node.end)
    }

    /// The time on a link's host.
    pub(super) fn local(&self, node: usize) -> countersign_core::Instant {
        self.plan.clocks[self.host(node)].at(self.now)
    }

    /// A link's deadline has come.
    pub(super) fn deadline(&mut self, node: usize) {
        let now = self.local(node);
        self.say(|| format!("{}: deadline", self.name(node)));
        let link = self.nodes[node].link.protocol_mut();
        link.handle_timeout(now);
        // It may have been told to wait for no time at all.
        link.handle_timeout(now);
        if link.poll_deadline().is_some_and(|deadline| deadline <= now) {
            let name = self.name(node);
            self.ledger.object(format!("the deadline of {name} stays"));
        }
        self.touch(node, true);
    }

    /// Something arrives on a connection, or it is cut.
    pub(super) fn happen(&mut self, conn: usize) {
        let it = &self.conns[conn];
        if let Some((at, learn)) = it.cut.filter(|_| !it.dead)
            && at <= self.now
        {
            self.cut_now(conn, learn);
            return;
        }
        let stopped = self.stopped_ends(conn);
        let due = |from: &usize| it.arrives(*from, stopped).is_some_and(|at| at <= self.now);
        if let Some(from) = [OPENER, ACCEPTOR].into_iter().find(due) {
            self.arrive(conn, from);
        }
    }

    fn arrive(&mut self, conn: usize, from: usize) {
        let to = 1 - from;
        let Some(piece) = self.conns[conn].pipes[from].pop() else {
            return;
        };
        if self.conns[conn].sides[to].gone {
            if matches!(piece, Piece::Bytes(_)) {
                self.end_pipe(conn, to, Piece::Reset);
            }
        } else {
            self.hand_over(conn, to, piece);
        }
        // The writer may have waited for room.
        let side = &self.conns[conn].sides[from];
        if !side.gone && self.nodes[side.node].at == Some(conn) {
            self.touch(side.node, true);
        }
    }

    fn hand_over(&mut self, conn: usize, to: usize, piece: Piece) {
        let node = self.conns[conn].sides[to].node;
        let now = self.local(node);
        let stale = self.nodes[node].at != Some(conn);
        let side = &mut self.conns[conn].sides[to];
        let link = &mut self.nodes[node].link;
        if stale && self.plan.plant == Some(Plant::NoFence) {
            side.endpoint.attach(link.protocol().connection());
        }
        let state = |link: &AnyLink| (link.state(), link.protocol().connection());
        let before = state(link);
        let what = match piece {
            Piece::Bytes(bytes) => {
                if !side.endpoint.is_read_ended() {
                    let input = side.endpoint.input();
                    input.space(bytes.len())[..bytes.len()].copy_from_slice(&bytes);
                    input.commit(bytes.len());
                    side.endpoint.received(bytes.len());
                }
                format_args!("{} bytes", bytes.len()).to_string()
            }
            Piece::End => {
                side.endpoint.received(0);
                "the end".to_owned()
            }
            Piece::Reset => {
                side.endpoint
                    .failed(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
                side.gone = true;
                "a reset".to_owned()
            }
        };
        link.deliver(now, &mut side.endpoint);
        if stale {
            self.summary.stale += 1;
            let untouched = before == state(link);
            if self.plan.plant.is_none() && !untouched {
                self.ledger
                    .object("a connection that was replaced reaches the link");
            }
        }
        if !stale && self.is_up(node) {
            self.check_clock(node);
        }
        self.say(|| {
            let old = if stale {
                ", from an old connection"
            } else {
                ""
            };
            format!("{}: {what} on connection {conn}{old}", self.name(node))
        });
        self.touch(node, true);
    }

    /// Puts the end of an end's output, or a reset, on the way.
    fn end_pipe(&mut self, conn: usize, from: usize, piece: Piece) {
        let pipe = &mut self.conns[conn].pipes[from];
        if pipe.end(self.now, &self.plan.net, &mut self.rng, piece) {
            self.cut_soon(conn);
        }
    }

    /// Writes a link's output, as far as its connection takes it. Returns true if it did anything.
    fn write(&mut self, node: usize, pressed: bool) -> bool {
        let end = self.nodes[node].end;
        let Some(conn) = self.nodes[node].at else {
            return false;
        };
        let idle = !self.conns[conn].sides[end].endpoint.has_output();
        if !pressed && idle && !self.nodes[node].link.protocol().wants_output() {
            return self.drop_finished(node);
        }
        let wrote = self.write_side(conn, end);
        self.drop_finished(node) || wrote
    }

    fn write_side(&mut self, conn: usize, end: usize) -> bool {
        let mut wrote = false;
        let node = self.conns[conn].sides[end].node;
        let now = self.local(node);
        loop {
            let side = &mut self.conns[conn].sides[end];
            if side.shut || side.gone {
                break;
            }
            self.nodes[node].link.collect(now, &mut side.endpoint);
            match side.endpoint.to_send() {
                ToSend::Bytes(_) => {
                    if !self.push(conn, end) {
                        break;
                    }
                    wrote = true;
                }
                ToSend::Nothing => break,
                ToSend::End => {
                    side.endpoint.shut();
                    side.shut = true;
                    wrote = true;
                    self.end_pipe(conn, end, Piece::End);
                }
            }
        }
        self.conns[conn].sides[end].endpoint.release();
        wrote
    }

    /// Moves output on its way. Returns false if there is none, or no room.
    fn push(&mut self, conn: usize, end: usize) -> bool {
        let Conn { pipes, sides, .. } = &mut self.conns[conn];
        let (endpoint, pipe) = (&mut sides[end].endpoint, &mut pipes[end]);
        let ToSend::Bytes(output) = endpoint.to_send() else {
            return false;
        };
        let room = pipe.room(&self.plan.net).min(output.filled().len());
        if room == 0 {
            return false;
        }
        let mut bytes = &output.filled()[..room];
        if self.plan.plant == Some(Plant::LoseBytes) && !self.planted && pipe.written > 600 {
            self.planted = true;
            bytes = &bytes[bytes.len().min(3)..];
        }
        let cut = pipe.push(self.now, &self.plan.net, &mut self.rng, bytes);
        output.consume(room);
        endpoint.sent();
        if cut {
            self.cut_soon(conn);
        }
        true
    }

    /// Drops a link's connection if the link has no more use for it.
    fn drop_finished(&mut self, node: usize) -> bool {
        let Some(conn) = self.nodes[node].at else {
            return false;
        };
        let end = self.nodes[node].end;
        let over = self.conns[conn].sides[end].gone;
        if self.nodes[node].link.protocol().wants_connection() && !over {
            return false;
        }
        self.release(conn, end);
        self.nodes[node].at = None;
        true
    }

    /// A connection of which a link has no more use: its last bytes go out, then its end. Now and
    /// then a driver is slow, and reads on.
    pub(super) fn release(&mut self, conn: usize, end: usize) {
        self.write_side(conn, end);
        let side = &mut self.conns[conn].sides[end];
        if side.gone {
            return;
        }
        let slow = self.plan.slow_drivers > 0 && self.rng.one_in(self.plan.slow_drivers);
        if slow {
            return;
        }
        side.gone = true;
        self.end_pipe(conn, end, Piece::End);
    }

    /// A connection carries no more: both ends will learn what the plan lets them learn.
    fn cut_soon(&mut self, conn: usize) {
        let planned = self.plan.cuts.iter().find(|cut| cut.connection == conn);
        if let Some(cut) = planned
            && self.conns[conn].cut.is_none()
        {
            self.summary.cuts += 1;
            let learn = cut.learn;
            self.say(|| format!("connection {conn} is cut: {learn:?}"));
            // What arrives still arrives until then.
            let delay = 2 * self.plan.net.delay + self.plan.net.back;
            self.conns[conn].cut = Some((self.now + delay + 1, learn));
        }
    }

    /// Nothing passes any more.
    pub(super) fn cut_now(&mut self, conn: usize, learn: Learn) {
        if self.conns[conn].dead {
            return;
        }
        self.say(|| format!("connection {conn} carries nothing any more: {learn:?}"));
        self.conns[conn].die();
        for end in [OPENER, ACCEPTOR] {
            if learn.tells(end) && !self.conns[conn].sides[end].gone {
                let piece = if learn == Learn::End {
                    Piece::End
                } else {
                    Piece::Reset
                };
                self.hand_over(conn, end, piece);
            }
        }
    }

    // Opening.

    /// An opener's link may want a connection.
    fn want_connection(&mut self, node: usize) {
        if self.nodes[node].link.wants_connect() && !self.nodes[node].dials {
            self.check_not_over(node);
            self.nodes[node].dials = true;
            let takes = 2 * self.plan.net.delay + self.rng.below(self.plan.net.jitter + 1);
            self.dials.push((self.now + takes, node));
        }
    }

    /// A connection that was being opened is open, or has failed.
    pub(super) fn dial(&mut self, node: usize) {
        self.nodes[node].dials = false;
        if self.nodes[node].crashed || !self.nodes[node].link.wants_connect() {
            return;
        }
        let now = self.local(node);
        if self.now < self.unreachable_until {
            self.say(|| format!("{}: nobody answers", self.name(node)));
            let link = self.nodes[node].link.protocol_mut();
            link.handle_lost(now, Disconnect::Transport);
            self.touch(node, false);
            return;
        }
        let pair = self.nodes[node].pair;
        let incoming = self.add_node(pair, ACCEPTOR);
        let ends = [node, incoming];
        let sides = [OPENER, ACCEPTOR].map(|end| {
            let now = self.local(ends[end]);
            let security = self.security(pair, end);
            let link = &mut self.nodes[ends[end]].link;
            let (role, config) = (link.protocol().role(), link.protocol().config());
            let mut endpoint = Endpoint::new(&security, role, config.get_dialect());
            link.deliver(now, &mut endpoint);
            Side::new(endpoint, ends[end])
        });
        let conn = self.conns.len();
        self.say(|| format!("{}: connection {conn}", self.name(node)));
        let mut pipes = [Pipe::default(), Pipe::default()];
        pipes[ACCEPTOR].back = self.plan.net.back;
        for cut in self.plan.cuts.iter().filter(|cut| cut.connection == conn) {
            pipes[cut.from].limit = Some(cut.after);
        }
        self.conns.push(Conn {
            pair,
            pipes,
            sides,
            cut: None,
            dead: false,
        });
        self.open.push(conn);
        self.nodes[node].at = Some(conn);
        self.nodes[incoming].at = Some(conn);
        self.touch(node, true);
        self.touch(incoming, true);
    }
}
