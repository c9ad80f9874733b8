//! Compiles PostgreSQL's parser from the sources that the package `pg_query` brings.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io, thread};

type Error = Box<dyn std::error::Error>;

#[expect(clippy::disallowed_methods, reason = "cargo tells a build script by variables")]
fn main() -> Result<(), Error> {
    let cargo = env::var("CARGO")?;
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=Cargo.lock");
    let sources = package_directory(&cargo, "pg_query")?.join("libpg_query");
    let mut files = c_files(&sources.join("src"))?;
    files.extend(c_files(&sources.join("src/postgres"))?);
    files.extend(OTHERS.map(|file| sources.join(file)));
    // Compiled by as many compilers as there are processors: cc's own way asks for features of it with which the build
    // scripts of the product's dependencies would be compiled anew.
    let compilers = thread::available_parallelism()?.get();
    let objects = thread::scope(|scope| {
        let sources = &sources;
        let part =
            |number| files.iter().skip(number).step_by(compilers).cloned().collect::<Vec<_>>();
        let compile = |number| {
            let part = part(number);
            scope.spawn(move || library(sources).files(part).try_compile_intermediates())
        };
        let running: Vec<_> = (0..compilers).map(compile).collect();
        running.into_iter().map(|one| one.join()).collect::<Vec<_>>()
    });
    let mut library = library(&sources);
    for compiled in objects {
        library.objects(compiled.map_err(|_panic| "a compiler's thread panicked")??);
    }
    library.try_compile("pg_query")?;
    Ok(())
}

/// The files beside those of the two directories.
const OTHERS: [&str; 4] = [
    "vendor/xxhash/xxhash.c",
    "vendor/upb/upb.c",
    "vendor/upb/third_party/utf8_range/utf8_range.c",
    "protobuf/pg_query.upb_minitable.c",
];

/// The options that its own build has.
fn library(sources: &Path) -> cc::Build {
    let includes = [
        "",
        "vendor",
        "vendor/upb",
        "vendor/upb/third_party/utf8_range",
        "src/postgres/include",
        "src/include",
    ];
    let mut build = cc::Build::new();
    build
        .includes(includes.map(|directory| sources.join(directory)))
        .flag("-fno-strict-aliasing")
        .flag("-fwrapv")
        .opt_level(1)
        .warnings(false);
    build
}

/// The directory of a package of Cargo.lock, also of one that is not compiled.
#[expect(clippy::disallowed_methods, reason = "cargo tells a build script by variables")]
fn package_directory(cargo: &str, name: &str) -> Result<PathBuf, Error> {
    let metadata = Command::new(cargo)
        .args(["metadata", "--format-version=1", "--locked", "--all-features"])
        .current_dir(env::var("CARGO_MANIFEST_DIR")?)
        .output()?;
    if !metadata.status.success() {
        return Err(String::from_utf8_lossy(&metadata.stderr).into());
    }
    let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout)?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let manifest = packages
        .filter(|package| package["name"] == name)
        .find_map(|package| package["manifest_path"].as_str())
        .ok_or("the package is not in Cargo.lock")?;
    Ok(Path::new(manifest).parent().ok_or("a manifest is in a directory")?.to_owned())
}

fn c_files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory)?.map(|entry| entry.map(|entry| entry.path()));
    let mut files = entries.collect::<io::Result<Vec<_>>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "c"));
    files.sort();
    Ok(files)
}
