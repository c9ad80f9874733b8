//! The questions to the catalogs of each database: its names, its relations, and what one of them is.
//!
//! PostgreSQL's catalogs are named with their schema, so that tables of their names in a search path are not asked instead.

use crate::sql::Dialect;

/// A question whose result is printed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Listing {
    /// The heading of the result; a result without rows is left out with it.
    pub(super) heading: &'static str,
    /// The statement, whose parameter is the name that is asked for.
    pub(super) sql: &'static str,
}

const fn listing(heading: &'static str, sql: &'static str) -> Listing {
    Listing { heading, sql }
}

/// The question for the names that are completed: schema, table, 1 if it is found without its schema, and column.
pub(super) fn names(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Postgres => {
            "select n.nspname::text, c.relname::text, pg_catalog.pg_table_is_visible(c.oid)::int, a.attname::text \
             from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
             left join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped \
             where c.relkind in ('r', 'p', 'v', 'm', 'f') and n.nspname <> 'pg_toast' \
             order by n.nspname in ('pg_catalog', 'information_schema'), n.nspname, c.relname, a.attnum limit 20000"
        }
        Dialect::Sqlite => {
            "select '', m.name, 1, p.name from sqlite_schema m join pragma_table_info(m.name) p \
             where m.type in ('table', 'view') and m.name not like 'sqlite~_%' escape '~' \
             order by m.name, p.cid limit 20000"
        }
        Dialect::Mysql => {
            "select '', table_name, 1, column_name from information_schema.columns \
             where table_schema = database() order by table_name, ordinal_position limit 20000"
        }
    }
}

/// The question for relations; its parameter is a pattern of LIKE.
pub(super) fn relations(dialect: Dialect, only_tables: bool) -> Listing {
    let heading = if only_tables { "tables" } else { "relations" };
    listing(
        heading,
        match (dialect, only_tables) {
            (Dialect::Postgres, false) => POSTGRES_RELATIONS,
            (Dialect::Postgres, true) => POSTGRES_TABLES,
            (Dialect::Sqlite, false) => SQLITE_RELATIONS,
            (Dialect::Sqlite, true) => SQLITE_TABLES,
            (Dialect::Mysql, false) => MYSQL_RELATIONS,
            (Dialect::Mysql, true) => MYSQL_TABLES,
        },
    )
}

