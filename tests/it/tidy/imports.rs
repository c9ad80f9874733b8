//! The graph of imports between the files of `src`, and the circles in it.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{Source, is_word};

/// A module of the crate as its path: `["pool", "queue"]`.
type Module = Vec<String>;

/// The modules that each module imports from.
type Graph = BTreeMap<Module, BTreeSet<Module>>;

/// Returns the modules of each circle of imports that stays inside one top-level module.
///
/// A declaration (`mod x;`) is no import; a re-export (`pub use x::Y`) is one.
pub(super) fn circles(sources: &[Source]) -> Vec<Vec<String>> {
    let graph = graph(sources);
    let reached: BTreeMap<&Module, BTreeSet<&Module>> =
        graph.keys().map(|from| (from, reachable(&graph, from))).collect();
    let mut circles = BTreeSet::new();
    for (from, to) in &reached {
        let circle: Vec<String> = to
            .iter()
            .filter(|other| reached[*other].contains(from))
            .map(|module| module.join("/"))
            .collect();
        if circle.len() > 1 {
            circles.insert(circle);
        }
    }
    circles.into_iter().collect()
}

fn graph(sources: &[Source]) -> Graph {
    let modules: BTreeSet<Module> = sources.iter().map(module).collect();
    let mut graph = Graph::new();
    for source in sources {
        let own = module(source);
        let imported = paths(&source.code)
            .into_iter()
            .filter_map(|path| resolve(&path, &own, &modules))
            .filter(|other| *other != own && other.first() == own.first());
        graph.entry(own.clone()).or_default().extend(imported);
    }
    graph
}

/// Returns the module of a file, `["pool"]` for `src/pool/mod.rs`; empty for `src/lib.rs`.
fn module(source: &Source) -> Module {
    let inside = source.path.strip_prefix("src/").unwrap_or(&source.path);
    let inside = inside.trim_end_matches(".rs");
    let parts = inside.split('/').filter(|part| !["mod", "lib"].contains(part));
    parts.map(str::to_owned).collect()
}

/// Returns the module that holds what a path names; `None` for a path of another crate.
fn resolve(path: &[String], own: &[String], modules: &BTreeSet<Module>) -> Option<Module> {
    let mut at = own.to_vec();
    let mut rest = path;
    match rest.first()?.as_str() {
        "crate" => {
            at.clear();
            rest = &rest[1..];
        }
        "self" => rest = &rest[1..],
        "super" => {
            while let Some(("super", deeper)) = rest.split_first().map(|(a, b)| (a.as_str(), b)) {
                at.pop();
                rest = deeper;
            }
        }
        child => {
            at.push(child.to_owned());
            let is_child = modules.contains(&at);
            at.pop();
            if !is_child {
                return None;
            }
        }
    }
    for name in rest {
        at.push(name.clone());
        if !modules.contains(&at) {
            at.pop();
            break;
        }
    }
    Some(at)
}

/// Returns the paths of a source: those that it imports, and those that stand in its code.
fn paths(code: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut rest = code;
    while let Some(start) = rest.find(|c: char| is_word(c)) {
        let word_length = rest[start..].find(|c| !is_word(c)).unwrap_or(rest.len() - start);
        let word = &rest[start..start + word_length];
        let after = &rest[start + word_length..];
        if word == "use" && after.starts_with(' ') {
            let end = after.find(';').unwrap_or(after.len());
            flatten(&after[..end], &mut Vec::new(), &mut found);
            rest = &after[end..];
        } else if after.starts_with("::") {
            let end = after.find(|c| !is_word(c) && c != ':').unwrap_or(after.len());
            let path = rest[start..start + word_length + end].split("::");
            found.push(path.filter(|name| !name.is_empty()).map(str::to_owned).collect());
            rest = &after[end..];
        } else {
            rest = after;
        }
    }
    found
}

/// Adds each path of a tree of imports, `a::{b, c::d}`, below a prefix.
fn flatten(tree: &str, prefix: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
    let tree = tree.trim();
    let depth = prefix.len();
    match tree.find('{') {
        None => {
            let path = tree.split(" as ").next().unwrap_or_default();
            let names = path.split("::").map(str::trim).filter(|name| !name.is_empty());
            prefix.extend(names.map(str::to_owned));
            found.push(prefix.clone());
        }
        Some(open) => {
            let names = tree[..open].split("::").map(str::trim).filter(|name| !name.is_empty());
            prefix.extend(names.map(str::to_owned));
            let close = tree.rfind('}').unwrap_or(tree.len());
            for item in items(&tree[open + 1..close]) {
                flatten(item, prefix, found);
            }
        }
    }
    prefix.truncate(depth);
}

/// Splits the items of a group at the commas that are not in an inner group.
fn items(group: &str) -> Vec<&str> {
    let mut depth = 0_i32;
    let mut parts = group.split(|c| {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        c == ',' && depth == 0
    });
    let parts = parts.by_ref().filter(|item| !item.trim().is_empty());
    parts.collect()
}

fn reachable<'g>(graph: &'g Graph, from: &'g Module) -> BTreeSet<&'g Module> {
    let mut reached = BTreeSet::new();
    let mut waiting = vec![from];
    while let Some(module) = waiting.pop() {
        for next in graph.get(module).into_iter().flatten() {
            if reached.insert(next) {
                waiting.push(next);
            }
        }
    }
    reached
}

#[test]
fn circles_are_found_through_groups_paths_and_re_exports() {
    let circle = |files: &[(&str, &str)]| {
        let sources: Vec<_> = files.iter().map(|(path, text)| Source::new(*path, *text)).collect();
        circles(&sources).iter().map(|circle| circle.join(" ")).collect::<Vec<_>>()
    };
    let two = [
        ("src/pool/mod.rs", "mod a;\nmod b;"),
        ("src/pool/a.rs", "use super::{b::{self, B}, c};"),
        ("src/pool/b.rs", "fn f() { crate::pool::a::g() }"),
    ];
    assert_eq!(circle(&two), ["pool/a pool/b"]);
    let parent = [
        ("src/pool/mod.rs", "mod a;\npub use a::A;"),
        ("src/pool/a.rs", "use super::Pool;\nstruct A;"),
    ];
    assert_eq!(circle(&parent), ["pool pool/a"]);
    let nested = [
        ("src/pool/mod.rs", "mod a;"),
        ("src/pool/a/mod.rs", "mod x;\nfn f() { x::g() }"),
        ("src/pool/a/x.rs", "use super::super::b::B as C;"),
        ("src/pool/b.rs", "use super::a;"),
    ];
    assert_eq!(circle(&nested), ["pool/a pool/a/x pool/b"]);
}

#[test]
fn layers_declarations_comments_and_other_modules_are_no_circle() {
    let sources = [
        ("src/pool/mod.rs", "mod a;\nmod b;\npub use a::A; use b::B;"),
        ("src/pool/a.rs", "use super::b::B; // use super::Pool"),
        ("src/pool/b.rs", "use std::a; use crate::error::Error; fn a::f() {}"),
        ("src/error/mod.rs", "#[cfg(test)]\nmod tests {\n    use crate::pool::a;\n}\n"),
    ];
    let sources: Vec<_> = sources.iter().map(|(path, text)| Source::new(*path, *text)).collect();
    assert_eq!(circles(&sources), Vec::<Vec<String>>::new());
}
