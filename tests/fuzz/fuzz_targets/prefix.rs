#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| hydrant_types::fuzzing::prefix(data));
