//! What goes wrong.

use super::plan::{ACCEPTOR, Disturbance, Learn, OPENER};
use super::world::{World, acceptor};

impl World<'_> {
    pub(super) fn disturb(&mut self, what: Disturbance) {
        self.say(|| format!("{what:?}"));
        match what {
            Disturbance::Cut(pair, learn) => {
                if let Some(conn) = self.newest(pair) {
                    self.cut_now(conn, learn);
                }
            }
            Disturbance::Freeze { pair, time, lost } => {
                let Some(conn) = self.newest(pair) else {
                    return;
                };
                for pipe in &mut self.conns[conn].pipes {
                    pipe.freeze(self.now + time);
                }
                let side = &mut self.conns[conn].sides[OPENER];
                if lost && !side.gone {
                    let node = side.node;
                    side.gone = true;
                    let now = self.local(node);
                    let side = &mut self.conns[conn].sides[OPENER];
                    side.endpoint
                        .failed(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
                    self.nodes[node].link.deliver(now, &mut side.endpoint);
                    self.touch(node, true);
                }
            }
            Disturbance::RestartOpener { pair, told } => self.restart_opener(pair, told),
            Disturbance::RestartAcceptor { told } => self.restart_acceptor(told),
            Disturbance::Unreachable(time) => self.unreachable_until = self.now + time,
            Disturbance::Stop(host, time) => {
                let until = &mut self.stopped[host];
                *until = (*until).max(self.now + time);
                self.resumes.push((*until, host));
            }
        }
    }

    /// A host goes on: everything that has come meanwhile happens at once.
    pub(super) fn go_on(&mut self, host: usize) {
        self.say(|| format!("host {host} goes on"));
        for node in self.live.clone() {
            if self.host(node) == host && !self.nodes[node].crashed {
                self.touch(node, true);
            }
        }
    }

    /// Until when the host of a link stands still.
    pub(super) fn stopped(&self, node: usize) -> u64 {
        self.stopped[self.host(node)]
    }

    /// The same for both ends of a connection.
    pub(super) fn stopped_ends(&self, conn: usize) -> [u64; 2] {
        [OPENER, ACCEPTOR].map(|end| self.stopped(self.conns[conn].sides[end].node))
    }

    fn newest(&self, pair: usize) -> Option<usize> {
        let of_pair = |conn: &&usize| self.conns[**conn].pair == pair && !self.conns[**conn].dead;
        self.open.iter().rev().find(of_pair).copied()
    }

    pub(super) fn crash_if_due(&mut self) {
        let Some(crash) = self.plan.crash else { return };
        if crash.step != self.summary.steps {
            return;
        }
        self.summary.crashed = true;
        self.say(|| format!("{crash:?}"));
        if crash.end == OPENER {
            self.restart_opener(0, crash.told);
        } else {
            self.restart_acceptor(crash.told);
        }
    }

    fn restart_opener(&mut self, pair: usize, told: bool) {
        let Some(node) = self.parties[pair][OPENER].node else {
            return;
        };
        // What has ended is no loss, and an application that was done does not begin again.
        if self.nodes[node].ended {
            return;
        }
        self.lose(node);
        for conn in self.open.clone() {
            if self.conns[conn].pair == pair {
                self.abandon(conn, OPENER, told);
            }
        }
        // Again there is a link that has to be closed in the end.
        self.finale = false;
        self.begin_opener(pair);
    }

    fn restart_acceptor(&mut self, told: bool) {
        for node in 0..self.nodes.len() {
            if self.nodes[node].end == ACCEPTOR {
                self.lose(node);
            }
        }
        self.finale = false;
        self.acceptor = acceptor(self.plan);
        for parties in &mut self.parties {
            parties[ACCEPTOR].node = None;
        }
        for conn in self.open.clone() {
            self.abandon(conn, ACCEPTOR, told);
        }
    }

    fn lose(&mut self, node: usize) {
        let it = &mut self.nodes[node];
        if !it.crashed && !it.ended {
            it.crashed = true;
            it.at = None;
            it.place = None;
            self.ledger.crashed(node);
        }
    }

    /// One end of a connection is no more.
    fn abandon(&mut self, conn: usize, end: usize, told: bool) {
        self.conns[conn].sides[end].gone = true;
        let learn = match (told, end) {
            (false, _) => Learn::Nobody,
            (true, OPENER) => Learn::Acceptor,
            (true, _) => Learn::Opener,
        };
        self.cut_now(conn, learn);
    }
}
