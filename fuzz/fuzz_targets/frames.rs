//! See [`countersign_fuzz::frames`].
#![cfg_attr(fuzzing, no_main)]

countersign_fuzz::target!(countersign_fuzz::frames::check);
