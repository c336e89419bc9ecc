//! Links whose doings are recorded, where the feature `capture` is on, or whose are not.

pub(crate) use variant::Recorded;

#[cfg(feature = "capture")]
mod variant {
    use countersign_capture::Capture;
    use countersign_core::Observe;

    use crate::Setup;

    /// What listens in to links.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct Recorded(Option<Capture>);

    impl Recorded {
        /// Who listens in to the next link.
        pub(crate) fn observer(&self) -> Option<Box<dyn Observe>> {
            Some(self.0.as_ref()?.observer())
        }
    }

    impl Setup {
        /// Records all links that are made with this from here on: whatever goes into them and comes
        /// out of them, decrypted. A listener's links and the connections that it leads to them are in
        /// one capture. Finish it ([`Capture::finish`]) before the program ends.
        #[must_use]
        pub fn capture(mut self, capture: &Capture) -> Self {
            self.recorded = Recorded(Some(capture.clone()));
            self
        }
    }
}

#[cfg(not(feature = "capture"))]
mod variant {
    use countersign_core::Observe;

    /// Nothing listens in.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct Recorded {}

    impl Recorded {
        #[allow(clippy::unused_self, reason = "the other variant has something to say")]
        pub(crate) fn observer(&self) -> Option<Box<dyn Observe>> {
            None
        }
    }
}
