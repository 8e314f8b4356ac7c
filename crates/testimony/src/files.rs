//! Following files, as the configuration says.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use ingest::{EntryFormat, Lines, LinesSettings};
use server::{DESCRIPTORS_MAX, FileGroup, FilesDoor, FilesError, Intake, Patterns};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use world::World;

use crate::config::{self, Config, ConfigError};
use crate::mapping;

/// The most groups: each has a thread.
const GROUPS_MAX: usize = 32;
/// The longest name of a group, in bytes.
const NAME_BYTES_MAX: usize = 64;
/// The most that an entry may be allowed to have, in bytes.
const ENTRY_BYTES_LIMIT: usize = 4 << 20;

/// The groups of files that are to be followed.
pub(crate) struct FollowedFiles(Vec<FileGroup>);

impl FollowedFiles {
    /// Reads what the configuration names; changes nothing.
    pub(crate) fn of(world: &World, config: &Config) -> anyhow::Result<Self> {
        check_names(&config.files)?;
        let groups = config.files.iter().map(|settings| group(world, settings));
        Ok(Self(groups.collect::<anyhow::Result<_>>()?))
    }

    /// Follows them until it is stopped.
    pub(crate) fn follow(
        self,
        intake: &Intake,
        data: &Path,
        stop: &watch::Sender<bool>,
    ) -> Result<Vec<JoinHandle<()>>, FilesError> {
        let descriptors_max = DESCRIPTORS_MAX / self.0.len().max(1);
        let open = |group| FilesDoor::open(intake, group, data, descriptors_max);
        // All or none: a group that cannot go on where it was is for a person to look at.
        let doors = self.0.into_iter().map(open).collect::<Result<Vec<FilesDoor>, _>>()?;
        Ok(doors.into_iter().map(|door| door.follow(stop.subscribe())).collect())
    }
}

fn check_names(groups: &[config::Files]) -> Result<(), ConfigError> {
    let wrong = |what: String| Err(ConfigError::Value { place: "[[files]]".into(), what });
    if groups.len() > GROUPS_MAX {
        return wrong(format!("{} groups are more than the {GROUPS_MAX} that there may be", groups.len()));
    }
    let mut names = HashSet::new();
    for config::Files { name, .. } in groups {
        let is_fit = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(is_fit) {
            return wrong(format!("{name:?} is not a name: write 1 to {NAME_BYTES_MAX} of a-z, 0-9 and -"));
        }
        if !names.insert(name) {
            return wrong(format!(
                "two groups are called {name:?}: give each a name of its own, for how far their files were read is kept under it"
            ));
        }
    }
    Ok(())
}

fn group(world: &World, settings: &config::Files) -> anyhow::Result<FileGroup> {
    let place = format!("[[files]] {}", settings.name);
    let wrong = |what: String| ConfigError::Value { place: place.clone(), what };
    let patterns = Patterns::new(&settings.include, &settings.exclude).map_err(|error| wrong(error.to_string()))?;
    if !(1..=ENTRY_BYTES_LIMIT).contains(&settings.entry_bytes_max) {
        let what = format!("entry_bytes_max is {}; 1 to {ENTRY_BYTES_LIMIT} are possible", settings.entry_bytes_max);
        return Err(wrong(what).into());
    }
    if settings.format != EntryFormat::Lines && !settings.mapping.as_os_str().is_empty() {
        return Err(wrong("a mapping is for format = \"lines\": leave one of them out".into()).into());
    }
    let lines = LinesSettings {
        format: settings.format,
        wrapping: settings.wrapping,
        begins: Some(settings.begins.clone()).filter(|begins| !begins.is_empty()),
        body: settings.body,
        entry_bytes_max: settings.entry_bytes_max,
    };
    let mapping = mapping::read(world, &format!("{place}: mapping"), &settings.mapping)?;
    let lines = Lines::new(lines, mapping).map_err(|error| wrong(error.to_string()))?;
    Ok(FileGroup { name: settings.name.clone(), patterns, lines: Arc::new(lines) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(toml: &str) -> String {
        let config: Config = {
            let mut file = tempfile::NamedTempFile::with_suffix(".toml").unwrap();
            std::io::Write::write_all(&mut file, toml.as_bytes()).unwrap();
            match config::load(Some(file.path()), std::iter::empty(), &[]) {
                Ok(config) => config,
                Err(error) => return error.to_string(),
            }
        };
        match FollowedFiles::of(&World::real(), &config) {
            Ok(followed) => format!("{} groups", followed.0.len()),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn what_cannot_be_followed_is_told_with_what_to_write() {
        let app = "[[files]]\nname = 'app'\ninclude = ['/var/log/app/*.log']\n";
        assert_eq!(
            said(&format!("{app}wrapping = 'cri'\nbegins = '^\\d'\nbody = 'content'\nexclude = ['*.gz']")),
            "1 groups"
        );
        assert_eq!(said(""), "0 groups");
        assert!(said(&format!("{app}{app}")).contains("two groups are called \"app\": give each a name"));
        assert!(said("[[files]]\nname = 'My App'\ninclude = ['/x']").contains("write 1 to 64 of a-z, 0-9 and -"));
        assert!(
            said("[[files]]\nname = 'app'\ninclude = ['log/*']")
                .contains("[[files]] app: \"log/*\" does not say where")
        );
        assert!(said("[[files]]\ninclude = ['/x']").contains("missing field `name`"));
        assert!(said(&format!("{app}begins = '('")).contains("[[files]] app: begins:"));
        assert!(said(&format!("{app}wrapping = 'k8s'")).contains("expected one of `bare`, `cri`, `docker`"));
        assert!(said(&format!("{app}entry_bytes_max = 0")).contains("entry_bytes_max is 0; 1 to"));
        assert!(said(&format!("{app}format = 'kubernetes'\nmapping = '/m.toml'")).contains("leave one of them out"));
        assert!(said(&format!("{app}mapping = '/nowhere/m.toml'")).contains("[[files]] app: mapping: /nowhere/m.toml"));
        assert!(said(&format!("{app}read_from = 'end'")).contains("unknown field `read_from`"));
    }
}
