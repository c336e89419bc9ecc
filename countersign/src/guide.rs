//! The guides, from the repository's `docs`.
//!
//! For programs: [`backends`], [`live`], [`cancel_safety`], [`limits`], [`rotation`], [`secrets`],
//! [`secure_streams`], [`capture`]; [`cli`] is about the program `countersign`. [`custom_runtime`]
//! is for applications with their own loop, and [`protocol`] is the specification.

// Links to other files are defined twice: here for this documentation, and at the end of each file
// for readers in the repository. The first definition applies.

#[doc = "[benchmarks.md#a-crowd-at-one-server]: https://github.com/countersign/countersign/blob/main/docs/benchmarks.md#a-crowd-at-one-server"]
#[doc = "[custom-runtime.md]: crate::guide::custom_runtime"]
#[doc = "[live.md]: crate::guide::live"]
#[doc = "[verification.md#conformance]: https://github.com/countersign/countersign/blob/main/docs/verification.md#conformance"]
#[doc = ""]
#[doc = include_str!("../docs/backends.md")]
pub mod backends {}

#[doc = "[secure-streams.md]: crate::guide::secure_streams"]
#[doc = ""]
#[doc = include_str!("../docs/cancel-safety.md")]
pub mod cancel_safety {}

#[doc = "[cli.md]: crate::guide::cli"]
#[doc = "[vectors/README.md]: https://github.com/countersign/countersign/blob/main/docs/vectors/README.md"]
#[doc = ""]
#[doc = include_str!("../docs/capture.md")]
pub mod capture {}

#[doc = "[capture.md]: crate::guide::capture"]
#[doc = "[live.md]: crate::guide::live"]
#[doc = "[rotation.md]: crate::guide::rotation"]
#[doc = ""]
#[doc = include_str!("../docs/cli.md")]
pub mod cli {}

#[doc = "[../examples/in-memory]: https://github.com/countersign/countersign/blob/main/examples/in-memory"]
#[doc = "[../examples/own-loop]: https://github.com/countersign/countersign/blob/main/examples/own-loop"]
#[doc = "[../examples/readiness]: https://github.com/countersign/countersign/blob/main/examples/readiness"]
#[doc = "[backends.md#time]: crate::guide::backends#time"]
#[doc = "[live.md]: crate::guide::live"]
#[doc = "[rotation.md]: crate::guide::rotation"]
#[doc = ""]
#[doc = include_str!("../docs/custom-runtime.md")]
pub mod custom_runtime {}

#[doc = "[protocol.md#limits]: crate::guide::protocol#limits"]
#[doc = ""]
#[doc = include_str!("../docs/limits.md")]
pub mod limits {}

#[doc = "[backends.md]: crate::guide::backends"]
#[doc = "[backends.md#time]: crate::guide::backends#time"]
#[doc = "[benchmarks.md]: https://github.com/countersign/countersign/blob/main/docs/benchmarks.md"]
#[doc = "[custom-runtime.md#time]: crate::guide::custom_runtime#time"]
#[doc = "[protocol.md#age]: crate::guide::protocol#age"]
#[doc = "[verification.md]: https://github.com/countersign/countersign/blob/main/docs/verification.md"]
#[doc = ""]
#[doc = include_str!("../docs/live.md")]
pub mod live {}

#[doc = "[limits.md]: crate::guide::limits"]
#[doc = "[vectors/README.md]: https://github.com/countersign/countersign/blob/main/docs/vectors/README.md"]
#[doc = ""]
#[doc = include_str!("../docs/protocol.md")]
pub mod protocol {}

#[doc = "[cli.md#a-list-of-peers]: crate::guide::cli#a-list-of-peers"]
#[doc = ""]
#[doc = include_str!("../docs/rotation.md")]
pub mod rotation {}

#[doc = include_str!("../docs/secrets.md")]
pub mod secrets {}

#[doc = include_str!("../docs/secure-streams.md")]
pub mod secure_streams {}
