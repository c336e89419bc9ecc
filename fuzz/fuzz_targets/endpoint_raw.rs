//! See [`countersign_fuzz::endpoint_raw`].
#![cfg_attr(fuzzing, no_main)]

countersign_fuzz::target!(countersign_fuzz::endpoint_raw::check);
