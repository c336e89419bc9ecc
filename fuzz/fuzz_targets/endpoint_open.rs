//! See [`countersign_fuzz::endpoint_open`].
#![cfg_attr(fuzzing, no_main)]

countersign_fuzz::target!(countersign_fuzz::endpoint_open::check);
