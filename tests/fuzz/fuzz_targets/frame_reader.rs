#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| hydrant_log::fuzzing::frame_reader(data));
