"""What the suite may ask of a dialect: the same for the usual driver and for Rowgate, but for `NOT_OVER_ROWGATE`.

The suite leaves most of these closed until a dialect says that its database can do it. POSTGRESQL and SQLITE open all that
psycopg and pysqlite pass. Computed columns of PostgreSQL are closed: the suite makes virtual ones, which begin with 18.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy.testing import exclusions
from sqlalchemy.testing.exclusions import skip_if
from sqlalchemy.testing.requirements import SuiteRequirements

# Closed by the suite, and opened for both databases.
BOTH = """
    table_ddl_if_exists index_ddl_if_exists create_table_as deferrable_fks
    boolean_col_expressions nullsordering intersect except_ window_functions window_range window_range_numeric ctes
    ctes_with_update_delete tuple_in views reflects_pk_names foreign_key_constraint_name_reflection
    foreign_key_constraint_option_reflection_ondelete fk_constraint_option_reflection_ondelete_restrict
    fk_constraint_option_reflection_ondelete_noaction foreign_key_constraint_option_reflection_onupdate
    fk_constraint_option_reflection_onupdate_restrict indexes_with_expressions check_constraint_reflection
    inline_check_constraint_reflection unicode_ddl datetime_historic date_historic autocommit isolation_level json_type
    precision_numerics_enotation_small server_defaults expression_server_defaults savepoints mod_operator_as_percent_sign percent_schema_names
    order_by_label_with_expression temp_table_names has_temp_table temporary_views skip_autocommit_rollback
    repeated_column_foreign_keys supports_bitwise_or supports_bitwise_and
    supports_bitwise_not supports_bitwise_shift unusual_column_name_characters infinity_floats aggregate_order_by
    create_temp_table_as reflect_table_options
""".split()

POSTGRESQL = """
    table_value_constructor uuid_data_type window_range_non_numeric ctes_with_values ctes_on_dml cross_schema_fk_reflection implicit_default_schema
    default_schema_name_switch reflect_tables_no_columns comment_reflection comment_reflection_full_unicode
    constraint_comment_reflection column_collation_reflection temp_table_comment_reflection schema_create_delete
    create_or_replace_view index_reflects_included_columns reflect_indexes_with_expressions datetime_interval
    datetime_timezone time_timezone timestamp_microseconds datetime_timezone_historic array_type
    precision_numerics_many_significant_digits precision_numerics_retains_significant_digits update_from delete_from
    supports_distinct_on identity_columns identity_columns_standard regexp_match regexp_replace fetch_first
    fetch_ties fetch_no_order_by fetch_offset_with_options fetch_expression unique_constraints_reflect_as_index
    materialized_views supports_bitwise_xor float_or_double_precision_behaves_generically two_phase_transactions
    datetime_literals
""".split()

SQLITE = """
    computed_columns computed_columns_stored computed_columns_reflect_persisted
    repeated_remote_col_foreign_keys emulated_lastrowid dbapi_lastrowid computed_columns_virtual legacy_unconditional_json_extract update_from
