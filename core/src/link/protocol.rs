//! The methods that move a connection's bytes, whether it belongs to a link or not.

use super::{Link, Output, PeerId};
use crate::{Config, Disconnect, Incoming, Instant, LinkState, OutOfOrder, Role};

mod sealed {
    pub trait Sealed {}
    impl Sealed for crate::Link {}
    impl Sealed for crate::Incoming {}
}

/// The methods of a [`Link`] that a caller needs to move the bytes of its connection, and of an
/// [`Incoming`] connection that does not belong to a link yet.
///
/// Each method does what the method of [`Link`] with the same name does.
pub trait Protocol: sealed::Sealed {
    /// See [`Link::config`].
    fn config(&self) -> &Config;
    /// See [`Link::role`].
    fn role(&self) -> Role;
    /// See [`Link::state`].
    fn state(&self) -> LinkState;
    /// See [`Link::connection`].
    fn connection(&self) -> u64;
    /// See [`Link::wants_connection`].
    fn wants_connection(&self) -> bool;
    /// See [`Link::wants_output`].
    fn wants_output(&self) -> bool;
    /// See [`Link::breaks_off`].
    fn breaks_off(&self) -> bool;
    /// See [`Link::handle_opened`].
    ///
    /// # Errors
    ///
    /// See the method of [`Link`].
    fn handle_opened(&mut self, now: Instant) -> Result<(), OutOfOrder>;
    /// See [`Link::handle_secured`].
    ///
    /// # Errors
    ///
    /// See the method of [`Link`].
    fn handle_secured(&mut self, now: Instant, peer: Option<PeerId>) -> Result<(), OutOfOrder>;
    /// See [`Link::handle_input`].
    fn handle_input(&mut self, now: Instant, input: &[u8]);
    /// See [`Link::handle_eof`].
    fn handle_eof(&mut self, now: Instant);
    /// See [`Link::handle_lost`].
    fn handle_lost(&mut self, now: Instant, how: Disconnect);
    /// See [`Link::handle_timeout`].
    fn handle_timeout(&mut self, now: Instant);
    /// See [`Link::revoke`].
    fn revoke(&mut self, now: Instant);
    /// See [`Link::session_peer`].
    fn session_peer(&self) -> Option<PeerId>;
    /// See [`Link::poll_deadline`].
    fn poll_deadline(&self) -> Option<Instant>;
    /// See [`Link::poll_output`].
    fn poll_output(&mut self, now: Instant, out: &mut [u8]) -> Output;
}

/// Forwards every call to the method of [`Link`] with the same name.
macro_rules! protocol {
    ($for:ty, $self:ident, $link:expr, $link_mut:expr) => {
        impl Protocol for $for {
            fn config(&$self) -> &Config {
                Link::config($link)
            }

            fn role(&$self) -> Role {
                Link::role($link)
            }

            fn state(&$self) -> LinkState {
                Link::state($link)
            }

            fn connection(&$self) -> u64 {
                Link::connection($link)
            }

            fn wants_connection(&$self) -> bool {
                Link::wants_connection($link)
            }

            fn wants_output(&$self) -> bool {
                Link::wants_output($link)
            }

            fn breaks_off(&$self) -> bool {
                Link::breaks_off($link)
            }

            fn handle_opened(&mut $self, now: Instant) -> Result<(), OutOfOrder> {
                Link::handle_opened($link_mut, now)
            }

            fn handle_secured(
                &mut $self,
                now: Instant,
                peer: Option<PeerId>,
            ) -> Result<(), OutOfOrder> {
                Link::handle_secured($link_mut, now, peer)
            }

            fn handle_input(&mut $self, now: Instant, input: &[u8]) {
                Link::handle_input($link_mut, now, input);
            }

            fn handle_eof(&mut $self, now: Instant) {
                Link::handle_eof($link_mut, now);
            }

            fn handle_lost(&mut $self, now: Instant, how: Disconnect) {
                Link::handle_lost($link_mut, now, how);
            }

            fn handle_timeout(&mut $self, now: Instant) {
                Link::handle_timeout($link_mut, now);
            }

            fn revoke(&mut $self, now: Instant) {
                Link::revoke($link_mut, now);
            }

            fn session_peer(&$self) -> Option<PeerId> {
                Link::session_peer($link)
            }

            fn poll_deadline(&$self) -> Option<Instant> {
                Link::poll_deadline($link)
            }

            fn poll_output(&mut $self, now: Instant, out: &mut [u8]) -> Output {
                Link::poll_output($link_mut, now, out)
            }
        }
    };
}

protocol!(Link, self, self, self);
protocol!(Incoming, self, self.inner(), self.inner_mut());
