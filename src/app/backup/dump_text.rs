//! The text of a dump: what is looked for before its client runs it, and what is left out on the way there.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _};

use crate::schema_dump::without_database;

/// The bytes that are read at a time. A longer line is one of rows.
const PIECE: u64 = 256 << 10;

/// The result of the look at a dump.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct DumpLook {
    /// The database that it was made of, if it says so.
    pub(super) source: Option<String>,
    /// The first line that changes to another database, and that.
    pub(super) elsewhere: Option<(u64, String)>,
    /// The first line that may change anything.
    pub(super) first_change: Option<u64>,
}

/// Reads a dump to its end, and looks where it writes: to the database of this name, if to no other.
pub(super) fn look_at(file: &File, database: &str) -> io::Result<DumpLook> {
    let mut lines = DumpLines::new(file)?;
    let mut look = DumpLook::default();
    let mut piece = Vec::new();
    while lines.read(&mut piece)? {
        if !lines.is_start || lines.is_in_code() {
            continue;
        }
        let text = String::from_utf8_lossy(&piece[..piece.len().min(1024)]);
        let text = text.trim();
        if let Some((_, name)) =
            text.split_once("-- Host: ").and_then(|it| it.1.split_once("Database: "))
        {
            look.source = Some(name.trim().to_owned()).filter(|name| !name.is_empty());
        }
        let Some(word) = first_word(text) else { continue };
        look.first_change = look.first_change.or(Some(lines.number));
        if look.elsewhere.is_none()
            && word.eq_ignore_ascii_case("use")
            && let Some(name) = used(text)
            && name != database
        {
            look.elsewhere = Some((lines.number, name));
        }
    }
    Ok(look)
}

/// The first word of a line that may change something; `None` for comments and settings.
fn first_word(line: &str) -> Option<&str> {
    let conditional = line.strip_prefix("/*!").or_else(|| line.strip_prefix("/*M!"));
    let code = match conditional {
        Some(behind) => behind.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start(),
        None if line.starts_with("--") || line.starts_with('#') || line.starts_with("/*") => {
            return None;
        }
        None => line,
    };
    let end = code.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(code.len());
    // The client's sandbox has a mark that is no word.
    let word = &code[..end];
    let is_setting = word.is_empty() || word.eq_ignore_ascii_case("set");
    (!is_setting || code.starts_with(['(', '`'])).then_some(word)
}

/// The name of a statement `USE name;`.
fn used(line: &str) -> Option<String> {
    let name = line.get(3..)?.trim().trim_end_matches(';').trim();
    let quoted = name.strip_prefix('`').and_then(|name| name.strip_suffix('`'));
    Some(quoted.map_or_else(|| name.to_owned(), |name| name.replace("``", "`")))
}

/// The text of a dump on its way to the client: without the locks on tables, in which a default may not ask a sequence, and
/// with the sequences of its own database in the one that it is restored into. Lines keep their numbers.
pub(super) struct DumpFeed {
    lines: DumpLines,
    source: Option<String>,
}

impl DumpFeed {
    /// The whole of a file.
    pub(super) fn new(file: &File, source: Option<String>) -> io::Result<Self> {
        Ok(Self { lines: DumpLines::new(file)?, source })
    }

    /// Reads the next piece; returns false at the end.
    pub(super) fn read(&mut self, piece: &mut Vec<u8>) -> io::Result<bool> {
        if !self.lines.read(piece)? {
            return Ok(false);
        }
        if !self.lines.is_start || !self.lines.is_whole || self.lines.is_in_code() {
            return Ok(true);
        }
        if piece.starts_with(b"LOCK TABLES `") || piece.starts_with(b"UNLOCK TABLES;") {
            *piece = b"\n".to_vec();
        } else if piece.starts_with(b"  `")
            && let Some(source) = &self.source
            && let Some(line) =
                std::str::from_utf8(piece).ok().and_then(|it| without_database(it, source))
        {
            *piece = line.into_bytes();
        }
        Ok(true)
    }
}

/// The lines of a dump, long ones in pieces.
struct DumpLines {
    reader: BufReader<File>,
    /// The number of the line that the last piece is of.
    number: u64,
    /// The last piece begins a line, and ends it.
    is_start: bool,
    is_whole: bool,
    /// The end of statements. Another one than a semicolon is that of code: routines, triggers and events.
    delimiter: Vec<u8>,
    /// The last piece is the line that sets it.
    is_delimiter: bool,
}

