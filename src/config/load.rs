//! From what was written to the configuration: the steps, in order.

use std::collections::BTreeSet;

use super::assemble::{self, MAIN, Named};
use super::keys::{DATABASE, DATABASES, GLOBAL, URL};
use super::libpq;
use super::problem::{Problem, Problems};
use super::reader::Reader;
use super::reference::{FILE_SUFFIX, Resolver};
use super::source::{self, Environment, Inputs, Layer};
use super::target::Written;
use super::tree::{Entries, Leaf, Path, Raw};
use super::{Loaded, unknown};

const DATABASE_URL: &str = "DATABASE_URL";

/// The longest name of a database.
const LONGEST_NAME: usize = 63;

pub(super) fn load(inputs: &Inputs) -> Result<Loaded, Problems> {
    let environment = &inputs.environment;
    let resolver = Resolver::new(environment);
    let mut problems = Vec::new();
    let layers = source::layers(inputs, &mut problems);
    // Without one of them the rest means something else, and its problems would mislead.
    Problems::check(std::mem::take(&mut problems))?;
    let mut entries = Entries::new();
    for layer in layers {
        merge(&mut entries, layer, &resolver, &mut problems);
    }
    let named = named(&mut entries, environment, &resolver, &mut problems);
    problems.extend(unknown::problems(&entries, &named.databases));
    let mut reader = Reader::new(&entries);
    reader.warnings.extend(near_misses(environment));
    reader.warnings.extend(ignored_url(environment, &entries));
    let config = assemble::config(&mut reader, environment, named, inputs.insecure);
    let (warnings, settings) = (reader.warnings, reader.settings);
    problems.extend(reader.problems);
    Problems::check(problems)?;
    let config = config.expect("a configuration is whole when no problem says otherwise");
    Ok(Loaded { config, settings, warnings })
}

/// Lays a layer upon those below it.
fn merge(
    entries: &mut Entries,
    layer: Layer,
    resolver: &Resolver<'_>,
    problems: &mut Vec<Problem>,
) {
    let mut of_files = BTreeSet::new();
    let mut plain = BTreeSet::new();
    for mut leaf in layer {
        let is_file = strip_file_suffix(&mut leaf.path);
        let path = leaf.path.clone();
        let (mine, other) = if is_file { (&mut of_files, &plain) } else { (&mut plain, &of_files) };
        if other.contains(&path) {
            let key = path.join(".");
            let why = format!("both {key} and {key}{FILE_SUFFIX} are given");
            let problem = Problem::new(key, why).origin(&leaf.origin);
            problems.push(problem.instead("Remove one of them."));
            continue;
        }
        mine.insert(path.clone());
        let entry = match is_file {
            true => resolver.resolve_file(leaf, problems),
            false => resolver.resolve(leaf, problems),
        };
        // An empty section hides nothing that is in it.
        if entry.raw != Raw::Nothing || !entries.contains_key(&path) {
            entries.insert(path, entry);
        }
    }
}

/// Whether a path is that of `KEY_FILE`; it becomes that of `KEY`.
fn strip_file_suffix(path: &mut Path) -> bool {
    let Some(last) = path.last_mut() else { return false };
    let Some(start) = last.len().checked_sub(FILE_SUFFIX.len()).filter(|start| *start > 0) else {
        return false;
    };
    let is_file = last.get(start..).is_some_and(|end| end.eq_ignore_ascii_case(FILE_SUFFIX));
    if is_file {
        last.truncate(start);
    }
    is_file
}

/// Which databases there are; a URL or variables of the surroundings name `main` when nothing else
/// names any.
fn named(
    entries: &mut Entries,
    environment: &Environment,
    resolver: &Resolver<'_>,
    problems: &mut Vec<Problem>,
) -> Named {
    let mut databases = BTreeSet::new();
    for (path, entry) in entries.iter() {
        let (Some(section), Some(name)) = (path.first(), path.get(1)) else { continue };
        if section != DATABASES || !databases.insert(name.clone()) || is_name(name) {
            continue;
        }
        let why = "this cannot be the name of a database";
        let instead =
            "Start it with a letter and go on with up to 62 small letters, digits, - and _.";
        let problem = Problem::new(format!("{DATABASES}.{name}"), why).origin(&entry.origin);
        problems.push(problem.instead(instead));
    }
    let url = main_url();
    let mut main = None;
    if (databases.is_empty() || databases.contains(MAIN)) && !entries.contains_key(&url) {
        databases.insert(MAIN.to_owned());
        if let Some(text) = environment.variables.get(DATABASE_URL) {
            let raw = Raw::Text(text.clone());
            let leaf = Leaf { path: url.clone(), raw, origin: DATABASE_URL.to_owned() };
            entries.insert(url, resolver.resolve(leaf, problems));
        } else {
            let variables = libpq::from_variables(environment, problems);
            main = Some(variables.map_or_else(Written::by_default, Written::by_variables));
        }
    }
    Named { databases, main }
}

fn main_url() -> Path {
    vec![DATABASES.to_owned(), MAIN.to_owned(), URL.name.to_owned()]
}

/// `ROWGATE_GRPC_LISTEN`, which sets nothing: two underscores are meant.
fn near_misses(environment: &Environment) -> Vec<String> {
    let main = DATABASE.iter().map(|key| format!("{DATABASES}.{MAIN}.{key}"));
    let keys: Vec<_> = GLOBAL.iter().map(|key| (*key).to_owned()).chain(main).collect();
    let near = |name: &String| {
        let rest = name.strip_prefix("ROWGATE_").filter(|rest| !rest.starts_with('_'))?;
        let rest = rest.to_ascii_lowercase().replace("__", "_");
        let meant = keys.iter().find(|key| key.replace('.', "_") == rest)?;
        let meant = meant.to_ascii_uppercase().replace('.', "__");
        Some(format!("the variable {name} is ignored: {}{meant} sets that key", source::PREFIX))
    };
    environment.variables.keys().filter_map(near).collect()
}

/// `DATABASE_URL` that something else overrides.
fn ignored_url(environment: &Environment, entries: &Entries) -> Option<String> {
    environment.get(DATABASE_URL)?;
    match entries.get(&main_url()) {
        Some(entry) if entry.origin == DATABASE_URL => None,
        Some(entry) => Some(format!(
            "{DATABASE_URL} is ignored: databases.main.url is set by {}",
            entry.origin
        )),
        None => Some(format!(
            "{DATABASE_URL} is ignored: it names the database main, but others are configured"
        )),
    }
}

fn is_name(name: &str) -> bool {
    let fits =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    name.len() <= LONGEST_NAME
        && name.as_bytes().first().is_some_and(u8::is_ascii_lowercase)
        && name.bytes().all(fits)
}
