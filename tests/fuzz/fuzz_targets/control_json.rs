#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| hydrant_api::fuzzing::control_json(data));
