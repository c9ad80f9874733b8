"""Dialects of SQLAlchemy 2 over Rowgate: `rowgate+postgresql://`, `rowgate+mysql://`, `rowgate+mariadb://`, `rowgate+sqlite://`.

    create_engine("rowgate+postgresql://127.0.0.1:50051/shop")
    create_async_engine("rowgate+postgresql://127.0.0.1:50051/shop")

The name of a dialect is the database's (`postgresql`, `mysql`, `mariadb`, `sqlite`), so that what SQLAlchemy has for that
database works: its types, `insert().on_conflict_do_update()`, reflection. The database of the URL is the logical one at the
server; the password is the caller's token.
"""
