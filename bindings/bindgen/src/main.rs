//! The generator that `cargo xtask bindings` runs: uniffi's own, at the version that the library
//! was built with. It reads the interface out of the built library.

fn main() {
    uniffi::uniffi_bindgen_main();
}
