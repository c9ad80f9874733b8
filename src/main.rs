//! The `rowgate` binary.

use clap::Parser;
use rowgate::cli::{Cli, Exit, run};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Exit {
    run(Cli::parse())
}
