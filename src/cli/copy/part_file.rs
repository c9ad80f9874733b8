//! A file that gets its name when it is whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The end of the name until then.
const PART: &str = ".part";

/// A file that is being written. Dropped before it is whole, it is removed.
pub(super) struct PartFile {
    file: io::BufWriter<File>,
    part: PathBuf,
    name: PathBuf,
    is_whole: bool,
}

impl PartFile {
    pub(super) fn create(name: &Path) -> io::Result<Self> {
        let mut part = name.as_os_str().to_owned();
        part.push(PART);
        let part = PathBuf::from(part);
        // What an earlier run has left is of no use.
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(&part)?;
        let file = io::BufWriter::with_capacity(1 << 18, file);
        Ok(Self { file, part, name: name.to_owned(), is_whole: false })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    /// Gives the file its name, once all of it is stored.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        fs::rename(&self.part, &self.name)?;
        self.is_whole = true;
        Ok(())
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        if !self.is_whole {
            drop(fs::remove_file(&self.part));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_its_name_only_when_it_is_whole() {
        let directory = tempfile::tempdir().expect("a directory");
        let name = directory.path().join("t.csv");
        let mut file = PartFile::create(&name).expect("it can be made");
        file.write(b"half").expect("it can be written");
        assert!(!name.exists() && directory.path().join("t.csv.part").exists());
        drop(file);
        assert_eq!(fs::read_dir(directory.path()).expect("a directory").count(), 0);
        let mut file = PartFile::create(&name).expect("it can be made");
        file.write(b"all").expect("it can be written");
        file.finish().expect("it can be renamed");
        assert_eq!(fs::read(&name).expect("it is there"), b"all");
        assert_eq!(fs::read_dir(directory.path()).expect("a directory").count(), 1);
    }
}
