//! The one command surface of the repository.
fn main() {}
