//! See [`countersign_fuzz::capture`].
#![cfg_attr(fuzzing, no_main)]

countersign_fuzz::target!(countersign_fuzz::capture::check);
