//! Which files a group has: patterns, and what there is that fits them.

use std::collections::BTreeSet;
use std::fs::FileType;
use std::io;
use std::path::{Path, PathBuf};

use glob::{MatchOptions, Pattern};

/// The most patterns of one kind that a group has.
const PATTERNS_MAX: usize = 64;
/// The longest pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 1_024;
/// The most entries of directories that are listed at one look.
const ENTRIES_MAX: usize = 50_000;
/// How deep `**` goes.
const DEPTH_MAX: usize = 32;

/// As shells have it: what begins with a dot is only meant by a pattern that begins with one.
const NAMES: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };
/// For what is left out, dots are nothing special.
const LEFT_OUT: MatchOptions = MatchOptions { require_literal_leading_dot: false, ..NAMES };

/// The files of a group: those that fit one pattern of the first kind and none of the second.
#[derive(Debug)]
pub struct Patterns {
    include: Vec<Vec<Part>>,
    exclude: Vec<Pattern>,
}

/// What one name of a path must be.
#[derive(Debug)]
enum Part {
    Name(String),
    Fits(Pattern),
    /// `**`: any number of directories, also none.
    AnyDepth,
}

/// Why patterns are none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// There is none.
    #[error("include names no files: write where they are, such as \"/var/log/app/*.log\"")]
    Empty,
    /// There are too many.
    #[error("{0} patterns are more than the {PATTERNS_MAX} that include and exclude may each have")]
    TooMany(usize),
    /// Where it begins depends on where the server was started.
    #[error("{0:?} does not say where it begins: write all of the path, such as \"/var/log/app/*.log\"")]
    Relative(String),
    /// It is a directory.
    #[error("{0:?} names a directory: write which files in it, such as \"/var/log/app/*.log\"")]
    Directory(String),
    /// It cannot be read.
    #[error("{pattern:?} is no pattern: {what}")]
    Wrong {
        /// What was written.
        pattern: String,
        /// What is wrong with it.
        what: String,
    },
}

/// What fits now, and where nobody could look.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) paths: BTreeSet<PathBuf>,
    pub(super) hidden: Vec<(PathBuf, io::Error)>,
    entries_left: usize,
    is_cut: bool,
}

impl Patterns {
    /// Reads patterns: `*`, `?`, `[…]` within a name, `**` for any directories. Those of `exclude` without a slash are for names alone.
    ///
    /// # Errors
    /// When one is none.
    pub fn new(include: &[String], exclude: &[String]) -> Result<Self, PatternError> {
        if include.is_empty() {
            return Err(PatternError::Empty);
        }
        if let Some(many) = [include.len(), exclude.len()].into_iter().find(|many| *many > PATTERNS_MAX) {
            return Err(PatternError::TooMany(many));
        }
        let left_out = |pattern: &String| match pattern.contains('/') && !pattern.starts_with('/') {
            true => Err(PatternError::Relative(pattern.clone())),
            false => compiled(pattern, pattern),
        };
        Ok(Self {
            include: include.iter().map(|pattern| parts(pattern)).collect::<Result<_, _>>()?,
            exclude: exclude.iter().map(left_out).collect::<Result<_, _>>()?,
        })
    }

    /// What there is that fits. Whether it is a file is not looked at.
    #[expect(clippy::disallowed_methods, reason = "what is followed is others', and no part of the data directory")]
    pub(super) fn list(&self) -> Listing {
        let mut listing = Listing::new(ENTRIES_MAX);
        for parts in &self.include {
            let root = root(parts);
            match std::fs::metadata(&root) {
                Ok(_) => listing.walk(Path::new("/"), parts, 0),
                Err(error) => listing.hidden.push((root, error)),
            }
        }
        listing.paths.retain(|path| !self.leaves_out(path));
        listing
    }

    fn leaves_out(&self, path: &Path) -> bool {
        let whole = path.to_string_lossy();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        self.exclude.iter().any(|pattern| {
            let subject = if pattern.as_str().contains('/') { &whole } else { &name };
            pattern.matches_with(subject, LEFT_OUT)
        })
    }
}

impl Listing {
    fn new(entries_max: usize) -> Self {
        Self { paths: BTreeSet::new(), hidden: Vec::new(), entries_left: entries_max, is_cut: false }
    }

