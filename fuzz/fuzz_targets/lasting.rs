//! See [`countersign_fuzz::cases::lasting`].
#![cfg_attr(fuzzing, no_main)]

countersign_fuzz::target!(countersign_fuzz::cases::lasting::check);
