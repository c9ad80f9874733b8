//! `rowgate`.
fn main() {}