    fn walk(&mut self, dir: &Path, parts: &[Part], depth: usize) {
        let Some((part, rest)) = parts.split_first() else {
            self.paths.insert(dir.to_owned());
            return;
        };
        match part {
            Part::Name(name) => self.walk(&dir.join(name), rest, depth),
            Part::Fits(pattern) => {
                // A link may lead to either. What is neither file nor directory is a pipe, a socket or a device.
                let is_last = rest.is_empty();
                let is_wanted =
                    |kind: FileType| kind.is_symlink() || if is_last { kind.is_file() } else { kind.is_dir() };
                for (path, name, kind) in self.entries(dir) {
                    if is_wanted(kind) && pattern.matches_with(&name, NAMES) {
                        self.walk(&path, rest, depth);
                    }
                }
            }
            Part::AnyDepth => {
                self.walk(dir, rest, depth);
                // Links are not gone after: they may lead back.
                for (path, name, kind) in self.entries(dir) {
                    if depth < DEPTH_MAX && kind.is_dir() && !name.starts_with('.') {
                        self.walk(&path, parts, depth + 1);
                    }
                }
            }
        }
    }

    /// What is in a directory: nothing where there is none.
    #[expect(clippy::disallowed_methods, reason = "what is followed is others', and no part of the data directory")]
    fn entries(&mut self, dir: &Path) -> Vec<(PathBuf, String, FileType)> {
        let entries = match std::fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) => {
                if !is_absent(&error) {
                    self.hidden.push((dir.to_owned(), error));
                }
                return Vec::new();
            }
        };
        let mut found = Vec::new();
        for entry in entries {
            let Some(left) = self.entries_left.checked_sub(1) else {
                self.cut();
                break;
            };
            self.entries_left = left;
            match entry.and_then(|entry| Ok((entry.path(), entry.file_name(), entry.file_type()?))) {
                Ok((path, name, kind)) => found.push((path, name.to_string_lossy().into_owned(), kind)),
                Err(error) if is_absent(&error) => {}
                Err(error) => self.hidden.push((dir.to_owned(), error)),
            }
        }
        found
    }

    /// Not everything could be listed, and what is missing may be anywhere.
    fn cut(&mut self) {
        if !std::mem::replace(&mut self.is_cut, true) {
            let what = format!("there are more than {ENTRIES_MAX} names to look at; write narrower patterns");
            self.hidden.push((PathBuf::from("/"), io::Error::other(what)));
        }
    }
}

/// Whether there is nothing there, as far as is known.
pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn parts(pattern: &str) -> Result<Vec<Part>, PatternError> {
    if !pattern.starts_with('/') {
        return Err(PatternError::Relative(pattern.to_owned()));
    }
    if pattern.ends_with('/') {
        return Err(PatternError::Directory(pattern.to_owned()));
    }
    let mut parts = Vec::new();
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        match part {
            "**" if matches!(parts.last(), Some(Part::AnyDepth)) => {}
            "**" => parts.push(Part::AnyDepth),
            part if part.contains(['*', '?', '[']) => parts.push(Part::Fits(compiled(part, pattern)?)),
            part => {
                // For what cannot be in a name either.
                compiled(part, pattern)?;
                parts.push(Part::Name(part.to_owned()));
            }
        }
    }
    // All files below.
    if matches!(parts.last(), Some(Part::AnyDepth)) {
        parts.push(Part::Fits(compiled("*", pattern)?));
    }
    Ok(parts)
}

fn compiled(part: &str, pattern: &str) -> Result<Pattern, PatternError> {
    let wrong = |what: String| PatternError::Wrong { pattern: pattern.to_owned(), what };
    if pattern.is_empty() || pattern.len() > PATTERN_BYTES_MAX {
        return Err(wrong(format!("it must have 1 to {PATTERN_BYTES_MAX} bytes")));
    }
    if part.contains(['{', '}']) {
        return Err(wrong("there are no lists in braces; write a pattern for each".to_owned()));
    }
    if part.contains('\0') {
        return Err(wrong("no path has a zero byte".to_owned()));
    }
    Pattern::new(part).map_err(|error| wrong(error.msg.to_owned()))
}

