//! What the suites have in common: scenarios that are registered where they are written.

/// A scenario of a suite, which runs on an `S`, in each of several places `P`.
pub struct Scenario<S: 'static, P: 'static> {
    path: &'static str,
    /// The function.
    pub name: &'static str,
    /// The scenario itself.
    pub run: fn(&S),
    /// Where it runs, such as over which transports.
    pub places: &'static [P],
    /// Why its connections can't be cut at random, if so.
    pub of_one_connection: Option<&'static str>,
}

impl<S, P> Scenario<S, P> {
    /// Makes a scenario of the module with this path. `scenarios!` calls it.
    #[must_use]
    pub const fn new(
        path: &'static str,
        name: &'static str,
        run: fn(&S),
        places: &'static [P],
        of_one_connection: Option<&'static str>,
    ) -> Self {
        Self {
            path,
            name,
            run,
            places,
            of_one_connection,
        }
    }

    /// Returns the module that it is in.
    #[must_use]
    pub fn module(&self) -> &'static str {
        self.path.rsplit("::").next().unwrap_or(self.path)
    }

    /// Returns the scenario's name in its suite, `module::scenario`.
    #[must_use]
    pub fn path(&self) -> String {
        format!("{}::{}", self.module(), self.name)
    }
}

impl<S, P> std::fmt::Debug for Scenario<S, P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.path())
    }
}

/// Registers the scenarios of a module, by the places that they run in, which the parent module
/// names together with its `Scenario`; each may say why its connections can't be cut at random.
///
/// It is the only list: a name without a function does not compile, and a function that is not
/// named here is dead code, and so are the scenarios of a module that its suite leaves out.
macro_rules! scenarios {
    ($($places:ident { $($name:ident $(: $why:literal)?,)* })*) => {
        /// The scenarios of this module.
        pub(super) static SCENARIOS: &[super::Scenario] = &[$($(
            super::Scenario::new(
                module_path!(),
                stringify!($name),
                $name,
                super::$places,
                scenarios!(@ $($why)?),
            ),
        )*)*];
    };
    (@) => { None };
    (@ $why:literal) => { Some($why) };
}