impl DumpLines {
    fn new(file: &File) -> io::Result<Self> {
        let mut file = file.try_clone()?;
        file.rewind()?;
        Ok(Self {
            reader: BufReader::with_capacity(usize::try_from(PIECE).unwrap_or(1 << 16), file),
            number: 0,
            is_start: false,
            is_whole: true,
            delimiter: b";".to_vec(),
            is_delimiter: false,
        })
    }

    fn read(&mut self, piece: &mut Vec<u8>) -> io::Result<bool> {
        piece.clear();
        let ended = self.is_whole;
        self.reader.by_ref().take(PIECE).read_until(b'\n', piece)?;
        self.is_start = ended;
        self.is_whole = piece.ends_with(b"\n");
        self.number += u64::from(self.is_start);
        self.is_delimiter = self.is_start && piece.starts_with(b"DELIMITER ");
        if self.is_delimiter {
            self.delimiter = piece[b"DELIMITER ".len()..].trim_ascii().to_vec();
        }
        Ok(!piece.is_empty())
    }

    fn is_in_code(&self) -> bool {
        self.is_delimiter || self.delimiter != b";"
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn file(text: &str) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    const DUMP: &str = "/*M!999999\\- enable the sandbox mode */ \n-- MariaDB dump\n--\n-- Host: localhost    Database: s2\n\
        /*!40101 SET NAMES utf8mb4 */;\n\nDROP TABLE IF EXISTS `us`;\nCREATE TABLE `us` (\n\
        \x20 `id` int DEFAULT nextval(`s2`.`sq`),\n) ENGINE=InnoDB;\nLOCK TABLES `us` WRITE;\n\
        INSERT INTO `us` VALUES\n(1,'x');\nUNLOCK TABLES;\nDELIMITER ;;\ncreate trigger t before insert on us for each row\n\
        \x20 `x`: begin set @a = 'nextval(`s2`.`sq`)';\nuse other;\nend;;\nDELIMITER ;\n-- Dump completed\n";

    #[test]
    fn a_dump_says_where_it_is_from_and_where_it_begins_to_change_something() {
        let look = look_at(&file(DUMP), "r").unwrap();
        let expected =
            DumpLook { source: Some("s2".to_owned()), elsewhere: None, first_change: Some(7) };
        assert_eq!(look, expected);
        let several = "-- Host: localhost    Database: \n\nCREATE DATABASE /*!32312 IF NOT EXISTS*/ `a``b`;\n\nUSE `a``b`;\n";
        let look = |database| look_at(&file(several), database).unwrap();
        assert_eq!(look("r").elsewhere, Some((5, "a`b".to_owned())));
        assert_eq!(look("r").first_change, Some(3));
        assert_eq!((look("a`b").elsewhere, look("r").source), (None, None));
    }

    #[test]
    fn locks_and_the_database_of_sequences_are_left_out_and_nothing_else() {
        let fed = |source: Option<&str>| {
            let mut feed = DumpFeed::new(&file(DUMP), source.map(str::to_owned)).unwrap();
            let mut all = Vec::new();
            let mut piece = Vec::new();
            while feed.read(&mut piece).unwrap() {
                all.extend_from_slice(&piece);
            }
            String::from_utf8(all).unwrap()
        };
        let unlocked = DUMP.replace("UNLOCK TABLES;", "").replace("LOCK TABLES `us` WRITE;", "");
        assert_eq!(fed(None), unlocked);
        let moved = unlocked.replacen("nextval(`s2`.`sq`)", "nextval(`sq`)", 1);
        assert_eq!(fed(Some("s2")), moved);
        let long =
            format!("INSERT INTO `t` VALUES\n('{}\\nLOCK TABLES `');\n", "x".repeat(600_000));
        let mut feed = DumpFeed::new(&file(&long), None).unwrap();
        let mut all = Vec::new();
        let mut piece = Vec::new();
        while feed.read(&mut piece).unwrap() {
            all.extend_from_slice(&piece);
        }
        assert_eq!(all, long.as_bytes());
    }
}
