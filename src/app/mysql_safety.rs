//! Questions to MySQL and MariaDB before they are used: the limits of connections, and what is unsafe about the account and
//! the server.

/// The connections that the server has for ordinary accounts, then the limit of this account; -1 is no limit.
pub(super) const CONNECTION_LIMITS: &str = "\
select cast(@@global.max_connections as signed),
       case when @@session.max_user_connections > 0 then cast(@@session.max_user_connections as signed) else -1 end";

/// The source of each of these limits.
pub(super) const LIMIT_SOURCES: [&str; 2] =
    ["max_connections of the server", "max_user_connections of the account"];

/// The dangers of the account, and those of a server that may lose what it has acknowledged: one row, a text for each,
/// NULL without it.
pub(super) const RIGHTS: &str = "\
select max(case when p.privilege_type = 'SUPER' then 'the account may change the server (SUPER)' end),
       max(case when p.privilege_type = 'FILE' then 'the account may read and write files of the server (FILE)' end),
       max(case when p.privilege_type = 'CREATE USER' then 'the account may change other accounts (CREATE USER)' end),
       case when @@global.innodb_flush_log_at_trx_commit <> 1
            then 'the server may lose commits that it has acknowledged (innodb_flush_log_at_trx_commit is not 1)' end,
       case when @@global.log_bin and @@global.sync_binlog <> 1
            then 'the binary log of the server may lose commits that it has acknowledged (sync_binlog is not 1)' end
from information_schema.user_privileges p
where p.grantee = concat('''', left(current_user(), char_length(current_user()) - char_length(substring_index(current_user(), '@', -1)) - 1),
                         '''@''', substring_index(current_user(), '@', -1), '''')";
