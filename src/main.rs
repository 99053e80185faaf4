//! `ishowtts-server`: the same program as `ishowtts serve`, with the interpreter inside of it.

fn main() -> std::process::ExitCode {
    ishowtts::bridge::embedded::main(std::env::args().skip(1).collect())
}
