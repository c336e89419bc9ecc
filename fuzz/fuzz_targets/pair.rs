//! See [`countersign_fuzz::cases::pair`].
#![cfg_attr(fuzzing, no_main)]

countersign_fuzz::target!(countersign_fuzz::cases::pair::check);
