//! The `millpond` command: reads the command line and hands over to [`serve`].

mod allocator;
mod pgwire;
mod serve;

use clap::{Parser, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

/// A WebAssembly-pluggable streaming database that speaks Postgres.
#[derive(Debug, Parser)]
#[command(name = "millpond", version)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the server in the foreground until SIGTERM or SIGINT.
    Serve(ServeOptions),
}

/// Where the server keeps its data and where it listens.
#[derive(Clone, Debug, clap::Args)]
pub struct ServeOptions {
    /// Directory of the database; created if it is not there.
    #[arg(long, default_value = "./millpond-data")]
    pub data_dir: PathBuf,
    /// Address of the Postgres door; port 0 takes a free port.
    #[arg(long, default_value = "127.0.0.1:7432")]
    pub pg_listen: SocketAddr,
}

fn main() -> ExitCode {
    allocator::tune();
    let Command::Serve(options) = CommandLine::parse().command;
    start_logging();
    match serve::run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("millpond: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Logs go to stderr, so that stdout has nothing but the banner.
fn start_logging() {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(ansi).try_init();
}
