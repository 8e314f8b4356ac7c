#![no_main]

use ingest::history::Origin;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::history(data, Origin::Litellm));
