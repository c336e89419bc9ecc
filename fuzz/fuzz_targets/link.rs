//! See [`countersign_fuzz::link`].
#![cfg_attr(fuzzing, no_main)]

countersign_fuzz::target!(countersign_fuzz::link::check);
