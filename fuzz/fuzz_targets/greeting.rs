//! See [`countersign_fuzz::greeting`].
#![cfg_attr(fuzzing, no_main)]

countersign_fuzz::target!(countersign_fuzz::greeting::check);