macro_rules! postgres_relations {
    ($kinds:literal) => {
        concat!(
            "select n.nspname::text as schema, c.relname::text as name, case c.relkind when 'r' then 'table' \
             when 'p' then 'partitioned table' when 'v' then 'view' when 'm' then 'materialized view' \
             when 'S' then 'sequence' else 'foreign table' end as type, \
             pg_catalog.pg_get_userbyid(c.relowner)::text as owner \
             from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
             where c.relkind in (",
            $kinds,
            ") and n.nspname not in ('pg_catalog', 'information_schema') and n.nspname !~ '^pg_toast' \
             and (c.relname::text like $1 or n.nspname::text || '.' || c.relname::text like $1) \
             and ($1 <> '%' or pg_catalog.pg_table_is_visible(c.oid)) order by 1, 2"
        )
    };
}

const POSTGRES_RELATIONS: &str = postgres_relations!("'r', 'p', 'v', 'm', 'S', 'f'");
const POSTGRES_TABLES: &str = postgres_relations!("'r', 'p'");

const SQLITE_RELATIONS: &str = "select name, type from sqlite_schema where type in ('table', 'view') \
    and name not like 'sqlite~_%' escape '~' and name like $1 escape '\\' order by name";
const SQLITE_TABLES: &str = "select name, type from sqlite_schema where type = 'table' \
    and name not like 'sqlite~_%' escape '~' and name like $1 escape '\\' order by name";

const MYSQL_RELATIONS: &str = "select table_name as name, lower(replace(table_type, 'BASE ', '')) as type, engine \
    from information_schema.tables where table_schema = database() and table_name like $1 order by table_name";
const MYSQL_TABLES: &str = "select table_name as name, lower(replace(table_type, 'BASE ', '')) as type, engine \
    from information_schema.tables where table_schema = database() and table_type = 'BASE TABLE' \
    and table_name like $1 order by table_name";

/// The questions of which the first has a row if the relation exists, with its kind and its full name.
pub(super) fn relation(dialect: Dialect) -> (&'static str, &'static [Listing]) {
    match dialect {
        Dialect::Postgres => (POSTGRES_KIND, POSTGRES_RELATION),
        Dialect::Sqlite => (SQLITE_KIND, SQLITE_RELATION),
        Dialect::Mysql => (MYSQL_KIND, MYSQL_RELATION),
    }
}

const POSTGRES_KIND: &str = "select case c.relkind when 'r' then 'table' when 'p' then 'partitioned table' \
    when 'v' then 'view' when 'm' then 'materialized view' when 'S' then 'sequence' when 'i' then 'index' \
    when 'I' then 'partitioned index' when 'c' then 'composite type' else 'foreign table' end, \
    n.nspname::text || '.' || c.relname::text \
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
    where c.oid = pg_catalog.to_regclass($1)";

const POSTGRES_RELATION: &[Listing] = &[
    listing(
        "",
        "select a.attname::text as column, pg_catalog.format_type(a.atttypid, a.atttypmod) as type, \
         case when a.attnotnull then 'not null' else '' end as nullable, case when a.attidentity = 'a' \
         then 'generated always as identity' when a.attidentity = 'd' then 'generated by default as identity' \
         when a.attgenerated <> '' then 'generated always as (' || pg_catalog.pg_get_expr(d.adbin, d.adrelid) || ')' \
         else coalesce(pg_catalog.pg_get_expr(d.adbin, d.adrelid), '') end as default, \
         coalesce(pg_catalog.col_description(a.attrelid, a.attnum), '') as comment \
         from pg_catalog.pg_attribute a left join pg_catalog.pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum \
         where a.attrelid = pg_catalog.to_regclass($1) and a.attnum > 0 and not a.attisdropped order by a.attnum",
    ),
    listing(
        "indexes",
        "select c.relname::text as index, case when i.indisprimary then 'primary key' when i.indisunique then 'unique' \
         else '' end as kind, pg_catalog.pg_get_indexdef(i.indexrelid) as definition \
         from pg_catalog.pg_index i join pg_catalog.pg_class c on c.oid = i.indexrelid \
         where i.indrelid = pg_catalog.to_regclass($1) order by not i.indisprimary, c.relname",
    ),
    listing(
        "constraints",
        "select conname::text as constraint, pg_catalog.pg_get_constraintdef(oid, true) as definition \
         from pg_catalog.pg_constraint where conrelid = pg_catalog.to_regclass($1) and contype in ('c', 'f', 'x') \
         order by contype, conname",
    ),
    listing(
        "referenced by",
        "select conrelid::pg_catalog.regclass::text as table, conname::text as constraint, \
         pg_catalog.pg_get_constraintdef(oid, true) as definition from pg_catalog.pg_constraint \
         where confrelid = pg_catalog.to_regclass($1) and contype = 'f' order by 1, 2",
    ),
    listing(
        "triggers",
        "select tgname::text as trigger, pg_catalog.pg_get_triggerdef(oid, true) as definition \
         from pg_catalog.pg_trigger where tgrelid = pg_catalog.to_regclass($1) and not tgisinternal order by tgname",
    ),
    listing(
        "policies",
        "select policyname::text as policy, cmd as command, roles::text as roles, qual as using, with_check \
         from pg_catalog.pg_policies where (schemaname, tablename) in (select n.nspname, c.relname \
         from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
         where c.oid = pg_catalog.to_regclass($1)) order by policyname",
    ),
    listing(
        "definition",
        "select pg_catalog.pg_get_viewdef(oid, true) as query from pg_catalog.pg_class \
         where oid = pg_catalog.to_regclass($1) and relkind in ('v', 'm')",
    ),
];

const SQLITE_KIND: &str = "select type, name from sqlite_schema where lower(name) = lower($1) and type in ('table', 'view', 'index')";

const SQLITE_RELATION: &[Listing] = &[
    listing(
        "",
        "select name as \"column\", type, case when \"notnull\" then 'not null' else '' end as nullable, \
         coalesce(dflt_value, '') as \"default\", case when pk > 0 then 'primary key ' || pk else '' end as key \
         from pragma_table_xinfo($1) where hidden <> 1 order by cid",
    ),
    listing(
        "indexes",
        "select l.name as \"index\", case when l.\"unique\" then 'unique' else '' end as kind, \
         (select group_concat(coalesce(i.name, '(expression)'), ', ') from pragma_index_info(l.name) i) as columns \
         from pragma_index_list($1) l order by l.name",
    ),
    listing(
        "constraints",
        "select 'foreign key' as \"constraint\", \"from\" as \"column\", \"table\" as \"references\", \
         coalesce(\"to\", '') as its_column, on_delete from pragma_foreign_key_list($1) order by id, seq",
    ),
    listing(
        "triggers",
        "select name as \"trigger\", sql as definition from sqlite_schema \
         where type = 'trigger' and lower(tbl_name) = lower($1) order by name",
    ),
    listing(
        "definition",
        "select sql as query from sqlite_schema where lower(name) = lower($1) and type in ('view', 'index') and sql <> ''",
    ),
];

/// The question whether PostgreSQL's functions `$1` and relations `$2`, each on a line, read and do nothing else: they are
/// built-in functions that are not volatile and run no query, and tables without policies or parts. No function has the
/// name of a column `$3`, which `t.f` may call. Nobody may have
/// defined an operator or a cast, which no text tells.
pub(super) const READS_ONLY: &str = "select (not exists (select from pg_catalog.unnest(pg_catalog.string_to_array($1, E'\\n')) f \
    where not exists (select from pg_catalog.pg_proc p where p.proname::text = f) \
    or exists (select from pg_catalog.pg_proc p where p.proname::text = f and (p.provolatile = 'v' \
    or p.pronamespace <> 'pg_catalog'::pg_catalog.regnamespace or p.proname::text like '%xml%'))) \
    and not exists (select from pg_catalog.unnest(pg_catalog.string_to_array($2, E'\\n')) r \
    where not exists (select from pg_catalog.pg_class c where c.oid = pg_catalog.to_regclass(r) \
    and c.relkind in ('r', 'm') and not c.relrowsecurity and not c.relhassubclass)) \
    and not exists (select from pg_catalog.pg_proc p where p.proname::text = any (pg_catalog.string_to_array($3, E'\\n')) \
    and (p.provolatile = 'v' or p.pronamespace <> 'pg_catalog'::pg_catalog.regnamespace)) \
    and not exists (select from pg_catalog.pg_operator where oprnamespace <> 'pg_catalog'::pg_catalog.regnamespace) \
    and not exists (select from pg_catalog.pg_cast c join pg_catalog.pg_proc p on p.oid = c.castfunc \
    where p.pronamespace <> 'pg_catalog'::pg_catalog.regnamespace))::text";

