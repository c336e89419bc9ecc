//! See [`countersign_fuzz::split`].
#![cfg_attr(fuzzing, no_main)]

countersign_fuzz::target!(countersign_fuzz::split::check);
