//! When the demo cuts its own connection, and when it holds it up.

use std::io;
use std::net::SocketAddr;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::proxy::Proxy;

/// The least number of pictures for each cut, so that some get through in between.
pub(super) const PICTURES_PER_CUT: u32 = 2;

/// For how long a stall holds everything up: longer than commands are good for, and than motors run
/// without one.
pub(super) const STALL: Duration = Duration::from_secs(1);

/// Returns the largest number of cuts, or of stalls, in a film of this length.
pub(super) const fn most_cuts(pictures: u32) -> u32 {
    pictures / PICTURES_PER_CUT
}

/// Cuts the connection at certain pictures, each time after the link has recovered, and holds it up
/// at others.
#[derive(Debug)]
pub(super) struct Cuts {
    proxy: Proxy,
    pictures: u32,
    count: u32,
    stalls: u32,
    recovery: Mutex<Recovery>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Recovery {
    /// How many connections the operator has had.
    connections: u64,
    /// No more connections will come.
    over: bool,
}

impl Cuts {
    /// Spreads `count` cuts and `stalls` stalls over the sending of `pictures` pictures to `target`.
    pub(super) fn plan(
        target: SocketAddr,
        count: u32,
        stalls: u32,
        pictures: u32,
    ) -> io::Result<Self> {
        Ok(Self {
            proxy: Proxy::to(target)?,
            pictures,
            count,
            stalls,
            recovery: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    /// Returns the address to connect to.
    pub(super) fn address(&self) -> SocketAddr {
        self.proxy.address()
    }

    /// Returns how many cuts were made.
    pub(super) fn made(&self) -> u64 {
        self.proxy.cuts()
    }

    fn lock(&self) -> MutexGuard<'_, Recovery> {
        self.recovery.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Prepares for sending picture `number`, counting from 0: if it is to be cut through, waits
    /// until the connection to be cut is up.
    pub(super) fn before(&self, number: u32) {
        if self.stalls_at(number) {
            self.proxy.stall(STALL);
        }
        let Some(connection) = self.due(number) else {
            return;
        };
        let down = |recovery: &mut Recovery| recovery.connections < connection && !recovery.over;
        let waited = self.changed.wait_while(self.lock(), down);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
        self.proxy.cut_next();
    }

    /// Returns which connection is to be cut with this picture, if any.
    fn due(&self, number: u32) -> Option<u64> {
        let number = u64::from(number);
        (1..=u64::from(self.count)).find(|cut| self.picture(*cut) == number)
    }

    /// Whether a stall begins with this picture: in the middle of each of so many pieces of the film.
    fn stalls_at(&self, number: u32) -> bool {
        let (pictures, stalls) = (u64::from(self.pictures), u64::from(self.stalls));
        (0..stalls).any(|stall| pictures * (2 * stall + 1) / (2 * stalls) == u64::from(number))
    }

    /// Returns the picture that a cut comes with. The cuts divide the film into pieces of about
    /// equal length.
    fn picture(&self, cut: u64) -> u64 {
        u64::from(self.pictures) * cut / (u64::from(self.count) + 1)
    }

    /// Notes how many connections the operator has had.
    pub(super) fn connected(&self, connections: u64) {
        self.lock().connections = connections;
        self.changed.notify_all();
    }

    /// Notes that the operator will have no more connections.
    pub(super) fn over(&self) {
        self.lock().over = true;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(count: u32, pictures: u32) -> Vec<u32> {
        let cuts = Cuts::plan(([127, 0, 0, 1], 1).into(), count, 0, pictures).unwrap();
        (0..pictures)
            .filter(|number| cuts.due(*number).is_some())
            .collect()
    }

    #[test]
    fn cuts_are_spread_over_the_film() {
        assert_eq!(plan(3, 132), [33, 66, 99]);
        assert_eq!(plan(0, 132), []);
        assert_eq!(plan(1, 2), [1]);
    }

    #[test]
    fn stalls_are_in_the_middle_of_its_parts() {
        for (stalls, at) in [(0, &[][..]), (1, &[66]), (2, &[33, 99])] {
            let cuts = Cuts::plan(([127, 0, 0, 1], 1).into(), 0, stalls, 132).unwrap();
            let stalls_at: Vec<_> = (0..132).filter(|number| cuts.stalls_at(*number)).collect();
            assert_eq!(stalls_at, at);
        }
    }

    #[test]
    fn each_cut_has_a_picture_of_its_own_up_to_the_limit() {
        for pictures in 1..300 {
            let most = most_cuts(pictures);
            assert_eq!(plan(most, pictures).len(), most as usize, "{pictures}");
        }
    }
}