/// The directory that must be there before anything can fit: of everything below it, nothing is known without it.
fn root(parts: &[Part]) -> PathBuf {
    let dirs = parts.get(..parts.len().saturating_sub(1)).unwrap_or_default();
    let names = dirs.iter().map_while(|part| match part {
        Part::Name(name) => Some(name.as_str()),
        Part::Fits(_) | Part::AnyDepth => None,
    });
    Path::new("/").join(names.collect::<PathBuf>())
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a tree of files is made to be looked at")]
mod tests {
    use super::*;

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in ["app/a.log", "app/b.log", "app/b.log.1", "app/b.log.2.gz", "app/.c.log", "app/deep/er/d.log"] {
            let path = dir.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        std::fs::create_dir_all(dir.path().join("app/dir.log")).unwrap();
        std::os::unix::fs::symlink(dir.path().join("app/deep"), dir.path().join("app/link")).unwrap();
        std::os::unix::fs::symlink(dir.path().join("app/a.log"), dir.path().join("app/z.log")).unwrap();
        dir
    }

    fn check(include: &[&str], exclude: &[&str], expected: &[&str]) {
        let dir = tree();
        let below = |pattern: &&str| format!("{}/{pattern}", dir.path().display());
        let include: Vec<String> = include.iter().map(below).collect();
        let exclude: Vec<String> = exclude.iter().map(|&pattern| pattern.to_owned()).collect();
        let listing = Patterns::new(&include, &exclude).unwrap().list();
        let relative = |path: &PathBuf| path.strip_prefix(dir.path()).unwrap().display().to_string();
        let found: Vec<String> = listing.paths.iter().map(relative).collect();
        assert_eq!(found, expected, "{include:?}");
        assert!(listing.hidden.is_empty(), "{:?}", listing.hidden);
    }

    #[test]
    fn patterns_find_what_shells_find() {
        check(&["app/*.log"], &[], &["app/a.log", "app/b.log", "app/z.log"]);
        check(&["app/?.log"], &["z.*"], &["app/a.log", "app/b.log"]);
        check(&["app/[!a].log"], &[], &["app/b.log", "app/z.log"]);
        check(&["app/b.log*"], &["*.gz"], &["app/b.log", "app/b.log.1"]);
        check(&["app/.*.log"], &[], &["app/.c.log"]);
        check(&["app/b.log", "app/b.*"], &["/**/*.gz"], &["app/b.log", "app/b.log.1"]);
        check(&["app/*/er/*.log"], &[], &["app/deep/er/d.log", "app/link/er/d.log"]);
        check(&["**/*.log"], &[], &["app/a.log", "app/b.log", "app/deep/er/d.log", "app/z.log"]);
        check(&["app/deep/**"], &[], &["app/deep/er/d.log"]);
        check(&["app/nowhere.log"], &[], &["app/nowhere.log"]);
        check(&["app/a.log/*", "app/**/x/*"], &[], &[]);
    }

    #[test]
    fn where_nobody_can_look_is_told() {
        let dir = tree();
        let patterns = Patterns::new(&[format!("{}/gone/*.log", dir.path().display())], &[]).unwrap();
        let hidden = patterns.list().hidden;
        assert_eq!(hidden.len(), 1);
        assert_eq!(hidden[0].0, dir.path().join("gone"));
    }

    #[test]
    fn no_more_names_are_looked_at_than_there_may_be() {
        let dir = tree();
        let mut listing = Listing::new(3);
        let parts = parts(&format!("{}/**/*.log", dir.path().display())).unwrap();
        listing.walk(Path::new("/"), &parts, 0);
        assert!(listing.paths.len() <= 3);
        assert_eq!(listing.hidden.len(), 1);
    }

    #[test]
    fn what_is_no_pattern_is_refused_with_what_to_write() {
        let said = |include: &[&str], exclude: &[&str]| {
            let owned = |patterns: &[&str]| patterns.iter().map(|&pattern| pattern.to_owned()).collect::<Vec<String>>();
            Patterns::new(&owned(include), &owned(exclude)).unwrap_err().to_string()
        };
        assert!(said(&[], &[]).starts_with("include names no files"));
        assert!(said(&["logs/*.log"], &[]).starts_with("\"logs/*.log\" does not say where it begins"));
        assert!(said(&["/var/log/"], &[]).starts_with("\"/var/log/\" names a directory"));
        assert!(said(&["/var/log/*.{log,txt}"], &[]).contains("write a pattern for each"));
        assert!(said(&["/var/lo**g/x"], &[]).contains("is no pattern"));
        assert!(said(&["/var/log/[x"], &[]).contains("is no pattern"));
        assert!(said(&["/x"], &["logs/*.gz"]).contains("does not say where it begins"));
        assert!(said(&["/x"; 65], &[]).starts_with("65 patterns"));
        assert!(said(&["/x"], &[""]).contains("it must have"));
    }
}
