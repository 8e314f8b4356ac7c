//! Files that say what lines and messages become, as the configuration names them.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use ingest::Mapping;
use world::World;

/// Reads the file that a setting names; nothing where it names none.
pub(crate) fn read(world: &World, setting: &str, path: &Path) -> anyhow::Result<Option<Arc<Mapping>>> {
    if path.as_os_str().is_empty() {
        return Ok(None);
    }
    let place = || format!("{setting}: {}", path.display());
    let bytes = world.disk.read(path).with_context(place)?;
    let text = String::from_utf8(bytes).with_context(place)?;
    Ok(Some(Arc::new(Mapping::compile(&text).with_context(place)?)))
}
