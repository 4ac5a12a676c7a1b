//! The build's own commands.
fn main() {}
