//! The parts of the fuzz targets that are more than one call into the product.

use std::alloc::System;

use cap::Cap;

pub mod classifier;
pub mod configuration;
pub mod credentials;
pub mod frames;
mod parse_tree;
mod postgres_parser;
mod statement_generator;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// The memory that one input may take, in bytes. Inputs are a few KiB.
const MOST_MEMORY: usize = 64 << 20;

/// Runs the check of one input, which fails if it takes too much memory.
pub fn bounded(check: impl FnOnce()) {
    let limit = ALLOCATOR.allocated().saturating_add(MOST_MEMORY);
    ALLOCATOR.set_limit(limit).expect("less is allocated");
    check();
    ALLOCATOR.set_limit(usize::MAX).expect("less is allocated");
}
