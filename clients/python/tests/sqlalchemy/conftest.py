"""SQLAlchemy's suite runs by itself, with its own plugin: scripts/verify sqlalchemy."""

collect_ignore = ["suite"]
