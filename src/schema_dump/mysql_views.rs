//! The views of MySQL and MariaDB: their order, and the names in those that are broken.

use std::collections::{BTreeMap, BTreeSet};

/// Sorts views by name, but each behind those that its text names, as it can only be made then.
pub(super) fn in_order_of_use(views: Vec<(String, String)>) -> Vec<(String, String)> {
    let by_name: BTreeMap<String, String> = views.into_iter().collect();
    let mut done = BTreeSet::new();
    let mut ordered = Vec::new();
    for name in by_name.keys() {
        place(name, &by_name, &mut done, &mut ordered);
    }
    ordered
}

/// Adds a view behind those that it names. Views form no circle; a column of a view's name may seem to.
fn place(
    name: &str,
    by_name: &BTreeMap<String, String>,
    done: &mut BTreeSet<String>,
    ordered: &mut Vec<(String, String)>,
) {
    if !done.insert(name.to_owned()) {
        return;
    }
    let Some(definition) = by_name.get(name) else { return };
    for other in by_name.keys() {
        if definition.contains(&format!("`{}`", other.replace('`', "``"))) {
            place(other, by_name, done, ordered);
        }
    }
    ordered.push((name.to_owned(), definition.clone()));
}

/// Removes the name of a database before other names, but not within texts.
pub(super) fn without_names_of(definition: &str, database: &str) -> String {
    let named = format!("`{}`.", database.replace('`', "``"));
    let mut cut = String::new();
    let mut is_text = false;
    let mut rest = definition;
    while let Some(next) = rest.chars().next() {
        if !is_text && rest.starts_with(&named) {
            rest = &rest[named.len()..];
            continue;
        }
        if is_text && next == '\\' {
            let end = rest.char_indices().nth(2).map_or(rest.len(), |(end, _)| end);
            cut.push_str(&rest[..end]);
            rest = &rest[end..];
            continue;
        }
        is_text ^= next == '\'';
        cut.push(next);
        rest = &rest[next.len_utf8()..];
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_stands_behind_those_that_it_reads() {
        let view = |name: &str, definition: &str| (name.to_owned(), definition.to_owned());
        let views = vec![
            view("a", "select `c`.`x` from `c`"),
            view("b", "select 1"),
            view("c", "select `b`.`x` AS `d` from `b`"),
            view("d", "select 1 AS `c`"),
        ];
        let names: Vec<_> = in_order_of_use(views).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["b", "d", "c", "a"]);
    }

    #[test]
    fn a_database_is_removed_before_names_and_not_in_texts() {
        let view = "select `d`.`t`.`x`, '`d`.`t`', 'it\\'s `d`.' from `d`.`t`";
        assert_eq!(
            without_names_of(view, "d"),
            "select `t`.`x`, '`d`.`t`', 'it\\'s `d`.' from `t`"
        );
    }
}