const MYSQL_KIND: &str = "select lower(replace(table_type, 'BASE ', '')), concat(table_schema, '.', table_name) \
    from information_schema.tables where table_schema = database() and table_name = $1";

const MYSQL_RELATION: &[Listing] = &[
    listing(
        "",
        "select column_name as `column`, column_type as type, if(is_nullable = 'NO', 'not null', '') as nullable, \
         coalesce(nullif(column_default, 'NULL'), '') as `default`, extra, column_comment as comment \
         from information_schema.columns where table_schema = database() and table_name = $1 order by ordinal_position",
    ),
    listing(
        "indexes",
        "select index_name as `index`, if(index_name = 'PRIMARY', 'primary key', if(min(non_unique) = 0, 'unique', '')) \
         as kind, group_concat(column_name order by seq_in_index separator ', ') as columns \
         from information_schema.statistics where table_schema = database() and table_name = $1 \
         group by index_name order by index_name <> 'PRIMARY', index_name",
    ),
    listing(
        "constraints",
        "select constraint_name as `constraint`, group_concat(column_name order by ordinal_position separator ', ') \
         as columns, min(referenced_table_name) as `references`, \
         group_concat(referenced_column_name order by ordinal_position separator ', ') as its_columns \
         from information_schema.key_column_usage where table_schema = database() and table_name = $1 \
         and referenced_table_name is not null group by constraint_name order by constraint_name",
    ),
    listing(
        "referenced by",
        "select table_name as `table`, constraint_name as `constraint`, \
         group_concat(column_name order by ordinal_position separator ', ') as columns \
         from information_schema.key_column_usage where referenced_table_schema = database() \
         and referenced_table_name = $1 group by table_name, constraint_name order by table_name, constraint_name",
    ),
    listing(
        "triggers",
        "select trigger_name as `trigger`, action_timing as timing, event_manipulation as event, action_statement as definition \
         from information_schema.triggers where event_object_schema = database() and event_object_table = $1 \
         order by trigger_name",
    ),
    listing(
        "definition",
        "select view_definition as query from information_schema.views where table_schema = database() and table_name = $1",
    ),
];

/// The pattern of LIKE for a name in which `*` and `?` stand for other characters.
pub(super) fn like_pattern(name: Option<&str>) -> String {
    let Some(name) = name else { return "%".to_owned() };
    let mut pattern = String::new();
    for c in name.chars() {
        match c {
            '*' => pattern.push('%'),
            '?' => pattern.push('_'),
            '%' | '_' | '\\' => pattern.extend(['\\', c]),
            c => pattern.push(c),
        }
    }
    pattern
}

/// The name as the questions take it: PostgreSQL reads quotes itself.
pub(super) fn relation_name(name: &str, dialect: Dialect) -> String {
    if dialect == Dialect::Postgres {
        return name.to_owned();
    }
    let quoted =
        |open: char, close: char| name.strip_prefix(open).and_then(|rest| rest.strip_suffix(close));
    if dialect == Dialect::Sqlite
        && let Some((schema, table)) = name.split_once('.')
        && schema.trim_matches(['"', '`', '[', ']']).eq_ignore_ascii_case("main")
    {
        return relation_name(table, dialect);
    }
    let name =
        quoted('"', '"').or_else(|| quoted('`', '`')).or_else(|| quoted('[', ']')).unwrap_or(name);
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_those_of_like() {
        for (name, pattern) in [
            (None, "%"),
            (Some("ord*"), "ord%"),
            (Some("a_b?"), "a\\_b_"),
            (Some("100%"), "100\\%"),
        ] {
            assert_eq!(like_pattern(name), pattern);
        }
        assert_eq!(relation_name("\"a b\"", Dialect::Postgres), "\"a b\"");
        assert_eq!(relation_name("\"a b\"", Dialect::Sqlite), "a b");
        assert_eq!(relation_name("`a b`", Dialect::Mysql), "a b");
        assert_eq!(relation_name("main.\"a.b\"", Dialect::Sqlite), "a.b");
        assert_eq!(relation_name("\"Main\".t", Dialect::Sqlite), "t");
        assert_eq!(relation_name("\"a.b\"", Dialect::Sqlite), "a.b");
        assert_eq!(relation_name("main.t", Dialect::Mysql), "main.t");
    }
}
