//! See [`countersign_fuzz::stream`].
#![cfg_attr(fuzzing, no_main)]

countersign_fuzz::target!(countersign_fuzz::stream::check);
