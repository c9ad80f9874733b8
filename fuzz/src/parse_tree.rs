//! The facts of a statement, from the tree that PostgreSQL's parser made of it.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// The facts that the analysis of a text must not miss.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// The functions that are called by a name of the text, as the product writes them.
    pub(crate) functions: BTreeSet<String>,
    /// The names behind a point in an expression.
    pub(crate) attributes: BTreeSet<String>,
    /// The parts of the names of relations, without those of common table expressions.
    pub(crate) relations: BTreeSet<Vec<String>>,
    /// Operators that are named with a schema, or that are no ordinary ones; types of somebody's.
    pub(crate) exotic: BTreeSet<String>,
    /// The highest number of a parameter.
    pub(crate) highest_parameter: u64,
    /// True for INSERT, UPDATE, DELETE and MERGE anywhere.
    pub(crate) changes: bool,
    /// True for FOR UPDATE and its like anywhere.
    pub(crate) locks: bool,
    /// True for SELECT … INTO anywhere.
    pub(crate) makes_table: bool,
    /// All strings in literals.
    pub(crate) literals: Vec<String>,
    /// All other strings.
    pub(crate) names: Vec<String>,
}

/// Operators that come with PostgreSQL and call nothing but built-in functions, unless somebody defined them anew.
const OPERATORS: &str = "\
    + - * / % || > < >= <= = <> | & # << >> ^ && ~ ~* !~ !~* ~~ ~~* !~~ !~~* ^@ -> ->> #> #>> #- @@ @> <@ \
    @? ? ?& ?| BETWEEN 'NOT BETWEEN' 'BETWEEN SYMMETRIC' @ |/ ||/ !! ~= <-> -|- &< &> <<| |>> &<| |&> ?- ?# ?-| ?|| ## @-@ \
    ~<~ ~>~ ~<=~ ~>=~ *= *<> *< *> *<= *>= <^ >^ !=";

/// The functions for which other syntax stands: LIKE … ESCAPE and its like.
const OF_SYNTAX: [&str; 3] = ["like_escape", "similar_to_escape", "timezone"];

/// The kind of a statement, as `SelectStmt`, and its tree.
pub(crate) fn kind(statement: &Value) -> Option<(&str, &Value)> {
    let node = statement.get("stmt")?.as_object()?;
    node.iter().next().map(|(kind, tree)| (kind.as_str(), tree))
}

impl Facts {
    pub(crate) fn of(statement: &Value) -> Self {
        let mut facts = Self::default();
        if let Some(statement) = statement.get("stmt") {
            facts.visit(statement, &[]);
        }
        facts
    }

    fn visit(&mut self, node: &Value, scope: &[String]) {
        match node {
            Value::Array(nodes) => nodes.iter().for_each(|node| self.visit(node, scope)),
            Value::Object(fields) => {
                let scope = self.with_queries(fields, scope);
                for (name, field) in fields {
                    if name != "withClause" {
                        self.field(name, field);
                        self.visit_field(name, field, &scope);
                    }
                }
            }
            _ => {}
        }
    }

    /// Visits the common table expressions of a statement, and returns the scope with their names.
    fn with_queries(&mut self, fields: &Map<String, Value>, scope: &[String]) -> Vec<String> {
        let mut scope = scope.to_vec();
        let Some(with) = fields.get("withClause") else { return scope };
        let queries =
            || with["ctes"].as_array().into_iter().flatten().map(|it| &it["CommonTableExpr"]);
        let is_recursive = with["recursive"] == true;
        if is_recursive {
            scope.extend(queries().map(|query| text(&query["ctename"])));
        }
        for query in queries() {
            self.visit(query, &scope);
            if !is_recursive {
                scope.push(text(&query["ctename"]));
            }
        }
        scope
    }

    fn visit_field(&mut self, name: &str, field: &Value, scope: &[String]) {
        match name {
            // The target of a change is never a common table expression; FROM and USING may be.
            "relation" if field.get("relname").is_some() => self.relation(field, &[]),
            "RangeVar" => self.relation(field, scope),
            // FOR UPDATE OF names tables as they are called in FROM.
            "lockedRels" => {}
            _ => self.visit(field, scope),
        }
    }

    fn relation(&mut self, range: &Value, scope: &[String]) {
        let parts: Vec<_> = ["catalogname", "schemaname", "relname"]
            .iter()
            .filter_map(|part| range.get(part).and_then(Value::as_str).map(str::to_owned))
            .collect();
        self.names.extend(parts.iter().cloned());
        if !parts.is_empty() && !matches!(parts.as_slice(), [only] if scope.contains(only)) {
            self.relations.insert(parts);
        }
        self.visit(&range["alias"], scope);
    }

    fn field(&mut self, name: &str, field: &Value) {
        match name {
            "InsertStmt" | "UpdateStmt" | "DeleteStmt" | "MergeStmt" => self.changes = true,
            "lockingClause" => self.locks = true,
            "intoClause" => self.makes_table = true,
            "ParamRef" => {
                let number = field["number"].as_u64().unwrap_or_default();
                self.highest_parameter = self.highest_parameter.max(number);
            }
            "A_Const" => self.literals.extend(field["sval"]["sval"].as_str().map(str::to_owned)),
            "FuncCall" => self.function(field),
            "ColumnRef" => self.attribute(field["fields"].as_array(), 1),
            "A_Indirection" => self.attribute(field["indirection"].as_array(), 0),
            "A_Expr" => self.operator(&field["name"]),
            "SubLink" => self.operator(&field["operName"]),
            "SortBy" => self.operator(&field["useOp"]),
            "typeName" | "TypeName" => self.type_name(&field["names"]),
            "String" => self.names.push(text(&field["sval"])),
            _ => {}
        }
        if let Value::String(text) = field {
            self.names.push(text.clone());
        }
    }

    fn function(&mut self, call: &Value) {
        // `EXTRACT(x FROM y)` and its like, which no user's function can stand for.
        if call["funcformat"] == "COERCE_SQL_SYNTAX" {
            return;
        }
        let name = match parts(&call["funcname"]).as_slice() {
            [schema, name] if schema == "pg_catalog" && OF_SYNTAX.contains(&name.as_str()) => {
                return;
            }
            [schema, name] if schema == "pg_catalog" => name.clone(),
            parts => parts.join("."),
        };
        self.functions.insert(name);
    }

    /// Names behind the first one, which `f.t` may call.
    fn attribute(&mut self, fields: Option<&Vec<Value>>, skipped: usize) {
        let Some(fields) = fields else { return };
        let mut names =
            fields.iter().map(|field| field.get("String").map(|name| text(&name["sval"])));
        if skipped == 0 {
            self.attributes.extend(names.flatten());
        } else if fields.len() > skipped {
            self.attributes.extend(names.next_back().flatten());
        }
    }

    fn operator(&mut self, name: &Value) {
        let parts = parts(name);
        match parts.as_slice() {
            [] => {}
            [only]
                if OPERATORS.split(' ').any(|known| known == only) || only.contains("BETWEEN") => {}
            _ => drop(self.exotic.insert(parts.join("."))),
        }
    }

    fn type_name(&mut self, names: &Value) {
        let parts = parts(names);
        let is_somebodys = match parts.as_slice() {
            [only] => only.starts_with("zz"),
            [schema, _] => schema != "pg_catalog",
            [] => false,
            _ => true,
        };
        if is_somebodys {
            self.exotic.insert(parts.join("."));
        }
    }
}

fn parts(list: &Value) -> Vec<String> {
    let nodes = list.as_array().into_iter().flatten();
    nodes.map(|node| text(&node["String"]["sval"])).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
