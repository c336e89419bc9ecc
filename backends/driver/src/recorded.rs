//! Links whose doings are recorded, where the feature `capture` is on, or whose are not.

pub(crate) use variant::Recorded;

#[cfg(feature = "capture")]
mod variant {
    use countersign_capture::Capture;
    use countersign_core::{Config, ConfigError, Link, Role};

    use crate::Setup;

    /// What listens in to links.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct Recorded(Option<Capture>);

    impl Recorded {
        pub(crate) fn link(
            &self,
            config: &Config,
            role: Role,
            seed: [u8; 16],
        ) -> Result<Link, ConfigError> {
            match &self.0 {
                Some(capture) => Link::observed(config, role, seed, capture.observer()),
                None => Link::new(config, role, seed),
            }
        }
    }

    impl Setup {
        /// Records all links that are made with this from here on: whatever goes into them and comes
        /// out of them, decrypted. A listener's links and the visitors that it leads to them are in
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
    use countersign_core::{Config, ConfigError, Link, Role};

    /// Nothing listens in.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct Recorded;

    impl Recorded {
        pub(crate) fn link(
            &self,
            config: &Config,
            role: Role,
            seed: [u8; 16],
        ) -> Result<Link, ConfigError> {
            Link::new(config, role, seed)
        }
    }
}
