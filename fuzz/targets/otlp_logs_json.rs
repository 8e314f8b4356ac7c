#![no_main]

use ingest::otlp::{Encoding, Signal};

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::otlp(data, Signal::Logs, Encoding::Json));
