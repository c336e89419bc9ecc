//! Has the driver use `shuttle` in place of the standard library's locks, and lets tests plant mistakes.

fn main() {
    println!("cargo::rustc-cfg=shuttle");
    println!("cargo::rustc-cfg=planted");
    println!("cargo::rerun-if-changed=build.rs");
}