""".split()

_SESSION = "a session of the pool ends with the transaction, and temporary tables with it"

# What the usual driver passes and Rowgate does not, with the reason.
NOT_OVER_ROWGATE: dict[str, dict[str, str]] = {
    "postgresql": {
        "temporary_tables": _SESSION,
        "temp_table_reflection": _SESSION,
        "temp_table_reflect_indexes": _SESSION,
        "temp_table_names": _SESSION,
        "has_temp_table": _SESSION,
        "temporary_views": _SESSION,
        "temp_table_comment_reflection": _SESSION,
        "create_temp_table_as": _SESSION,
        "two_phase_transactions": "the server has no prepared transactions: its transactions end with their stream",
    },
    "sqlite": {
        "temporary_tables": _SESSION,
        "temp_table_reflection": _SESSION,
        "temp_table_reflect_indexes": _SESSION,
        "temp_table_names": _SESSION,
        "has_temp_table": _SESSION,
        "temporary_views": _SESSION,
        "create_temp_table_as": _SESSION,
        "unicode_ddl": "sessions of the pool enforce foreign keys, and the suite's refer to columns that are not unique",
        "schemas": "a schema of SQLite is an attached file, and ATTACH is refused: it would stay in a session of the pool",
    },
}

# The tests that the usual driver passes and Rowgate does not, by their reason: all of them, as compare.py checks.
_TEMPORARY = [
    "ComponentReflectionTest.test_get_temp_table_columns",
    "ComponentReflectionTest.test_get_temp_table_indexes",
    "ComponentReflectionTest.test_get_temp_table_names",
    "ComponentReflectionTest.test_get_temp_table_unique_constraints",
    "ComponentReflectionTest.test_get_temp_view_columns",
    "ComponentReflectionTest.test_get_temp_view_names",
    "ComponentReflectionTest.test_reflect_table_temp_table",
    "HasTableTest.test_has_table_temp_table",
    "HasTableTest.test_has_table_temp_view",
    "TableViaSelectTest.test_with_metadata[not_use_drop_all-use_temp-create_table_as]",
    "TableViaSelectTest.test_with_metadata[not_use_drop_all-use_temp-create_view]",
    "TableViaSelectTest.test_with_metadata[not_use_drop_all-use_temp-select_into]",
    "TableViaSelectTest.test_with_metadata[use_drop_all-use_temp-create_table_as]",
    "TableViaSelectTest.test_with_metadata[use_drop_all-use_temp-create_view]",
    "TableViaSelectTest.test_with_metadata[use_drop_all-use_temp-select_into]",
    "TableViaSelectTest.test_without_metadata[use_temp0]",
    "TableViaSelectTest.test_without_metadata[use_temp1]",
]
NOT_PASSED: dict[str, dict[str, list[str]]] = {
    "postgresql": {
        _SESSION: [*_TEMPORARY, "TempTableElementsTest.test_reflect_comments", "TempTableElementsTest.test_reflect_identity"],
    },
    "sqlite": {
        _SESSION: _TEMPORARY,
        NOT_OVER_ROWGATE["sqlite"]["unicode_ddl"]: [
            "UnicodeSchemaTest.test_col_targeting",
            "UnicodeSchemaTest.test_insert",
            "UnicodeSchemaTest.test_reflect",
            "UnicodeSchemaTest.test_repr",
        ],
    },
}


def _opened(name: str, databases: list[str]) -> property:
    refused = {database: reasons[name] for database, reasons in NOT_OVER_ROWGATE.items() if name in reasons}

    def requirement(self: SuiteRequirements) -> Any:
        base = exclusions.only_on(databases) if databases else getattr(SuiteRequirements, name).__get__(self)
        for database, reason in refused.items():
            base = base + skip_if(f"{database}+rowgate", reason)
        return base

    return property(requirement)


class Requirements(SuiteRequirements):
    """The requirements of both databases, over any driver."""

    @property
    def parens_in_union_contained_select_w_limit_offset(self) -> Any:
        return skip_if("sqlite", "SQLite has no parentheses there")

    @property
    def parens_in_union_contained_select_wo_limit_offset(self) -> Any:
        return skip_if("sqlite", "SQLite has no parentheses there")

    @property
    def implicitly_named_constraints(self) -> Any:
        return skip_if("sqlite", "SQLite names no constraints by itself")

    @property
    def schemas(self) -> Any:
        # Also of pysqlite, whose connections the suite attaches no file to outside of SQLAlchemy's own tree.
        return skip_if("sqlite", NOT_OVER_ROWGATE["sqlite"]["schemas"])

    def get_isolation_levels(self, config: Any) -> dict[str, Any]:
        default = {"postgresql": "READ COMMITTED", "sqlite": "SERIALIZABLE"}[config.db.dialect.name]
        with config.db.connect() as connection:
            supported = list(config.db.dialect.get_isolation_level_values(connection.connection.dbapi_connection))
        return {"default": default, "supported": supported}

    def get_order_by_collation(self, config: Any) -> str:
        return {"postgresql": "POSIX", "sqlite": "nocase"}[config.db.dialect.name]


_names = {*BOTH, *POSTGRESQL, *SQLITE, *(name for reasons in NOT_OVER_ROWGATE.values() for name in reasons)}
for _name in sorted(_names - {"schemas"}):
    _databases = [
        database
        for database, names in (("postgresql", {*BOTH, *POSTGRESQL}), ("sqlite", {*BOTH, *SQLITE}))
        if _name in names
    ]
    setattr(Requirements, _name, _opened(_name, _databases))
