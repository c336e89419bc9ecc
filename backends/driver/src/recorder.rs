//! The recording of links, with the feature `capture`, and its stub without.

pub(crate) use variant::Recorder;

#[cfg(feature = "capture")]
mod variant {
    use countersign_capture::Capture;
    use countersign_core::Observe;

    use crate::Setup;

    /// The capture that records links, if any.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct Recorder(Option<Capture>);

    impl Recorder {
        /// Makes an observer for the next link, if links are recorded.
        pub(crate) fn observer(&self) -> Option<Box<dyn Observe>> {
            Some(self.0.as_ref()?.observer())
        }
    }

    impl Setup {
        /// Records all links that are made with this setup from now on: all of their input and
        /// output, decrypted. A listener's links and the connections that it routes to them are in
        /// one capture. Call [`Capture::finish`] before the program ends.
        #[must_use]
        pub fn capture(mut self, capture: &Capture) -> Self {
            self.recorder = Recorder(Some(capture.clone()));
            self
        }
    }
}

#[cfg(not(feature = "capture"))]
mod variant {
    use countersign_core::Observe;

    /// Records nothing.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct Recorder {}

    impl Recorder {
        #[allow(clippy::unused_self, reason = "the other variant has something to say")]
        pub(crate) fn observer(&self) -> Option<Box<dyn Observe>> {
            None
        }
    }
}
