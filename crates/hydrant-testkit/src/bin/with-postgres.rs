//! `with-postgres COMMAND [ARGUMENT…]` runs a command with one test server for all that it starts: every test process
//! below it uses that server instead of starting its own. The server ends with this program.

use std::process::{Command, ExitCode};

use hydrant_testkit::Postgres;

const USAGE: u8 = 2;
const NOT_STARTED: u8 = 127;

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    let Some(program) = words.next() else {
        eprintln!("usage: with-postgres COMMAND [ARGUMENT…]");
        return ExitCode::from(USAGE);
    };
    let server = Postgres::shared();
    match Command::new(&program).args(words).env("HYDRANT_TEST_POSTGRES_URL", server.url()).status() {
        Ok(status) => ExitCode::from(status.code().map_or(1, |code| code as u8)),
        Err(error) => {
            eprintln!("cannot start {}: {error}", program.display());
            ExitCode::from(NOT_STARTED)
        }
    }
}
