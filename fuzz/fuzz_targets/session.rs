//! See [`countersign_fuzz::session`].
#![cfg_attr(fuzzing, no_main)]

countersign_fuzz::target!(countersign_fuzz::session::check);
