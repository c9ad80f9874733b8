//! Faults of MariaDB or MySQL: statements and connections that another session kills, a server that refuses to
//! write, or has no room.

use std::time::Duration;

use crate::harness::mariadb::{Mariadb, is_mysql};
use crate::harness::wait::eventually;

/// The longest time until a fault takes effect.
const LIMIT: Duration = Duration::from_secs(30);

/// The server's own limit of connections outside of faults: that of the harness.
const ROOM: u32 = 50;

/// The least that the server accepts: fewer than the pool has.
const NO_ROOM: u32 = 10;

/// Connections of the pool, more than [`NO_ROOM`].
pub(super) const SETTINGS: &str = "pool.max = 16\n";

/// A procedure looks for its victim and kills it at once: what another process was told would long have ended. Those at
/// work come first. It tells if it killed one.
const PROCEDURE: &str = "delimiter //
create procedure kill_one(is_connection boolean, pick int, out killed int)
begin
  declare victim, number bigint;
  declare continue handler for 1094, not found set killed = 0;
  set killed = 1;
  select count(*) into number from information_schema.processlist
    where user = 'rowgate' and command in ('Query', 'Execute');
  set pick = pick mod greatest(number, 1);
  select id into victim from information_schema.processlist
    where user = 'rowgate' and (is_connection or command in ('Query', 'Execute'))
    order by command in ('Query', 'Execute') desc, id limit pick, 1;
  if victim is null then set killed = 0;
  elseif is_connection then kill connection victim;
  else kill query victim;
  end if;
end //
delimiter ;
";

/// Takes room away, waits for a refusal, and gives it back; tells if there was one.
fn room_procedure() -> String {
    let status = if is_mysql() { "performance_schema" } else { "information_schema" };
    let refused = format!(
        "(select variable_value from {status}.global_status \
         where variable_name = 'Connection_errors_max_connections')"
    );
    let kills = "call kill_one(true, 0, @killed);\n  ".repeat(8);
    let waits = LIMIT.as_secs() * 50;
    format!(
        "delimiter //
create procedure take_room(lasts double)
begin
  declare before_it, waited bigint default 0;
  set before_it = {refused};
  set global max_connections = {NO_ROOM};
  {kills}
  while {refused} = before_it and waited < {waits} do
    set waited = waited + 1 + sleep(0.02);
  end while;
  do sleep(lasts);
  select {refused} > before_it;
  set global max_connections = {ROOM};
end //
delimiter ;
"
    )
}

/// Makes the procedures that the faults need.
pub(super) fn install(mariadb: &Mariadb) {
    mariadb.sql(PROCEDURE);
    mariadb.sql(&room_procedure());
}

/// Kills a connection, or what it runs.
pub(super) fn kill(mariadb: &Mariadb, is_connection: bool, pick: usize) {
    let call = format!("call kill_one({is_connection}, {pick}, @killed); select @killed");
    eventually("somebody is killed", LIMIT, || (mariadb.sql(&call) == "1").then_some(()));
}

/// Lets the server refuse to write for a while; true when nothing was written meanwhile.
#[expect(clippy::disallowed_methods, reason = "the fault lasts so long, and no event ends it")]
pub(super) fn refuse_writes(mariadb: &Mariadb, lasts: Duration) -> bool {
    let units = "select count(*) from units";
    let before = mariadb.sql(&format!("set global read_only = 1; {units}"));
    std::thread::sleep(lasts);
    let after = mariadb.sql(&format!("{units}; set global read_only = 0"));
    before == after
}

/// Takes room from the pool until a connection is refused. One session does all of it: another would be refused, too.
pub(super) fn take_room(mariadb: &Mariadb, lasts: Duration) -> bool {
    mariadb.sql(&format!("call take_room({})", lasts.as_secs_f64())) == "1"
}
